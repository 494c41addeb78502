"""``redenoise check``: quality checks of a denoised image, without a reference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_redenoise._cli._app import Axes, Device, Series, app, read_noted
from napari_redenoise._cli._interruption import print_result
from napari_redenoise._cli._json_events import json_text
from napari_redenoise.assessment import assess_file
from napari_redenoise.data import ArrayLike
from napari_redenoise.io import ImageFile
from napari_redenoise.model import Redenoiser


@app.command()
def check(
    noisy: Annotated[Path, typer.Argument(help="Noisy image: TIFF, OME-Zarr, PNG or JPEG.")],
    denoised: Annotated[
        Path, typer.Argument(help="Its denoised version, in the same grey levels.")
    ],
    axes: Axes = None,
    series: Series = None,
    model: Annotated[
        Path | None,
        typer.Option(help="Model of DENOISED (.safetensors), for the supported resolution."),
    ] = None,
    device: Device = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Compare the residual of DENOISED with the noise of NOISY; a pass is no proof."""
    source = read_noted(noisy, axes, series)
    report = assess_file(
        source,
        _in_order(read_noted(denoised), source.axes),
        None if model is None else Redenoiser.load(model, device),
    )
    if as_json:
        print_result(json_text(report.as_dict(), indent=2))
    else:
        print_result("\n".join(report.sentences()))


def _in_order(result: ImageFile, axes: str) -> ArrayLike:
    """A result with its axes in the order of its source, which its format may change."""
    array: ArrayLike = result.array
    if sorted(result.axes) == sorted(axes):
        array = result.array.transpose([result.axes.index(axis) for axis in axes])
    return array
