"""Statistics of a denoised stack: brightness from plane to plane, and smeared motion."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_redenoise.assessment._residual import without_line_offsets
from napari_redenoise.assessment._resolution import Denoiser
from napari_redenoise.assessment._thresholds import OUTLIER, SMEARED_Z
from napari_redenoise.data import (
    Planes,
    mask_missing,
    middle_window,
    spread_evenly,
    spread_window,
)
from napari_redenoise.noise import NoiseReport, noise_model

PAIRS, COMPARED = 32, 6
"""Pairs of neighbouring planes whose residuals are compared, and planes denoised alone."""

SIDE = 256
"""Longest side of their window, in pixels."""

_SPOT = 1.5
"""Pixels; standard deviation of the Gaussian that looks for smeared structure."""

Sample = tuple[int, ...]
Place = tuple[slice, slice]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StackStatistics:
    """Statistics of one channel; NaN where they cannot be computed.

    Attributes
    ----------
    flicker : float
        RMS over planes of the shift of their mean, minus the contribution of noise, in per cent
        of the range.
    correlation, correlation_error : float
        Autocorrelation of the residual between neighbouring planes, and its standard error.
    smeared : float
        Largest share of the pixels of a window where neighbours shifted the brightness.
    plane : int
        Number of that plane along `axis`.
    axis : str
        T or Z.
    """

    flicker: float
    correlation: float
    correlation_error: float
    smeared: float
    plane: int
    axis: str


def stack_statistics(
    noisy: Planes,
    denoised: Planes,
    reports: tuple[NoiseReport, ...],
    denoiser: Denoiser | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[StackStatistics, ...]:
    """Compute the statistics of every channel, at places of planes spread over the stack.

    Parameters
    ----------
    noisy, denoised : Planes
        With neighbours along T or Z.
    reports : tuple of NoiseReport
        Of every channel.
    denoiser : callable, optional
        Denoises a window (channels, Y, X) without its neighbours.
    should_stop : callable
        Polled between planes.
    """
    axis = noisy.context_axes[0]
    along = noisy.sample_axes.index(axis)
    middle = middle_window(noisy, next(noisy.indices()), SIDE)

    def residuals(sample: Sample, place: Place) -> list[_Residual]:
        before = mask_missing(noisy.read(sample, *place)).astype(np.float64)
        after = denoised.read(sample, *place).astype(np.float64)
        return [_Residual(*pair) for pair in zip(before, after, reports, strict=True)]

    firsts = [sample for sample in noisy.indices() if sample[along] + 1 < noisy.sample_shape[along]]
    sums = [_Sums(axis) for _ in reports]
    shifted: dict[Sample, float] = {}
    places: dict[Sample, Place] = {}
    for number, first in enumerate(spread_evenly(firsts, PAIRS)):
        second = (*first[:along], first[along] + 1, *first[along + 1 :])
        place = spread_window(noisy, first, SIDE, number)
        pair = residuals(first, place), residuals(second, place)
        # Means of different places differ without any flicker.
        same = pair[0] if place == middle else residuals(first, middle)
        for total, central, one, other in zip(sums, same, *pair, strict=True):
            total.add(central, one, other)
        for sample, parts in zip((first, second), pair, strict=True):
            pixels = max(part.shifted() for part in parts) if denoiser else 0.0
            if pixels >= shifted.get(sample, 0.0):
                shifted[sample], places[sample] = pixels, place
    chosen = _compared(list(noisy.indices()), shifted) if denoiser else []
    for number, sample in enumerate(chosen):
        if denoiser is None or should_stop():
            break
        place = places.get(sample) or spread_window(noisy, sample, SIDE, number)
        alone = denoiser(mask_missing(noisy.read(sample, *place)).astype(np.float32))
        for total, beside, plane in zip(sums, residuals(sample, place), alone, strict=True):
            total.smeared.append((beside.smeared(plane.astype(np.float64)), sample[along]))
    return tuple(total.statistics() for total in sums)


def _compared(every: list[Sample], shifted: dict[Sample, float]) -> list[Sample]:
    """Planes to denoise alone: those whose residual is least like noise, and others evenly."""
    suspect = [one for one in sorted(shifted, key=lambda one: -shifted[one]) if shifted[one] > 0]
    chosen = suspect[: COMPARED // 2]
    others = [one for one in every if one not in chosen]
    return sorted([*chosen, *spread_evenly(others, COMPARED - len(chosen))])


class _Residual:
    """The residual of a window of one channel."""

    def __init__(self, noisy: Floats, denoised: Floats, report: NoiseReport) -> None:
        self.noisy, self.denoised, self.report = noisy, denoised, report
        self.known = np.isfinite(noisy) & np.isfinite(denoised)
        self.difference = np.where(self.known, noisy - denoised, 0.0)

    @property
    def std(self) -> Floats:
        """Expected noise of every pixel."""
        variance = noise_model(self.report).variance(np.where(self.known, self.denoised, 0.0))
        return np.sqrt(np.maximum(variance, max(1e-3 * self.report.noise_std**2, 1e-30)))

    @property
    def scaled(self) -> Floats:
        """The residual over the expected noise, without outliers."""
        return np.asarray(np.clip(self.difference / self.std, -OUTLIER, OUTLIER))

    def shift(self) -> tuple[float, float]:
        """Mean of denoised minus noisy, and its variance by noise."""
        count = max(int(self.known.sum()), 1)
        variance = float((self.std**2)[self.known].sum()) / count**2
        return -float(self.difference.sum()) / count, variance

    def shifted(self) -> float:
        """Number of pixels around which the residual is no noise."""
        return float((np.abs(self._local_mean(self.scaled)) > SMEARED_Z)[self.known].sum())

    def smeared(self, alone: Floats) -> float:
        """Share of pixels around which neighbours shifted the brightness, against the noise.

        The residual of a right result is noise, whose local means are small. Where those of the
        plane denoised alone are small, and those of the result with neighbours are not, structure
        of this plane was lost to its neighbours, or theirs was drawn into it.
        """
        own = self._local_mean(self.scaled)
        other = _Residual(self.noisy, np.where(self.known, alone, np.nan), self.report)
        is_shifted = (np.abs(own) > SMEARED_Z) & (
            np.abs(self._local_mean(other.scaled)) < np.abs(own) / 2
        )
        return float(is_shifted[self.known].mean()) if self.known.any() else math.nan

    def _local_mean(self, values: Floats) -> Floats:
        """Local mean in units of its standard deviation for white noise of variance 1."""
        mean = ndimage.gaussian_filter(values, _SPOT, mode="constant")
        # The sum of squares of a normalised Gaussian of this width in two dimensions.
        return np.asarray(mean * math.sqrt(4 * math.pi) * _SPOT)


@dataclass
class _Sums:
    """Sums over pairs of planes, for the statistics of one channel."""

    axis: str
    greys: list[Floats] = field(default_factory=list)
    shifts: list[tuple[float, float]] = field(default_factory=list)
    products: float = 0.0
    power: float = 0.0
    count: int = 0
    smeared: list[tuple[float, int]] = field(default_factory=list)

    def add(self, central: _Residual, first: _Residual, second: _Residual) -> None:
        """Add the middle of a plane, and another place of this plane and the next one."""
        self.greys.append(central.noisy[::2, ::2][central.known[::2, ::2]])
        self.shifts.append(central.shift())
        both = first.known & second.known
        if not both.any():
            return
        # Fixed offsets of lines recur in every plane, and are noise.
        one, other = (
            without_line_offsets(np.where(both, part.scaled, 0.0), both, part.report)[both]
            for part in (first, second)
        )
        one, other = one - one.mean(), other - other.mean()
        self.products += float(one @ other)
        self.power += float(one @ one + other @ other) / 2
        self.count += one.size

    def statistics(self) -> StackStatistics:
        """Compute the statistics from the sums."""
        greys = np.concatenate(self.greys)
        low, high = np.percentile(greys, (0.1, 99.9)) if greys.size else (0.0, 0.0)
        percent = 100 / (high - low) if high > low else math.nan
        shifts = np.array(self.shifts)
        # A shift of all planes alike is no flicker.
        excess = float(shifts[:, 0].var() - shifts[:, 1].mean())
        known = [(share, plane) for share, plane in self.smeared if not math.isnan(share)]
        smeared, plane = max(known, default=(math.nan, 0))
        return StackStatistics(
            flicker=percent * math.sqrt(max(excess, 0.0)),
            correlation=self.products / self.power if self.power > 0 else math.nan,
            correlation_error=1 / math.sqrt(max(self.count, 1)),
            smeared=smeared,
            plane=plane,
            axis=self.axis,
        )
