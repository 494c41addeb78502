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
"""Side of a scene: the mean and deviation of its noisy picture normalise the patches."""


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
    made = [_example(scenes, rng, patch, pictures) for _ in range(batch_size)]
    noisy, target, ratio = zip(*made, strict=True)
    weight = np.asarray(ratio) ** emphasis
    return CleanBatch(
        torch.from_numpy(np.stack(noisy)[:, None]),
        torch.from_numpy(np.stack(target)[:, None]),
        torch.from_numpy(weight.astype(np.float32))[:, None, None, None],
    )


def _example(
    scenes: Sequence[Scene], rng: np.random.Generator, patch: int, pictures: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """One patch of one scene as one camera sees it, normalised as a user's image is.

    The third is the variance of the noisy over that of the clean scene, at most 50.
    """
    if rng.random() < pictures:
        light = picture(SIDE, rng)
    else:
        light = scenes[int(rng.integers(len(scenes)))]
    seen_by = camera(rng)
    noisy, clean = seen_by.shot(light, rng), seen_by.expected(light)
    ratio = float(min(noisy.var() / max(clean.var(), 1e-9), 50.0))
    # Users' images are larger than a scene, so their mean and deviation differ from a part's.
    mean = noisy.mean() + noisy.std() * rng.normal(0.0, 0.2)
    std = max(noisy.std() * np.exp(rng.normal(0.0, 0.25)), 1e-9)
    top, left = (int(rng.integers(size - patch + 1)) for size in light.shape)
    window = (slice(top, top + patch), slice(left, left + patch))
    parts = [((image[window] - mean) / std).astype(np.float32) for image in (noisy, clean)]
    turned = _turned(parts, rng)
    return turned[0], turned[1], ratio


def _turned(images: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """All alike: mirrored or not, by any number of quarter turns."""
    mirrored, quarters = rng.random() < 0.5, int(rng.integers(4))
    return [
        np.ascontiguousarray(np.rot90(image[:, ::-1] if mirrored else image, quarters))
        for image in images
    ]
