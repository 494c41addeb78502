"""Further layers of a result, computed on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_redenoise._napari._layers import (
    RESIDUAL_CONTENT,
    LayerData,
    LayerImage,
    as_shown,
    denoised_layer,
    percentiles,
    provenance_of,
)
from napari_redenoise._napari._maps import disagreement_layers, support_layer
from napari_redenoise.assessment import as_denoiser, equivariance, percent, support_map
from napari_redenoise.data import Planes
from napari_redenoise.errors import InputError
from napari_redenoise.inference import Interrupted
from napari_redenoise.io import result_array
from napari_redenoise.model import Redenoiser, Window, noise_reports
from napari_redenoise.noise import NoiseModel, NoiseReport, noise_model

Report = Callable[[int, int], None]
"""Is told the value and the maximum of a progress."""

ExtraKind = Literal["residual", "rotation", "branches", "support"]
OF_VIEW: tuple[ExtraKind, ...] = ("rotation", "support")
"""Kinds of the current view."""

EXTRAS: dict[ExtraKind, tuple[str, str]] = {
    "residual": (
        "Residual",
        "Noisy minus denoised, over the expected noise where that grows with the signal. It should "
        "look like noise, without structure of the specimen.",
    ),
    "branches": (
        "Both branches",
        "Outputs of the standard and the equivariant U-Net, before the mask fuses them.",
    ),
    "rotation": (
        "Disagreement under rotation",
        "Where the result depends on the orientation of the sample: rotates the image by 90°, "
        "denoises it, and compares. For the current view.",
    ),
    "support": (
        "Unsupported detail",
        "Where the photons do not support detail at the limit of the supported resolution: such "
        "detail may be invented where the map is bright. For the current view.",
    ),
}


class Extra(NamedTuple):
    """Layers of a kind, none where it was stopped, and the meaning of their pixels."""

    layers: list[LayerData]
    legend: str = ""


def extra_layers(
    kind: ExtraKind,
    denoiser: Redenoiser,
    source: LayerImage,
    denoised: Any,
    placed: dict[str, Any],
    window: Window | None,
    should_stop: Callable[[], bool],
    reports: tuple[NoiseReport, ...] | None,
    report: Report,
) -> Extra:
    """Compute the layers of a kind in another thread; ``report`` is called there, too."""
    if kind == "residual":
        made = _residual(source, denoised, denoiser, reports, should_stop, report)
    elif kind == "branches":
        made = _branches(denoiser, source, should_stop, report)
    elif kind == "support" and window is not None:
        made = _support(denoiser, source, denoised, placed, window, reports, should_stop)
    else:
        made = _rotation(denoiser, source, placed, window, should_stop, report)
    return Extra([]) if should_stop() else made


def _rotation(
    denoiser: Redenoiser,
    source: LayerImage,
    placed: dict[str, Any],
    window: Window | None,
    should_stop: Callable[[], bool],
    report: Report,
) -> Extra:
    """The map of the result; the dock *Equivariance* has those of the branches."""
    try:
        found = equivariance(
            denoiser,
            source.array,
            source.axes,
            angle=90,
            window=window,
            progress=report,
            should_stop=should_stop,
        )
    except Interrupted:
        return Extra([])
    found = replace(found, differences={"denoised": found.differences["denoised"]})
    layers = disagreement_layers(source, placed, found, denoiser.session.provenance)
    # The words of the button, which the names of the dock Equivariance would not recall.
    layers[0][1]["name"] = f"{source.name} disagreement"
    top = layers[0][1]["contrast_limits"][1]
    error = percent(found.errors["denoised"]).replace(" ", "\N{NO-BREAK SPACE}")
    return Extra(
        layers,
        "Disagreement under rotation by 90°: black where the result does not depend on the "
        f"orientation, yellow where it changes by {top:.3g} grey levels or more. In all "
        f"{error} of the standard deviation of the denoised view.",
    )


def _residual(
    source: LayerImage,
    denoised: Any,
    denoiser: Redenoiser,
    reports: tuple[NoiseReport, ...] | None,
    should_stop: Callable[[], bool],
    report: Report,
) -> Extra:
    """Noisy minus denoised as a grey layer centred at 0.

    Photon noise is stronger in bright regions, which therefore show in its residual. It is divided
    by the expected noise.
    """
    models = _growing_noise(source, reports)
    residual = residual_image(source, denoised, models, should_stop, report)
    # Colours cannot be negative: show the mean over the channels.
    shown = np.asarray(residual[...]).mean(-1) if source.colour else residual
    reach = max(map(abs, percentiles(shown, 0.5, 99.5)))
    keywords = {
        **source.spatial,
        "name": f"{source.name} residual{' / noise' if models else ''}",
        "rgb": False,
        "colormap": "gray",
        "contrast_limits": [-reach, reach],
        "metadata": provenance_of(source, denoiser.session.provenance, RESIDUAL_CONTENT),
    }
    if not models:
        return Extra([(shown, keywords, "image")], "Residual: noisy minus denoised.")
    return Extra(
        [(shown, keywords, "image")],
        "Residual: noisy minus denoised, divided by the expected noise, because photon noise "
        "grows with the signal. It should look the same in bright and in dark regions, "
        "about -1 to 1.",
    )


def residual_image(
    source: LayerImage,
    denoised: Any,
    models: list[NoiseModel],
    should_stop: Callable[[], bool],
    report: Report,
) -> Any:
    """Noisy minus denoised, divided by the noise of the models, if there are any."""
    planes = source.planes
    residual = result_array(planes)
    whole = (slice(0, planes.height), slice(0, planes.width))
    samples = list(planes.indices())
    for number, (sample, plane) in enumerate(_residual_planes(planes, denoised, source, models)):
        planes.write(residual, sample, *whole, plane)
        report(number + 1, len(samples))
        if should_stop():
            break
    return residual


def _residual_planes(
    planes: Planes, denoised: Any, source: LayerImage, models: list[NoiseModel]
) -> Iterator[tuple[tuple[int, ...], npt.NDArray[np.float64]]]:
    """Residual of every plane (channels, rows, columns), divided by the noise if it grows."""
    whole = (slice(0, planes.height), slice(0, planes.width))
    others = Planes(denoised, source.axes)
    for sample in planes.indices():
        noisy = planes.read(sample, *whole).astype(np.float64)
        levels = others.read(sample, *whole).astype(np.float64)
        # Pixels that are not finite keep their value.
        finite = np.isfinite(noisy) & np.isfinite(levels)
        residual = np.full(noisy.shape, np.nan)
        np.subtract(noisy, levels, out=residual, where=finite)
        for channel, model in enumerate(models):
            residual[channel] /= _least_photon(model, levels[channel])
        yield sample, residual


def _least_photon(model: NoiseModel, levels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Expected noise, at least that of one photon: a dark pixel has no less."""
    least = model.gain or model.read_noise or 1.0
    return np.maximum(model.std(np.nan_to_num(levels, posinf=0.0, neginf=0.0)), least)


def _growing_noise(source: LayerImage, reports: tuple[NoiseReport, ...] | None) -> list[NoiseModel]:
    """Noise models of all channels where the noise grows with the signal, else none."""
    try:
        known = reports or noise_reports(source.planes)
    except InputError:
        return []
    models = [noise_model(report) for report in known]
    return models if any(model.gain > 0 for model in models) else []


def _support(
    denoiser: Redenoiser,
    source: LayerImage,
    denoised: Any,
    placed: dict[str, Any],
    window: Window,
    reports: tuple[NoiseReport, ...] | None,
    should_stop: Callable[[], bool],
) -> Extra:
    noisy, result = source.planes, Planes(denoised, source.axes)
    function = as_denoiser(denoiser, should_stop)
    known = reports or noise_reports(noisy)
    found = support_map(noisy, result, window, known, function, should_stop)
    if found is None:
        return Extra([])
    layer = support_layer(source, placed, *found, denoiser.session.provenance)
    return Extra(
        [layer],
        "Unsupported detail: black where the photons support the finest detail of the result, "
        "bright where it may be invented.",
    )


def _branches(
    denoiser: Redenoiser, source: LayerImage, should_stop: Callable[[], bool], report: Report
) -> Extra:
    outputs = denoiser.session.allocate(source.array, source.axes, branches=True)
    events = denoiser.predict_events(
        source.array, source.axes, outputs=outputs, should_stop=should_stop
    )
    for tile in events:
        report(tile.tile, tile.tiles)
    layers = []
    for name in ("standard", "equivariant"):
        array, keywords, kind = denoised_layer(source, outputs[name])
        array = as_shown(array, source) if source.colour else array
        content = f"output of the {name} branch"
        keywords["name"] = f"{source.name} {name} branch"
        keywords["metadata"] = provenance_of(source, denoiser.session.provenance, content)
        layers.append((array, keywords, kind))
    return Extra(layers)
