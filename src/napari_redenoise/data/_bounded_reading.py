"""Reading of stacks and large planes in bounded memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
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

RUN = {1: 8, 2: 3}
"""Consecutive planes of a run along each of one or two axes."""

RUNS, RUN_SIDE = 2, 128
"""Runs of a stack at least, and the smallest side in pixels to which they are cut for that."""

_GOLDEN = (math.sqrt(5) - 1) / 2
"""Share of a step by which the next place is moved, at least."""

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
    chosen = _spread_usable(planes, list(planes.indices()), count)
    if not chosen:
        return planes
    return _windows(planes, chosen, {}, *middle_window(planes, chosen[0], side))


def representative_runs(planes: Planes, most_pixels: int) -> Planes:
    """Runs of consecutive planes, spread evenly over a stack, of ``most_pixels`` pixels in all.

    So planes keep their neighbours along T and Z. Runs of a large stack are cut to the same window.
    Those whose middle plane is constant or outside the training region are replaced by others.

    Returns
    -------
    Planes
        Axes STZCYX; reads its pixels when they are needed.
    """
    lengths = {axis: planes.size(axis) if axis in planes.context_axes else 1 for axis in "TZ"}
    side = BLOCK
    if len(planes) * min(planes.height, BLOCK) * min(planes.width, BLOCK) > most_pixels:
        most = RUN[max(1, len(planes.context_axes))]
        lengths = {axis: min(size, most) for axis, size in lengths.items()}
        if planes.context_axes:
            pixels = most_pixels // (RUNS * math.prod(lengths.values()))
            side = min(BLOCK, max(math.isqrt(pixels), RUN_SIDE))
    length = math.prod(lengths.values())
    runs = -(-len(planes) // length)
    area = min(planes.height, side) * min(planes.width, side)
    # The planes of one stack after another.
    others = [number for number, axis in enumerate(planes.sample_axes) if axis not in "TZ"]
    every = sorted(planes.indices(), key=lambda sample: [sample[number] for number in others])
    chosen = _spread_usable(planes, every, min(runs, max(1, most_pixels // (length * area))))
    chosen = chosen or [tuple(size // 2 for size in planes.sample_shape)]
    starts = dict.fromkeys(_start(planes, middle, lengths) for middle in chosen)
    return _windows(planes, list(starts), lengths, *middle_window(planes, chosen[0], side))


def _start(planes: Planes, middle: Sample, lengths: Mapping[str, int]) -> Sample:
    """First plane of a run around a plane, moved into the stack."""
    start = list(middle)
    for number, axis in enumerate(planes.sample_axes):
        if axis in lengths:
            last = planes.sample_shape[number] - lengths[axis]
            start[number] = min(max(0, middle[number] - lengths[axis] // 2), last)
    return tuple(start)


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
    """At most so many samples, evenly over all, and not all of one level or interleaved channel."""
    total, count = len(samples), min(count, len(samples))
    if not count or total % count:
        return [samples[(2 * number + 1) * total // (2 * count)] for number in range(count)]
    step = total // count
    return [
        samples[number * step + _out_of_step(step // 2, number, step)] for number in range(count)
    ]


def _out_of_step(place: int, number: int, step: int) -> int:
    """Move a place within its step: equal steps may be a period of the stack, as of its levels.

    Moved by what has no factor in common with the step, it is at each place of a period in turn.
    """
    move = next(n for n in itertools.count(int(_GOLDEN * step)) if math.gcd(n, step) == 1)
    return (place + number * move) % step


def _equal_parts(size: int) -> list[slice]:
    """Divide an axis into equal parts of at most `BLOCK` pixels."""
    count = -(-size // BLOCK)
    edges = np.linspace(0, size, count + 1).astype(int).tolist()
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


def _windows(
    planes: Planes, starts: list[Sample], lengths: Mapping[str, int], rows: slice, columns: slice
) -> Planes:
    """The same window of several samples, or of runs of them: (N, *lengths, channels, Y, X)."""
    size = rows.stop - rows.start, columns.stop - columns.start
    steps = [planes.sample_axes.find(axis) for axis in lengths]

    def window(key: tuple[Any, ...]) -> tuple[Sample, slice, slice]:
        number, *forward, inner_rows, inner_columns = key
        sample = list(starts[number])
        for place, step in zip(steps, forward, strict=True):
            if place >= 0:
                sample[place] += step
        return tuple(sample), _shifted(rows, inner_rows), _shifted(columns, inner_columns)

    def pixels(key: tuple[Any, ...]) -> npt.NDArray[Any]:
        *samples, channels, inner_rows, inner_columns = key
        found = planes.read(*window((*samples, inner_rows, inner_columns)))
        return np.asarray(found[channels])

    def inside(key: tuple[Any, ...]) -> npt.NDArray[np.bool_]:
        found = planes.inside(*window(key))
        return np.ones(size, bool)[key[-2], key[-1]] if found is None else found

    dtype, samples = np.dtype(planes.array.dtype), (len(starts), *lengths.values())
    axes = "".join(("S", *lengths, "CYX"))
    lazy = LazyArray((*samples, planes.channels, *size), dtype, pixels)
    if planes.region is None:
        return Planes(lazy, axes, context=planes.context)
    region = LazyArray((*samples, *size), np.dtype(bool), inside)
    return Planes(lazy, axes, region, planes.context)


def _shifted(window: slice, axis: slice) -> slice:
    """Part of a window of an axis."""
    start, stop, _ = axis.indices(window.stop - window.start)
    return slice(window.start + start, window.start + stop)


def _spread_usable(planes: Planes, every: Sequence[Sample], count: int) -> list[Sample]:
    """So many samples at most, evenly over all, with something to learn from."""
    # Runs of a stack along one axis must not overlap.
    has_period = len(planes.sample_shape) > 1 and len(every) % count == 0
    found = []
    for number, part in enumerate(np.array_split(np.arange(len(every)), count)):
        middle = (len(part) - 1) // 2
        first = _out_of_step(middle, number, len(part)) if has_period else middle
        nearest = np.argsort(np.abs(np.arange(len(part)) - first), kind="stable")
        found.append(_first_usable(planes, [every[place] for place in part[nearest].tolist()]))
    return [sample for sample in found if sample is not None]


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
