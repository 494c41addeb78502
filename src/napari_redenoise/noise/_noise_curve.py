"""The noise curve ``variance = slope * level + intercept`` of blocks, some with structure.

Blocks are homogeneous when their coarse detail is no larger than the noise that the line predicts.
The line is fitted to the fine detail of those, and both steps alternate (after Liu, Tanaka,
Okutomi, IEEE TIP 22, 2013, who choose weakly textured patches by such a test).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from napari_redenoise.noise._blocks import COARSE, PIXELS, Blocks, Mask
from napari_redenoise.noise._histogram import Histogram
from napari_redenoise.noise._line_fit import Fit, lower_line, variance_floor, weighted_line
from napari_redenoise.noise._report import VariancePoint
from napari_redenoise.noise._thresholds import (
    CLIPPED_LEVEL,
    COUNTED_VARIANCE,
    CUT_VARIANCE,
    FLAT_SHARE,
    GROWTH_ERRORS,
    MIN_FREE,
    MIN_SHARE,
    STRUCTURE_ERRORS,
    UNCERTAIN_SLOPE,
)
from napari_redenoise.noise._windows import Floats

_ROUNDS = 10
_BINS = 40
_MIN_IN_BIN = 40
_ENOUGH_PIXELS = 40_000
_COARSE_FREEDOM = float(COARSE.sum())


@dataclass(frozen=True)
class Line:
    """The fitted line, and its blocks.

    Parameters
    ----------
    fit : Fit
    used : array of bool
        Homogeneous blocks of levels without clipping.
    by_surroundings : bool
        Whether the slope is that over the levels around the blocks.
    floor : array of bool
        Blocks of the levels that are clipped at the dark end.
    homogeneous : float
        Share of the blocks without structure.
    counts : bool
        Whether noise ends at the darkest level because single photons are counted.
    cut : bool
        Whether noise reaches the darkest level and is clipped there.
    """

    fit: Fit
    used: Mask
    by_surroundings: bool
    floor: Mask
    homogeneous: float
    counts: bool = False
    cut: bool = False

    def variance(self, level: Floats) -> Floats:
        """Predicted variance, not negative."""
        return np.asarray(np.maximum(self.fit.at(level), 0.0))


def level_bins(level: Floats) -> list[np.ndarray]:
    """Group the blocks by grey level, darkest first; return their indices."""
    order = np.argsort(level, kind="stable")
    ordered = level[order]
    low, high = np.quantile(ordered, (0.001, 0.999))
    least = min(_MIN_IN_BIN, max(2, len(level) // 4))
    bins, start = [], 0
    while start < len(ordered):
        beyond = int(np.searchsorted(ordered, ordered[start] + (high - low) / _BINS))
        stop = max(start + least, beyond)
        stop = len(ordered) if len(ordered) - stop < least else stop
        bins.append(order[start:stop])
        start = stop
    return bins


def flat_blocks(blocks: Blocks, bins: list[np.ndarray]) -> Mask:
    """Choose the blocks with the least coarse detail of every range of levels."""
    chosen = np.zeros(len(blocks), bool)
    for members in bins:
        chosen[members] = blocks.coarse[members] <= np.quantile(blocks.coarse[members], FLAT_SHARE)
    return chosen


def flattest_blocks(blocks: Blocks, line: Line) -> Mask:
    """Choose the flattest blocks of a line, enough of them to measure a correlation."""
    expected = np.maximum(line.variance(blocks.level), variance_floor(blocks.fine))
    ratio = np.where(line.used, blocks.coarse / expected, np.inf)
    count = int(line.used.sum())
    wanted = int(max(0.1 * count, min(count, _ENOUGH_PIXELS * blocks.overlap / PIXELS)))
    return np.asarray(ratio <= np.partition(ratio, wanted - 1)[wanted - 1])


def fit_line(
    blocks: Blocks, bins: list[np.ndarray], histogram: Histogram, shares: tuple[float, float]
) -> Line:
    """Fit the line to blocks that are homogeneous and not clipped.

    ``shares`` are the expected energies of noise of variance 1 in the coarse and the fine part.
    """
    coarse, variance = blocks.coarse / shares[0], blocks.fine / shares[1]
    flat = flat_blocks(blocks, bins)
    start = np.array([variance[members[flat[members]]].mean() for members in bins])
    level = np.array([blocks.level[members].mean() for members in bins])
    size = np.array([len(members) for members in bins], float)
    bright, dark = (
        np.array([share[members].mean() for members in bins]) > CLIPPED_LEVEL
        for share in (blocks.brightest, blocks.darkest)
    )
    good = ~bright if (~bright).sum() >= 2 else np.ones(len(bins), bool)
    signal, step = level - histogram.limits[0], histogram.step
    floor = dark & _is_cut(signal, start, size, good & ~dark, good & dark, step)
    good &= ~floor
    first = lower_line(level[good], start[good], size[good])
    usable, cut = (_members(chosen, bins) for chosen in (good, floor))
    counts = bool(dark.any()) and _is_counted(signal, start, size, dark, step)
    line = _refine(blocks, variance, coarse, first, usable, cut)
    if line.fit.error > UNCERTAIN_SLOPE * line.fit.slope:
        line = _refit(blocks, variance, line, flat & usable)
    return replace(line, counts=counts, cut=bool(dark.any()) and not counts)


def _refit(blocks: Blocks, variance: Floats, line: Line, flat: Mask) -> Line:
    """Fit the line to the flattest blocks of every level, if its slope is far more certain.

    Where all signal is in structures smaller than a block, no bright block is homogeneous. But the
    optics smooth these, so the fine detail is noise.
    """
    fit, by_surroundings = line.fit, line.by_surroundings
    least = variance_floor(variance[flat])
    for _ in range(_ROUNDS // 2):
        expected = np.maximum(fit.at(blocks.level), least)
        fit, by_surroundings = _better_line(blocks, variance, flat, expected, 1 / expected**2)
    if 4 * fit.error < fit.slope and fit.error < line.fit.error:
        return replace(line, fit=fit, used=flat, by_surroundings=by_surroundings)
    return line


def _members(chosen: Mask, bins: list[np.ndarray]) -> Mask:
    """Blocks of the chosen ranges."""
    blocks = np.zeros(sum(len(members) for members in bins), bool)
    for keep, members in zip(chosen, bins, strict=True):
        blocks[members] = keep
    return blocks


def _is_cut(
    signal: Floats, variance: Floats, size: Floats, free: Mask, floor: Mask, step: float
) -> bool:
    """Whether noise is clipped at the darkest level, which leaves less variance than the line.

    Noise of counted photons has as little, but is not clipped.
    """
    if free.sum() < 3 or not floor.any() or size[free].sum() < MIN_FREE * size.sum():
        return False
    fit = lower_line(signal[free], variance[free], size[free])
    seen = float((size * variance)[floor].sum())
    expected = float((size * np.maximum(fit.at(signal), 0.0))[floor].sum())
    return seen < CUT_VARIANCE * expected and not _is_counted(signal, variance, size, floor, step)


def _is_counted(signal: Floats, variance: Floats, size: Floats, dark: Mask, step: float) -> bool:
    """Whether the variance of dark levels is that of single photons: the step between levels."""
    counted = step * float((size * signal)[dark].sum())
    return float((size * variance)[dark].sum()) <= COUNTED_VARIANCE * counted


def _refine(
    blocks: Blocks, variance: Floats, coarse: Floats, fit: Fit, usable: Mask, floor: Mask
) -> Line:
    """Alternate between choosing homogeneous blocks and fitting the line to them."""
    level, least = blocks.level, variance_floor(variance[usable])
    used, by_surroundings = usable, False
    for _ in range(_ROUNDS):
        expected = np.maximum(fit.at(level), least)
        signal = level - darkest_level(level[used], fit, blocks.averaged)
        scatter = _kurtosis(fit.slope, signal, expected) / blocks.averaged
        spread = 2 / blocks.freedom + scatter
        limit = 1 + np.sqrt(2 / _COARSE_FREEDOM + scatter)
        clean = usable & (variance <= expected * (1 + STRUCTURE_ERRORS * np.sqrt(spread)))
        used = _homogeneous(coarse / expected, limit, clean, usable)
        weight = 1 / (expected**2 * spread)
        fit, by_surroundings = _better_line(blocks, variance, used, expected, weight)
    return Line(fit, used, by_surroundings, floor, float(used.mean()))


def _homogeneous(ratio: Floats, limit: Floats, clean: Mask, usable: Mask) -> Mask:
    """Blocks whose coarse detail is noise; the flattest blocks where there are none."""
    used = clean & (ratio <= limit)
    if used.sum() >= max(4, MIN_SHARE * usable.sum()):
        return used
    return np.asarray(usable & (ratio <= np.quantile(ratio[usable], MIN_SHARE)))


def _kurtosis(slope: float, signal: Floats, variance: Floats) -> Floats:
    """Excess kurtosis of Poisson-Gaussian noise, which is large for few photons."""
    shot = np.clip(slope * signal, 0, variance)
    return np.asarray(slope**2 * shot / variance**2)


def _better_line(
    blocks: Blocks, variance: Floats, used: Mask, expected: Floats, weight: Floats
) -> tuple[Fit, bool]:
    """Fit the line over the levels of the blocks and over those around; return the more certain.

    Noise of the levels flattens the first, the second has more scatter. A slope within its error
    is set to 0.
    """
    level, around, variance = blocks.level[used], blocks.around[used], variance[used]
    expected, weight = expected[used], weight[used]
    double = float(np.sqrt(blocks.overlap))
    plain = weighted_line(level, variance, weight)
    mean = np.average(level, weights=weight)
    scatter = float(np.average((level - mean) ** 2, weights=weight))
    own = float(np.average(expected, weights=weight)) / blocks.averaged
    # Where half of the scatter is noise, the flattening is large and uncertain.
    flattened = plain.slope * own / (scatter - own) if scatter > 2 * own else np.inf
    by_level = replace(plain, error=float(np.hypot(plain.error * double, flattened)))
    steady = weighted_line(level, variance, weight, around)
    by_around = replace(steady, error=steady.error * double)
    fit = min(by_level, by_around, key=lambda candidate: candidate.error)
    is_by_around = fit is by_around
    if fit.slope <= GROWTH_ERRORS * fit.error:
        fit = replace(fit, slope=0.0, intercept=float(variance.mean()))
    return fit, is_by_around


def darkest_level(level: Floats, fit: Fit, averaged: float) -> float:
    """Level of the darkest region: the median of the blocks within its noise."""
    first = float(np.quantile(level, 0.01))
    spread = np.sqrt(max(fit.slope * first + fit.intercept, 0.0) / averaged)
    return float(np.median(level[level <= first + 4 * spread]))


def variance_points(blocks: Blocks, line: Line, fine_share: float) -> tuple[VariancePoint, ...]:
    """Mean level and variance of the blocks of the line, by range of levels."""
    known = (blocks.around if line.by_surroundings else blocks.level)[line.used]
    level, variance = blocks.level[line.used], blocks.fine[line.used] / fine_share
    return tuple(
        VariancePoint(float(level[members].mean()), float(variance[members].mean()), len(members))
        for members in level_bins(known)
    )
