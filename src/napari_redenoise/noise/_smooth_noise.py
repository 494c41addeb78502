"""Smooth noise: grains of several pixels, which a denoiser takes for structure.

Noise is independent from pixel to pixel when it is recorded. Smoothing, enlarging or registering
the image makes it smooth. In an image of half the size its grains are as small as pixels again:
there a denoiser finds the noise that it leaves in the image itself.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import numpy.typing as npt

from napari_redenoise.errors import InputError
from napari_redenoise.noise._estimate import estimate_noise
from napari_redenoise.noise._report import NoiseReport
from napari_redenoise.noise._thresholds import (
    KEPT_SMOOTH_NOISE,
    MAX_LIKENESS,
    MAX_SMOOTH_RESIDUAL,
    MUCH_NOISE,
    SMOOTH,
    SURELY_SMOOTH,
)
from napari_redenoise.noise._windows import ArrayLike, Denoiser, Floats, square_blocks

MAX_SCALES = 2
"""A third scale made every image worse: to an eighth of the size little structure is left."""

_MIN_SIDE = 32
"""Pixels; smallest side of an image that is denoised at a coarser scale."""

_BLOCK = 8
"""Pixels; side of the blocks whose median is compared, so that single bright spots do not decide.
"""


def smooth_noise_scales(
    plane: Floats,
    denoised: npt.NDArray[np.floating],
    denoise: Denoiser,
    noise: NoiseReport,
) -> int:
    """Count the coarser scales at which a denoiser leaves noise that it finds in a smaller image.

    Parameters
    ----------
    plane : (rows, columns)
        Grey levels; NaN at missing pixels.
    denoised : (rows, columns)
        What the denoiser makes of the plane.
    denoise : callable
        Returns a denoised plane; called once per scale, and once more.
    noise : NoiseReport
        Noise of the image.

    Returns
    -------
    int
        0 to 2: each scale is half as fine as the one before it.
    """
    fine: Floats = np.asarray(denoised, np.float64)
    # Fine structure looks like noise that the denoiser keeps, but is not as smooth.
    if _correlation(noise) < SMOOTH:
        return 0
    kept = 1.0 if _correlation(noise) >= SURELY_SMOOTH else KEPT_SMOOTH_NOISE
    for scale in range(MAX_SCALES):
        plane, fine = bin_pixels(plane), bin_pixels(fine)
        measured = _measure(plane)
        if measured is None:
            return scale
        coarse = np.asarray(denoise(plane), np.float64)
        removed, found = (_usual_square(plane - one) for one in (fine, coarse))
        is_noise = found <= (MAX_SMOOTH_RESIDUAL * measured.noise_std) ** 2
        is_left = removed < kept**2 * found
        if not (is_left and is_noise) or _is_like(plane - coarse, coarse):
            return scale
        if _correlation(measured) < SURELY_SMOOTH:
            return scale + 1
        fine, kept = coarse, KEPT_SMOOTH_NOISE
    return MAX_SCALES


def has_smooth_noise(image: ArrayLike) -> bool:
    """Whether noise is correlated along both axes, as smooth noise is.

    Parameters
    ----------
    image : (Y, X) or (N, Y, X)
        Grey levels; NaN at missing pixels. Some windows are read.
    """
    try:
        noise = estimate_noise(image)
    except InputError:
        return False
    return not noise.is_clean and _correlation(noise) >= SMOOTH


def _measure(plane: Floats) -> NoiseReport | None:
    """The noise of a binned plane; None where it is too small to measure."""
    try:
        return estimate_noise(plane) if min(plane.shape) >= _MIN_SIDE else None
    except InputError:
        return None


def _correlation(noise: NoiseReport) -> float:
    """Correlation of neighbouring pixels, along the axis with less of it."""
    return min(along[0] for along in noise.autocorrelation.without_lines())


def smooth_noise(coarse: Floats, scales: int, denoise: Denoiser) -> Floats:
    """Measure the smooth noise of a plane at a number of coarser scales.

    Parameters
    ----------
    coarse : (rows, columns)
        Binned plane, see `bin_pixels`; NaN at missing pixels.
    scales : int
        At least 1.
    denoise : callable
        Returns a denoised plane; called once per scale, the coarsest first.

    Returns
    -------
    (rows, columns) float64
        To be enlarged by `enlarge` and subtracted; 0 at missing pixels.
    """
    noisy = coarse
    if scales > 1 and min(coarse.shape) >= 2 * _MIN_SIDE:
        smaller = smooth_noise(bin_pixels(coarse), scales - 1, denoise)
        noisy = coarse - enlarge(smaller, coarse.shape)
    return np.nan_to_num(coarse - denoise(noisy), nan=0.0)


def bin_pixels(plane: npt.NDArray[np.floating]) -> Floats:
    """Mean of every 2 x 2 pixels, without those that are NaN; an odd side is reflected."""
    even = np.pad(plane, [(0, size % 2) for size in plane.shape], mode="symmetric")
    rows, columns = (size // 2 for size in even.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # All four are missing.
        return np.asarray(np.nanmean(even.reshape(rows, 2, columns, 2), axis=(1, 3)), np.float64)


def enlarge(
    coarse: npt.NDArray[np.floating],
    shape: tuple[int, ...],
    window: tuple[slice, slice] = (slice(None), slice(None)),
) -> npt.NDArray[np.floating]:
    """Enlarge a plane twice by linear interpolation, within a window of the larger plane.

    Parameters
    ----------
    coarse : (rows / 2, columns / 2)
    shape : (int, int)
        Of the larger plane.
    window : (slice, slice)
        Rows and columns of the larger plane.
    """
    for axis, (size, part) in enumerate(zip(shape, window, strict=True)):
        place = np.arange(*part.indices(size)) / 2 - 0.25
        before = np.floor(place).astype(int)
        share = np.expand_dims(place - before, 1 - axis)
        last = coarse.shape[axis] - 1
        one, other = (coarse.take(np.clip(index, 0, last), axis) for index in (before, before + 1))
        coarse = one + share * (other - one)
    return coarse


def _is_like(residual: Floats, denoised: Floats) -> bool:
    """Whether the residual resembles the denoised image, so that it holds structure.

    Beside much noise, the little noise that stays does so, too.
    """
    finite = np.isfinite(residual)
    rest, kept = residual[finite], denoised[finite]
    if rest.std() > MUCH_NOISE * kept.std():
        return False
    return bool(np.corrcoef(rest, kept)[0, 1] > MAX_LIKENESS)


def _usual_square(residual: Floats) -> float:
    """Median over blocks of their mean square; NaN where every block has missing pixels."""
    blocks = square_blocks(residual, _BLOCK)
    blocks = blocks[np.isfinite(blocks).all(1)]
    return float(np.median((blocks**2).mean(1))) if len(blocks) else math.nan
