"""Synthetic camera noise for samples, tests and training on clean images."""

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
    """Simulate the grey levels of a camera: ``gain * Poisson(photons) + offset + read noise``.

    Parameters
    ----------
    photons : array
        Expected photons per pixel, not negative.
    rng : numpy.random.Generator
    gain : float
        Grey levels per photon.
    offset : float
        Grey level without signal.
    read_noise : float
        Standard deviation of the Gaussian read noise, in grey levels.

    Notes
    -----
    The variance at an expected grey level m is ``gain * (m - offset) + read_noise**2``
    (Foi et al., IEEE TIP 2008).
    """
    counts = rng.poisson(np.asarray(photons, np.float64))
    return np.asarray(gain * counts + offset + rng.normal(0.0, read_noise, counts.shape))
