"""The line ``variance = slope * level + intercept`` through blocks, some of which hold structure.

Blocks are taken as homogeneous when their coarse detail is no stronger than the noise that the
line predicts there, and the line is fitted to the fine detail of those, in turns (after Liu,
Tanaka, Okutomi, IEEE TIP 22, 2013, who choose patches of weak texture by such a test).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from napari_redenoise.noise._blocks import COARSE, PIXELS, Blocks, Chosen
from napari_redenoise.noise._histogram import Greys
from napari_redenoise.noise._line_fit import Fit, Values, lower_line, variance_floor, weighted_line
from napari_redenoise.noise._report import VariancePoint
from napari_redenoise.noise._thresholds import (
    CALM_SHARE,
    CLIPPED_LEVEL,
    COUNTED_VARIANCE,
    CUT_VARIANCE,
    GROWTH_ERRORS,
    LEAST_FREE,
    LEAST_SHARE,
    STRUCTURE_ERRORS,
    UNCERTAIN_SLOPE,
)

_ROUNDS = 10
_BINS = 40
_LEAST_IN_BIN = 40
_ENOUGH_PIXELS = 40_000
_COARSE_FREEDOM = float(COARSE.sum())


@dataclass(frozen=True)
class Line:
    """The fitted line, and what it rests on.

    Parameters
    ----------
    fit : Fit
    used : array of bool
        Calm blocks of levels at which no noise is cut off.
    by_surroundings : bool
        Whether levels differ so little that the levels around the blocks had to tell the slope.
    floor : array of bool
        Blocks of the levels at which noise is cut off at the dark end.
    homogeneous : float
        Share of the blocks that show no structure.
    counts : bool
        Whether noise reaches the dark end and ends there by itself, as that of counts does.
    cut : bool
        Whether noise reaches the dark end and does not end there by itself.
    """

    fit: Fit
    used: Chosen
    by_surroundings: bool
    floor: Chosen
    homogeneous: float
    counts: bool = False
    cut: bool = False

    def variance(self, level: Values) -> Values:
        """Predicted variance, not negative."""
        return np.asarray(np.maximum(self.fit.at(level), 0.0))


def level_bins(level: Values) -> list[np.ndarray]:
    """Indices of the blocks of ranges of grey levels, darkest first, each range well filled."""
    order = np.argsort(level, kind="stable")
    ordered = level[order]
    low, high = np.quantile(ordered, (0.001, 0.999))
    least = min(_LEAST_IN_BIN, max(2, len(level) // 4))
    bins, start = [], 0
    while start < len(ordered):
        beyond = int(np.searchsorted(ordered, ordered[start] + (high - low) / _BINS))
        stop = max(start + least, beyond)
        stop = len(ordered) if len(ordered) - stop < least else stop
        bins.append(order[start:stop])
        start = stop
    return bins


def calm_blocks(blocks: Blocks, bins: list[np.ndarray]) -> Chosen:
    """The blocks with the least coarse detail of every range of levels."""
    chosen = np.zeros(len(blocks), bool)
    for members in bins:
        chosen[members] = blocks.coarse[members] <= np.quantile(blocks.coarse[members], CALM_SHARE)
    return chosen


def calmest_blocks(blocks: Blocks, line: Line) -> Chosen:
    """The calmest of the blocks that a line rests on, enough of them to measure a correlation."""
    expected = np.maximum(line.variance(blocks.level), variance_floor(blocks.fine))
    ratio = np.where(line.used, blocks.coarse / expected, np.inf)
    count = int(line.used.sum())
    wanted = int(max(0.1 * count, min(count, _ENOUGH_PIXELS * blocks.overlap / PIXELS)))
    return np.asarray(ratio <= np.partition(ratio, wanted - 1)[wanted - 1])


def fit_line(
    blocks: Blocks, bins: list[np.ndarray], greys: Greys, shares: tuple[float, float]
) -> Line:
    """Fit the line to the blocks that are homogeneous and not cut off.

    Parameters
    ----------
    blocks : Blocks
    bins : list of arrays
        From `level_bins`.
    greys : Greys
        Values of the image.
    shares : (float, float)
        Expected energy of noise of variance 1 in the coarse and the fine part; 1 if it is white.
    """
    coarse, variance = blocks.coarse / shares[0], blocks.fine / shares[1]
    calm = calm_blocks(blocks, bins)
    start = np.array([variance[members[calm[members]]].mean() for members in bins])
    level = np.array([blocks.level[members].mean() for members in bins])
    size = np.array([len(members) for members in bins], float)
    bright, dark = (
        np.array([share[members].mean() for members in bins]) > CLIPPED_LEVEL
        for share in (blocks.brightest, blocks.darkest)
    )
    good = ~bright if (~bright).sum() >= 2 else np.ones(len(bins), bool)
    floor = dark & _is_cut(
        level - greys.limits[0], start, size, good & ~dark, good & dark, greys.step
    )
    good &= ~floor
    first = lower_line(level[good], start[good], size[good])
    usable, cut = (_members(chosen, bins) for chosen in (good, floor))
    counts = bool(dark.any()) and _is_counted(
        level - greys.limits[0], start, size, dark, greys.step
    )
    line = _refine(blocks, variance, coarse, first, usable, cut)
    if line.fit.error > UNCERTAIN_SLOPE * line.fit.slope:
        line = _by_calm_blocks(blocks, variance, line, calm & usable)
    return replace(line, counts=counts, cut=bool(dark.any()) and not counts)


def _by_calm_blocks(blocks: Blocks, variance: Values, line: Line, calm: Chosen) -> Line:
    """Fit the line to the calmest blocks of every level, if that tells the slope far better.

    Where all light is in structures smaller than a block, no bright block is homogeneous; yet
    structures that the optics have smoothed leave the fine detail to the noise.
    """
    fit, by_surroundings = line.fit, line.by_surroundings
    least = variance_floor(variance[calm])
    for _ in range(_ROUNDS // 2):
        expected = np.maximum(fit.at(blocks.level), least)
        fit, by_surroundings = _better_line(blocks, variance, calm, expected, 1 / expected**2)
    if 4 * fit.error < fit.slope and fit.error < line.fit.error:
        return replace(line, fit=fit, used=calm, by_surroundings=by_surroundings)
    return line


def _members(chosen: Chosen, bins: list[np.ndarray]) -> Chosen:
    """Blocks of the chosen ranges."""
    blocks = np.zeros(sum(len(members) for members in bins), bool)
    for keep, members in zip(chosen, bins, strict=True):
        blocks[members] = keep
    return blocks


def _is_cut(
    light: Values, variance: Values, size: Values, free: Chosen, floor: Chosen, step: float
) -> bool:
    """Whether noise was cut off at the darkest level, and not simply ends there as counts do.

    Cutting leaves dark levels with less variance than the line of the others has there. Where
    single photons are counted, noise ends by itself, and its variance per level is the step
    between the levels.
    """
    if free.sum() < 3 or not floor.any() or size[free].sum() < LEAST_FREE * size.sum():
        return False
    fit = lower_line(light[free], variance[free], size[free])
    seen = float((size * variance)[floor].sum())
    expected = float((size * np.maximum(fit.at(light), 0.0))[floor].sum())
    return seen < CUT_VARIANCE * expected and not _is_counted(light, variance, size, floor, step)


def _is_counted(light: Values, variance: Values, size: Values, dark: Chosen, step: float) -> bool:
    """Whether the variance of dark levels is that of single photons: the step between levels."""
    counted = step * float((size * light)[dark].sum())
    return float((size * variance)[dark].sum()) <= COUNTED_VARIANCE * counted


def _refine(
    blocks: Blocks, variance: Values, coarse: Values, fit: Fit, usable: Chosen, floor: Chosen
) -> Line:
    """Alternate between choosing homogeneous blocks and fitting the line to them."""
    level, least = blocks.level, variance_floor(variance[usable])
    used, by_surroundings = usable, False
    for _ in range(_ROUNDS):
        expected = np.maximum(fit.at(level), least)
        light = level - darkest_level(level[used], fit, blocks.averaged)
        scatter = _kurtosis(fit.slope, light, expected) / blocks.averaged
        spread = 2 / blocks.freedom + scatter
        limit = 1 + np.sqrt(2 / _COARSE_FREEDOM + scatter)
        clean = usable & (variance <= expected * (1 + STRUCTURE_ERRORS * np.sqrt(spread)))
        used = _homogeneous(coarse / expected, limit, clean, usable)
        weight = 1 / (expected**2 * spread)
        fit, by_surroundings = _better_line(blocks, variance, used, expected, weight)
    return Line(fit, used, by_surroundings, floor, float(used.mean()))


def _homogeneous(ratio: Values, limit: Values, clean: Chosen, usable: Chosen) -> Chosen:
    """Blocks whose coarse detail the noise explains; the calmest ones where there are none."""
    used = clean & (ratio <= limit)
    if used.sum() >= max(4, LEAST_SHARE * usable.sum()):
        return used
    return np.asarray(usable & (ratio <= np.quantile(ratio[usable], LEAST_SHARE)))


def _kurtosis(slope: float, light: Values, variance: Values) -> Values:
    """Excess kurtosis of Poisson-Gaussian noise: few photons scatter more than a Gaussian."""
    shot = np.clip(slope * light, 0, variance)
    return np.asarray(slope**2 * shot / variance**2)


def _better_line(
    blocks: Blocks, variance: Values, used: Chosen, expected: Values, weight: Values
) -> tuple[Fit, bool]:
    """The line with the smaller error: by the levels of the blocks, or of their surroundings.

    The first is flattened by the noise of the levels, the second spreads more; which matters
    depends on how much the true levels differ. A slope within its error is taken as none.
    """
    level, around, variance = blocks.level[used], blocks.around[used], variance[used]
    expected, weight = expected[used], weight[used]
    double = float(np.sqrt(blocks.overlap))
    plain = weighted_line(level, variance, weight)
    mean = np.average(level, weights=weight)
    scatter = float(np.average((level - mean) ** 2, weights=weight))
    own = float(np.average(expected, weights=weight)) / blocks.averaged
    # Where half of the scatter is noise, the flattening is not small, and not known well.
    flattened = plain.slope * own / (scatter - own) if scatter > 2 * own else np.inf
    by_level = replace(plain, error=float(np.hypot(plain.error * double, flattened)))
    steady = weighted_line(level, variance, weight, around)
    by_around = replace(steady, error=steady.error * double)
    fit = min(by_level, by_around, key=lambda candidate: candidate.error)
    if fit.slope <= GROWTH_ERRORS * fit.error:
        none = replace(fit, slope=0.0, intercept=float(variance.mean()))
        return none, fit is by_around
    return fit, fit is by_around


def darkest_level(level: Values, fit: Fit, averaged: float) -> float:
    """Level of the darkest region: the middle of what noise makes of the darkest blocks."""
    first = float(np.quantile(level, 0.01))
    spread = np.sqrt(max(fit.slope * first + fit.intercept, 0.0) / averaged)
    return float(np.median(level[level <= first + 4 * spread]))


def variance_points(blocks: Blocks, line: Line, fine_share: float) -> tuple[VariancePoint, ...]:
    """Mean level and variance of the blocks that the line rests on, by range of levels."""
    known = (blocks.around if line.by_surroundings else blocks.level)[line.used]
    level, variance = blocks.level[line.used], blocks.fine[line.used] / fine_share
    return tuple(
        VariancePoint(float(level[members].mean()), float(variance[members].mean()), len(members))
        for members in level_bins(known)
    )
