"""What is learned from: shots, the objective in the units of the patches, and its draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from napari_redenoise.config import Config, NoiseConfig, ObjectiveConfig
from napari_redenoise.data import (
    ArrayLike,
    NeighbouringFrames,
    Normalisation,
    Patches,
    Planes,
    Shots,
    TwoImages,
    as_array,
    default_axes,
)
from napari_redenoise.errors import ConfigError, InputError
from napari_redenoise.inference import Draws
from napari_redenoise.objectives import NoiseFigures, Objective, Sample, build_objective


@dataclass(frozen=True)
class Material:
    """Images to train on.

    Attributes
    ----------
    planes : Planes
        The image, with the region to learn from.
    second : Planes or None
        Another shot of it.
    others : tuple of Planes
        Further images.
    """

    planes: Planes
    second: Planes | None = None
    others: tuple[Planes, ...] = ()

    @classmethod
    def of(
        cls,
        image: ArrayLike,
        axes: str | None,
        second: ArrayLike | None,
        region: ArrayLike | None,
        others: Sequence[ArrayLike],
    ) -> Material:
        """Check what was given, without reading a pixel; see `Redenoiser.fit_events`.

        Raises
        ------
        InputError
            When an image cannot be trained on, or not with the others.
        ConfigError
            When other images are given together with a second shot or a region.
        """
        planes = as_planes(image, axes, region)
        if len(others) and (second is not None or region is not None):
            raise ConfigError(
                "a second shot or a region belongs to one image: leave it out to train on several, "
                "or leave the others out"
            )
        more = tuple(as_planes(other, planes.axes) for other in others)
        for other in more:
            if other.channels != planes.channels:
                raise InputError(
                    f"the images to train on have {planes.channels} and {other.channels} "
                    "channel(s): choose others of the same kind"
                )
        return cls(planes, None if second is None else as_planes(second, planes.axes), more)

    def changed(self, change: Callable[[Planes], Planes]) -> Material:
        """The same of images that are changed, each by itself."""
        second = None if self.second is None else change(self.second)
        return Material(change(self.planes), second, tuple(map(change, self.others)))

    def shots(self, config: ObjectiveConfig) -> tuple[Shots, ...]:
        """Pictures to train on, of every image: see `shots_of`."""
        first = shots_of(self.planes, self.second, config)
        return (first, *(shots_of(planes, None, config) for planes in self.others))


def as_planes(image: ArrayLike, axes: str | None, region: ArrayLike | None = None) -> Planes:
    """See what a user gives as planes; `as_array` says what that may be.

    Raises
    ------
    InputError
        When array, axes and region do not fit.
    """
    image = as_array(image)
    return Planes(image, axes or default_axes(len(image.shape)), region)


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


def usable_alone(objective: Objective) -> Callable[[Patches, torch.Generator], Sample]:
    """The objective for patches; only their usable pixels are compared."""

    def compared(patches: Patches, generator: torch.Generator) -> Sample:
        sample = objective(patches.noisy, generator)
        if patches.usable is None:
            return sample
        usable = patches.usable.to(sample.mask)
        if objective.scale > 1:
            # Of a smaller picture: where all pixels that make one of it are usable.
            usable = -functional.max_pool2d(-usable, objective.scale)
        return sample._replace(mask=sample.mask * usable)

    return compared


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

    gain, offset, read_noise, skewed = map(
        per_channel, (noise.gain, noise.offset, noise.read_noise, noise.skewed)
    )
    return NoiseFigures(
        tuple((gain / std).tolist()),
        tuple(((offset - mean) / std).tolist()),
        tuple((read_noise / std).tolist()),
        tuple(skewed.tolist()),
    )


def shows_draws(config: Config) -> bool:
    """Whether a network is shown recorrupted pictures when it denoises, and not the picture itself.

    One that was trained by R2R from random weights knows nothing else. One that began with shipped
    weights knows pictures as they are, and knows them better so after an adaptation as well.
    """
    return config.objective.kind == "r2r" and config.training.start == "scratch"


def draws_of(objective: Objective, count: int, seed: int) -> Draws:
    """What the network is shown of a picture: several recorrupted ones, from a seed."""
    generator = torch.Generator().manual_seed(seed)

    def draws(image: torch.Tensor) -> list[torch.Tensor]:
        return [objective.recorrupt(image, generator) for _ in range(count)]

    return draws
