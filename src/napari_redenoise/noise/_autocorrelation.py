"""What the noise of neighbouring pixels has in common."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import ndimage

from napari_redenoise.noise._blocks import SIDE, Blocks, Chosen
from napari_redenoise.noise._model import Autocorrelation
from napari_redenoise.noise._windows import Plane

LAGS = 8
_OUTLIER = 4.0
_CERTAIN = 6.0

# Fourth difference: blind to polynomials of degree 3, and with nearly all of its response at
# details finer than an optical system passes at the usual sampling.
_DIFFERENCE = np.array([1.0, -4.0, 6.0, -4.0, 1.0]) / np.sqrt(70.0)


def measure_autocorrelation(
    planes: list[Plane], blocks: Blocks, used: Chosen, lags: int = LAGS
) -> Autocorrelation:
    """Correlation of the noise of single images, over chosen blocks.

    Notes
    -----
    The signal is removed along the *other* axis, by a high-pass filter that leaves the
    correlation along this one as it is when the two are independent. The residual is divided by
    its local scale, so bright regions do not decide alone.
    """
    masks = _masks(planes, blocks, used)
    along = []
    for axis in (-2, -1):
        residuals = []
        for plane, mask in zip(planes, masks, strict=True):
            filled = np.where(np.isfinite(plane), plane, 0.0)
            residual = ndimage.convolve1d(filled, _DIFFERENCE, axis=-3 - axis)
            residuals.append((_scaled(residual, mask), mask))
        along.append(_along(residuals, axis, lags))
    return _together(*along)


def repeats_autocorrelation(windows: list[Plane], lags: int = LAGS) -> Autocorrelation:
    """Correlation of the noise of repeated acquisitions (N, Y, X): deviations from their mean."""
    residuals = []
    for window in windows:
        mask: Chosen = np.asarray(np.isfinite(window).all(0))
        residual = np.where(mask, window, 0.0)
        residual = residual - residual.mean(0)
        residual -= residual.mean((1, 2), keepdims=True)
        residuals += [(_scaled(frame, mask), mask) for frame in residual]
    return _together(_along(residuals, -2, lags), _along(residuals, -1, lags))


def _masks(planes: list[Plane], blocks: Blocks, used: Chosen) -> list[Chosen]:
    """Pixels of the chosen blocks."""
    masks: list[Chosen] = [np.zeros(plane.shape, bool) for plane in planes]
    for window, row, column in blocks.place[used]:
        masks[window][row : row + SIDE, column : column + SIDE] = True
    return masks


def _scaled(residual: Plane, mask: Chosen) -> Plane:
    """Residual over its local root mean square, cut at 4, and 0 outside of the mask."""
    energy = ndimage.uniform_filter(np.where(mask, residual**2, 0.0), 15)
    share = ndimage.uniform_filter(mask.astype(float), 15)
    scale = np.sqrt(np.maximum(energy, 0.0) / np.maximum(share, 1e-6))
    scaled = np.divide(residual, scale, out=np.zeros_like(residual), where=mask & (scale > 0))
    return np.asarray(np.clip(scaled, -_OUTLIER, _OUTLIER))


def _along(
    residuals: Iterable[tuple[Plane, Chosen]], axis: int, lags: int
) -> tuple[tuple[float, ...], float, float]:
    """Coefficients along an axis, their error, and the strength of offsets of whole lines."""
    products, pairs = np.zeros(lags + 1), np.zeros(lags + 1)
    squares = lines = length = 0.0
    for residual, mask in residuals:
        values, inside = np.moveaxis(residual, axis, -1), np.moveaxis(mask, axis, -1)
        for lag in range(min(lags + 1, values.shape[-1])):
            stop = values.shape[-1] - lag
            products[lag] += (values[..., lag:] * values[..., :stop]).sum()
            pairs[lag] += (inside[..., lag:] & inside[..., :stop]).sum()
        count = inside.sum(-1)
        long = count >= SIDE
        squares += (values.sum(-1)[long] ** 2 / count[long]).sum()
        lines, length = lines + long.sum(), length + count[long].sum()
    power = products[0] / max(pairs[0], 1.0)
    if power <= 0:
        return (0.0,) * lags, 1.0, 0.0
    coefficients = products[1:] / np.maximum(pairs[1:], 1.0) / power
    error = float(np.sqrt(2 / max(pairs[0], 1.0)))
    excess = squares / max(lines, 1.0) / power - (1 + 2 * coefficients.sum())
    if excess < _CERTAIN * np.sqrt(4 / max(lines, 1.0)):
        excess = 0.0
    offsets = float(np.sqrt(max(excess, 0.0) * lines / max(length, 1.0)))
    return tuple(coefficients.tolist()), error, offsets


def _together(
    along_y: tuple[tuple[float, ...], float, float], along_x: tuple[tuple[float, ...], float, float]
) -> Autocorrelation:
    # Offsets of rows are found along x, and those of columns along y.
    return Autocorrelation(
        along_y[0], along_x[0], max(along_y[1], along_x[1]), along_x[2], along_y[2]
    )
