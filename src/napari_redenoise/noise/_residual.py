"""Noise and structure in the residual (noisy minus denoised) of a denoiser.

In an image with details as fine as pixels, as in electron microscopy, structure looks like noise:
correlated, without flat blocks, of unknown standard deviation. A denoiser that knows the structure
leaves it in. Then its residual is white and is the noise. A residual that is correlated and larger
than the noise holds structure that the denoiser does not know.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from napari_redenoise.noise._blocks import Mask
from napari_redenoise.noise._estimate import estimate_noise
from napari_redenoise.noise._line_fit import variance_floor, weighted_line
from napari_redenoise.noise._report import NoiseModel, NoiseReport, ResidualNoise
from napari_redenoise.noise._smooth_noise import smooth_noise_scales
from napari_redenoise.noise._thresholds import CLIPPED, GROWING_RESIDUAL, OUTLIER
from napari_redenoise.noise._windows import Denoiser, Floats, square_blocks

_RATIO_SIDE = 16
"""Pixels; side of the blocks whose median decides, so that single bright pixels do not."""

_FIT_SIDE = 8
"""Pixels; side of the blocks whose mean squares a line is fitted to."""

_MIN_BLOCKS = 32
_ROUNDS = 10

_ENDS = (0.02, 0.98)
"""Quantiles of the levels that count as the darkest and the brightest."""

_STRONGEST = 1 / 500
"""Share of the frequencies in which a repeated pattern has its power."""


def residual_noise(
    plane: Floats, report: NoiseReport, denoise: Denoiser, *, is_one_of_many: bool = False
) -> ResidualNoise | None:
    """Measure the noise of a plane by the residual of a denoiser.

    Parameters
    ----------
    plane : (rows, columns)
        The image that the report describes, or a window of it; NaN at missing pixels.
    report : NoiseReport
    denoise : callable
        Returns the denoised plane.
    is_one_of_many : bool
        Whether the report describes more planes, which may have less noise than this one.

    Returns
    -------
    ResidualNoise or None
        None where every block is constant or has missing pixels.

    Notes
    -----
    The means of rows and columns are subtracted from the residual: line offsets are neither pixel
    noise nor structure. The ratio to the noise is the square root of a median over blocks of 16 x
    16 pixels: the mean square of the residual over the expected variance.
    """
    blocks = square_blocks(plane, _RATIO_SIDE)
    used = _is_measurable(blocks)
    if not used.any():
        return None
    denoised = denoise(plane)
    residual = _subtract_line_means(plane, denoised)
    variance = _expected_variance(report, denoised)
    if is_one_of_many:
        variance = np.maximum(variance, _expected_variance(estimate_noise(plane), denoised))
    own, expected = (
        square_blocks(part, _RATIO_SIDE).mean(1)[used] for part in (residual**2, variance)
    )
    ratio = float(np.sqrt(np.median(own / np.maximum(expected, np.finfo(np.float32).tiny))))
    found = _fit(plane, residual, denoised.astype(np.float64), report, ratio)
    scales = smooth_noise_scales(plane, denoised, denoise, report)
    return replace(found, smooth_scales=scales, pattern=_pattern(residual))


def _pattern(residual: Floats) -> float:
    """Share of the power in the strongest frequencies, of values cut off at four deviations."""
    rest = np.nan_to_num(residual)
    limit = OUTLIER * 1.4826 * float(np.median(np.abs(rest)))
    taper = np.outer(*(np.hanning(size) for size in rest.shape))
    power = np.abs(np.fft.rfft2(np.clip(rest, -limit, limit) * taper)).ravel() ** 2
    strongest = np.sort(power)[-max(1, round(power.size * _STRONGEST)) :]
    return float(strongest.sum() / power.sum()) if power.any() else 0.0


def _is_measurable(blocks: Floats) -> Mask:
    """Blocks without missing pixels that are not constant, as filled and saturated ones are."""
    return np.asarray(np.isfinite(blocks).all(1) & (blocks.max(1) > blocks.min(1)))


def _subtract_line_means(plane: Floats, denoised: npt.NDArray[np.floating]) -> Floats:
    with np.errstate(invalid="ignore"):
        residual = plane - denoised
    finite = np.isfinite(residual)
    for axis in (0, 1):
        means = residual.sum(axis, keepdims=True, where=finite)
        residual = residual - means / np.maximum(finite.sum(axis, keepdims=True), 1)
    return np.asarray(residual)


def _expected_variance(report: NoiseReport, level: npt.NDArray[np.floating]) -> Floats:
    """Variance by the noise model, at least that of rounding."""
    variance = report.model.variance(np.where(np.isfinite(level), level, 0.0))
    return np.asarray(np.maximum(variance, report.step**2 / 12))


def _fit(
    noisy: Floats, residual: Floats, denoised: Floats, report: NoiseReport, ratio: float
) -> ResidualNoise:
    """Fit a line to the variances over the levels, without blocks that are clipped.

    Blocks more than four standard errors above the line hold structure and are left out.
    """
    (darkest, brightest), (low, high) = report.limits, report.clipped
    blocks, levels, residuals = (
        square_blocks(part, _FIT_SIDE) for part in (noisy, denoised, residual)
    )
    used = _is_measurable(blocks) & np.isfinite(levels).all(1)
    used &= (blocks > (darkest if low > CLIPPED else -np.inf)).all(1)
    used &= (blocks < (brightest if high > CLIPPED else np.inf)).all(1)
    nothing = ResidualNoise(ratio, None, (0.0, 0.0), 0.0)
    if used.sum() < _MIN_BLOCKS:
        return nothing
    level, variance = levels[used].mean(1), (residuals[used] ** 2).mean(1)
    least = variance_floor(variance)
    expected = np.full_like(variance, max(float(variance.mean()), least))
    beyond = 1 + OUTLIER * math.sqrt(2 / _FIT_SIDE**2)
    for _ in range(_ROUNDS):
        weight = (variance <= beyond * expected) / expected**2
        if not weight.any():
            return nothing
        fit = weighted_line(level, variance, weight)
        expected = np.maximum(fit.at(level), least)
    darkest, brightest = (float(end) for end in np.quantile(level, _ENDS))
    mean = float(expected.mean())
    noise, below = NoiseModel(0.0, darkest, math.sqrt(mean)), 0.0
    if fit.slope * (brightest - darkest) > GROWING_RESIDUAL * mean:
        zero_variance = -fit.intercept / fit.slope
        offset = max(darkest, zero_variance)
        noise = NoiseModel(fit.slope, offset, math.sqrt(fit.slope * (offset - zero_variance)))
        below = float((blocks[used] < zero_variance).mean())
    return ResidualNoise(ratio, noise, _correlation(residual, denoised, noise, used, least), below)


def _correlation(
    residual: Floats, denoised: Floats, noise: NoiseModel, used: Mask, least: float
) -> tuple[float, float]:
    """At lag 1 along y and x, over the local noise standard deviation, outliers cut off."""
    whole = tuple(size // _FIT_SIDE * _FIT_SIDE for size in residual.shape)
    grid = used.reshape(whole[0] // _FIT_SIDE, whole[1] // _FIT_SIDE)
    inside = np.kron(grid, np.ones((_FIT_SIDE, _FIT_SIDE), bool))
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
