"""Offsets of rows and columns, measured in the residual of a denoiser.

A camera or scanner that adds an offset to every row makes noise that no blind spot removes: it is
constant within the row. Other noise averages out over a row, so the mean residual (noisy minus
denoised) of the row is its offset.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_redenoise.config import Lines
from napari_redenoise.noise._thresholds import KEPT_OFFSETS, MIN_NOISE, SMALL_OFFSETS, TAILS
from napari_redenoise.noise._windows import Denoiser, Floats

_MAX_ROUNDS = 3

_AROUND = 15
"""Pixels; side of the square that the local noise variance is measured in."""

_BLOCK = 1024
"""Pixels; side of the blocks that are summed one at a time, to save memory."""


class Offsets(NamedTuple):
    """Offsets of every row (rows,) and of every column (columns,) of a plane, in grey levels."""

    rows: Floats
    columns: Floats


def line_offsets(plane: npt.NDArray[Any], lines: Lines, denoise: Denoiser) -> Offsets:
    """Measure the offsets of the rows, the columns or both of a plane.

    Parameters
    ----------
    plane : (rows, columns)
        Grey levels; NaN at missing pixels.
    lines : {"none", "rows", "columns", "both"}
    denoise : callable
        Returns the denoised plane; called up to three times.

    Returns
    -------
    Offsets
        With mean 0, so that the brightness stays; 0 for other lines.

    Notes
    -----
    A denoiser keeps some of the offsets as structure. So they are subtracted, and the rest is
    measured again, until it is small compared with the standard error of a line's mean. Pixels are
    weighted by the inverse of the local noise variance.
    """
    offsets = Offsets(*map(np.zeros, plane.shape))
    axes = {"none": (), "rows": (0,), "columns": (1,), "both": (0, 1)}[lines]
    dtype = np.result_type(plane.dtype, np.float32)
    variance = None
    for _ in range(_MAX_ROUNDS if axes else 0):
        noisy = np.asarray(plane - offsets.rows[:, None] - offsets.columns, dtype)
        totals, weights, variance = _weighted_sums(noisy, denoise(noisy), variance)
        is_done = True
        for axis in axes:
            means, error = _line_means(totals[axis], weights[axis])
            offsets[axis][:] += means
            is_done &= KEPT_OFFSETS * means.std() <= SMALL_OFFSETS * error
        if is_done:
            break
    return offsets


def _weighted_sums(
    noisy: npt.NDArray[np.floating],
    denoised: npt.NDArray[np.floating],
    noise_variance: float | None,
) -> tuple[Offsets, Offsets, float | None]:
    """Weighted sums of the residual over lines, sums of the weights, and the noise variance.

    The noise variance bounds the weights; unknown, it is that of each block. It is None where no
    pixel is finite.
    """
    totals, weights = (Offsets(*map(np.zeros, noisy.shape)) for _ in range(2))
    energy, pixels = 0.0, 0
    starts = (range(0, size, _BLOCK) for size in noisy.shape)
    for top, left in itertools.product(*starts):
        block = slice(top, top + _BLOCK), slice(left, left + _BLOCK)
        inner = noisy[block].astype(np.float64)
        used = np.isfinite(inner) & np.isfinite(denoised[block])
        if not used.any():
            continue
        residual = np.subtract(inner, denoised[block], out=np.zeros_like(inner), where=used)
        residual = np.clip(residual, *np.percentile(residual[used], TAILS))
        share = np.maximum(ndimage.uniform_filter(used.astype(float), _AROUND), 1e-3)
        local = ndimage.uniform_filter(np.where(used, residual, 0.0) ** 2, _AROUND) / share
        mean = float(local[used].mean())
        least = MIN_NOISE * (mean if noise_variance is None else noise_variance)
        weight = used / (local + max(least, np.finfo(float).tiny))
        for axis, part in enumerate(block):
            totals[axis][part] += (residual * weight).sum(1 - axis)
            weights[axis][part] += weight.sum(1 - axis)
        energy += mean * int(used.sum())
        pixels += int(used.sum())
    return totals, weights, energy / pixels if pixels else None


def _line_means(total: Floats, weight: Floats) -> tuple[Floats, float]:
    """Means of lines minus their mean, 0 for lines without a finite pixel; their standard error."""
    known = weight > 0
    if not known.any():
        return np.zeros_like(total), 0.0
    means = np.divide(total, weight, out=np.zeros_like(total), where=known)
    means = np.where(known, means - means[known].mean(), 0.0)
    return means, float(np.sqrt(np.mean(1 / weight[known])))
