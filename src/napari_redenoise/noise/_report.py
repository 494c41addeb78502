"""What is known of the noise of an image, in grey levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_redenoise.noise._json import Stored
from napari_redenoise.noise._thresholds import (
    LITTLE_LIGHT,
    ROUNDING,
    SIGNIFICANT,
    STANDARD_ERRORS,
    STRONG_RESIDUAL,
)


@dataclass(frozen=True)
class NoiseModel:
    """Poisson-Gaussian noise: ``variance(m) = gain * (m - offset) + read_noise**2``.

    Parameters
    ----------
    gain : float
        Grey levels per photon, or per whatever the detector counts; 0 when the noise does not
        grow with the light.
    offset : float
        Grey level without light.
    read_noise : float
        Standard deviation of the noise without light, in grey levels.

    Notes
    -----
    ``(y - offset) / gain`` are photon counts: their variance is their expectation plus
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
        light = np.asarray(level, np.float64) - self.offset
        return np.asarray(np.maximum(self.gain * light + self.read_noise**2, 0.0))

    def without_read_noise(self) -> NoiseModel:
        """The same variances by photons alone, if there are any: offset where they are zero."""
        if self.gain == 0:
            return self
        return NoiseModel(self.gain, self.offset - self.read_noise**2 / self.gain, 0.0)

    def std(self, level: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Standard deviation of the noise at expected grey levels of any shape."""
        return np.sqrt(self.variance(level))


@dataclass(frozen=True)
class Autocorrelation:
    """How much the noise of a pixel has in common with that of its neighbours.

    Parameters
    ----------
    y, x : tuple of float
        Correlation coefficients at lags 1, 2, ... along an axis; 0 for white noise.
    error : float
        Standard error of the first coefficients; farther ones rest on fewer pairs.
    rows, columns : float
        Standard deviation of offsets shared by whole rows (or columns), as a share of the
        standard deviation of the noise; 0 where chance explains them.
    """

    y: tuple[float, ...]
    x: tuple[float, ...]
    error: float
    rows: float = 0.0
    columns: float = 0.0

    @property
    def has_line_offsets(self) -> bool:
        """Whether rows or columns have offsets of their own."""
        return max(self.rows, self.columns) > SIGNIFICANT

    @property
    def least(self) -> float:
        """Smallest coefficient that is no chance."""
        return max(SIGNIFICANT, STANDARD_ERRORS * self.error)

    @property
    def reach(self) -> tuple[int, int]:
        """Lags along y and x up to which the noise is correlated without a gap, lines left out."""
        reach_y, reach_x = (
            next((lag for lag, value in enumerate(along) if abs(value) < self.least), len(along))
            for along in self.without_lines()
        )
        return reach_y, reach_x

    def without_lines(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Coefficients along y and x, without what whole lines share, at every lag alike."""
        return _without_lines(self.y, self.columns), _without_lines(self.x, self.rows)


def _without_lines(along: tuple[float, ...], share: float) -> tuple[float, ...]:
    """Coefficients along an axis, without those of lines along it; their share of the noise."""
    common = float(np.median(along[len(along) // 2 :])) if share > SIGNIFICANT else 0.0
    # Not what would be left of noise that fades towards the last lags.
    if not 0 < common < 1 or common > 1.5 * abs(along[0]):
        return along
    return tuple((value - common) / (1 - common) for value in along)


@dataclass(frozen=True)
class VariancePoint:
    """Mean level and mean noise variance of the blocks of one range of grey levels."""

    level: float
    variance: float
    blocks: int


@dataclass(frozen=True)
class Skewness:
    """The line ``excess * gain**2 * (m - offset)`` of the third cumulants over the level m.

    Parameters
    ----------
    offset, offset_error : float
        Grey level without light, and its standard error.
    excess : float
        1 for photons that are all alike; 1.5 behind an electron multiplier; 1 is taken where it
        is within three standard errors.
    error : float
        Standard error of the excess.
    """

    offset: float
    offset_error: float
    excess: float
    error: float


@dataclass(frozen=True)
class ResidualNoise:
    """Noise by the residual (noisy minus denoised) of a denoiser, in a window of an image.

    A second measurement, which needs no homogeneous places.

    Parameters
    ----------
    ratio : float
        RMS of the residual over the noise standard deviation of the report: about 1 where the
        denoiser knows such structure.
    noise : NoiseModel or None
        The line through its variances, with the darkest level as offset; None where there was too
        little to fit one to, and to measure what follows.
    correlation : (float, float)
        At lag 1 along y and along x.
    below : float
        Share of the pixels that are darker than photons alone could make them by that line.
    """

    ratio: float
    noise: NoiseModel | None
    correlation: tuple[float, float]
    below: float

    @property
    def is_strong(self) -> bool:
        """Whether it holds more than the noise of the report."""
        return self.ratio > STRONG_RESIDUAL


@dataclass(frozen=True)
class NoiseReport(Stored):
    """Everything that was measured.

    Parameters
    ----------
    model : NoiseModel
    gain_error : float
        Standard error of the gain.
    offset_range : (float, float)
        Every offset in it fits, two standard errors of the line included: at the lower end there
        is no read noise, at the upper end no light in the darkest region. The variances alone do
        not tell which is true.
    noise_std : float
        Root mean square of the noise over the image, in grey levels.
    mean : float
        Mean grey level.
    autocorrelation : Autocorrelation
    points : tuple of VariancePoint
        What the line was fitted to, by level.
    misfit : float
        Typical relative distance of a point's variance from the line, 0 for a perfect line.
    homogeneous : float
        Share of the blocks without visible structure. The estimate rests on these, or where they
        tell too little, on the calmest ones of every level.
    clipped : (float, float)
        Share of the pixels that were cut off at the darkest and at the brightest level.
    limits : (float, float)
        Darkest and brightest grey level.
    step : float
        Distance of neighbouring grey levels that occur; 0 for continuous values.
    frames : int
        Repeated acquisitions that were compared; 1 when the estimate is from single images.
    slope : float
        Growth of the variance with the level as it was measured; ``model.gain`` is 0 instead where
        it is within three standard errors.
    below : float
        Share of the pixels that are darker than the lower end of ``offset_range``, where photons
        alone put none.
    skewness : Skewness or None
        What the asymmetry of the noise tells of the level without light, where it tells anything.
    residual : ResidualNoise or None
        The noise by the residual of a denoiser, where one was asked.
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

    @property
    def is_clean(self) -> bool:
        """Whether there is no more than the rounding of the arithmetic."""
        return self.noise_std <= ROUNDING * max(abs(limit) for limit in self.limits)

    @property
    def read_noise_range(self) -> tuple[float, float]:
        """Read noise at the ends of ``offset_range``, in grey levels, up to that of no light."""
        if self.model.gain == 0:
            return self.model.read_noise if self.gain_is_known else 0.0, self.model.read_noise
        low, high = np.sqrt(self.model.variance(self.offset_range))
        return float(low), float(high)

    @property
    def gain_is_known(self) -> bool:
        """Whether the grey levels differ enough to tell photon noise from other noise.

        Notes
        -----
        A gain of 0 is known where light makes less than half of the variance, even if the gain
        is two standard errors above the measured slope and the level without light as low as it
        may be: 0 or, where a background may have been subtracted, twice as far below the darkest
        level as the levels of the image differ. Photons alone would need at least twice that gain.
        """
        if self.model.gain > 0:
            return True
        levels = [point.level for point in self.points]
        if not levels:
            return True
        subtracted = self.model.offset - 2 * (max(levels) - min(levels))
        light = self.mean - (0.0 if self.limits[0] > 0 else subtracted)
        largest = max(self.slope, 0.0) + 2 * self.gain_error
        return largest * light <= LITTLE_LIGHT * self.noise_std**2


def without_noise() -> NoiseReport:
    """The report of an image that has none, such as an unused channel."""
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
