"""The stacks of stacks.py: clean volumes and movies under photon noise, and real movies."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

STACKS = {
    "nuclei": ("nuclei_ZYX_u16.tif", "ZYX"),
    "cells": ("ctc_timelapse_TYX_u8.tif", "TYX"),
    "membrane": ("membrane_timelapse_TYX_u16.tif", "TYX"),
}
"""File and axes: a z-stack, moving cells, a calm movie."""

PEAKS = (20, 5)
"""Photons at the brightest pixel."""

SEEN = 2
"""Neighbours on either side, which no reference of a real movie may contain."""


@dataclass(frozen=True)
class Stack:
    """A noisy stack, what is expected of every plane, and the margins that are not scored."""

    name: str
    noisy: np.ndarray
    axes: str
    expected: np.ndarray
    range: float
    margins: tuple[int, int] = (0, 0)

    def score(self, denoised: np.ndarray) -> float:
        """Mean over planes, over the range, in dB."""
        rows, columns = (
            slice(margin, size - margin)
            for margin, size in zip(self.margins, denoised.shape[1:], strict=True)
        )
        return psnr(denoised[:, rows, columns], self.expected[:, rows, columns], self.range)


def stacks(seed: int) -> Iterator[Stack]:
    """All stacks; the real ones have noise of one seed only."""
    for name in STACKS:
        for peak in PEAKS:
            yield synthetic(name, peak, seed)
    yield shuffled(synthetic("cells", 20, seed))
    yield jumping(synthetic("nuclei", 20, seed))
    if seed == 0:
        yield hazelnut()
        yield calcium()


def synthetic(name: str, peak: int, seed: int) -> Stack:
    """A clean stack under photon noise."""
    return Stack(f"{name} {peak}", *_parts(name, peak, seed), peak)


def _parts(name: str, peak: int, seed: int) -> tuple[np.ndarray, str, np.ndarray]:
    counts, expected = noisy(name, peak, seed)
    return counts, STACKS[name][1], expected


def noisy(name: str, peak: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Photon counts, and what is expected of them, both (planes, Y, X)."""
    clean = tifffile.imread(_folder() / "volume_time_dev" / STACKS[name][0]).astype(np.float64)
    expected = peak * clean / clean.max()
    return np.random.default_rng(seed).poisson(expected).astype(np.float32), expected


def psnr(denoised: np.ndarray, expected: np.ndarray, peak: float) -> float:
    """Mean over planes, over the peak, in dB."""
    errors = ((denoised.astype(np.float64) - expected) ** 2).mean((1, 2))
    return float(np.mean(10 * np.log10(peak**2 / errors)))


def shuffled(stack: Stack) -> Stack:
    """The planes in an order in which neighbours have little to do with each other."""
    order = np.random.default_rng(0).permutation(len(stack.noisy))
    parts = stack.noisy[order], stack.axes, stack.expected[order]
    return Stack(f"{stack.name}, shuffled", *parts, stack.range)


def jumping(stack: Stack) -> Stack:
    """The stage jumps by a third of the field in the middle."""
    half, step = len(stack.noisy) // 2, stack.noisy.shape[-1] // 3

    def moved(planes: np.ndarray) -> np.ndarray:
        return np.concatenate([planes[:half], np.roll(planes[half:], step, -1)])

    parts = moved(stack.noisy), stack.axes, moved(stack.expected)
    return Stack(f"{stack.name}, stage jump", *parts, stack.range)


def hazelnut() -> Stack:
    """Ten thinned scans of a still field, against the mean of ten others."""
    scans = tifffile.imread(_folder() / "flim_hazelnut_dev" / "thinned20_TYX.tif")
    scans = scans.astype(np.float32)
    expected = np.broadcast_to(scans[1::2].mean(0), scans[::2].shape)
    return Stack("hazelnut", scans[::2], "TYX", expected, 128.3 / 4)


def calcium() -> Stack:
    """A drifting two-photon movie; every frame against the mean of those that were not seen."""
    folder = _folder() / "twophoton_sima_dev"
    movie = tifffile.imread(folder / "movie_TYX.tif").astype(np.float32)
    steps = _drift(folder)
    aligned = np.stack(
        [np.roll(frame, step, (0, 1)) for frame, step in zip(movie, steps, strict=True)]
    )
    expected = np.empty_like(movie)
    for number, (row, column) in enumerate(steps):
        unseen = [k for k in range(len(movie)) if abs(k - number) > SEEN]
        expected[number] = np.roll(aligned[unseen].mean(0), (-row, -column), (0, 1))
    # Rolled by up to 8 pixels either way.
    return Stack("two-photon", movie, "TYX", expected, 4095, margins=(12, 16))


def _drift(folder: Path) -> list[tuple[int, int]]:
    found = json.loads((folder / "meta.json").read_text())["roll_yx_to_frame1"]
    return [(int(row), int(column)) for row, column in found]


def _folder() -> Path:
    return Path(os.environ["REDENOISE_BENCH_DATA"]).resolve()
