"""Skewness of the noise: photon noise is skewed, read noise is not.

The third cumulant of photon noise is ``gain**2 * (m - offset)``, a line over the level m. Read
noise has none, so the line meets zero at the level without signal. The line of the variances does
so only without read noise. The slope is larger where single photons give different grey levels:
1.5 times for an electron multiplier.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from napari_redenoise.noise._blocks import PIXELS, SIDE, Blocks
from napari_redenoise.noise._line_fit import variance_floor
from napari_redenoise.noise._noise_curve import Line
from napari_redenoise.noise._report import Skewness
from napari_redenoise.noise._thresholds import KNOWN_EXCESS, SKEWED_ERRORS
from napari_redenoise.noise._windows import Floats

_KERNEL = np.array([[0, -0.25, 0], [-0.25, 1.0, -0.25], [0, -0.25, 0]])
"""A pixel minus the mean of its nearest four: slopes of the scene vanish."""

_SECOND, _THIRD = float((_KERNEL**2).sum()), float((_KERNEL**3).sum())
"""Factors of the variance and the third cumulant of white noise under the kernel."""


def measure_skewness(planes: list[Floats], blocks: Blocks, line: Line) -> Skewness | None:
    """Fit the line to the blocks of the variance line; None without photon noise or contrast."""
    gain = line.fit.slope
    if gain <= 0:
        return None
    used = line.used
    level = blocks.level[used]
    variance = np.maximum(line.variance(level), variance_floor(blocks.fine[used]))
    cubes, residuals = (values[used] for values in _moments(planes, blocks))
    third = (cubes - 3 * _SECOND * variance * residuals) / _THIRD
    # Noise of few photons has far larger sixth moments than a Gaussian.
    spread = 6 * variance**3 + 30 * gain**2 * variance**2 + 3 * gain**4 * variance
    spread *= _SECOND**3 / _THIRD**2 * blocks.overlap / PIXELS
    weight = 1 / spread
    total = float(weight.sum())
    x, y = (float((weight * values).sum()) / total for values in (level, third))
    scatter = float((weight * (level - x) ** 2).sum())
    if scatter <= 0 or gain**2 * np.sqrt(scatter) * KNOWN_EXCESS < 1:
        return None
    error = 1 / (gain**2 * np.sqrt(scatter))
    excess = float((weight * (level - x) * (third - y)).sum()) / scatter / gain**2
    if abs(excess - 1) < SKEWED_ERRORS * error:
        excess = 1.0
    excess = min(max(excess, 0.0), 2.0)
    if excess == 0:
        return None
    offset = x - y / (excess * gain**2)
    offset_error = np.hypot(1 / np.sqrt(total) / gain**2, (x - offset) * error) / excess
    return Skewness(offset, float(offset_error), excess, float(error))


def _moments(planes: list[Floats], blocks: Blocks) -> tuple[Floats, Floats]:
    """Mean of the cubes and mean of the filtered pixels, over every block."""
    cubes, residuals = np.zeros(len(blocks)), np.zeros(len(blocks))
    for number, plane in enumerate(planes):
        # Pixels beside the blocks may not be finite.
        filtered = ndimage.convolve(np.nan_to_num(plane, posinf=0.0, neginf=0.0), _KERNEL)
        members = blocks.place[:, 0] == number
        centre = tuple((blocks.place[members, 1:] + SIDE // 2).T)
        cubes[members] = ndimage.uniform_filter(filtered**3, SIDE)[centre]
        residuals[members] = ndimage.uniform_filter(filtered, SIDE)[centre]
    return cubes, residuals
