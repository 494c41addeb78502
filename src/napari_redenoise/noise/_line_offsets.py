"""Offsets of rows and columns, found in the residual of a denoiser.

A camera or a scanner that adds a number of its own to every row makes noise that no blind spot
removes: within a row it is the same everywhere. But over a whole row the other noise averages out,
so in the residual (noisy minus denoised) the mean of a row tells its offset.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_redenoise.config import Lines
from napari_redenoise.noise._line_fit import Values
from napari_redenoise.noise._thresholds import KEPT_OFFSETS, LEAST_NOISE, SMALL_OFFSETS, TAILS

Plane = npt.NDArray[np.floating]
Denoiser = Callable[[Plane], Plane]
"""Denoises a plane (rows, columns), in grey levels in and out; NaN where nothing was measured."""

_MOST_ROUNDS = 3

_AROUND = 15
"""Pixels; a square of this side tells the noise variance around a pixel."""

_BLOCK = 1024
"""Pixels; side of the pieces in which a plane is summed up, for the memory's sake."""


class Offsets(NamedTuple):
    """Of every row (rows,) and of every column (columns,) of a plane, in grey levels."""

    rows: Values
    columns: Values


def line_offsets(plane: npt.NDArray[Any], lines: Lines, denoise: Denoiser) -> Offsets:
    """Find the offsets of the rows, the columns or both of a plane.

    Parameters
    ----------
    plane : (rows, columns)
        Grey levels; NaN where nothing was measured.
    lines : {"none", "rows", "columns", "both"}
    denoise : callable
        Takes a plane and returns it denoised; called up to three times.

    Returns
    -------
    Offsets
        Of mean 0, so that the brightness stays; 0 for lines that were not asked for.

    Notes
    -----
    A denoiser keeps some of the offsets as structure, so the rest is looked for again in the plane
    less what was found, until what may be left is little beside the error of a line's mean. Pixels
    count the more the less noise there is around them, as in a weighted mean: in the dark there is
    hardly any photon noise.
    """
    offsets = Offsets(*map(np.zeros, plane.shape))
    axes = {"none": (), "rows": (0,), "columns": (1,), "both": (0, 1)}[lines]
    least_noise = None
    for _ in range(_MOST_ROUNDS if axes else 0):
        noisy = _without(plane, offsets)
        sums = _Sums.of(noisy, denoise(noisy), least_noise)
        least_noise = sums.noise
        found = [sums.means(axis) for axis in axes]
        for axis, means in zip(axes, found, strict=True):
            offsets[axis][:] += means
        if all(map(sums.is_small, axes, found)):
            break
    return offsets


def _without(plane: npt.NDArray[Any], offsets: Offsets) -> Plane:
    """A plane less offsets, in the smallest floating type that holds its grey levels."""
    dtype = np.result_type(plane.dtype, np.float32)
    return np.asarray(plane - offsets.rows[:, None] - offsets.columns, dtype)


@dataclass
class _Sums:
    """Weighted sums of a residual over every row and column."""

    totals: tuple[Values, Values]
    weights: tuple[Values, Values]
    variance: float = 0.0
    pixels: int = 0

    @classmethod
    def of(cls, noisy: Plane, denoised: Plane, least_noise: float | None) -> _Sums:
        """Of a whole plane; ``least_noise`` as of `noise`, where it is known."""
        rows, columns = noisy.shape
        sums = cls((np.zeros(rows), np.zeros(columns)), (np.zeros(rows), np.zeros(columns)))
        for piece in _pieces(noisy.shape):
            sums.add(piece, noisy[piece].astype(np.float64), denoised[piece], least_noise)
        return sums

    def add(
        self, piece: tuple[slice, slice], noisy: Values, denoised: Plane, least_noise: float | None
    ) -> None:
        """Take in a piece of the plane."""
        used = np.isfinite(noisy) & np.isfinite(denoised)
        if not used.any():
            return
        residual = np.subtract(noisy, denoised, out=np.zeros_like(noisy), where=used)
        residual = np.clip(residual, *np.percentile(residual[used], TAILS))
        share = np.maximum(ndimage.uniform_filter(used.astype(float), _AROUND), 1e-3)
        noise = ndimage.uniform_filter(np.where(used, residual, 0.0) ** 2, _AROUND) / share
        mean = float(noise[used].mean())
        least = LEAST_NOISE * (mean if least_noise is None else least_noise)
        weight = used / (noise + max(least, np.finfo(float).tiny))
        for axis, part in enumerate(piece):
            self.totals[axis][part] += (residual * weight).sum(1 - axis)
            self.weights[axis][part] += weight.sum(1 - axis)
        self.variance += mean * int(used.sum())
        self.pixels += int(used.sum())

    @property
    def noise(self) -> float | None:
        """Mean variance of the residual; None where there was nothing."""
        return self.variance / self.pixels if self.pixels else None

    def means(self, axis: int) -> Values:
        """Of every line, less their own mean; 0 for lines without a finite pixel."""
        total, weight = self.totals[axis], self.weights[axis]
        known = weight > 0
        means = np.divide(total, weight, out=np.zeros_like(total), where=known)
        middle = means[known].mean() if known.any() else 0.0
        return np.where(known, means - middle, 0.0)

    def is_small(self, axis: int, means: Values) -> bool:
        """Whether what is kept of such offsets is little beside the error of a mean."""
        weight = self.weights[axis]
        known = weight > 0
        error = float(np.sqrt(np.mean(1 / weight[known]))) if known.any() else 0.0
        return bool(KEPT_OFFSETS * means.std() <= SMALL_OFFSETS * error)


def _pieces(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    rows, columns = (
        [slice(start, min(size, start + _BLOCK)) for start in range(0, size, _BLOCK)]
        for size in shape
    )
    return itertools.product(rows, columns)
