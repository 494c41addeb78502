"""Autocorrelation of the noise, and offsets of whole rows and columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from napari_redenoise.noise._blocks import SIDE, Blocks, Mask
from napari_redenoise.noise._report import Autocorrelation
from napari_redenoise.noise._thresholds import CERTAIN_OFFSETS, FRINGES, OUTLIER, SHARED_OFFSETS
from napari_redenoise.noise._windows import MAX_PIXELS, Floats

_LAGS = 8

_FEWEST_LINES = 64
"""Of fewer lines, offsets drawn by chance may have a peak."""

_MOST, _MEAN_OF_MOST = 0.9, 0.6235
"""Share of the lines with the smallest squared sums, and the mean of these squares of standard
normal values."""

_PASSED = 0.05
"""Share of the power of a frequency that the filter has to pass."""

_FEW_FREQUENCIES = 0.1
"""Share of the frequencies, which holds a third of the power of offsets drawn by chance."""

# Fourth difference: it removes polynomials of degree 3 and responds to details finer than an
# optical system passes at the usual sampling.
_DIFFERENCE = np.array([1.0, -4.0, 6.0, -4.0, 1.0]) / np.sqrt(70.0)

Residual = tuple[Floats, Mask]
"""Noise of a plane over its local standard deviation, 0 outside of a mask, and the mask."""


def measure_autocorrelation(
    planes: list[Floats], blocks: Blocks, flat: Mask, used: Mask
) -> Autocorrelation:
    """Measure the autocorrelation in flat blocks, and line offsets in all used ones.

    A high-pass filter along the *other* axis removes the signal. It keeps the correlation along
    this axis when the two are independent. The residual is divided by its local standard
    deviation, so that bright regions do not dominate.
    """
    few, many = (_pixel_masks(planes, blocks, chosen) for chosen in (flat, used))
    (y, error_y), (x, error_x) = (
        _coefficients(_residuals(planes, few, axis), axis) for axis in (-2, -1)
    )
    across, along = (_residuals(planes, many, axis) for axis in (-2, -1))
    return _with_lines(Autocorrelation(y, x, max(error_y, error_x)), across, along)


def repeats_autocorrelation(windows: list[Floats]) -> Autocorrelation:
    """Measure the autocorrelation of repeated acquisitions (N, Y, X) minus their mean."""
    residuals = []
    most = max(2, MAX_PIXELS // sum(window[0].size for window in windows))
    for window in windows:
        mask: Mask = np.asarray(np.isfinite(window).all(0))
        residual = np.where(mask, window, 0.0)
        residual = residual - residual.mean(0)
        residual -= residual.mean((1, 2), keepdims=True)
        residuals += [(_scale(frame, mask), mask) for frame in residual[:most]]
    (y, error_y), (x, error_x) = (_coefficients(residuals, axis) for axis in (-2, -1))
    return _with_lines(Autocorrelation(y, x, max(error_y, error_x)), residuals, residuals)


def _with_lines(
    found: Autocorrelation, across: list[Residual], along: list[Residual]
) -> Autocorrelation:
    """Add the offsets of columns, which are in the first residuals, and of rows."""
    columns, rows = _line_offsets(across, -2, found.y), _line_offsets(along, -1, found.x)
    lines = (("rows", rows, along, -1), ("columns", columns, across, -2))
    patterned = tuple(
        name for name, share, residuals, axis in lines if share and _is_regular(residuals, axis)
    )
    return replace(found, rows=rows, columns=columns, patterned=patterned)


def _pixel_masks(planes: list[Floats], blocks: Blocks, chosen: Mask) -> list[Mask]:
    """Pixels of the chosen blocks."""
    masks: list[Mask] = [np.zeros(plane.shape, bool) for plane in planes]
    for window, row, column in blocks.place[chosen]:
        masks[window][row : row + SIDE, column : column + SIDE] = True
    return masks


def _residuals(planes: list[Floats], masks: list[Mask], axis: int) -> list[Residual]:
    """High-pass filter across an axis, where the filter reads pixels of the mask alone."""
    across = -3 - axis
    residuals = []
    for plane, mask in zip(planes, masks, strict=True):
        filled = np.where(np.isfinite(plane), plane, 0.0)
        residual = ndimage.convolve1d(filled, _DIFFERENCE, axis=across)
        inner = ndimage.minimum_filter1d(mask, len(_DIFFERENCE), axis=across)
        residuals.append((_scale(residual, inner), inner))
    return residuals


def _scale(residual: Floats, mask: Mask) -> Floats:
    """Divide by the local root mean square, cut off at 4, and set pixels outside to 0."""
    energy = ndimage.uniform_filter(np.where(mask, residual**2, 0.0), 15)
    share = ndimage.uniform_filter(mask.astype(float), 15)
    scale = np.sqrt(np.maximum(energy, 0.0) / np.maximum(share, 1e-6))
    scaled = np.divide(residual, scale, out=np.zeros_like(residual), where=mask & (scale > 0))
    return np.asarray(np.clip(scaled, -OUTLIER, OUTLIER))


def _coefficients(residuals: list[Residual], axis: int) -> tuple[tuple[float, ...], float]:
    """Correlation coefficients along an axis, and their standard error."""
    products, pairs = np.zeros(_LAGS + 1), np.zeros(_LAGS + 1)
    for residual, mask in residuals:
        values, inside = np.moveaxis(residual, axis, -1), np.moveaxis(mask, axis, -1)
        for lag in range(min(_LAGS + 1, values.shape[-1])):
            stop = values.shape[-1] - lag
            products[lag] += (values[..., lag:] * values[..., :stop]).sum()
            pairs[lag] += (inside[..., lag:] & inside[..., :stop]).sum()
    means = products / np.maximum(pairs, 1.0)
    if means[0] <= 0:
        return (0.0,) * _LAGS, 1.0
    # The filter correlates neighbours across the axis: they count half.
    return tuple((means[1:] / means[0]).tolist()), float(np.sqrt(2 / pairs[0]))


def _line_offsets(residuals: list[Residual], axis: int, along: tuple[float, ...]) -> float:
    """Standard deviation of offsets of lines along an axis, 0 where chance explains them.

    The sum of n values of noise has n times their variance; line offsets add n times n.
    """
    squares, lines, length, power = [np.zeros(0)], 0, 0, 0.0
    for residual, mask in residuals:
        count = mask.sum(axis)
        long = count >= SIDE
        squares.append(residual.sum(axis)[long] ** 2 / count[long])
        lines, length = lines + int(long.sum()), length + int(count[long].sum())
        power += float((residual**2).sum(axis)[long].sum())
    if not lines or power <= 0:
        return 0.0
    sums = np.sort(np.concatenate(squares)) / (power / length)
    # All lines have offsets; a straight edge, or the seam of a split view, is in a few sums.
    most = float(sums[: int(_MOST * lines)].mean()) / _MEAN_OF_MOST
    is_shared = most - 1 > SHARED_OFFSETS * (float(sums.mean()) - 1)
    excess = float(sums.mean()) - (1 + 2 * sum(along))
    is_certain = is_shared and excess > CERTAIN_OFFSETS * np.sqrt(4 / lines)
    return float(np.sqrt(excess * lines / length)) if is_certain else 0.0


def _is_regular(residuals: list[Residual], axis: int) -> bool:
    """Whether few frequencies hold most of the power of the line sums; offsets have all.

    Fringes have one, stripes with sharp edges its multiples. Every second line apart from the
    others is an offset of the detector: optics pass no such grating.
    """
    highest = total = 0.0
    for residual, mask in residuals:
        count = mask.sum(axis)
        sums = np.where(count >= SIDE, residual.sum(axis), 0.0) / np.sqrt(np.maximum(count, 1))
        if len(sums) < _FEWEST_LINES:
            continue
        frequency = np.fft.rfftfreq(len(sums))
        passed = np.sin(np.pi * frequency) ** (2 * len(_DIFFERENCE) - 2)
        power = np.abs(np.fft.rfft(sums)) ** 2 / np.maximum(passed, _PASSED)
        inner = np.sort(power[(passed > _PASSED) & (frequency < 0.5)])[::-1]
        highest += float(inner[: max(2, round(_FEW_FREQUENCIES * len(inner)))].sum())
        total += float(inner.sum() + power[frequency == 0.5].sum() / 2)
    return highest > FRINGES * total
