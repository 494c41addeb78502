"""Further layers of a result, computed on request."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Literal, TypeVar, cast

import numpy as np

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
from napari_redenoise.assessment import as_denoiser, equivariance_events, support_map
from napari_redenoise.data import Planes
from napari_redenoise.io import result_array
from napari_redenoise.model import Redenoiser, Window, noise_reports
from napari_redenoise.noise import NoiseReport

Result = TypeVar("Result")
ExtraKind = Literal["residual", "rotation", "branches", "support"]
OF_VIEW: tuple[ExtraKind, ...] = ("rotation", "support")
"""Kinds of the current view."""

EXTRAS: dict[ExtraKind, tuple[str, str]] = {
    "residual": (
        "Residual",
        "Noisy minus denoised. It should look like noise, without structure of the specimen.",
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


def extra_layers(
    kind: ExtraKind,
    denoiser: Redenoiser,
    source: LayerImage,
    denoised: Any,
    placed: dict[str, Any],
    window: Window | None,
    should_stop: Callable[[], bool],
    reports: tuple[NoiseReport, ...] | None = None,
) -> list[LayerData]:
    """Compute the layers of a kind in a worker's thread; none when stopped."""
    if kind == "residual":
        residual = _residual(source, denoised, denoiser.session.provenance, should_stop)
        return [] if should_stop() else [residual]
    if kind == "branches":
        return _branches(denoiser, source, should_stop)
    if kind == "support" and window is not None:
        return _support(denoiser, source, denoised, placed, window, reports, should_stop)
    events = equivariance_events(
        denoiser, source.array, source.axes, angle=90, window=window, should_stop=should_stop
    )
    result = _result_of(events)
    if result is None or should_stop():
        return []
    return disagreement_layers(source, placed, result, denoiser.session.provenance)


def _result_of(events: Generator[Any, None, Result]) -> Result:
    """Return value of a generator, without its events."""
    while True:
        try:
            next(events)
        except StopIteration as end:
            return cast(Result, end.value)


def _residual(
    source: LayerImage,
    denoised: Any,
    provenance: dict[str, Any],
    should_stop: Callable[[], bool],
) -> LayerData:
    """Noisy minus denoised, plane by plane, as a grey layer centred at 0."""
    planes = Planes(source.array, source.axes)
    residual = result_array(planes)
    whole = (slice(0, planes.height), slice(0, planes.width))
    others = Planes(denoised, source.axes)
    for sample in planes.indices():
        if should_stop():
            break
        noisy = planes.read(sample, *whole).astype(np.float64)
        planes.write(residual, sample, *whole, noisy - others.read(sample, *whole))
    shown = np.moveaxis(residual[...], -1, 0) if source.colour else residual
    reach = max(map(abs, percentiles(shown, 0.5, 99.5)))
    keywords = {
        **source.spatial,
        "name": f"{source.name} residual",
        "rgb": False,
        "colormap": "gray",
        "contrast_limits": [-reach, reach],
        "metadata": provenance_of(source, provenance, RESIDUAL_CONTENT),
    }
    if source.colour:
        # Colours cannot be negative: show the mean over the channels.
        return np.asarray(residual[...]).mean(-1), keywords, "image"
    return residual, keywords, "image"


def _support(
    denoiser: Redenoiser,
    source: LayerImage,
    denoised: Any,
    placed: dict[str, Any],
    window: Window,
    reports: tuple[NoiseReport, ...] | None,
    should_stop: Callable[[], bool],
) -> list[LayerData]:
    noisy, result = Planes(source.array, source.axes), Planes(denoised, source.axes)
    function = as_denoiser(denoiser, should_stop)
    known = reports or noise_reports(noisy)
    found = support_map(noisy, result, window, known, function, should_stop)
    if found is None or should_stop():
        return []
    return [support_layer(source, placed, *found, denoiser.session.provenance)]


def _branches(
    denoiser: Redenoiser, source: LayerImage, should_stop: Callable[[], bool]
) -> list[LayerData]:
    outputs = denoiser.session.allocate(source.array, source.axes, branches=True)
    events = denoiser.predict_events(
        source.array, source.axes, outputs=outputs, should_stop=should_stop
    )
    for _ in events:
        pass
    if should_stop():
        return []
    layers = []
    for name in ("standard", "equivariant"):
        array, keywords, kind = denoised_layer(source, outputs[name])
        array = as_shown(array, source) if source.colour else array
        content = f"output of the {name} branch"
        keywords["name"] = f"{source.name} {name} branch"
        keywords["metadata"] = provenance_of(source, denoiser.session.provenance, content)
        layers.append((array, keywords, kind))
    return layers
