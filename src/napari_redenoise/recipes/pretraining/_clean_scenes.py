"""Clean pictures in the order of their numbers, drawn by processes beside the training."""

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

from napari_redenoise.recipes.pretraining._photographs import crop_photograph
from napari_redenoise.recipes.pretraining._scenes import Scene, draw_scene

_CHUNK = 32
"""Pictures that a process draws at a time; so few that it is not worth starting one."""


def clean_scene(number: int, side: int, pictures: float, seed: int) -> Scene:
    """The scene of a number: procedural, or a part of a picture of scikit-image."""
    rng = np.random.default_rng([seed, number])
    return crop_photograph(side, rng) if rng.random() < pictures else draw_scene(side, rng)


class CleanScenes:
    """A growing collection of clean pictures; what a number is, follows from the seed alone.

    Parameters
    ----------
    count : int
        How many there will be.
    side : int
    pictures : float
        Share of them that are parts of pictures of scikit-image.
    seed : int
    device : torch.device
        Where they are kept, in half precision.
    """

    def __init__(
        self, count: int, side: int, pictures: float, seed: int, device: torch.device
    ) -> None:
        self._all = torch.empty((count, side, side), dtype=torch.float16, device=device)
        self._there = 0
        self._settings = (side, pictures, seed)
        self._executor: ProcessPoolExecutor | None = None
        self._chunks = self._drawn()

    def first(self, number: int) -> Tensor:
        """The first so many (N, side, side), or all; waits until they are drawn."""
        number = min(number, len(self._all))
        while self._there < number:
            chunk = next(self._chunks)
            self._all[self._there : self._there + len(chunk)] = torch.from_numpy(chunk)
            self._there += len(chunk)
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
        # Not forked, which a process with CUDA or threads does not survive.
        context = multiprocessing.get_context("spawn")
        self._executor = ProcessPoolExecutor(workers, context, initializer=_leave_to_the_parent)
        ahead: deque[Future[np.ndarray]] = deque()
        for some in numbers:
            ahead.append(self._executor.submit(_chunk, some, *self._settings))
            if len(ahead) > 4 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _leave_to_the_parent() -> None:
    """Ctrl-C reaches every process; the one that trains decides when all are done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _chunk(numbers: range, side: int, pictures: float, seed: int) -> np.ndarray:
    drawn = np.stack([clean_scene(number, side, pictures, seed) for number in numbers])
    return np.minimum(drawn, np.finfo(np.float16).max).astype(np.float16)
