"""The noise report of an image, in grey levels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from napari_redenoise.config import JsonDataclass
from napari_redenoise.noise._thresholds import (
    FEW_PHOTONS,
    ROUNDING,
    SIGNIFICANT,
    SMALL_PHOTON_SHARE,
    STANDARD_ERRORS,
    STRONG_RESIDUAL,
)


@dataclass(frozen=True)
class NoiseModel:
    """Poisson-Gaussian noise: ``variance(m) = gain * (m - offset) + read_noise**2``.

    Parameters
    ----------
    gain : float
        Grey levels per photon, or per detector count; 0 when the noise does not depend on the
        signal.
    offset : float
        Grey level without signal.
    read_noise : float
        Standard deviation of the noise without signal, in grey levels.

    Notes
    -----
    The variance of the photon counts ``(y - offset) / gain`` is their expectation plus
    ``(read_noise / gain)**2``.

    References
    ----------
    A. Foi et al., "Practical Poissonian-Gaussian noise modeling and fitting for single-image
    raw-data", IEEE TIP 17 (2008), eq. 3.
    """

    gain: float
    offset: float
    read_noise: float

    def variance(self, level: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Variance of the noise at expected grey levels of any shape; never negative."""
        signal = np.asarray(level, np.float64) - self.offset
        return np.asarray(np.maximum(self.gain * signal + self.read_noise**2, 0.0))

    def without_read_noise(self) -> NoiseModel:
        """Give the same variances by photon noise alone, if there is any."""
        if self.gain == 0:
            return self
        return NoiseModel(self.gain, self.offset - self.read_noise**2 / self.gain, 0.0)

    def std(self, level: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Standard deviation of the noise at expected grey levels of any shape."""
        return np.sqrt(self.variance(level))


@dataclass(frozen=True)
class Autocorrelation:
    """Autocorrelation of the noise, and offsets of whole lines.

    Parameters
    ----------
    y, x : tuple of float
        Correlation coefficients at lags 1, 2, ... along an axis; 0 for white noise.
    error : float
        Standard error at lag 1; larger lags have fewer pairs.
    rows, columns : float
        Standard deviation of the line offsets over the noise standard deviation; 0 where chance
        explains them.
    patterned : tuple of str
        Which of "rows" and "columns" have a regular pattern rather than offsets of their own.
    """

    y: tuple[float, ...]
    x: tuple[float, ...]
    error: float
    rows: float = 0.0
    columns: float = 0.0
    patterned: tuple[str, ...] = ()

    @property
    def has_line_offsets(self) -> bool:
        """Whether rows or columns have offsets."""
        return max(self.rows, self.columns) > SIGNIFICANT

    @property
    def least(self) -> float:
        """Smallest significant coefficient."""
        return max(SIGNIFICANT, STANDARD_ERRORS * self.error)

    @property
    def reach(self) -> tuple[int, int]:
        """Lags along y and x up to which the noise is correlated, line offsets left out."""
        reach_y, reach_x = (
            next((lag for lag, value in enumerate(along) if abs(value) < self.least), len(along))
            for along in self.without_lines()
        )
        return reach_y, reach_x

    def without_lines(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Coefficients along y and x without the constant contribution of line offsets."""
        return _without_lines(self.y, self.columns), _without_lines(self.x, self.rows)


def _without_lines(along: tuple[float, ...], share: float) -> tuple[float, ...]:
    """Subtract the contribution of line offsets, given as a share of the noise."""
    common = float(np.median(along[len(along) // 2 :])) if share > SIGNIFICANT else 0.0
    # Noise that fades slowly has coefficients at the last lags as well.
    if not 0 < common < 1 or common > 1.5 * abs(along[0]):
        return along
    return tuple((value - common) / (1 - common) for value in along)


@dataclass(frozen=True)
class VariancePoint:
    """Mean level and noise variance of the blocks in one range of grey levels."""

    level: float
    variance: float
    blocks: int


@dataclass(frozen=True)
class Skewness:
    """The line ``excess * gain**2 * (m - offset)`` of the third cumulants over the level m.

    Parameters
    ----------
    offset, offset_error : float
        Grey level without signal, and its standard error.
    excess : float
        1 for equal photons, also within three standard errors; 1.5 behind an electron multiplier.
    error : float
        Standard error of the excess.
    """

    offset: float
    offset_error: float
    excess: float
    error: float


@dataclass(frozen=True)
class ResidualNoise:
    """Noise by the residual (noisy minus denoised) of a denoiser, without homogeneous blocks.

    Parameters
    ----------
    ratio : float
        RMS of the residual over the noise standard deviation of the report: about 1 where the
        denoiser knows the structure.
    noise : NoiseModel or None
        Line through the variances, with the darkest level as offset. None where the residual was
        too small to fit it; the following fields are 0 then.
    correlation : (float, float)
        At lag 1 along y and along x.
    below : float
        Share of the pixels that are darker than photon noise alone allows.
    smooth_scales : int
        Coarser scales at which the denoiser leaves smooth noise, see `smooth_noise_scales`.
    pattern : float
        Share of its power in the strongest frequencies, 1 in 500: a repeated pattern has much.
    """

    ratio: float
    noise: NoiseModel | None
    correlation: tuple[float, float]
    below: float
    smooth_scales: int = 0
    pattern: float = 0.0

    @property
    def is_strong(self) -> bool:
        """Whether the residual is larger than the noise of the report."""
        return self.ratio > STRONG_RESIDUAL


@dataclass(frozen=True)
class NoiseReport(JsonDataclass):
    """All measurements of the noise of an image.

    Parameters
    ----------
    model : NoiseModel
    gain_error : float
        Standard error of the gain.
    offset_range : (float, float)
        Offsets that fit within two standard errors: at the lower end there is no read noise, at
        the upper end no signal in the darkest region. The variances do not tell which is true.
    noise_std : float
        Root mean square of the noise over the image, in grey levels.
    mean : float
        Mean grey level.
    autocorrelation : Autocorrelation
    points : tuple of VariancePoint
        Points of the fitted line, by level.
    misfit : float
        Mean relative distance of the points from the line.
    homogeneous : float
        Share of the blocks without structure. The estimate uses these, or the flattest blocks of
        every level where these are too few.
    clipped : (float, float)
        Share of the pixels that are clipped at the darkest and at the brightest level.
    limits : (float, float)
        Darkest and brightest grey level.
    step : float
        Distance of neighbouring grey levels that occur; 0 for continuous values.
    frames : int
        Number of repeated acquisitions; 1 for an estimate from single images.
    slope : float
        Slope of the variance over the level as measured; ``model.gain`` is 0 where it is not
        significant.
    below : float
        Share of the pixels that are darker than the lower end of ``offset_range``: photon noise
        alone has none.
    skewness : Skewness or None
        Skewness of the noise, where it is significant.
    residual : ResidualNoise or None
        Noise by the residual of a denoiser, if measured.
    faint : float
        Mean level above the darkest of the part with few photons, in grey levels, if it is most of
        the image; else infinite.
    planes : "none", "independent", "shared" or "alike"
        Whether the noise of neighbouring planes is independent; "none" without neighbours, "alike"
        for two planes that share noise or fine texture.
    """

    model: NoiseModel
    gain_error: float
    offset_range: tuple[float, float]
    noise_std: float
    mean: float
    autocorrelation: Autocorrelation
    points: tuple[VariancePoint, ...]
    misfit: float
    homogeneous: float
    clipped: tuple[float, float]
    limits: tuple[float, float]
    step: float
    frames: int = 1
    slope: float = 0.0
    below: float = 0.0
    skewness: Skewness | None = None
    residual: ResidualNoise | None = None
    faint: float = math.inf
    planes: Literal["none", "independent", "shared", "alike"] = "none"

    @property
    def is_clean(self) -> bool:
        """Whether the noise is floating-point rounding alone."""
        return self.noise_std <= ROUNDING * max(abs(limit) for limit in self.limits)

    @property
    def binning(self) -> int:
        """Side of the squares of pixels to sum: 1, or more where few pixels count a photon."""
        light, side = min(self.mean - self.limits[0], self.faint), 1
        while 0 < light * side**2 < FEW_PHOTONS * self.step:
            side *= 2
        return side

    @property
    def read_noise_range(self) -> tuple[float, float]:
        """Read noise at the ends of ``offset_range``, in grey levels."""
        if self.model.gain == 0:
            return self.model.read_noise if self.is_gain_known else 0.0, self.model.read_noise
        low, high = np.sqrt(self.model.variance(self.offset_range))
        return float(low), float(high)

    @property
    def is_gain_known(self) -> bool:
        """Whether the grey levels differ enough to tell photon noise from other noise.

        Notes
        -----
        A gain of 0 is known where photon noise makes less than half of the variance in the worst
        case. There the gain is two standard errors above the measured slope. The level without
        signal is 0 or, if a background may be subtracted, below the darkest level by twice the
        range of the levels.
        """
        if self.model.gain > 0:
            return True
        levels = [point.level for point in self.points]
        if not levels:
            return True
        subtracted = self.model.offset - 2 * (max(levels) - min(levels))
        signal = self.mean - (0.0 if self.limits[0] > 0 else subtracted)
        largest = max(self.slope, 0.0) + 2 * self.gain_error
        return largest * signal <= SMALL_PHOTON_SHARE * self.noise_std**2


def without_noise() -> NoiseReport:
    """Make the report of an image without noise, such as an unused channel."""
    nothing = Autocorrelation((0.0, 0.0), (0.0, 0.0), 0.0)
    return NoiseReport(
        model=NoiseModel(0.0, 0.0, 0.0),
        gain_error=0.0,
        offset_range=(0.0, 0.0),
        noise_std=0.0,
        mean=0.0,
        autocorrelation=nothing,
        points=(),
        misfit=0.0,
        homogeneous=1.0,
        clipped=(0.0, 0.0),
        limits=(0.0, 0.0),
        step=0.0,
    )
