"""The noise by the residual of a denoiser: a second look at it, and at structure it does not know.

In an image with details as fine as pixels (electron microscopy, often) structure looks like noise:
it seems correlated, no place is homogeneous, and its standard deviation cannot be told. A denoiser
that knows many structures leaves them in. If its residual (noisy minus denoised) is white, that is
the noise. If it is not, and more than there seems to be, it holds structure that the denoiser does
not know.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from napari_redenoise.noise._estimate import estimate_noise
from napari_redenoise.noise._line_fit import Values
from napari_redenoise.noise._report import NoiseReport, ResidualNoise
from napari_redenoise.noise._residual_fit import fit_residual, square_blocks
from napari_redenoise.noise._thresholds import CLIPPED

Denoiser = Callable[[Values], npt.NDArray[np.floating]]
"""Denoises a plane (rows, columns), in grey levels in and out; NaN where nothing was measured."""

_BLOCK = 16
"""Pixels; of blocks of this side the median decides, and not a few bright or broken pixels."""


def residual_noise(
    plane: Values, report: NoiseReport, denoise: Denoiser, *, is_one_of_many: bool = False
) -> ResidualNoise | None:
    """Measure the noise of a plane by the residual of a denoiser.

    Parameters
    ----------
    plane : (rows, columns)
        Of the image that the report is of, or a window of it; NaN where nothing was measured.
    report : NoiseReport
    denoise : callable
        Takes the plane, and returns it denoised.
    is_one_of_many : bool
        Whether the report is of more planes, which may have less noise than this one.

    Returns
    -------
    ResidualNoise or None
        None where no block holds two values.

    Notes
    -----
    The means of lines are subtracted from the residual: offsets of lines are neither noise of
    pixels nor structure. Its ratio to the noise is the square root of the median, over blocks of
    16 x 16 pixels, of its mean square over the variance that was measured.
    """
    blocks = square_blocks(plane, _BLOCK)
    # Without blocks that hold a pixel that is no number, or one value only: filled, saturated.
    used = np.isfinite(blocks).all(1) & (blocks.max(1) > blocks.min(1))
    if not used.any():
        return None
    denoised = denoise(plane)
    residual = _without_line_means(plane, denoised)
    variance = _variance(report, denoised)
    if is_one_of_many:
        variance = np.maximum(variance, _variance(estimate_noise(plane), denoised))
    own, expected = (square_blocks(part, _BLOCK).mean(1)[used] for part in (residual**2, variance))
    ratio = float(np.sqrt(np.median(own / np.maximum(expected, np.finfo(np.float32).tiny))))
    fit = fit_residual(plane, residual, denoised.astype(np.float64), _free(report))
    return ResidualNoise(ratio, *(fit or (None, (0.0, 0.0), 0.0)))


def _without_line_means(plane: Values, denoised: npt.NDArray[np.floating]) -> Values:
    """The residual, less the means of its rows and columns."""
    with np.errstate(invalid="ignore"):
        residual = plane - denoised
    finite = np.isfinite(residual)
    for axis in (0, 1):
        means = residual.sum(axis, keepdims=True, where=finite)
        residual = residual - means / np.maximum(finite.sum(axis, keepdims=True), 1)
    return np.asarray(residual)


def _variance(report: NoiseReport, level: npt.NDArray[np.floating]) -> Values:
    """Expected of the noise, where the level is a number; rounding is there in any case."""
    variance = report.model.variance(np.where(np.isfinite(level), level, 0.0))
    return np.asarray(np.maximum(variance, report.step**2 / 12))


def _free(report: NoiseReport) -> tuple[float, float]:
    """Levels between which the noise is not cut off."""
    (darkest, brightest), (low, high) = report.limits, report.clipped
    return darkest if low > CLIPPED else -np.inf, brightest if high > CLIPPED else np.inf
