"""Histogram of the pixels: limits, clipping, quantisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_redenoise.noise._thresholds import PILE_PIXELS, PILE_RATIO
from napari_redenoise.noise._windows import Floats

_NEIGHBOURS = 3


@dataclass(frozen=True)
class Histogram:
    """The grey levels that occur, ascending, and the number of pixels at each."""

    levels: Floats
    counts: npt.NDArray[np.intp]

    @property
    def limits(self) -> tuple[float, float]:
        """Darkest and brightest level."""
        return float(self.levels[0]), float(self.levels[-1])

    @property
    def mean(self) -> float:
        """Mean level of the pixels."""
        return float(np.average(self.levels, weights=self.counts))

    def below(self, level: float) -> float:
        """Share of the pixels that are darker than a level."""
        return float(self.counts[self.levels < level].sum() / self.counts.sum())

    @property
    def at_floor(self) -> float:
        """Share of the pixels at the darkest level."""
        return float(self.counts[0] / self.counts.sum())

    @property
    def piled_up(self) -> tuple[float, float]:
        """Share of the pixels at the darkest and the brightest level, 0 where none pile up.

        Tails of a distribution thin out; clipped values gather at the last level.
        """
        low, high = (
            float(ordered[0] / self.counts.sum()) if _is_pile(ordered) else 0.0
            for ordered in (self.counts, self.counts[::-1])
        )
        return low, high

    @property
    def step(self) -> float:
        """Weighted median distance of neighbouring levels; 0 for continuous values.

        Rare levels count little: between them others are missing by chance.
        """
        if len(self.levels) < 2 or len(self.levels) > 0.5 * self.counts.sum():
            return 0.0
        gaps = np.diff(self.levels)
        order = np.argsort(gaps)
        weight = np.minimum(self.counts[1:], self.counts[:-1]).astype(float)[order]
        half = np.searchsorted(np.cumsum(weight), weight.sum() / 2)
        return float(gaps[order][min(half, len(gaps) - 1)])


def histogram_of(planes: list[Floats]) -> Histogram:
    """Count the finite values."""
    values = np.concatenate([plane[np.isfinite(plane)] for plane in planes])
    return Histogram(*np.unique(values, return_counts=True))


def _is_pile(ordered: npt.NDArray[np.intp]) -> bool:
    """Whether the first level holds far more than the next ones, gaps of scaling included."""
    if len(ordered) < _NEIGHBOURS + 1 or ordered[0] < PILE_PIXELS:
        return False
    return bool(ordered[0] > PILE_RATIO * np.median(ordered[1 : _NEIGHBOURS + 1]))
