"""Previews during training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from napari_redenoise.inference import Interrupted, interruptible
from napari_redenoise.nn import DenoisingNetwork

FIRST_STEP = 20
"""Step of the first preview of a training from random weights."""

PREVIEW_SHARE = 0.1
"""Largest share of the training time for previews of an unchanged view."""

MIN_SECONDS = 2.0
"""Least time between two previews of an unchanged view, which also take time to draw."""


@dataclass(frozen=True)
class Window:
    """The part of one sample that a viewer shows."""

    sample: tuple[int, ...]
    rows: slice
    columns: slice


@dataclass(frozen=True)
class PreviewDone:
    """A denoised window (channels, rows, columns) in grey levels."""

    step: int
    window: Window
    denoised: np.ndarray
    mask: np.ndarray | None


class Previews:
    """Makes previews when the view changes or enough training time has passed."""

    def __init__(
        self,
        network: DenoisingNetwork,
        denoise: Callable[[Window, int], PreviewDone],
        view: Callable[[], Window | None] | None,
        should_stop: Callable[[], bool],
        first: int,
    ) -> None:
        self._network, self._denoise, self._view = network, denoise, view
        self._should_stop, self._first = should_stop, first
        self._last_window: Window | None = None
        self._next = 0.0

    def due(self, step: int, *, only_changed: bool = False) -> Iterator[PreviewDone]:
        """Yield a preview if the view has changed, or enough time has passed."""
        if self._view is None or step < self._first:
            return
        window = self._view()
        began = time.perf_counter()
        is_early = only_changed or began < self._next
        if window is None or (window == self._last_window and is_early):
            return
        try:
            with interruptible(self._network, self._should_stop):
                preview = self._denoise(window, step)
        except Interrupted:
            if not self._should_stop():
                raise
            return
        now = time.perf_counter()
        self._last_window = window
        self._next = now + max((now - began) / PREVIEW_SHARE, MIN_SECONDS)
        yield preview
