"""Missing pixels, outliers, and the values that replace them in a network's input.

Missing pixels are not finite (NaN, infinite, masked) or lie in constant areas: gaps between the
tiles of a mosaic, black frames, borders filled by registration, saturated areas. Outliers are
single pixels, or pairs, far beyond all their neighbours: hot and dead pixels, cosmic rays.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating]

_SQUARE, _LARGE_SQUARE = 4, 8
"""Pixels; side of the smallest constant square that counts: of the darkest or brightest value, and
of any other value."""

_LINE = 48
"""Pixels; length of the shortest constant line that counts, such as a narrow border."""

_DIRECTIONS = 64
"""Directions of lines in half a turn: a line of 2 pixels in between differs by 1 at its ends."""

_AROUND = 17
"""Pixels; side of the square in which a constant area is compared with its surroundings."""

_COMMON = 0.5
"""Largest share of surrounding pixels with the same value. Above it the area is a dark background,
where most pixels count no photon."""

_ENCLOSED, _FAR, _ISOLATED = 0.75, 65, 5e-4
"""An area with many isolated other pixels is no constant area. An isolated pixel has at least this
share of the area in the 5 x 5 pixels around it. The limit is a share in a square of this side."""

_RANGES, _USUAL = 2.0, (99.5, 4.0)
"""Distance of an outlier from all its neighbours but one: this many times their range, plus this
multiple of this percentile of the absolute differences from the neighbours' mean."""

_LIMIT = (0.5, 99.5, 20.0)
"""Grey levels are clipped at this many times the range between these percentiles beyond either."""


def is_missing(window: npt.NDArray[Any]) -> Mask:
    """Find missing pixels: not finite, or part of a constant area.

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
    A constant area holds a square of one value, or a line of 48 pixels. The square has 4 x 4 pixels
    of the darkest or brightest value, or 8 x 8 of any other. A line that is slanted is of the
    darkest or brightest value. The value is rare in the surroundings.
    The result depends on pixels up to 60 pixels away.
    """
    missing: Mask = ~np.isfinite(window)
    for index in np.ndindex(window.shape[:-2]):
        missing[index] |= _is_constant(window[index])
    return missing


def is_outlier(window: npt.NDArray[Any], missing: Mask) -> Mask:
    """Find pixels far beyond all their neighbours but one: hot, dead, hit by a cosmic ray.

    Parameters
    ----------
    window : (..., rows, columns)
    missing : array of bool
        From `is_missing`.

    Returns
    -------
    array of bool
        Of the same shape.

    Notes
    -----
    Optics spread a spot over several pixels where the pixels sample it; spots that are sampled too
    coarsely are taken for outliers. Of the eight neighbours one may be an outlier
    itself. The distance to the other seven is more than twice their range plus a margin. The margin
    is four times the 99.5th percentile of absolute differences from the neighbours' mean, or four
    steps of the grey levels if that is more.
    """
    found = np.zeros(window.shape, bool)
    for index in np.ndindex(window.shape[:-2]):
        found[index] = _plane_outliers(window[index], missing[index])
    return found


def mask_missing(window: npt.NDArray[Any], *, keep_outliers: bool = False) -> npt.NDArray[Any]:
    """Replace missing pixels and outliers by NaN.

    Parameters
    ----------
    window : (..., rows, columns)
    keep_outliers : bool
        Replace missing pixels only.

    Returns
    -------
    array
        The window itself if nothing is replaced. Else a copy: float32 if that represents its grey
        levels exactly, otherwise float64.
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
    """Lowest and highest grey level for normalisation and network input.

    A few saturated or hot pixels beyond them would dominate the standard deviation.
    """
    low, high, times = _LIMIT
    darkest, brightest = np.percentile(values, (low, high))
    more = times * (brightest - darkest)
    return (-np.inf, np.inf) if more == 0 else (float(darkest - more), float(brightest + more))


def fill_missing(plane: Floats, missing: Mask) -> Floats:
    """Fill the missing pixels of a plane (rows, columns) by reflection, like an image border."""
    if not missing.any() or missing.all():
        return np.where(missing, 0, plane)
    nearest = ndimage.distance_transform_edt(missing, return_distances=False, return_indices=True)
    here = np.indices(plane.shape)
    reflected = np.clip(2 * nearest - here, 0, np.reshape(plane.shape, (2, 1, 1)) - 1)
    # A reflection may fall into another gap: take the nearest pixel instead.
    rows, columns = np.where(missing[tuple(reflected)], nearest, reflected)
    return np.where(missing, plane[rows, columns], plane)


def neighbour_median(plane: Floats, pixels: Mask) -> Floats:
    """Median of the eight neighbours of the selected pixels of a plane (rows, columns)."""
    return np.asarray(np.median([neighbours[pixels] for neighbours in _ring(plane)], axis=0))


def _is_constant(plane: npt.NDArray[Any]) -> Mask:
    """Pixels of constant squares or lines whose value is rare in their surroundings."""
    rows, columns = plane[1:] == plane[:-1], plane[:, 1:] == plane[:, :-1]
    finite = plane[np.isfinite(plane)]
    extremes = [plane == level for level in {finite.min(), finite.max()}] if finite.size else []
    flat = _squares(rows, columns, _SQUARE)
    if flat.any():
        if extremes:
            flat &= np.logical_or.reduce(extremes)
        flat |= _squares(rows, columns, _LARGE_SQUARE)
    flat |= _lines(rows, columns, 0) | _lines(columns, rows, 1)
    constant = _rare(plane, flat)
    for extreme in extremes:
        constant |= _rare(plane, _slanted_lines(extreme))
    return constant


def _rare(plane: npt.NDArray[Any], flat: Mask) -> Mask:
    """The flat pixels whose value is rare in their surroundings."""
    if not flat.any() or flat.all():
        return flat
    # Each value on its own: a gap may touch a saturated blob.
    others = _mean(~flat, _AROUND)
    levels, counts = np.unique(plane[flat], return_counts=True)
    constant = np.zeros_like(flat)
    for level in levels[np.argsort(-counts)][:_MOST_LEVELS]:
        same = plane == level
        is_rare = _mean(same & ~flat, _AROUND) <= _COMMON * others + 1e-6
        constant |= same & flat & is_rare & ~_has_isolated_pixels(same & flat, flat)
    return constant


def _has_isolated_pixels(area: Mask, flat: Mask) -> Mask:
    """Where an area contains isolated other pixels: photons on a dark background."""
    islands = ~flat & (_mean(area, 5) > _ENCLOSED)
    return np.asarray(_mean(islands, _FAR) > _ISOLATED * _mean(area, _FAR))


def _mean(mask: Mask, side: int) -> Floats:
    """Share of true pixels in the square around each pixel."""
    return np.asarray(ndimage.uniform_filter(mask.astype(np.float32), side, mode="mirror"))


_MOST_LEVELS = 8
"""Largest number of values of constant areas; an image without noise has many."""


def _squares(rows: Mask, columns: Mask, side: int) -> Mask:
    """Pixels in constant squares, given where neighbours along y and along x are equal."""
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
    """Starts of runs of ``length`` true entries."""
    count = equal.shape[axis] - length + 1
    every = np.take(equal, range(count), axis)
    for shift in range(1, length):
        every = every & np.take(equal, range(shift, shift + count), axis)
    return every


def _slanted_lines(area: Mask) -> Mask:
    """Pixels of an area in lines of any direction but those of the axes, or beside such lines.

    They are gaps between rotated tiles, and borders of a rotated image.
    """
    found = np.zeros_like(area)
    for steps in _slanted_steps() if np.count_nonzero(area) >= _LINE else ():
        low, high = steps.min(0), steps.max(0)
        sizes = np.subtract(area.shape, high - low)
        if sizes.min() <= 0:
            continue
        parts = [
            (slice(y, y + sizes[0]), slice(x, x + sizes[1])) for y, x in (steps - low).tolist()
        ]
        lines = area[parts[0]].copy()
        for number, part in enumerate(parts):
            lines &= area[part]
            # Chance makes short lines only.
            if number % 6 == 5 and not lines.any():
                break
        if lines.any():
            for part in parts:
                found[part] |= lines
    # The edge of a wide line has steps of its own.
    return np.asarray(area & ndimage.binary_dilation(found, np.ones((3, 3))))


@lru_cache(maxsize=1)
def _slanted_steps() -> tuple[npt.NDArray[np.int64], ...]:
    """Pixels (y, x) of lines of 48 pixels in 62 directions."""
    found = []
    for number in range(_DIRECTIONS):
        if number % (_DIRECTIONS // 2):
            angle = np.pi * number / _DIRECTIONS
            step = np.array([np.sin(angle), np.cos(angle)])
            places = np.arange(_LINE)[:, None] * step / np.abs(step).max()
            found.append(np.round(places).astype(np.int64))
    return tuple(found)


def _lines(equal: Mask, across: Mask, axis: int) -> Mask:
    """Pixels in long constant lines along an axis, given where neighbours are equal.

    Adjacent lines of different values belong to an image that changes along one axis only.
    """
    length = min(_LINE, equal.shape[axis] + 1) - 1
    # In the middle of a run, and then all of it: a filter of even length has its centre behind.
    middles = ndimage.minimum_filter1d(equal.view(np.uint8), length, axis, mode="constant")
    origin = length % 2 - 1
    runs = ndimage.maximum_filter1d(middles, length, axis, mode="constant", origin=origin) > 0
    pad = np.zeros_like(np.take(runs, [0], axis))
    flat: Mask = np.concatenate([runs, pad], axis) | np.concatenate([pad, runs], axis)
    if not flat.any():
        return flat
    one, other = (np.moveaxis(flat, 1 - axis, 0)[part] for part in (slice(1, None), slice(-1)))
    differ = one & other & ~np.moveaxis(across, 1 - axis, 0)
    one &= ~differ
    other &= ~differ
    return flat


def _plane_outliers(plane: npt.NDArray[Any], missing: Mask) -> Mask:
    """Outliers of one plane (rows, columns)."""
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
    usual = max(usual, _step(values[~missing]))
    hot = values - next_high > _RANGES * (next_high - low) + times * usual
    dead = next_low - values > _RANGES * (high - next_low) + times * usual
    return np.asarray((hot | dead) & ~missing)


def _step(values: Floats) -> float:
    """Distance of the median from the nearest other value: one photon where most pixels have none.

    A few photons on a dark background are no outliers.
    """
    distances = np.abs(values - np.median(values))
    return float(distances.min(initial=np.inf, where=distances > 0)) if distances.any() else 0.0


def _ring(plane: Floats) -> Iterator[Floats]:
    """Yield the eight neighbours of every pixel; the border is padded by reflection."""
    rows, columns = plane.shape
    padded = np.pad(plane, 1, mode="reflect")
    for row, column in itertools.product(range(3), range(3)):
        if (row, column) != (1, 1):
            yield padded[row : row + rows, column : column + columns]
