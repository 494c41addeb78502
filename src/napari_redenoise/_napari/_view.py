"""The visible part of a layer, as a window of one sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_redenoise._napari._layers import LayerImage
from napari_redenoise.model import Window

MOST_PREVIEWED = 640
"""Longest side of a preview in pixels: a laptop denoises it in about a second."""


def current_window(viewer: Any, layer: Any, source: LayerImage) -> Window | None:
    """Window of ``source`` that the viewer shows, or None where it shows no plane of it.

    It is the whole of a small plane, and the middle of the visible part of a large one. A layer
    whose array was replaced by one of other axes shows none, nor does a stack beside its planes.
    """
    was_replaced = layer.ndim != len(source.axes) - source.colour
    if was_replaced or not shows_planes(viewer):
        return None
    planes = source.planes
    leading = [axis for axis in source.axes if axis not in "YX" and not source.colour]
    index = _slice_index(viewer, layer)[: len(leading)]
    sizes = zip(index, source.array.shape, strict=False)
    if not all(0 <= number < size for number, size in sizes):
        return None
    sample = tuple(number for number, axis in zip(index, leading, strict=True) if axis != "C")
    corners = np.asarray(layer.corner_pixels)
    if layer.multiscale:
        # Corners are pixels of the visible level; the source is the finest level.
        corners = corners * np.asarray(layer.downsample_factors)[layer.data_level]
    corners = corners[:, -2:]
    rows = _side(corners[:, 0], planes.height)
    columns = _side(corners[:, 1], planes.width)
    return Window(sample, rows, columns)


def _slice_index(viewer: Any, layer: Any) -> list[int]:
    """Index of the plane of a layer that napari shows.

    napari leaves out how y and x move the plane of a sheared stack: it shows whole planes.
    """
    point = np.array(viewer.dims.point, float)
    point[-2:] = 0
    return [round(float(number)) for number in layer.world_to_data(point)]


def shows_planes(viewer: Any) -> bool:
    """Whether the viewer shows y and x, and not a volume or a section along another axis."""
    dims = viewer.dims
    return dims.ndisplay == 2 and set(dims.displayed) == {dims.ndim - 2, dims.ndim - 1}


def _side(seen: np.ndarray, size: int) -> slice:
    """Part of an axis to preview, given its first and last visible pixel."""
    if size <= MOST_PREVIEWED:
        return slice(0, size)
    middle = int(np.clip(seen.mean(), 0, size))
    start = int(np.clip(middle - MOST_PREVIEWED // 2, 0, size - MOST_PREVIEWED))
    return slice(start, start + MOST_PREVIEWED)
