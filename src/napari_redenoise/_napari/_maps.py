"""Maps of a window as layers: disagreement under rotation, unsupported detail."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_redenoise._napari._layers import (
    DISAGREEMENT_CONTENT,
    UNSUPPORTED_CONTENT,
    LayerData,
    LayerImage,
    provenance_of,
)
from napari_redenoise.assessment import EquivarianceResult
from napari_redenoise.model import Window


def window_placement(layer: Any, source: LayerImage, window: Window) -> dict[str, Any]:
    """Keyword arguments that place a window at its position in the layer."""
    plane = (window.rows.start, window.columns.start)
    rest = iter(window.sample)
    leading = [axis for axis in source.axes if axis not in "YX" and not source.colour]
    corner = [0 if axis == "C" else next(rest) for axis in leading] + list(plane)
    # napari applies the affine after the translation: undo it for the offset of the corner.
    moved = np.subtract(layer.data_to_world(corner), layer.data_to_world([0] * len(corner)))
    affine = np.asarray(source.spatial.get("affine", np.eye(len(corner) + 1)))[:-1, :-1]
    translate = np.asarray(source.spatial["translate"]) + np.linalg.solve(affine, moved)
    return {**source.spatial, "translate": translate}


def disagreement_layers(
    source: LayerImage,
    placed: dict[str, Any],
    result: EquivarianceResult,
    provenance: dict[str, Any],
) -> list[LayerData]:
    """Layer data of all maps with the same contrast limits, the fused network first.

    The upper limit is the largest 99.5th percentile of the maps.
    """
    top = max(float(np.nanpercentile(map_, 99.5)) for map_ in result.differences.values())
    layers: list[LayerData] = []
    for name in reversed(list(result.differences)):
        shown = _with_leading_axes(source, result.differences[name])
        about = {"angle": result.angle, "error": result.errors[name], "network": name}
        keywords = {
            **placed,
            # Short, because the layer list elides long names.
            "name": f"{source.name} Δ{result.angle:g}° {result.labels[name].split()[0]}",
            "colormap": "inferno",
            "contrast_limits": (0.0, max(top, 1e-6)),
            "metadata": provenance_of(
                source, {**provenance, "rotation": about}, DISAGREEMENT_CONTENT
            ),
        }
        layers.append((shown, keywords, "image"))
    return layers


def support_layer(
    source: LayerImage,
    placed: dict[str, Any],
    unsupported: np.ndarray,
    scales: tuple[float, float],
    provenance: dict[str, Any],
) -> LayerData:
    """Layer data of a map (rows, columns) of unsupported fine detail, 0 to 1."""
    about = {"coarse": scales[0], "fine": scales[1]}
    content = {**provenance, "pixels_per_cycle": about}
    keywords = {
        **placed,
        "name": f"{source.name} unsupported detail",
        "colormap": "magma",
        "contrast_limits": (0.0, 1.0),
        "opacity": 0.6,
        "metadata": provenance_of(source, content, UNSUPPORTED_CONTENT),
    }
    return _with_leading_axes(source, unsupported), keywords, "image"


def _with_leading_axes(source: LayerImage, shown: np.ndarray) -> np.ndarray:
    """Give a map the axes of its layer: one sample, the same for all channels."""
    if source.colour:
        return shown
    sizes = dict(zip(source.axes, source.array.shape, strict=True))
    leading = [sizes[axis] if axis == "C" else 1 for axis in source.axes if axis not in "YX"]
    return np.broadcast_to(shown, (*leading, *shown.shape))
