"""Synthetic noise for clean images with grey levels from 0 to 255."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_redenoise.config import NoiseConfig, NoiseKind
from napari_redenoise.noise import poisson_gaussian

Image = npt.NDArray[np.float32]


def noise_config(kind: NoiseKind, level: float) -> NoiseConfig:
    """Configure noise of one level.

    Parameters
    ----------
    kind : NoiseKind
    level : float
        Standard deviation, gain, or both, see `FolderConfig`.
    """
    gain = 0.0 if kind == "gaussian" else level
    read_noise = 0.0 if kind == "poisson" else level
    return NoiseConfig(gain=(gain,), read_noise=(read_noise,))


def add_noise(clean: Image, noise: NoiseConfig, rng: np.random.Generator) -> Image:
    """Add noise to a clean image."""
    (gain,), (read_noise,) = noise.gain, noise.read_noise
    if gain == 0:
        return np.asarray(clean + rng.normal(0.0, read_noise, clean.shape), np.float32)
    recorded = poisson_gaussian(clean / gain, rng, gain=gain, read_noise=read_noise)
    return np.asarray(recorded, np.float32)
