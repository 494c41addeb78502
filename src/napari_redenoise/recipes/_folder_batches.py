"""Batches of a training on a folder, each made from its number alone."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_redenoise.config import FolderConfig, NoiseConfig
from napari_redenoise.data import ImageFolder, Normalisation, Window
from napari_redenoise.errors import InputError
from napari_redenoise.model import normalise_noise
from napari_redenoise.objectives import PatchNoise
from napari_redenoise.recipes._added_noise import Image, noise_config, with_noise

_LEAST_LEVEL = 1e-3
"""Of noise; R2R divides by it."""


class FolderBatch(NamedTuple):
    """Noisy crops (B, shots * channels, H, W), normalised, and the noise that was added."""

    noisy: Tensor
    noise: PatchNoise


@dataclass(frozen=True)
class FolderBatches:
    """Makes the batch of any step, the same whenever and in whichever thread it is made.

    Parameters
    ----------
    images : ImageFolder
    folder : FolderConfig
    normalisation : Normalisation
    size : int
        Crops per batch.
    side : int
        Of the crops, in pixels.
    seed : int
    is_paired : bool
        Whether a crop has a second shot.
    pinned : bool
        Whether batches lie in memory from which a CUDA device copies directly.

    Notes
    -----
    Every crop draws from a generator of its own, which follows from the seed, the epoch and the
    place in the epoch.
    """

    images: ImageFolder
    folder: FolderConfig
    normalisation: Normalisation
    size: int
    side: int
    seed: int
    is_paired: bool
    pinned: bool = False

    @property
    def per_epoch(self) -> int:
        """Batches in which every image is shown once; the last one is filled up."""
        return -(-len(self.images) // self.size)

    def __call__(self, step: int) -> FolderBatch:
        """Make the batch of a step, counted from 0 over all epochs."""
        epoch, within = divmod(step, self.per_epoch)
        order = _order(self.seed, epoch, len(self.images))
        crops, noises = [], []
        for place in range(within * self.size, (within + 1) * self.size):
            rng = _generator(self.seed, epoch, place)
            clean = self._crop(int(order[place % len(order)]), rng)
            level = rng.uniform(0, self.folder.noise_param) or _LEAST_LEVEL
            noise = noise_config(self.folder.noise_type, level)
            crops.append(self.normalisation.apply(np.concatenate(self._shots(clean, noise, rng))))
            noises.append(normalise_noise(noise, self.normalisation))
        return FolderBatch(self._stacked(crops), PatchNoise.of_patches(noises))

    def _crop(self, number: int, rng: np.random.Generator) -> Image:
        """Of an image, or of the next one that can be read."""

        def window(*shape: int) -> Window:
            return _random_window(shape, self.side, rng)

        for candidate in (*range(number, len(self.images)), *range(number)):
            with suppress(InputError):
                return self.images.read(candidate, window)
        raise InputError(
            f"not one image in {self.images.root} can be read any more: check the folder, then "
            "resume the training"
        )

    def _shots(self, clean: Image, noise: NoiseConfig, rng: np.random.Generator) -> list[Image]:
        shots = [with_noise(clean, noise, rng)]
        if self.is_paired:
            second = clean if self.folder.clean_targets else with_noise(clean, noise, rng)
            shots.append(second)
        return shots

    def _stacked(self, crops: list[Image]) -> Tensor:
        """As one tensor, cut to the smallest of them."""
        height, width = (min(crop.shape[axis] for crop in crops) for axis in (1, 2))
        shape = (len(crops), len(crops[0]), height, width)
        stacked = torch.empty(shape, dtype=torch.float32, pin_memory=self.pinned)
        np.stack([crop[:, :height, :width] for crop in crops], out=stacked.numpy())
        return stacked


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    """Order of the images in an epoch."""
    return _generator(seed, epoch).permutation(count)


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _random_window(shape: tuple[int, ...], side: int, rng: np.random.Generator) -> Window:
    """A random square, as large as the image allows."""
    sizes = [min(side, size) for size in shape]
    starts = [int(rng.integers(whole - size + 1)) for whole, size in zip(shape, sizes, strict=True)]
    top, left = (slice(start, start + size) for start, size in zip(starts, sizes, strict=True))
    return top, left
