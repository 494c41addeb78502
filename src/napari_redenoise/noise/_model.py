"""What is known of the noise of an image, in grey levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


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


@dataclass(frozen=True)
class VariancePoint:
    """Mean level and mean noise variance of the blocks of one range of grey levels."""

    level: float
    variance: float
    blocks: int


@dataclass(frozen=True)
class NoiseReport:
    """Everything that was measured.

    Parameters
    ----------
    model : NoiseModel
    gain_error : float
        Standard error of the gain.
    offset_range : (float, float)
        Every offset in it fits equally well: at the lower end there is no read noise, at the
        upper end no light in the darkest region.
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

    @property
    def gain_is_known(self) -> bool:
        """Whether the grey levels differ enough to tell photon noise from other noise."""
        if self.model.gain > 0:
            return True
        # The gain with which photons alone would make this noise.
        largest = self.noise_std**2 / (self.mean - self.limits[0])
        return 2 * self.gain_error <= largest
