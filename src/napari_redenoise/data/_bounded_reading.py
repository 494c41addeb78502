"""A part of a stack, or of large planes, that stands for the whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_redenoise.data._bad_pixels import mask_missing
from napari_redenoise.data._lazy_array import LazyArray
from napari_redenoise.data._planes import Planes

BLOCK = 2048
"""Side of the largest window that is read of a plane at once."""

Sample = tuple[int, ...]


def middle_window(planes: Planes, sample: Sample, side: int = BLOCK) -> tuple[slice, slice]:
    """Rows and columns of a window of at most so many pixels a side.

    In the middle of the plane, or of the region where there is one.
    """
    sizes = planes.height, planes.width
    inside = planes.inside(sample, slice(0, sizes[0]), slice(0, sizes[1]))
    middles = [size // 2 for size in sizes]
    if inside is not None and inside.any():
        middles = [int(np.flatnonzero(inside.any(1 - axis)).mean()) for axis in (0, 1)]
    starts = (
        min(max(0, middle - side // 2), max(0, size - side))
        for middle, size in zip(middles, sizes, strict=True)
    )
    rows, columns = (
        slice(start, min(size, start + side)) for start, size in zip(starts, sizes, strict=True)
    )
    return rows, columns


def representative_subset(planes: Planes, most_pixels: int, side: int = BLOCK) -> Planes:
    """As many samples of a stack as have so many pixels, at least one, spread over all.

    Of each the same window of at most so many pixels a side: the middle of the plane, or of the
    region of the first. Samples of one value only are passed over, and those outside of a region.
    """
    area = min(planes.height, side) * min(planes.width, side)
    count = max(1, most_pixels // area)
    if len(planes) <= count and max(planes.height, planes.width) <= side:
        return planes
    every = list(planes.indices())
    found = (
        _first_usable(planes, [every[number] for number in _from_the_middle(part.tolist())])
        for part in np.array_split(np.arange(len(every)), count)
    )
    chosen = [sample for sample in found if sample is not None]
    if not chosen:
        return planes
    return _windows(planes, chosen, *middle_window(planes, chosen[0], side))


def _windows(planes: Planes, samples: list[Sample], rows: slice, columns: slice) -> Planes:
    """The same window of some samples, as (N, channels, rows, columns)."""
    size = rows.stop - rows.start, columns.stop - columns.start

    def part(of: slice, lines: slice) -> slice:
        start, stop, _ = lines.indices(of.stop - of.start)
        return slice(of.start + start, of.start + stop)

    def pixels(key: tuple[int, slice, slice, slice]) -> npt.NDArray[Any]:
        number, channels, *lines = key
        return planes.read(samples[number], part(rows, lines[0]), part(columns, lines[1]))[channels]

    def inside(key: tuple[int, slice, slice]) -> npt.NDArray[np.bool_]:
        number, *lines = key
        found = planes.inside(samples[number], part(rows, lines[0]), part(columns, lines[1]))
        return np.ones(size, bool)[lines[0], lines[1]] if found is None else found

    dtype, count = np.dtype(planes.array.dtype), len(samples)
    seen = LazyArray((count, planes.channels, *size), dtype, pixels)
    if planes.region is None:
        return Planes(seen, "TCYX")
    return Planes(seen, "TCYX", LazyArray((count, *size), np.dtype(bool), inside))


def _from_the_middle(numbers: list[int]) -> list[int]:
    """The middle first, the ends last."""
    return sorted(numbers, key=lambda number: abs(number - numbers[(len(numbers) - 1) // 2]))


def _first_usable(planes: Planes, samples: list[Sample]) -> Sample | None:
    """The first sample that has something to learn from."""
    everything = slice(0, planes.height), slice(0, planes.width)
    for sample in samples:
        inside = planes.inside(sample, *everything)
        if inside is not None and not inside.any():
            continue
        if np.isfinite(mask_missing(planes.read(sample, *middle_window(planes, sample)))).any():
            return sample
    return None
