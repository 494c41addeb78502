"""Noise as cameras make it, for samples, tests and training on clean pictures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def poisson_gaussian(
    photons: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    gain: float = 1.0,
    offset: float = 0.0,
    read_noise: float = 0.0,
) -> npt.NDArray[np.float64]:
    """Grey levels of a camera that sees a light: ``gain * Poisson(photons) + offset + read``.

    Parameters
    ----------
    photons : array
        Expected photons per pixel, not negative.
    rng : numpy.random.Generator
    gain : float
        Grey levels per photon.
    offset : float
        Grey level without light.
    read_noise : float
        Standard deviation of the Gaussian read noise, in grey levels.

    Notes
    -----
    The variance at an expected grey level m is ``gain * (m - offset) + read_noise**2``
    (Foi et al., IEEE TIP 2008).
    """
    counts = rng.poisson(np.asarray(photons, np.float64))
    return np.asarray(gain * counts + offset + rng.normal(0.0, read_noise, counts.shape))


def gaussian(
    clean: npt.ArrayLike, rng: np.random.Generator, *, sigma: float
) -> npt.NDArray[np.float64]:
    """Add white Gaussian noise of standard deviation ``sigma`` to grey levels of any shape."""
    levels = np.asarray(clean, np.float64)
    return np.asarray(levels + rng.normal(0.0, sigma, levels.shape))
