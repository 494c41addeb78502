"""What is learned from: shots, the objective in the units of the patches, and its draws."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from napari_redenoise.config import NoiseConfig, ObjectiveConfig
from napari_redenoise.data import NeighbouringFrames, Normalisation, Planes, Shots, TwoImages
from napari_redenoise.errors import ConfigError
from napari_redenoise.inference import Draws
from napari_redenoise.objectives import NoiseFigures, Objective, build_objective


def shots_of(planes: Planes, second: Planes | None, config: ObjectiveConfig) -> Shots:
    """Pictures to train on: of one shot, or for Noise2Noise of two.

    Raises
    ------
    ConfigError
        When a second image is given to an objective that has no use for it.
    InputError
        When Noise2Noise has no second shot.
    """
    if config.kind != "noise2noise":
        if second is not None:
            raise ConfigError(
                f"{config.kind} learns from one image: leave the second out, or choose noise2noise"
            )
        return planes
    return NeighbouringFrames(planes) if second is None else TwoImages(planes, second)


def make_objective(config: ObjectiveConfig, normalisation: Normalisation) -> Objective:
    """Make the objective for patches that were normalised so.

    Raises
    ------
    ConfigError
        When R2R does not know the noise, or not that of every channel.
    """
    noise = None if config.noise is None else figures(config.noise, normalisation)
    return build_objective(config, noise)


def figures(noise: NoiseConfig, normalisation: Normalisation) -> NoiseFigures:
    """Noise in grey levels, turned into the units of normalised patches."""
    mean, std = (np.asarray(values) for values in (normalisation.mean, normalisation.std))

    def per_channel(values: tuple[float, ...]) -> npt.NDArray[np.float64]:
        if len(values) not in (1, len(mean)):
            raise ConfigError(
                f"the noise of {len(values)} channels was given and the image has {len(mean)}: "
                "give one gain, offset and read noise, or one of each per channel"
            )
        return np.broadcast_to(np.asarray(values, np.float64), mean.shape)

    gain, offset, read_noise = map(per_channel, (noise.gain, noise.offset, noise.read_noise))
    return NoiseFigures(
        tuple((gain / std).tolist()),
        tuple(((offset - mean) / std).tolist()),
        tuple((read_noise / std).tolist()),
    )


def draws_of(objective: Objective, count: int, seed: int) -> Draws:
    """What the network is shown of a picture: several recorrupted ones, from a seed."""
    generator = torch.Generator().manual_seed(seed)

    def draws(image: torch.Tensor) -> list[torch.Tensor]:
        return [objective.recorrupt(image, generator) for _ in range(count)]

    return draws
