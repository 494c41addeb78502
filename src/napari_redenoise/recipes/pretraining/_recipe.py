"""The recipe of the pretraining: batches of noisy patches with clean targets, and the loss."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from napari_redenoise.objectives import Sample
from napari_redenoise.recipes.pretraining._cameras import Camera, draw_camera, record_scenes
from napari_redenoise.recipes.pretraining._sequences import sequences

SIDE = 192
"""Pixels; side of a scene, whose noisy image determines the normalisation of its patch."""

CORRELATED = 0.2
"""Share of sequences whose noise is correlated over several pixels."""

TYPICAL = 0.3
"""Share of sequences with the normalisation of their median frame.

All planes of a stack have the same, and one of them may be much brighter than the others.
"""

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


def make_stack_batch(
    lights: Tensor, rng: np.random.Generator, *, batch_size: int, patch: int, context: int
) -> Sample:
    """Draw a batch of frames or planes with their neighbours.

    Parameters
    ----------
    lights : Tensor
        Clean scenes (N, side, side).
    rng : numpy.random.Generator
    batch_size, patch : int
    context : int
        Neighbours on either side.

    Returns
    -------
    Sample
        Its input has the centre frame, the neighbours from the first to the last (0 where one is
        missing), and for each of these 1 where it is there: (batch, 1 + 4 * context, patch, patch).
    """
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    light = sequences(lights, rng, count=batch_size, patch=patch, reach=context)
    frames = light.shape[1]
    cameras = [draw_camera(rng) for _ in range(batch_size)]
    repeated = [one for one in cameras for _ in range(frames)]
    noisy, clean = (
        part.unflatten(0, (batch_size, frames))
        for part in record_scenes(repeated, light.flatten(0, 1), generator)
    )
    noisy = clean + _correlated(noisy - clean, rng)
    std, mean = _scale(clean, cameras, rng)
    mean = mean + std * _each(rng.normal(0.0, 0.4, batch_size), light)
    unit = std * _each(np.exp(rng.normal(0.15, 0.5, batch_size)), light)
    noisy, clean = (((part - mean[:, None]) / unit[:, None]) for part in (noisy, clean))
    is_flipped, quarters = rng.random() < 0.5, int(rng.integers(4))
    noisy, clean = (
        (part.flip(-1) if is_flipped else part).rot90(quarters, (-2, -1)) for part in (noisy, clean)
    )
    around = [number for number in range(frames) if number != context]
    there = torch.from_numpy(np.stack([_present(rng, context) for _ in range(batch_size)]))
    marks = there.to(noisy)[:, :, None, None].expand(-1, -1, patch, patch)
    shown = torch.cat([noisy[:, context, None], noisy[:, around] * marks, marks], 1)
    target = clean[:, context, None].contiguous()
    return Sample(shown.contiguous(), target, torch.ones_like(target))


def _correlated(noise: Tensor, rng: np.random.Generator) -> Tensor:
    """Noise (batch, frames, H, W); in some examples smoothed, with the same variance.

    As of resonant scanners and demosaiced cameras. In one image it looks like structure; frames,
    between which it is independent, tell.
    """
    for example, (rows, columns) in enumerate(rng.choice((0, 1), (len(noise), 2))):
        if rng.random() < CORRELATED:
            sigma = rng.uniform(0.4, 1.6)
            for axis in [-2] * int(rows) + [-1] * int(columns or not rows):
                noise[example] = _smoothed(noise[example], float(sigma), axis)
    return noise


def _smoothed(noise: Tensor, sigma: float, axis: int) -> Tensor:
    """Gaussian smoothing along an axis, periodic, that keeps the variance of white noise."""
    steps = range(-math.ceil(3 * sigma), math.ceil(3 * sigma) + 1)
    weights = [math.exp(-(step**2) / (2 * sigma**2)) for step in steps]
    total = torch.zeros_like(noise)
    for step, weight in zip(steps, weights, strict=True):
        total += weight * noise.roll(step, axis)
    return total / math.hypot(*weights)


def _present(rng: np.random.Generator, context: int) -> np.ndarray:
    """Which neighbours are there, first to last: all, those of an end, the next ones, or none."""
    distance = np.abs(np.arange(-context, context + 1))
    before = np.arange(-context, context + 1) < 0
    there = np.ones(2 * context + 1, bool)
    chance = rng.random()
    if chance < 0.15:
        there[:] = False
    elif chance < 0.25:
        there = distance <= 1
    elif chance < 0.4:
        there = (before == (rng.random() < 0.5)) | (distance < rng.integers(1, context + 1))
    return np.delete(there, context)


def _scale(clean: Tensor, cameras: list[Camera], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Standard deviation and mean of the centre frames, or of typical frames, each (B, 1, 1)."""
    frames = [_statistics(frame, cameras) for frame in clean.unbind(1)]
    std, mean = (torch.stack(values) for values in zip(*frames, strict=True))
    centre = len(frames) // 2
    is_typical = torch.from_numpy(rng.random(len(clean)) < TYPICAL)[:, None, None]
    # Not the unit of frames that are nearly empty.
    typical = std.median(0).values.maximum(0.1 * std[centre])
    return (
        torch.where(is_typical, typical, std[centre]),
        torch.where(is_typical, mean.median(0).values, mean[centre]),
    )


def _statistics(clean: Tensor, cameras: list[Camera]) -> tuple[Tensor, Tensor]:
    """Standard deviation and mean of noisy images, each (B, 1, 1)."""

    def each(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32)[:, None, None]

    std, mean = (value[:, None, None] for value in torch.std_mean(clean, (1, 2)))
    variance = each([1.0 + one.has_excess_noise for one in cameras]) * mean.clamp(min=0)
    variance = variance + each([one.read_noise for one in cameras]) ** 2
    return (std**2 + variance).sqrt().clamp(min=1e-9), mean


def gain_loss(output: Tensor, sample: Sample) -> Tensor:
    """Logarithm of the ratio of remaining squared error to noise variance, averaged over patches.

    Up to a factor this is the mean gain in dB. It depends neither on the unit nor on the noise of a
    patch.
    """
    noisy = sample.input[:, : sample.target.shape[1]]
    noise = ((noisy - sample.target) ** 2).mean((1, 2, 3)) + 1e-6
    error = ((output.float() - sample.target) ** 2).mean((1, 2, 3))
    return torch.log(error / noise + _FLOOR).mean()


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
