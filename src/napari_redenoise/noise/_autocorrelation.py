"""What the noise of neighbouring pixels has in common."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from napari_redenoise.noise._blocks import SIDE, Blocks, Chosen
from napari_redenoise.noise._report import Autocorrelation
from napari_redenoise.noise._thresholds import CERTAIN_OFFSETS, OUTLIER
from napari_redenoise.noise._windows import MOST_PIXELS, Plane

LAGS = 8

# Fourth difference: blind to polynomials of degree 3, and with nearly all of its response at
# details finer than an optical system passes at the usual sampling.
_DIFFERENCE = np.array([1.0, -4.0, 6.0, -4.0, 1.0]) / np.sqrt(70.0)

Residual = tuple[Plane, Chosen]
"""Noise of a plane over its local scale, 0 outside of a mask, and the mask."""


def measure_autocorrelation(
    planes: list[Plane], blocks: Blocks, calm: Chosen, used: Chosen, lags: int = LAGS
) -> Autocorrelation:
    """Correlation of the noise of single images.

    Parameters
    ----------
    planes, blocks
    calm : array of bool
        Blocks without structure, from which the coefficients are taken.
    used : array of bool
        More blocks, from which offsets of whole rows and columns are: these need long rows.
    lags : int

    Notes
    -----
    The signal is removed along the *other* axis, by a high-pass filter that leaves the
    correlation along this one as it is when the two are independent. The residual is divided by
    its local scale, so bright regions do not decide alone.
    """
    few, many = (_masks(planes, blocks, chosen) for chosen in (calm, used))
    (y, error_y), (x, error_x) = (
        _coefficients(_residuals(planes, few, axis), axis, lags) for axis in (-2, -1)
    )
    columns, rows = (
        _line_offsets(_residuals(planes, many, axis), axis, along)
        for axis, along in ((-2, y), (-1, x))
    )
    return Autocorrelation(y, x, max(error_y, error_x), rows, columns)


def repeats_autocorrelation(windows: list[Plane], lags: int = LAGS) -> Autocorrelation:
    """Correlation of the noise of repeated acquisitions (N, Y, X): deviations from their mean."""
    residuals = []
    most = max(2, MOST_PIXELS // sum(window[0].size for window in windows))
    for window in windows:
        mask: Chosen = np.asarray(np.isfinite(window).all(0))
        residual = np.where(mask, window, 0.0)
        residual = residual - residual.mean(0)
        residual -= residual.mean((1, 2), keepdims=True)
        residuals += [(_scaled(frame, mask), mask) for frame in residual[:most]]
    (y, error_y), (x, error_x) = (_coefficients(residuals, axis, lags) for axis in (-2, -1))
    rows, columns = _line_offsets(residuals, -1, x), _line_offsets(residuals, -2, y)
    return Autocorrelation(y, x, max(error_y, error_x), rows, columns)


def _masks(planes: list[Plane], blocks: Blocks, chosen: Chosen) -> list[Chosen]:
    """Pixels of the chosen blocks."""
    masks: list[Chosen] = [np.zeros(plane.shape, bool) for plane in planes]
    for window, row, column in blocks.place[chosen]:
        masks[window][row : row + SIDE, column : column + SIDE] = True
    return masks


def _residuals(planes: list[Plane], masks: list[Chosen], axis: int) -> list[Residual]:
    """Noise that is left across an axis, where the filter sees pixels of the mask alone."""
    across, reach = -3 - axis, len(_DIFFERENCE)
    residuals = []
    for plane, mask in zip(planes, masks, strict=True):
        filled = np.where(np.isfinite(plane), plane, 0.0)
        residual = ndimage.convolve1d(filled, _DIFFERENCE, axis=across)
        inner = ndimage.minimum_filter1d(mask, reach, axis=across)
        residuals.append((_scaled(residual, inner), inner))
    return residuals


def _scaled(residual: Plane, mask: Chosen) -> Plane:
    """Residual over its local root mean square, cut at 4, and 0 outside of the mask."""
    energy = ndimage.uniform_filter(np.where(mask, residual**2, 0.0), 15)
    share = ndimage.uniform_filter(mask.astype(float), 15)
    scale = np.sqrt(np.maximum(energy, 0.0) / np.maximum(share, 1e-6))
    scaled = np.divide(residual, scale, out=np.zeros_like(residual), where=mask & (scale > 0))
    return np.asarray(np.clip(scaled, -OUTLIER, OUTLIER))


def _coefficients(
    residuals: list[Residual], axis: int, lags: int
) -> tuple[tuple[float, ...], float]:
    """Correlation coefficients along an axis, and their standard error."""
    products, pairs = np.zeros(lags + 1), np.zeros(lags + 1)
    for residual, mask in residuals:
        values, inside = np.moveaxis(residual, axis, -1), np.moveaxis(mask, axis, -1)
        for lag in range(min(lags + 1, values.shape[-1])):
            stop = values.shape[-1] - lag
            products[lag] += (values[..., lag:] * values[..., :stop]).sum()
            pairs[lag] += (inside[..., lag:] & inside[..., :stop]).sum()
    means = products / np.maximum(pairs, 1.0)
    if means[0] <= 0:
        return (0.0,) * lags, 1.0
    # The filter has made neighbours across the axis alike: they count half.
    return tuple((means[1:] / means[0]).tolist()), float(np.sqrt(2 / pairs[0]))


def _line_offsets(residuals: list[Residual], axis: int, along: tuple[float, ...]) -> float:
    """Standard deviation of what whole lines along an axis share, 0 where chance explains it.

    The sum of n values of noise has n times their variance; offsets of lines add n times n.
    """
    total, lines, length, power = 0.0, 0, 0, 0.0
    for residual, mask in residuals:
        count = mask.sum(axis)
        long = count >= SIDE
        total += float((residual.sum(axis)[long] ** 2 / count[long]).sum())
        lines, length = lines + int(long.sum()), length + int(count[long].sum())
        power += float((residual**2).sum(axis)[long].sum())
    if not lines or power <= 0:
        return 0.0
    excess = total / lines / (power / length) - (1 + 2 * sum(along))
    certain = excess > CERTAIN_OFFSETS * np.sqrt(4 / lines)
    return float(np.sqrt(excess * lines / length)) if certain else 0.0
