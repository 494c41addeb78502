"""Straight lines through points with outliers and noisy abscissae."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_redenoise.noise._windows import Floats

_ROUNDS = 8


@dataclass(frozen=True)
class Fit:
    """Slope, intercept and standard error of the slope.

    ``measured`` is the slope before it was set to 0 for being within its error.
    """

    slope: float
    intercept: float
    error: float
    measured: float = 0.0

    def at(self, x: Floats) -> Floats:
        """Ordinates of the line."""
        return np.asarray(self.slope * x + self.intercept)


def weighted_line(x: Floats, y: Floats, weight: Floats, instrument: Floats | None = None) -> Fit:
    """Fit a line by weighted least squares; weights are inverse variances of ``y``.

    An instrument z is correlated with the true ``x`` but not with the error of ``x``.
    Errors of ``x`` flatten an ordinary line. They do not affect ``cov(z, y) / cov(z, x)``, the
    slope with an instrument z (W. A. Fuller, "Measurement Error Models", 1987, section 1.4).
    """
    z = x if instrument is None else instrument
    total = float(weight.sum())
    x_mean, y_mean, z_mean = (float((weight * v).sum()) / total for v in (x, y, z))
    shared = float((weight * (x - x_mean) * (z - z_mean)).sum())
    if shared <= 0:
        return Fit(0.0, y_mean, np.inf)
    slope = float((weight * (y - y_mean) * (z - z_mean)).sum()) / shared
    spread = float((weight * (z - z_mean) ** 2).sum())
    return Fit(slope, y_mean - slope * x_mean, float(np.sqrt(spread)) / shared, slope)


def lower_line(x: Floats, y: Floats, size: Floats) -> Fit:
    """Fit mean variances ``y`` of ``size`` blocks; points far above the line hold structure."""
    floor = variance_floor(y, size)
    expected, doubt = np.maximum(y, floor), np.ones_like(size)
    fit = Fit(0.0, 0.0, 0.0)
    for _ in range(_ROUNDS):
        fit = weighted_line(x, y, doubt * size / expected**2)
        expected = np.maximum(fit.at(x), floor)
        above = (y - fit.at(x)) / expected
        scale = 1.4826 * float(np.median(np.abs(above))) + 1e-3
        doubt = 1 / np.maximum(1, above / (2 * scale))
    return fit


def variance_floor(variance: Floats, size: Floats | None = None) -> float:
    """Smallest variance that a weight is computed from, so that none is infinite."""
    least: float = float(np.finfo(float).tiny) ** 0.25
    return max(0.05 * float(np.average(variance, weights=size)), least)
