"""Sequences of clean frames, and volumes of clean planes, drawn from clean scenes.

Every example is the sum of one to three layers. A layer is a scene that drifts and deforms from
frame to frame and whose brightness changes: as fluorescence of independent objects adds up. With
the right weights the same sum is a time series of moving cells, a calcium movie, a blinking spot,
a stage jump, or a z-stack, whose layers lie at different depths.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

LAYERS = 3

_KINDS = ("still", "drift", "deform", "objects", "depth", "unrelated")
_SHARES = (0.2, 0.2, 0.2, 0.15, 0.2, 0.05)

_ODD = 0.12
"""Share of sequences with a frame of another exposure: a lamp that flashes or fails."""

_FLASH = 0.25
"""Share of the events in one frame that are much brighter than all else."""


def sequences(
    lights: Tensor, rng: np.random.Generator, *, count: int, patch: int, reach: int
) -> Tensor:
    """Draw sequences of ``2 * reach + 1`` frames, the centre frame in the middle.

    Parameters
    ----------
    lights : Tensor
        Clean scenes (N, side, side), from 0 to about 1.
    rng : numpy.random.Generator
    count, patch, reach : int

    Returns
    -------
    Tensor
        (count, 2 * reach + 1, patch, patch) float32, not negative.
    """
    return torch.stack([_sequence(lights, rng, patch, reach) for _ in range(count)])


def _sequence(lights: Tensor, rng: np.random.Generator, patch: int, reach: int) -> Tensor:
    times = np.arange(-reach, reach + 1)
    frames = len(times)
    kind = rng.choice(_KINDS, p=_SHARES)
    weights = _weights(str(kind), times, rng)
    drift = rng.normal(0, 1, (LAYERS, 2))
    drift *= _log_uniform(rng, 0.05, 6.0) / np.hypot(*drift[0])
    if kind in ("still", "unrelated"):
        drift *= 0
    if kind == "objects":
        drift[0] *= rng.random() < 0.5
    if kind == "depth":
        drift *= 0.5 * rng.random((LAYERS, 1))
    shaking = rng.normal(0, 1, (frames, 2)) * (rng.random() < 0.4) * rng.uniform(0, 1.5)
    total = torch.zeros(frames, patch, patch)
    corner = rng.integers(lights.shape[-1] - patch + 1, size=2)
    for layer in range(LAYERS):
        if not weights[layer].any():
            continue
        light = lights[int(rng.integers(len(lights)))].cpu().float()
        if rng.random() < 0.4:
            light = light ** float(np.exp(rng.normal(0, 0.3)))
        shifts = torch.from_numpy(times[:, None] * drift[layer] + shaking).float()
        moved = shifts[:, :, None, None].expand(frames, 2, patch, patch)
        if kind in ("deform", "objects", "depth") and rng.random() < 0.8:
            moved = moved + _deformation(times, rng, patch)
        shown = _moved(light, moved, corner)
        if kind == "objects" and layer:
            shown = shown * _moved(_region(lights.shape[-1], rng), moved, corner)
        total += _changing(shown, weights[layer], times, rng)
    # As bright as one scene.
    total /= max(float(weights[:, reach].sum()), 0.3)
    if rng.random() < _ODD:
        odd = reach if rng.random() < 0.4 else int(rng.integers(frames))
        total[odd] *= _log_uniform(rng, 0.05, 20.0)
    return total


def _weights(kind: str, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness of every layer in every frame, (layers, frames)."""
    weights = np.zeros((LAYERS, len(times)))
    weights[0] = 1
    if kind == "objects":
        weights[1:] = rng.uniform(0.3, 1.5, (LAYERS - 1, 1)) * (rng.random((LAYERS - 1, 1)) < 0.8)
    if kind == "depth":
        depth = rng.uniform(-2.5, 2.5, (LAYERS, 1)) * (np.arange(LAYERS) > 0)[:, None]
        focus = _log_uniform(rng, 0.6, 6.0)
        weights = rng.uniform(0.4, 1, (LAYERS, 1)) * np.exp(
            -((times - depth) ** 2) / (2 * focus**2)
        )
    if kind == "unrelated":
        weights[1], weights[2] = times < 0, times > 0
        weights[0] = times == 0
    if rng.random() < 0.06:
        # The stage jumps: from a frame on another scene is seen.
        after = times >= rng.choice((-1, 0, 1, 2))
        after = after if after[len(times) // 2] else ~after
        weights[:2] *= after
        weights[2] = ~after
    return weights


def _changing(
    shown: Tensor, weights: np.ndarray, times: np.ndarray, rng: np.random.Generator
) -> Tensor:
    """Frames with the brightness of their layer: bleaching, flicker, activity in places."""
    factor = weights.copy()
    if rng.random() < 0.2:
        factor *= np.exp(-rng.uniform(0, 0.15) * times)
    if rng.random() < 0.2:
        factor *= 1 + rng.normal(0, 0.05, len(times))
    shown = shown * torch.from_numpy(factor).float()[:, None, None]
    if rng.random() < 0.35:
        active = _region(shown.shape[-1], rng)
        if rng.random() < 0.5:
            # An event in one frame, often the centre one, or dark in that one frame.
            course = np.full(len(times), rng.choice((0.0, 0.3, 1.0)))
            seen = len(times) // 2 if rng.random() < 0.6 else int(rng.integers(len(times)))
            is_flash = rng.random() < _FLASH
            course[seen] = _log_uniform(rng, 3.0, 30.0) if is_flash else rng.choice((0.0, 1.0, 2.0))
        else:
            course = np.exp(rng.normal(0, rng.uniform(0.1, 0.7), len(times)))
        change = torch.from_numpy(course - 1).float()[:, None, None]
        shown = shown * (1 + change * active).clamp(min=0)
    return shown


def _moved(light: Tensor, moved: Tensor, corner: np.ndarray) -> Tensor:
    """A patch of a scene in all frames, each displaced by so many pixels (y, x)."""
    side, patch = light.shape[-1], moved.shape[-1]
    rows = torch.arange(patch).float()[:, None] + int(corner[0])
    columns = torch.arange(patch).float() + int(corner[1])
    grid = torch.stack([columns + moved[:, 1], rows + moved[:, 0]], -1)
    grid = (2 * grid + 1) / side - 1
    seen = functional.grid_sample(
        light.expand(len(moved), 1, -1, -1),
        grid,
        mode="bicubic",
        padding_mode="reflection",
        align_corners=False,
    )
    return seen[:, 0].clamp(min=0)


def _deformation(times: np.ndarray, rng: np.random.Generator, patch: int) -> Tensor:
    """Smooth displacements (frames, 2, rows, columns) that grow with time from the centre frame."""
    nodes = int(rng.integers(2, 8))
    fields = torch.from_numpy(rng.normal(0, 1, (2, 2, nodes, nodes))).float()
    smooth = functional.interpolate(fields, size=(patch, patch), mode="bicubic", align_corners=True)
    size = _log_uniform(rng, 0.2, 5.0)
    steady, changing = size * smooth[0], 0.3 * size * smooth[1]
    t = torch.from_numpy(times).float()[:, None, None, None]
    return t * steady + t**2 * changing * 0.5


def _region(side: int, rng: np.random.Generator) -> Tensor:
    """1 in blobs with soft rims, 0 between them, (side, side)."""
    nodes = max(3, side // int(rng.integers(6, 48)))
    values = torch.from_numpy(rng.normal(0, 1, (1, 1, nodes, nodes))).float()
    values = functional.interpolate(values, size=(side, side), mode="bicubic", align_corners=True)
    level = float(rng.uniform(-0.5, 1.2))
    return torch.sigmoid(float(rng.uniform(3, 15)) * (values[0, 0] - level))


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
