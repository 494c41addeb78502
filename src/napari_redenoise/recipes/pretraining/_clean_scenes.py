"""Numbered clean scenes, drawn by processes parallel to the training."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor

import numpy as np
import torch
from torch import Tensor

from napari_redenoise.recipes.pretraining._patterns import with_patterns
from napari_redenoise.recipes.pretraining._photographs import crop_photograph
from napari_redenoise.recipes.pretraining._scenes import Scene, draw_scene

_CHUNK = 32
"""Scenes per task; no process is started for fewer."""


def clean_scene(number: int, side: int, photographs: float, seed: int) -> Scene:
    """Draw the scene of a number: procedural, or a crop of a photograph of scikit-image."""
    rng = np.random.default_rng([seed, number])
    is_photograph = rng.random() < photographs
    scene = crop_photograph(side, rng) if is_photograph else draw_scene(side, rng)
    return with_patterns(scene, rng)


class CleanScenes:
    """A growing collection of clean scenes, each determined by the seed and its number.

    Parameters
    ----------
    count : int
        Final number of scenes.
    side : int
        Pixels.
    photographs : float
        Share of crops of photographs of scikit-image.
    seed : int
    device : torch.device
        Stores the scenes, in half precision.
    """

    def __init__(
        self, count: int, side: int, photographs: float, seed: int, device: torch.device
    ) -> None:
        self._all = torch.empty((count, side, side), dtype=torch.float16, device=device)
        self._count = 0
        self._settings = (side, photographs, seed)
        self._executor: ProcessPoolExecutor | None = None
        self._chunks = self._drawn()

    def first(self, number: int) -> Tensor:
        """The first scenes (N, side, side), at most all; waits until they are drawn."""
        number = min(number, len(self._all))
        while self._count < number:
            chunk = next(self._chunks)
            self._all[self._count : self._count + len(chunk)] = torch.from_numpy(chunk)
            self._count += len(chunk)
        return self._all[:number]

    def close(self) -> None:
        """End the processes."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)

    def _drawn(self) -> Iterator[np.ndarray]:
        starts = range(0, len(self._all), _CHUNK)
        numbers = [range(start, min(start + _CHUNK, len(self._all))) for start in starts]
        if len(numbers) < 2:
            yield from (_chunk(some, *self._settings) for some in numbers)
            return
        workers = max(1, (os.cpu_count() or 2) - 1)
        # A process with CUDA or threads must not be forked.
        context = multiprocessing.get_context("spawn")
        self._executor = ProcessPoolExecutor(workers, context, initializer=_ignore_interrupts)
        ahead: deque[Future[np.ndarray]] = deque()
        for some in numbers:
            ahead.append(self._executor.submit(_chunk, some, *self._settings))
            if len(ahead) > 4 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the process that trains."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _chunk(numbers: range, side: int, photographs: float, seed: int) -> np.ndarray:
    drawn = np.stack([clean_scene(number, side, photographs, seed) for number in numbers])
    return np.minimum(drawn, np.finfo(np.float16).max).astype(np.float16)
