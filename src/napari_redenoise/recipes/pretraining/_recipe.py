"""The recipe of the warm start: batches of noisy patches with their clean targets, and the loss."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from napari_redenoise.config import TrainingConfig
from napari_redenoise.nn import Prediction
from napari_redenoise.objectives import Sample
from napari_redenoise.recipes.pretraining._cameras import draw_camera, record_scenes

SIDE = 192
"""Side of a scene; the mean and deviation of its whole noisy picture normalise the patch."""

_FLOOR = 0.02
"""Share of the noise's variance below which it is not worth removing more of it."""


def make_batch(
    lights: Tensor, rng: np.random.Generator, *, batch_size: int, patch: int, flips: bool = True
) -> Sample:
    """Draw a batch: of every example one scene or two, a camera and one patch.

    Patches are normalised like a user's image.

    Parameters
    ----------
    lights : Tensor
        Clean scenes (N, side, side).
    rng : numpy.random.Generator
    batch_size, patch : int
    flips : bool
        Whether patches are mirrored and turned.
    """
    generator = torch.Generator(lights.device).manual_seed(int(rng.integers(2**62)))
    light = _composed(lights, rng, batch_size)
    noisy, clean = record_scenes([draw_camera(rng) for _ in range(batch_size)], light, generator)
    std, mean = (value[:, None, None] for value in torch.std_mean(noisy, (1, 2)))
    std = std.clamp(min=1e-9)
    # A user's image is larger, and a part of it often darker and of less contrast than the whole.
    mean = mean + std * _each(rng.normal(0.0, 0.4, batch_size), light)
    unit = std * _each(np.exp(rng.normal(0.15, 0.5, batch_size)), light)
    window = tuple(_within(size, patch, rng) for size in light.shape[1:])
    mirrored, quarters = flips and rng.random() < 0.5, int(rng.integers(4)) if flips else 0

    def shown(image: Tensor) -> Tensor:
        image = ((image - mean) / unit)[:, None, window[0], window[1]]
        image = image.flip(-1) if mirrored else image
        return image.rot90(quarters, (-2, -1)).contiguous()

    noisy, clean = shown(noisy), shown(clean)
    return Sample(noisy, clean, torch.ones_like(noisy))


def gain_loss(
    prediction: Prediction, sample: Sample, config: TrainingConfig
) -> tuple[Tensor, Tensor]:
    """Loss of the output, and the total with both branches.

    The logarithm of the remaining squared error over that of the noise, averaged over patches:
    that is, up to a factor, the mean gain in decibels, in which denoised images are compared. A
    patch counts as much in whatever unit it is given, and however noisy it is.
    """
    noise = ((sample.input - sample.target) ** 2).mean((1, 2, 3)) + 1e-6

    def loss(output: Tensor) -> Tensor:
        error = ((output.float() - sample.target) ** 2).mean((1, 2, 3))
        return torch.log(error / noise + _FLOOR).mean()

    main = loss(prediction.denoised)
    total = main
    for branch in (prediction.standard, prediction.equivariant):
        if branch is not None:
            total = total + config.branch_weight * loss(branch)
    return main.detach(), total


def _composed(lights: Tensor, rng: np.random.Generator, count: int) -> Tensor:
    """Scenes (count, side, side), float32: some of two, some of another contrast."""
    first, second = (rng.integers(len(lights), size=count) for _ in range(2))
    share = np.where(rng.random(count) < 0.25, rng.uniform(0.2, 0.8, count), 0.0)
    gamma = np.where(rng.random(count) < 0.4, np.exp(rng.normal(0, 0.3, count)), 1.0)
    one, other = (
        lights[torch.from_numpy(numbers).to(lights.device)].float() for numbers in (first, second)
    )
    shared = _each(share, one)
    light = (1 - shared) * one + shared * other.rot90(int(rng.integers(4)), (-2, -1))
    return light ** _each(gamma, one)


def _each(values: np.ndarray, like: Tensor) -> Tensor:
    """One number per example, to compute with (B, H, W)."""
    return torch.from_numpy(values).to(like)[:, None, None]


def _within(size: int, side: int, rng: np.random.Generator) -> slice:
    start = int(rng.integers(size - side + 1))
    return slice(start, start + side)
