"""A line through the variances of a residual, and its correlation."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from napari_redenoise.noise._line_fit import Values, variance_floor, weighted_line
from napari_redenoise.noise._report import NoiseModel
from napari_redenoise.noise._thresholds import GROWING_RESIDUAL, OUTLIER

_SIDE = 8
"""Pixels; side of the blocks whose mean squares a line is fitted to."""

_LEAST_BLOCKS = 32
_ROUNDS = 10

_ENDS = (0.02, 0.98)
"""Quantiles of the levels that count as the darkest and the brightest."""


class ResidualFit(NamedTuple):
    """As of `ResidualNoise`."""

    noise: NoiseModel
    correlation: tuple[float, float]
    below: float


def fit_residual(
    noisy: Values,
    residual: Values,
    denoised: Values,
    limits: tuple[float, float] = (-math.inf, math.inf),
) -> ResidualFit | None:
    """Measure variance over level, and correlation, of a residual.

    Parameters
    ----------
    noisy, residual, denoised : (rows, columns)
    limits : (float, float)
        Blocks that hold such levels or beyond are left out: there noise was cut off.

    Returns
    -------
    ResidualFit or None
        None where fewer than 32 blocks of 8 x 8 pixels tell anything.

    Notes
    -----
    A line through the blocks' mean squares, weighted by what it predicts; blocks beyond it by four
    standard errors hold structure, and are left out.
    """
    blocks, levels, residuals = (square_blocks(part, _SIDE) for part in (noisy, denoised, residual))
    used = np.isfinite(blocks).all(1) & (blocks.max(1) > blocks.min(1))
    used &= (blocks > limits[0]).all(1) & (blocks < limits[1]).all(1)
    used &= np.isfinite(levels).all(1)
    if used.sum() < _LEAST_BLOCKS:
        return None
    level, variance = levels[used].mean(1), (residuals[used] ** 2).mean(1)
    least = variance_floor(variance)
    expected = np.full_like(variance, max(float(variance.mean()), least))
    beyond = 1 + OUTLIER * math.sqrt(2 / _SIDE**2)
    for _ in range(_ROUNDS):
        weight = (variance <= beyond * expected) / expected**2
        if not weight.any():
            return None
        fit = weighted_line(level, variance, weight)
        expected = np.maximum(fit.at(level), least)
    darkest, brightest = (float(end) for end in np.quantile(level, _ENDS))
    mean = float(expected.mean())
    if fit.slope * (brightest - darkest) > GROWING_RESIDUAL * mean:
        without = -fit.intercept / fit.slope
        offset = max(darkest, without)
        noise = NoiseModel(fit.slope, offset, math.sqrt(fit.slope * (offset - without)))
        below = float((blocks[used] < without).mean())
    else:
        noise, below = NoiseModel(0.0, darkest, math.sqrt(mean)), 0.0
    correlation = _correlation(residual, denoised, noise, used, least)
    return ResidualFit(noise, correlation, below)


def _correlation(
    residual: Values, denoised: Values, noise: NoiseModel, used: npt.NDArray[np.bool_], least: float
) -> tuple[float, float]:
    """At lag 1 along y and x, over the local noise standard deviation, outliers cut off."""
    whole = tuple(size // _SIDE * _SIDE for size in residual.shape)
    inside = np.kron(
        used.reshape(whole[0] // _SIDE, whole[1] // _SIDE), np.ones((_SIDE, _SIDE), bool)
    )
    rest, level = (
        np.where(inside, part[: whole[0], : whole[1]], 0.0) for part in (residual, denoised)
    )
    unit = np.clip(rest / np.sqrt(np.maximum(noise.variance(level), least)), -OUTLIER, OUTLIER)
    power = float((unit**2).sum() / inside.sum())
    pairs = (
        (unit[1:] * unit[:-1], inside[1:] & inside[:-1]),
        (unit[:, 1:] * unit[:, :-1], inside[:, 1:] & inside[:, :-1]),
    )
    y, x = (float(product.sum() / both.sum()) / power if power else 0.0 for product, both in pairs)
    return y, x


def square_blocks(pixels: Values, side: int) -> Values:
    """Pixels (rows, columns) as whole blocks (N, side * side); what is left over is cut off."""
    rows, columns = (size // side for size in pixels.shape)
    whole = pixels[: rows * side, : columns * side]
    return whole.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side**2)
