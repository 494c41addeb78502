"""Reading of stacks and large planes in bounded memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from napari_redenoise.data._bad_pixels import mask_missing
from napari_redenoise.data._lazy_array import LazyArray
from napari_redenoise.data._noisy_pairs import Shots
from napari_redenoise.data._planes import Planes

BLOCK = 2048
"""Pixels; side of the largest block that is read at once."""

Sample = tuple[int, ...]
Place = tuple[Shots, Sample, slice, slice]


def read_middle(
    planes: Planes, sample: Sample | None = None, side: int = BLOCK
) -> npt.NDArray[Any]:
    """Read the middle of a plane, or of its training region.

    Parameters
    ----------
    planes : Planes
    sample : tuple of int, optional
        Default the middle sample.
    side : int
        Pixels; the largest side of the result.

    Returns
    -------
    array of shape (channels, rows, columns)
        NaN where pixels are missing or outliers, see `mask_missing`.
    """
    if sample is None:
        sample = tuple(size // 2 for size in planes.sample_shape)
    return mask_missing(planes.read(sample, *middle_window(planes, sample, side)))


def read_random_blocks(
    images: Sequence[Shots],
    generator: torch.Generator,
    most_pixels: int,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[list[npt.NDArray[Any]], list[npt.NDArray[np.bool_] | None], list[Place]]:
    """Read random blocks of the training region until they hold ``most_pixels`` pixels.

    Returns
    -------
    blocks : list of arrays (shots * channels, rows, columns)
    regions : list of bool arrays (rows, columns), or None where the whole block is inside
    places : list of tuple (shots, sample, rows, columns)
    """
    windows = [
        (shots, sample, rows, columns)
        for shots in images
        for sample in shots.indices()
        for rows in _equal_parts(shots.height)
        for columns in _equal_parts(shots.width)
    ]
    blocks: list[npt.NDArray[Any]] = []
    regions: list[npt.NDArray[np.bool_] | None] = []
    places: list[Place] = []
    pixels = 0
    for number in torch.randperm(len(windows), generator=generator).tolist():
        if blocks and (pixels >= most_pixels or (should_stop is not None and should_stop())):
            break
        shots, *window = windows[number]
        region = shots.inside(*window)
        if region is not None and not region.any():
            continue
        blocks.append(shots.read(*window))
        regions.append(region)
        places.append(windows[number])
        # Neighbours may be read as well.
        pixels += blocks[-1].size * (1 + len(shots.neighbours(window[0])))
    return blocks, regions, places


def representative_subset(planes: Planes, most_pixels: int, side: int = BLOCK) -> Planes:
    """Samples spread evenly over a stack, at least one, of ``most_pixels`` pixels in all.

    Samples that are constant or outside the training region are skipped. Every sample is cut to
    the same window: the middle of the first one, or of its region.

    Parameters
    ----------
    planes : Planes
    most_pixels : int
    side : int
        Pixels; the largest side of the window.

    Returns
    -------
    Planes
        Reads its pixels when they are needed.
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


def middle_window(planes: Planes, sample: Sample, side: int) -> tuple[slice, slice]:
    """Rows and columns around the middle of a plane, or of its training region."""
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


def spread_evenly(samples: Sequence[Sample], count: int) -> list[Sample]:
    """At most so many samples, evenly over all.

    Parameters
    ----------
    samples : sequence of tuple of int
    count : int

    Returns
    -------
    list of tuple of int
    """
    count = min(count, len(samples))
    return [samples[(2 * number + 1) * len(samples) // (2 * count)] for number in range(count)]


def _equal_parts(size: int) -> list[slice]:
    """Divide an axis into equal parts of at most `BLOCK` pixels."""
    count = -(-size // BLOCK)
    edges = np.linspace(0, size, count + 1).astype(int).tolist()
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


def _windows(planes: Planes, samples: list[Sample], rows: slice, columns: slice) -> Planes:
    """The same window of several samples, as (N, channels, rows, columns)."""
    size = rows.stop - rows.start, columns.stop - columns.start

    def shifted(window: slice, axis: slice) -> slice:
        start, stop, _ = axis.indices(window.stop - window.start)
        return slice(window.start + start, window.start + stop)

    def pixels(key: tuple[int, slice, slice, slice]) -> npt.NDArray[Any]:
        number, channels, *axes = key
        window = planes.read(samples[number], shifted(rows, axes[0]), shifted(columns, axes[1]))
        return window[channels]

    def inside(key: tuple[int, slice, slice]) -> npt.NDArray[np.bool_]:
        number, *axes = key
        found = planes.inside(samples[number], shifted(rows, axes[0]), shifted(columns, axes[1]))
        return np.ones(size, bool)[axes[0], axes[1]] if found is None else found

    dtype, count = np.dtype(planes.array.dtype), len(samples)
    lazy = LazyArray((count, planes.channels, *size), dtype, pixels)
    if planes.region is None:
        return Planes(lazy, "SCYX")
    return Planes(lazy, "SCYX", LazyArray((count, *size), np.dtype(bool), inside))


def _from_the_middle(numbers: list[int]) -> list[int]:
    """Sort numbers by their distance from the middle one."""
    return sorted(numbers, key=lambda number: abs(number - numbers[(len(numbers) - 1) // 2]))


def _first_usable(planes: Planes, samples: list[Sample]) -> Sample | None:
    """The first sample with a measured pixel in the training region."""
    everything = slice(0, planes.height), slice(0, planes.width)
    for sample in samples:
        inside = planes.inside(sample, *everything)
        if inside is not None and not inside.any():
            continue
        if np.isfinite(read_middle(planes, sample)).any():
            return sample
    return None
