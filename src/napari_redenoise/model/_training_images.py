"""The images, the objective and the R2R draws of a training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from napari_redenoise.config import Config, NetworkConfig, NoiseConfig, ObjectiveConfig
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
    representative_runs,
    representative_subset,
)
from napari_redenoise.errors import ConfigError, InputError
from napari_redenoise.inference import Draws
from napari_redenoise.model._corrections import Corrections, correct
from napari_redenoise.model._noise_reports import noise_reports
from napari_redenoise.noise import NoiseReport
from napari_redenoise.objectives import Objective, PatchNoise, Sample, build_objective

MAX_CORRECTED = 2**20
"""Pixels that are trained on after a correction, which takes up to three predictions."""


@dataclass(frozen=True)
class TrainingImages:
    """Images to train on.

    Attributes
    ----------
    planes : Planes
        Image with its training region.
    target : Planes or None
        Another shot of the scene.
    images : tuple of Planes
        Further images.
    """

    planes: Planes
    target: Planes | None = None
    images: tuple[Planes, ...] = ()
    _corrected: dict[tuple[Corrections, bool], TrainingImages] = field(
        default_factory=dict, compare=False, repr=False
    )

    @classmethod
    def of(
        cls,
        image: ArrayLike,
        axes: str | None,
        target: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        images: Sequence[ArrayLike] = (),
    ) -> TrainingImages:
        """Check the images without reading a pixel; see `Redenoiser.fit_events`.

        Raises
        ------
        InputError
            When an image cannot be trained on, or not with the others.
        ConfigError
            When further images are given together with a target or a training region.
        """
        planes = as_planes(image, axes, mask)
        if len(images) and (target is not None or mask is not None):
            raise ConfigError(
                "a target or a training region belongs to one image: leave it out to train on "
                "several images, or leave the further images out"
            )
        more = tuple(as_planes(other, planes.axes) for other in images)
        for other in more:
            if other.channels != planes.channels:
                raise InputError(
                    f"the images to train on have {planes.channels} and {other.channels} "
                    "channel(s): choose others of the same kind"
                )
        return cls(planes, None if target is None else as_planes(target, planes.axes), more)

    @property
    def all(self) -> tuple[Planes, ...]:
        """The image and the further images."""
        return (self.planes, *self.images)

    def with_context(self, network: NetworkConfig) -> TrainingImages:
        """Return the same images, with the neighbours that a network receives."""
        context = network.neighbours // 2
        if self.planes.context == context:
            return self
        images = tuple(planes.with_context(context) for planes in self.images)
        return TrainingImages(self.planes.with_context(context), self.target, images)

    def corrected(
        self,
        corrections: Corrections,
        device: torch.device,
        should_stop: Callable[[], bool] | None = None,
        *,
        whole: bool = False,
    ) -> TrainingImages:
        """Correct the images, once for every argument.

        Only some of the pixels of large images are kept, unless ``whole``: Noise2Noise needs
        successive frames. Where the network receives neighbours, these are consecutive planes.

        Raises
        ------
        Interrupted
            When stopped.
        """
        if (corrections, whole) not in self._corrected:

            def corrected(planes: Planes) -> Planes:
                return correct(_some(planes, whole), corrections, device, should_stop)

            target = None if self.target is None else corrected(self.target)
            images = TrainingImages(
                corrected(self.planes), target, tuple(map(corrected, self.images))
            )
            self._corrected[corrections, whole] = images
        return self._corrected[corrections, whole]

    def noise(self, *, ask_denoiser: bool = True, always: bool = False) -> tuple[NoiseReport, ...]:
        """Measure the noise of the image: see `noise_reports`."""
        return noise_reports(self.planes, ask_denoiser=ask_denoiser, always=always)

    def shots(self, config: ObjectiveConfig) -> tuple[Shots, ...]:
        """Make the shots of every image: see `make_shots`."""
        first = make_shots(self.planes, self.target, config)
        return (first, *(make_shots(planes, None, config) for planes in self.images))


def _some(planes: Planes, whole: bool) -> Planes:
    """What is corrected of an image; the correction of every plane is measured once."""
    if whole or planes.pixels <= MAX_CORRECTED:
        return planes
    if planes.context and planes.context_axes:
        return representative_runs(planes, MAX_CORRECTED)
    return representative_subset(planes, MAX_CORRECTED)


def as_planes(image: ArrayLike, axes: str | None, mask: ArrayLike | None = None) -> Planes:
    """Convert an image to planes; see `as_array` for what it may be."""
    image = as_array(image)
    return Planes(image, axes or default_axes(len(image.shape)), mask)


def make_shots(planes: Planes, target: Planes | None, config: ObjectiveConfig) -> Shots:
    """Make the shots to train on: one, or two for Noise2Noise.

    Raises
    ------
    ConfigError
        When the objective does not use a target.
    InputError
        When Noise2Noise has no target.
    """
    if not config.needs_target:
        if target is not None:
            raise ConfigError(
                f"{config.kind} trains on one image: leave the target out, or choose noise2noise"
            )
        return planes
    return NeighbouringFrames(planes) if target is None else TwoImages(planes, target)


def make_objective(config: ObjectiveConfig, normalisation: Normalisation) -> Objective:
    """Make the objective for normalised patches.

    Raises
    ------
    ConfigError
        When R2R has no noise model, or not one per channel.
    """
    noise = None if config.noise is None else normalise_noise(config.noise, normalisation)
    return build_objective(config, noise)


def compare_usable(objective: Objective) -> Callable[[Patches, torch.Generator], Sample]:
    """Restrict the comparison of an objective to usable pixels."""

    def compared(patches: Patches, generator: torch.Generator) -> Sample:
        sample = objective(patches.noisy, generator)
        if patches.context is not None:
            # Neighbours are shown as they are: their noise is not that of the target.
            sample = sample._replace(input=torch.cat([sample.input, patches.context], 1))
        if patches.usable is None:
            return sample
        usable = patches.usable.to(sample.mask)
        if objective.scale > 1:
            # A pixel of the smaller image is usable where all of its pixels are.
            usable = -functional.max_pool2d(-usable, objective.scale)
        return sample._replace(mask=sample.mask * usable)

    return compared


def normalise_noise(noise: NoiseConfig, normalisation: Normalisation) -> PatchNoise:
    """Convert noise in grey levels to the units of normalised patches."""
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
    return PatchNoise(
        tuple((gain / std).tolist()),
        tuple(((offset - mean) / std).tolist()),
        tuple((read_noise / std).tolist()),
        tuple(skewed.tolist()),
    )


def should_recorrupt(config: Config) -> bool:
    """Whether a network denoises recorrupted images instead of the image itself.

    R2R from random weights trains on nothing else. Fine-tuned networks denoise the image better.
    """
    return config.objective.draws_noise and config.training.start == "random"


def make_draws(objective: Objective, count: int, seed: int) -> Draws:
    """Make a function that recorrupts an image several times, from a seed."""
    generator = torch.Generator().manual_seed(seed)

    def draws(image: torch.Tensor) -> list[torch.Tensor]:
        return [objective.recorrupt(image, generator) for _ in range(count)]

    return draws
