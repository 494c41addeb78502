"""Batches for training on folders, each determined by its number."""

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
from napari_redenoise.recipes._added_noise import Image, add_noise, noise_config

_LEAST_LEVEL = 1e-3
"""Least noise level; R2R divides by it."""


class FolderBatch(NamedTuple):
    """Normalised noisy crops (B, shots * channels, H, W), and the added noise."""

    noisy: Tensor
    noise: PatchNoise


@dataclass(frozen=True)
class FolderBatches:
    """Makes the batch of any step, reproducibly in any order and thread.

    Parameters
    ----------
    images : ImageFolder
    folder : FolderConfig
    normalisation : Normalisation
    size : int
        Crops per batch.
    side : int
        Side of the crops in pixels.
    seed : int
    is_paired : bool
        Whether crops have a second shot.
    is_pinned : bool
        Whether batches use pinned memory, for CUDA devices.

    Notes
    -----
    Every crop has its own generator, determined by the seed, the epoch and the place in the epoch.
    """

    images: ImageFolder
    folder: FolderConfig
    normalisation: Normalisation
    size: int
    side: int
    seed: int
    is_paired: bool
    is_pinned: bool = False

    @property
    def per_epoch(self) -> int:
        """Batches per epoch; the last one is filled up with repeated images."""
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
        """Crop an image, or the next one that can be read."""

        def window(*shape: int) -> Window:
            return _random_window(shape, self.side, rng)

        for candidate in (*range(number, len(self.images)), *range(number)):
            with suppress(InputError):
                return self.images.read(candidate, window)
        raise InputError(
            f"no image in {self.images.root} can be read any more: check the folder, then resume "
            "the training"
        )

    def _shots(self, clean: Image, noise: NoiseConfig, rng: np.random.Generator) -> list[Image]:
        shots = [add_noise(clean, noise, rng)]
        if self.is_paired:
            second = clean if self.folder.clean_targets else add_noise(clean, noise, rng)
            shots.append(second)
        return shots

    def _stacked(self, crops: list[Image]) -> Tensor:
        """Stack crops, cut to the smallest of them."""
        height, width = (min(crop.shape[axis] for crop in crops) for axis in (1, 2))
        shape = (len(crops), len(crops[0]), height, width)
        stacked = torch.empty(shape, dtype=torch.float32, pin_memory=self.is_pinned)
        np.stack([crop[:, :height, :width] for crop in crops], out=stacked.numpy())
        return stacked


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    """Order of the images in an epoch."""
    return _generator(seed, epoch).permutation(count)


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _random_window(shape: tuple[int, ...], side: int, rng: np.random.Generator) -> Window:
    """A random square, at most as large as the image."""
    sizes = [min(side, size) for size in shape]
    starts = [int(rng.integers(whole - size + 1)) for whole, size in zip(shape, sizes, strict=True)]
    top, left = (slice(start, start + size) for start, size in zip(starts, sizes, strict=True))
    return top, left
