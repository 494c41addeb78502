"""Statistics of the residual (noisy minus denoised) relative to the expected noise."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_redenoise.assessment._thresholds import (
    CLIPPED,
    FEWEST_CONTRASTED,
    FEWEST_PIXELS,
    OUTLIER,
)
from napari_redenoise.data import Planes, is_missing, mask_missing
from napari_redenoise.noise import NoiseReport, diagnose, noise_model

MOST_PIXELS = 2**25
WINDOW = 1024
LAGS = (1, 2)

# Squares whose means are compared; blocks whose mean squares are compared with their level.
_SQUARE, _BLOCK = 32, 8
# Width of the local mean that is subtracted before the autocorrelation: slower changes
# (illumination, bleaching) shift the brightness and are no fine structure.
_SLOW = 55
_EDGE_SIGMA = 1.5
_SAMPLES = 2**21

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Array = TypeVar("Array", npt.NDArray[np.float32], npt.NDArray[np.float64])


@dataclass(frozen=True)
class ResidualStatistics:
    """Statistics of one channel; NaN where they cannot be computed.

    Attributes
    ----------
    shift, shift_error : float
        Mean of denoised minus noisy, and its standard error due to noise, in per cent of the
        range.
    local_shift : float
        RMS of the same over squares of 32 x 32 pixels, minus the contribution of noise.
    share, share_error : float
        Mean square of the residual over the expected noise variance, and its standard error.
    correlation, noise_correlation : (float, float)
        Autocorrelation of the residual and of the noise, mean of lags 1 and 2, along y and x.
    correlation_error : float
        Standard error of their difference.
    alternation : float
        How far the sign of the residual alternates along y or x: the smaller size of a negative
        autocorrelation at lag 1 and any at lag 2; 0 for noise.
    contrast : float
        Mean square of the residual over the expected noise variance, in the brightest or the most
        structured tenth of the blocks over that in the other half; the larger of the two.
    outliers : int
        Number of pixels that are taken for hot pixels.
    outlier_share : float
        The same, over all known pixels.
    """

    shift: float
    shift_error: float
    local_shift: float
    share: float
    share_error: float
    correlation: tuple[float, float]
    noise_correlation: tuple[float, float]
    correlation_error: float
    contrast: float
    outliers: int = 0
    outlier_share: float = 0.0
    alternation: float = math.nan


def residual_statistics(
    noisy: Planes, denoised: Planes, reports: tuple[NoiseReport, ...]
) -> tuple[ResidualStatistics, ...]:
    """Compute the statistics of every channel from at most 32 megapixels, spread evenly."""
    sums = [_Sums(report) for report in reports]
    windows = _windows(noisy)
    stride = max(1, math.isqrt(sum(_size(*window[1:]) for window in windows) // _SAMPLES))
    for sample, rows, columns in windows:
        window = noisy.read(sample, rows, columns)
        before = mask_missing(window)
        outliers = np.isnan(before) & ~is_missing(window)
        after = denoised.read(sample, rows, columns)
        for channel, total in enumerate(sums):
            total.outliers += int(outliers[channel].sum())
            total.add(before[channel], after[channel], stride)
    return tuple(total.statistics() for total in sums)


def _windows(planes: Planes) -> list[tuple[tuple[int, ...], slice, slice]]:
    """Windows of at most about 1024 x 1024 pixels, as many as the limit allows."""
    pieces = list(itertools.product(*(list(_cut(side)) for side in (planes.height, planes.width))))
    area = planes.height * planes.width * planes.channels / len(pieces)
    count = len(planes) * len(pieces)
    chosen = min(count, max(1, int(MOST_PIXELS / area)))
    samples = planes.sample_shape
    found = []
    for number in np.linspace(0, count - 1, chosen).round().astype(int).tolist():
        sample, piece = divmod(number, len(pieces))
        index = tuple(int(part) for part in np.unravel_index(sample, samples)) if samples else ()
        found.append((index, *pieces[piece]))
    return found


def _cut(side: int) -> Iterator[slice]:
    edges = np.linspace(0, side, -(-side // WINDOW) + 1).round().astype(int).tolist()
    return (slice(*pair) for pair in itertools.pairwise(edges))


def _size(rows: slice, columns: slice) -> int:
    return int((rows.stop - rows.start) * (columns.stop - columns.start))


@dataclass
class _Sums:
    """Sums over windows, for the statistics of one channel."""

    report: NoiseReport
    outliers: int = 0
    count: float = 0.0
    moved: float = 0.0
    used: float = 0.0
    removed: float = 0.0
    expected: float = 0.0
    energy: float = 0.0
    products: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, len(LAGS))))
    pairs: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, len(LAGS))))
    greys: list[Floats] = field(default_factory=list)
    blocks: list[Floats] = field(default_factory=list)
    squares: list[Floats] = field(default_factory=list)

    def add(
        self, before: npt.NDArray[np.generic], after: npt.NDArray[np.generic], stride: int
    ) -> None:
        """Add a window (Y, X)."""
        noisy, level = before.astype(np.float32), after.astype(np.float32)
        known = np.isfinite(noisy) & np.isfinite(level)
        if not known.any():
            return
        # Before the conversion, which loses the difference of large grey levels.
        removed = before.astype(np.float64) - after.astype(np.float64)
        residual = np.where(known, removed, 0).astype(np.float32)
        self.count += float(known.sum())
        self.moved -= float(residual.sum(dtype=np.float64))
        greys = noisy[::stride, ::stride]
        self.greys.append(greys[np.isfinite(greys)])
        if self.report.is_clean:
            return
        level = np.where(known, level, level[known].mean()).astype(np.float32)
        variance = self._variance(level)
        used = known & self._unclipped(level, np.sqrt(variance))
        self.used += float(used.sum())
        self.removed += float((residual[used].astype(np.float64) ** 2).sum())
        self.expected += float(variance[used].sum(dtype=np.float64))
        scaled = np.clip(residual / np.sqrt(variance), -OUTLIER, OUTLIER)
        self._correlate(np.where(used, scaled, 0), used)
        steep = ndimage.gaussian_gradient_magnitude(level, _EDGE_SIGMA, output=np.float64)
        edges = steep / np.sqrt(variance)
        self.blocks.append(_means(_BLOCK, used, scaled**2, level, edges))
        side = min(_SQUARE, *level.shape)
        self.squares.append(_means(side, used, residual, variance))

    def _variance(self, level: Floats) -> npt.NDArray[np.float64]:
        """Expected noise variance; never far below the smallest measured one."""
        points = self.report.points
        least = 0.5 * min((point.variance for point in points), default=0.0)
        least = max(least, 1e-6 * self.report.noise_std**2)
        return np.asarray(np.maximum(noise_model(self.report).variance(level), least))

    def _unclipped(self, level: Floats, std: Floats) -> Bools:
        """Pixels whose noise does not reach a clipping limit."""
        (low, high), (darkest, brightest) = self.report.clipped, self.report.limits
        inside = np.ones(level.shape, bool)
        if high > CLIPPED:
            inside &= level + 3 * std < brightest
        if low > CLIPPED:
            inside &= level - 3 * std > darkest
        return inside

    def _correlate(self, scaled: Floats, used: Bools) -> None:
        weight = ndimage.uniform_filter(used.astype(np.float32), _SLOW)
        slow = ndimage.uniform_filter(scaled, _SLOW) / np.maximum(weight, 1e-3)
        fast = without_line_offsets(np.where(used, scaled - slow, 0), used, self.report)
        self.energy += float((fast**2).sum(dtype=np.float64))
        for axis, (number, lag) in itertools.product((0, 1), enumerate(LAGS)):
            values, inside = np.moveaxis(fast, axis, -1), np.moveaxis(used, axis, -1)
            product = values[..., lag:] * values[..., :-lag]
            self.products[axis, number] += float(product.sum(dtype=np.float64))
            self.pairs[axis, number] += float((inside[..., lag:] & inside[..., :-lag]).sum())

    def statistics(self) -> ResidualStatistics:
        """Compute the statistics from the sums."""
        nan = math.nan
        greys = np.concatenate([*self.greys, np.zeros(0, np.float32)])
        low, high = np.percentile(greys, (0.1, 99.9)) if greys.size else (nan, nan)
        percent = 100.0 / (high - low) if high > low else nan
        shift = percent * self.moved / self.count if self.count else nan
        # Few pixels that are neither clipped nor missing do not represent the others.
        if self.used < FEWEST_PIXELS * self.count or not self.used:
            return ResidualStatistics(shift, 0.0, nan, nan, nan, (nan, nan), (nan, nan), nan, nan)
        found = self.report.autocorrelation
        spread = _spread(self.report)
        std = math.sqrt(self.expected / self.used)
        energy = self.energy / self.used
        own = self.products / np.maximum(self.pairs, 1) / energy if energy > 0 else self.products
        own_y, own_x = own.mean(1).tolist()
        noise_y, noise_x = (float(np.mean(along[: len(LAGS)])) for along in found.without_lines())
        share = self.removed / self.expected
        return ResidualStatistics(
            shift=shift,
            shift_error=percent * std * math.sqrt(spread / self.count),
            local_shift=percent * self._local(spread),
            share=share,
            share_error=share * math.hypot(_gain_error(self.report), math.sqrt(2 / self.used)),
            correlation=(own_y, own_x) if energy > 0 else (nan, nan),
            noise_correlation=(noise_y, noise_x),
            correlation_error=math.sqrt((found.error**2 + 1 / self.used) / len(LAGS)),
            contrast=self._contrast(),
            outliers=self.outliers,
            outlier_share=self.outliers / (self.count + self.outliers),
            alternation=float(np.minimum(-own[:, 0], np.abs(own[:, 1])).max()),
        )

    def _local(self, spread: float) -> float:
        """RMS of the means of the squares, minus the contribution of noise, in grey levels."""
        weight, moved, variance = np.concatenate(self.squares, axis=1)
        if not weight.size:
            return math.nan
        noise = spread * variance / weight
        excess = moved.astype(np.float64) ** 2 - noise
        # The mean square over as many squares of pure noise exceeds this with probability 1/40.
        chance = 2 * float(noise.mean()) * math.sqrt(2 / weight.size)
        return math.sqrt(max(float(excess.mean()) - chance, 0.0))

    def _contrast(self) -> float:
        _, power, *orders = np.concatenate(self.blocks, axis=1)
        if power.size < FEWEST_CONTRASTED:
            return math.nan
        ratios = []
        for order in orders:
            half, most = np.percentile(order, (50, 90))
            calm = float(power[order <= half].mean())
            ratios.append(float(power[order >= most].mean()) / calm if calm > 0 else math.nan)
        return max(ratios)


def without_line_offsets(residual: Array, used: Bools, report: NoiseReport) -> Array:
    """Subtract the means of the lines that have offsets: these are noise, too.

    Of planes (rows, columns) that are 0 where pixels are not used.
    """
    lines = diagnose([report], fine_tuning=True).lines
    for axis, name in ((1, "rows"), (0, "columns")):
        if lines in (name, "both"):
            count = np.maximum(used.sum(axis, keepdims=True), 1)
            mean = residual.sum(axis, keepdims=True) / count
            residual = np.where(used, residual - mean, 0)
    return residual


def _means(side: int, used: Bools, *images: npt.NDArray[np.floating]) -> Floats:
    """Number of used pixels per square and means over them, for squares at least half used."""
    rows, columns = (size // side for size in used.shape)

    def pooled(image: npt.NDArray[np.generic]) -> Floats:
        cut = image[: rows * side, : columns * side].reshape(rows, side, columns, side)
        return np.asarray(cut.sum((1, 3), dtype=np.float64)).ravel()

    weight = pooled(used)
    full = weight >= side * side / 2
    means = [pooled(np.where(used, image, 0))[full] / weight[full] for image in images]
    return np.stack([weight[full], *means])


def _spread(report: NoiseReport) -> float:
    """Factor by which correlation of the noise raises the variance of a mean."""
    reaches = report.autocorrelation.reach
    along = (report.autocorrelation.y, report.autocorrelation.x)
    sums = (sum(values[:reach]) for values, reach in zip(along, reaches, strict=True))
    return float(np.prod([max(1.0, 1 + 2 * total) for total in sums]))


def _gain_error(report: NoiseReport) -> float:
    """Relative standard error of the noise variance at the mean level."""
    variance = float(report.model.variance(report.mean))
    signal = abs(report.mean - report.model.offset)
    return report.gain_error * signal / variance if variance > 0 else math.inf
