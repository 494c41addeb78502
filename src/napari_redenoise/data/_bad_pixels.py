"""Which pixels hold a measurement, and what a network is shown in place of the others.

No measurement are pixels that are no numbers (NaN, infinite, masked) and constant areas: gaps
between the tiles of a mosaic, black frames, borders that a registration filled, saturated areas.
Single pixels, or two that touch, far beyond all their neighbours are measurements of something else
than the scene: hot and dead pixels, cosmic rays.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating]

_SQUARE, _LARGE_SQUARE = 4, 8
"""Pixels; side of the smallest square of one value that may be a constant area: of the darkest or
the brightest value, and of any other."""

_LINE = 48
"""Pixels; length of the shortest line of one value that may be one, such as a narrow border."""

_AROUND = 17
"""Pixels; side of the square in which a constant area is compared with what lies around it."""

_COMMON = 0.5
"""Share of the pixels around that have the same value from which on it is no constant area: where
few photons arrive most pixels count none."""

_ENCLOSED, _FAR, _STREWN = 0.75, 65, 5e-4
"""Nor is it where single other pixels lie in it: they have so much of it in the 5 x 5 pixels around
them, and are so large a share of it within a square of this side."""

_RANGES, _USUAL = 2.0, (99.5, 4.0)
"""How far a pixel is beyond its neighbours but one where it is an outlier: so many ranges of these,
and so many times what this percentile of the differences from the neighbours' mean is."""

_LIMIT = (0.5, 99.5, 20.0)
"""Grey levels that normalisation and network take in: this many times the range between these
percentiles beyond either of them."""


def is_missing(window: npt.NDArray[Any]) -> Mask:
    """Pixels without a measurement: no finite number, or part of a constant area.

    Parameters
    ----------
    window : (..., rows, columns)
        Grey levels of any dtype.

    Returns
    -------
    array of bool
        Of the same shape.

    Notes
    -----
    A constant area holds a square of one value, 4 x 4 pixels of the darkest or the brightest or
    8 x 8 of any other, or a line of 48 pixels, and this value is not common around it. Whether a
    pixel belongs to one rests on pixels up to 60 away.
    """
    missing: Mask = ~np.isfinite(window)
    for index in np.ndindex(window.shape[:-2]):
        missing[index] |= _is_constant(window[index])
    return missing


def is_outlier(window: npt.NDArray[Any], missing: Mask) -> Mask:
    """Pixels that are far beyond all their neighbours but one: hot, dead, hit by a cosmic ray.

    Parameters
    ----------
    window : (..., rows, columns)
    missing : array of bool
        As `is_missing` tells.

    Notes
    -----
    No lens makes a spot of a single pixel, or of two. The pixel is beyond the eight around it, but
    for one that may be as bad, by twice their range, and four times what 99.5 % of the pixels
    differ from the mean of those around them.
    """
    found = np.zeros(window.shape, bool)
    for index in np.ndindex(window.shape[:-2]):
        found[index] = _stand_out(window[index], missing[index])
    return found


def mask_missing(window: npt.NDArray[Any], *, keep_outliers: bool = False) -> npt.NDArray[Any]:
    """A window with NaN where there is no measurement.

    Parameters
    ----------
    window : (..., rows, columns)
    keep_outliers : bool
        Leave outliers in.

    Returns
    -------
    array
        The window itself where every pixel is measured; else a copy, float32 if that holds its
        grey levels and float64 if not.
    """
    missing = is_missing(window)
    if not keep_outliers:
        missing = missing | is_outlier(window, missing)
    if not missing.any():
        return np.asarray(window)
    small = window.dtype.itemsize <= (4 if window.dtype.kind == "f" else 2)
    found = window.astype(np.float32 if small else np.float64)
    found[missing] = np.nan
    return found


def clipping_limits(values: Floats) -> tuple[float, float]:
    """Lowest and highest grey level that a normalisation counts and a network is shown.

    Beyond lies what would make everything else look even: a few saturated or hot pixels.
    """
    low, high, times = _LIMIT
    darkest, brightest = np.percentile(values, (low, high))
    more = times * (brightest - darkest)
    return (-np.inf, np.inf) if more == 0 else (float(darkest - more), float(brightest + more))


def fill_missing(plane: Floats, missing: Mask) -> Floats:
    """A plane (rows, columns) whose missing pixels are filled with the reflection of the others.

    An edge of what is measured then looks like the border of an image, which is reflected, too.
    """
    if not missing.any() or missing.all():
        return np.where(missing, 0, plane)
    nearest = ndimage.distance_transform_edt(missing, return_distances=False, return_indices=True)
    here = np.indices(plane.shape)
    mirrored = np.clip(2 * nearest - here, 0, np.reshape(plane.shape, (2, 1, 1)) - 1)
    # Where the reflection falls into another gap, the nearest pixel has to do.
    rows, columns = np.where(missing[tuple(mirrored)], nearest, mirrored)
    return np.where(missing, plane[rows, columns], plane)


def neighbour_median(plane: Floats, pixels: Mask) -> Floats:
    """Median of the eight pixels around each of some pixels of a plane (rows, columns)."""
    return np.asarray(np.median([neighbours[pixels] for neighbours in _ring(plane)], axis=0))


def _is_constant(plane: npt.NDArray[Any]) -> Mask:
    """Pixels of squares or lines of one value that is not common around them."""
    rows, columns = plane[1:] == plane[:-1], plane[:, 1:] == plane[:, :-1]
    flat = _squares(rows, columns, _SQUARE)
    if flat.any():
        finite = plane[np.isfinite(plane)]
        flat &= (plane == finite.min()) | (plane == finite.max())
        flat |= _squares(rows, columns, _LARGE_SQUARE)
    flat |= _lines(rows, columns, 0) | _lines(columns, rows, 1)
    if not flat.any() or flat.all():
        return flat
    # Every value by itself: a gap may lie beside a saturated blob.
    others = _mean(~flat, _AROUND)
    levels, counts = np.unique(plane[flat], return_counts=True)
    constant = np.zeros_like(flat)
    for level in levels[np.argsort(-counts)][:_MOST_LEVELS]:
        same = plane == level
        is_rare = _mean(same & ~flat, _AROUND) <= _COMMON * others + 1e-6
        constant |= same & flat & is_rare & ~_is_strewn(same & flat, flat)
    return constant


def _is_strewn(area: Mask, flat: Mask) -> Mask:
    """Where single pixels lie in an area of one value that are in none: photons in the dark."""
    islands = ~flat & (_mean(area, 5) > _ENCLOSED)
    return np.asarray(_mean(islands, _FAR) > _STREWN * _mean(area, _FAR))


def _mean(mask: Mask, side: int) -> Floats:
    """Share of true pixels in the square around every pixel."""
    return np.asarray(ndimage.uniform_filter(mask.astype(np.float32), side, mode="mirror"))


_MOST_LEVELS = 8
"""Values that a constant area of an image may have; an image without noise has many."""


def _squares(rows: Mask, columns: Mask, side: int) -> Mask:
    """Pixels in a square of one value, from whether neighbours along y and along x are equal."""
    shape = columns.shape[0], rows.shape[1]
    flat = np.zeros(shape, bool)
    if min(shape) < side:
        return flat
    across = _run(_run(columns, side - 1, 1), side, 0)
    corners = across & _run(rows, side - 1, 0)[:, : across.shape[1]]
    if not corners.any():
        return flat
    for row, column in itertools.product(range(side), repeat=2):
        flat[row : row + corners.shape[0], column : column + corners.shape[1]] |= corners
    return flat


def _run(equal: Mask, length: int, axis: int) -> Mask:
    """Where so many entries in a row are true, by the first of them."""
    count = equal.shape[axis] - length + 1
    every = np.take(equal, range(count), axis)
    for shift in range(1, length):
        every = every & np.take(equal, range(shift, shift + count), axis)
    return every


def _lines(equal: Mask, across: Mask, axis: int) -> Mask:
    """Pixels in a long line of one value along an axis, from whether neighbours are equal.

    Lines of different values side by side are an image that changes along one axis only.
    """
    shape = list(equal.shape)
    shape[axis] += 1
    length = min(_LINE, shape[axis])
    flat = np.zeros(shape, bool)
    sums = np.cumsum(equal, axis=axis, dtype=np.int32)
    sums = np.concatenate([np.zeros_like(np.take(sums, [0], axis)), sums], axis)
    count = shape[axis] - length + 1
    runs = np.take(sums, range(length - 1, length - 1 + count), axis) - np.take(
        sums, range(count), axis
    )
    begins = runs == length - 1
    if not begins.any():
        return flat
    # Every pixel that is less than the length behind a beginning.
    marks = np.cumsum(begins, axis=axis, dtype=np.int32)
    pad = np.take(marks, [-1], axis).repeat(length - 1, axis)
    marks = np.concatenate([marks, pad], axis)
    before = np.concatenate(
        [np.zeros_like(np.take(marks, [0], axis)).repeat(length, axis), marks], axis
    )
    flat = np.asarray(marks > np.take(before, range(shape[axis]), axis))
    one, other = (np.moveaxis(flat, 1 - axis, 0)[part] for part in (slice(1, None), slice(-1)))
    differ = one & other & ~np.moveaxis(across, 1 - axis, 0)
    one &= ~differ
    other &= ~differ
    return flat


def _stand_out(plane: npt.NDArray[Any], missing: Mask) -> Mask:
    """Of a plane (rows, columns)."""
    if missing.all():
        return np.zeros_like(missing)
    values = fill_missing(plane.astype(np.float64), missing)
    ring = list(_ring(values))
    high, next_high = ring[0].copy(), np.full_like(values, -np.inf)
    low, next_low, mean = ring[0].copy(), np.full_like(values, np.inf), ring[0].copy()
    for neighbours in ring[1:]:
        np.maximum(next_high, np.minimum(high, neighbours), out=next_high)
        np.maximum(high, neighbours, out=high)
        np.minimum(next_low, np.maximum(low, neighbours), out=next_low)
        np.minimum(low, neighbours, out=low)
        mean += neighbours
    percentile, times = _USUAL
    usual = np.percentile(np.abs(values - mean / len(ring))[~missing], percentile)
    hot = values - next_high > _RANGES * (next_high - low) + times * usual
    dead = next_low - values > _RANGES * (high - next_low) + times * usual
    return np.asarray((hot | dead) & ~missing)


def _ring(plane: Floats) -> Iterator[Floats]:
    """The eight neighbours of every pixel, one after the other, reflected at the border."""
    rows, columns = plane.shape
    padded = np.pad(plane, 1, mode="reflect")
    for row, column in itertools.product(range(3), range(3)):
        if (row, column) != (1, 1):
            yield padded[row : row + rows, column : column + columns]
