"""``redenoise noise``: the noise of an image, and the recommended objective."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_redenoise._cli._app import Axes, Overwrite, Series, app, read_noted
from napari_redenoise._cli._interruption import print_result
from napari_redenoise.config import Config
from napari_redenoise.data import LazyArray, Planes
from napari_redenoise.errors import ConfigError, OutputError
from napari_redenoise.io import check_place, refuse_existing
from napari_redenoise.model import NOT_TRAINED, channel_stack, is_fine_tuned, noise_reports
from napari_redenoise.noise import (
    Diagnosis,
    NoiseReport,
    describe,
    diagnose,
    estimate_noise_from_repeats,
)

PLOT_SUFFIXES = (".png", ".pdf", ".svg")


@app.command()
def noise(
    image: Annotated[Path, typer.Argument(help="Noisy image: TIFF, OME-Zarr, PNG or JPEG.")],
    axes: Axes = None,
    series: Series = None,
    repeats: Annotated[
        bool, typer.Option("--repeats", help="The frames are repeats of one still scene.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Also draw variance and correlation: .png, .pdf or .svg")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Measure gain, offset, read noise and autocorrelation of the noise of IMAGE."""
    if plot is not None:
        check_plot(image, plot, overwrite=overwrite)
    source = read_noted(image, axes, series)
    planes = Planes(source.array, source.axes)
    fine_tuning = is_fine_tuned(Config(), planes.channels)
    if repeats:
        reports = [estimate_noise_from_repeats(stack) for stack in repeated(planes)]
    else:
        reports = list(noise_reports(planes, ask_denoiser=fine_tuning))
    if as_json:
        found = [as_dict(report, fine_tuning=fine_tuning) for report in reports]
        print_result(json.dumps(found, indent=2))
    else:
        for number, report in enumerate(reports):
            print_result(f"channel {number}" if len(reports) > 1 else image.name)
            print_result(as_text(report, fine_tuning=fine_tuning))
    if plot is not None:
        # Not at the top, because matplotlib takes longer to load than the measurement.
        from napari_redenoise._cli._noise_plot import draw

        draw(plot, reports, overwrite=overwrite)
        typer.echo(f"wrote {plot}", err=as_json)


def check_plot(image: Path, plot: Path, *, overwrite: bool) -> None:
    """Refuse a file name for a plot that cannot be written or would overwrite the image."""
    if plot.suffix.lower() not in PLOT_SUFFIXES:
        raise OutputError(
            f"the plot {plot.name} has an unknown suffix: give {', '.join(PLOT_SUFFIXES)}"
        )
    if os.path.realpath(plot) == os.path.realpath(image):
        # Even with --overwrite.
        raise OutputError(f"{plot} is the noisy image itself: choose another name")
    refuse_existing(plot, overwrite=overwrite)
    check_place(plot)


def repeated(planes: Planes) -> list[LazyArray]:
    """Repeated acquisitions (N, Y, X), one stack per channel."""
    if len(planes.sample_shape) != 1:
        raise ConfigError(
            f"--repeats needs one axis of repeated acquisitions, the image has {planes.axes}: "
            "name it with --axes TYX, or omit --repeats"
        )
    return [channel_stack(planes, channel) for channel in range(planes.channels)]


def as_text(report: NoiseReport, *, fine_tuning: bool = True) -> str:
    """Numbers, findings and recommendation, one per line."""
    model, found = report.model, report.autocorrelation
    also, also_read = (
        f"  (values from {low:.4g} to {high:.4g} fit)" if low < high else ""
        for low, high in (report.offset_range, report.read_noise_range)
    )
    gain = f"{model.gain:.4g} ± {report.gain_error:.2g} grey levels per photon"
    lines = [
        f"  gain         {gain if model.gain else 'none found'}",
        f"  offset       {model.offset:.4g} grey levels{also}",
        f"  read noise   {model.read_noise:.4g} grey levels{also_read}",
        f"  correlation  along y {_coefficients(found.y)}; along x {_coefficients(found.x)}",
    ]
    lines += [f"  - {finding.text}" for finding in describe(report)]
    advice = diagnose([report], fine_tuning=fine_tuning)
    if advice.smooth_scales and report.planes == "none":
        lines += ["  recommended: auto, without fine-tuning", f"    because {NOT_TRAINED}"]
        return "\n".join(lines)
    blind_spot = "" if advice.objective == "r2r" else f", blind spot {_shape_in_words(advice)}"
    lines.append(f"  recommended: {advice.objective}{blind_spot}")
    lines.append(f"    because {advice.reason}")
    return "\n".join(lines)


def _coefficients(along: tuple[float, ...]) -> str:
    return " ".join(f"{value:+.2f}" for value in along[:4])


def _shape_in_words(advice: Diagnosis) -> str:
    return " / ".join(advice.mask_shape)


def as_dict(report: NoiseReport, *, fine_tuning: bool = True) -> dict[str, Any]:
    """The report and the recommendation for JSON, which has no infinities."""
    advice = diagnose([report], fine_tuning=fine_tuning)
    return {
        **_without_infinities(asdict(report)),
        "read_noise_range": report.read_noise_range,
        "findings": [asdict(finding) for finding in describe(report)],
        "recommendation": advice.as_json(),
    }


def _without_infinities(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_infinities(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_infinities(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
