"""The recipe of the pretraining: batches of noisy patches with clean targets, and the loss."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from napari_redenoise.config import TrainingConfig
from napari_redenoise.nn import Prediction
from napari_redenoise.objectives import Sample
from napari_redenoise.recipes.pretraining._cameras import draw_camera, record_scenes

SIDE = 192
"""Pixels; side of a scene, whose noisy image determines the normalisation of its patch."""

_FLOOR = 0.02
"""Remaining share of the noise variance below which the loss hardly decreases."""


def make_batch(
    lights: Tensor, rng: np.random.Generator, *, batch_size: int, patch: int, flips: bool = True
) -> Sample:
    """Draw a batch; every example has one or two scenes, a camera and one patch.

    Patches are normalised like an image of a user.

    Parameters
    ----------
    lights : Tensor
        Clean scenes (N, side, side).
    rng : numpy.random.Generator
    batch_size, patch : int
    flips : bool
        Whether patches are flipped and rotated.

    Returns
    -------
    Sample
    """
    generator = torch.Generator(lights.device).manual_seed(int(rng.integers(2**62)))
    light = _composed(lights, rng, batch_size)
    noisy, clean = record_scenes([draw_camera(rng) for _ in range(batch_size)], light, generator)
    std, mean = (value[:, None, None] for value in torch.std_mean(noisy, (1, 2)))
    std = std.clamp(min=1e-9)
    # An image of a user is larger, and a patch is often darker and of lower contrast.
    mean = mean + std * _each(rng.normal(0.0, 0.4, batch_size), light)
    unit = std * _each(np.exp(rng.normal(0.15, 0.5, batch_size)), light)
    window = tuple(_within(size, patch, rng) for size in light.shape[1:])
    is_flipped, quarters = flips and rng.random() < 0.5, int(rng.integers(4)) if flips else 0

    def normalised(image: Tensor) -> Tensor:
        image = ((image - mean) / unit)[:, None, window[0], window[1]]
        image = image.flip(-1) if is_flipped else image
        return image.rot90(quarters, (-2, -1)).contiguous()

    noisy, clean = normalised(noisy), normalised(clean)
    return Sample(noisy, clean, torch.ones_like(noisy))


def gain_loss(
    prediction: Prediction, sample: Sample, config: TrainingConfig
) -> tuple[Tensor, Tensor]:
    """Loss of the output, and the total with both branches.

    The logarithm of the ratio of remaining squared error to noise variance, averaged over patches.
    Up to a factor this is the mean gain in dB. It depends neither on the unit nor on the noise of a
    patch.

    Parameters
    ----------
    prediction : Prediction
    sample : Sample
    config : TrainingConfig

    Returns
    -------
    output, total : Tensor
        The first is detached.
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
    """Scenes (count, side, side), float32; some combine two, some change the contrast."""
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
    """One number per example, for arithmetic with (B, H, W)."""
    return torch.from_numpy(values).to(like)[:, None, None]


def _within(size: int, side: int, rng: np.random.Generator) -> slice:
    start = int(rng.integers(size - side + 1))
    return slice(start, start + side)
