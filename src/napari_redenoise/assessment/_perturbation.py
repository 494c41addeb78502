"""Small perturbations by photon thinning, to measure the noise in a denoised image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_redenoise.noise import NoiseModel

Floats = npt.NDArray[np.float64]

_RING = np.ones((5, 5))
_RING[2, 2] = 0
_RING /= 24


def draw_photon_loss(
    noisy: Floats,
    noise: NoiseModel,
    share: float,
    rng: np.random.Generator,
    *,
    excess: float = 1.0,
) -> Floats:
    """Draw the loss of a plane from which a share of the photons is removed, minus its mean.

    Parameters
    ----------
    noisy : (rows, columns)
    noise : NoiseModel
    share : float
        Much less than 1.
    rng : numpy.random.Generator
    excess : float
        As of `Skewness`: 1 for photons, 1.5 behind an electron multiplier.

    Returns
    -------
    ndarray
        Mean 0; variance and third cumulant are ``share`` times those of the noise.

    Notes
    -----
    For a small share, the number of removed photons follows a Poisson distribution. Events of
    ``excess * gain`` grey levels are drawn ``excess`` times less often, which keeps the variance
    and gives the skewness of the noise. Where read noise prevails, the mean of the surrounding
    pixels estimates the photons.
    """
    around = ndimage.convolve(noisy, _RING, mode="nearest")
    light = noise.gain * np.maximum(around - noise.offset, 0)
    whole = light + noise.read_noise**2
    photons = np.divide(light, whole, out=np.ones_like(light), where=whole > 0)
    follows = around + photons * (noisy - around)
    # Below the offset there are no photons to remove: draw less read noise instead.
    dark = noise.gain * np.minimum(follows - noise.offset, 0)
    read = np.sqrt(share * np.maximum(noise.read_noise**2 + dark, 0))
    lost = read * rng.standard_normal(noisy.shape)
    if noise.gain == 0:
        return np.asarray(lost)
    event = excess * noise.gain
    rate = share / excess * np.maximum(follows - noise.offset, 0) / event
    return np.asarray(lost + event * (rng.poisson(rate) - rate))
