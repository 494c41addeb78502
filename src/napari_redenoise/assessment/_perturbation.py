"""A little of the noise drawn anew, to see how much of it a denoiser lets through."""

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
    """Draw what a plane loses where a share of its photons is taken away, less the mean of it.

    Parameters
    ----------
    noisy : (rows, columns)
    noise : NoiseModel
    share : float
        Much less than 1.
    rng : numpy.random.Generator
    excess : float
        As of `Skewness`: 1 for photons that are all alike, 1.5 behind an electron multiplier.

    Returns
    -------
    ndarray
        Of mean 0, and variance and third cumulant ``share`` times those of the noise.

    Notes
    -----
    Photon thinning by a small share: how many photons go is then a Poisson number. Events of
    ``excess * gain`` grey levels go ``excess`` times less often, which keeps the variance and has
    the skewness of the noise. Read noise does not follow the pixel: where it prevails, the mean of
    the pixels around stands for the light.
    """
    around = ndimage.convolve(noisy, _RING, mode="nearest")
    light = noise.gain * np.maximum(around - noise.offset, 0)
    whole = light + noise.read_noise**2
    photons = np.divide(light, whole, out=np.ones_like(light), where=whole > 0)
    follows = around + photons * (noisy - around)
    # Below the offset there is nothing to take away, and as much less of the read noise is drawn.
    dark = noise.gain * np.minimum(follows - noise.offset, 0)
    read = np.sqrt(share * np.maximum(noise.read_noise**2 + dark, 0))
    lost = read * rng.standard_normal(noisy.shape)
    if noise.gain == 0:
        return np.asarray(lost)
    event = excess * noise.gain
    rate = share / excess * np.maximum(follows - noise.offset, 0) / event
    return np.asarray(lost + event * (rng.poisson(rate) - rate))
