"""The recipe of the warm start: batches of noisy patches with their clean targets, and the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from napari_redenoise._pretrain._cameras import camera
from napari_redenoise._pretrain._pictures import picture
from napari_redenoise._pretrain._scenes import Scene, scene

SIDE = 192
"""Side of a scene, of which a camera sees a part."""

SEEN = 128
"""Side of that part: the mean and deviation of its noisy picture normalise the patch."""


class CleanBatch(NamedTuple):
    """Noisy patches and their targets (B, 1, side, side), and the weight of each (B, 1, 1, 1)."""

    noisy: Tensor
    target: Tensor
    weight: Tensor


def make_scenes(count: int, seed: int) -> list[Scene]:
    """Procedural scenes; the pictures of scikit-image are cut anew for every batch."""
    return [scene(SIDE, np.random.default_rng([seed, number])) for number in range(count)]


def one_batch(
    scenes: Sequence[Scene],
    rng: np.random.Generator,
    *,
    batch_size: int,
    patch: int,
    pictures: float,
    emphasis: float,
) -> CleanBatch:
    """Draw a batch: of every example a scene, a camera and one patch.

    Parameters
    ----------
    scenes : sequence of Scene
    rng : numpy.random.Generator
    batch_size, patch : int
    pictures : float
        Share of natural pictures.
    emphasis : float
        Exponent of the weights: see `Recipe`.
    """
    made = [_example(scenes, rng, patch, pictures, emphasis) for _ in range(batch_size)]
    noisy, target, weight = zip(*made, strict=True)
    return CleanBatch(
        torch.from_numpy(np.stack(noisy)[:, None]),
        torch.from_numpy(np.stack(target)[:, None]),
        torch.from_numpy(np.asarray(weight, np.float32))[:, None, None, None],
    )


def _example(
    scenes: Sequence[Scene],
    rng: np.random.Generator,
    patch: int,
    pictures: float,
    emphasis: float,
) -> tuple[np.ndarray, np.ndarray, float]:
    """One patch of one scene as one camera sees it, normalised like a user's image; its weight.

    The weight counts errors in units of the picture's own deviation, and more of them where the
    variance of the noisy picture is many times that of the clean one.
    """
    if rng.random() < pictures:
        light = picture(SEEN, rng)
    else:
        scene = scenes[int(rng.integers(len(scenes)))]
        light = scene[_window(scene.shape, SEEN, rng)]
    seen_by = camera(rng)
    noisy, clean = seen_by.shot(light, rng), seen_by.expected(light)
    ratio = float(min(noisy.var() / max(clean.var(), 1e-9), 50.0))
    # A user's image is larger, and a part of it often darker and of less contrast than the whole.
    std = max(noisy.std(), 1e-9)
    mean = noisy.mean() + std * rng.normal(0.0, 0.4)
    unit = std * np.exp(rng.normal(0.1, 0.4))
    window = _window(light.shape, patch, rng)
    parts = [((image[window] - mean) / unit).astype(np.float32) for image in (noisy, clean)]
    turned = _turned(parts, rng)
    return turned[0], turned[1], ratio**emphasis * (unit / std) ** 2


def _window(shape: tuple[int, ...], side: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Somewhere in a picture (Y, X)."""
    top, left = (int(rng.integers(size - side + 1)) for size in shape)
    return slice(top, top + side), slice(left, left + side)


def _turned(images: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """All alike: mirrored or not, by any number of quarter turns."""
    mirrored, quarters = rng.random() < 0.5, int(rng.integers(4))
    return [
        np.ascontiguousarray(np.rot90(image[:, ::-1] if mirrored else image, quarters))
        for image in images
    ]
