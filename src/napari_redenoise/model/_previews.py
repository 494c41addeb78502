"""Previews during training: of what, and when."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from napari_redenoise.inference import Interrupted, interruptible
from napari_redenoise.nn import DenoisingNetwork

FIRST_STEP = 20
"""Before it there is nothing to see of a training from random weights."""

SHARE = 0.1
"""Share of the training time that previews of an unchanged view may take."""

LEAST_SECONDS = 2.0
"""Between two previews of an unchanged view: drawing them takes time, too."""


@dataclass(frozen=True)
class Window:
    """A part of one sample: what a viewer shows."""

    sample: tuple[int, ...]
    rows: slice
    columns: slice


@dataclass(frozen=True)
class PreviewDone:
    """The averaged network has denoised a window: (channels, rows, columns), grey levels."""

    step: int
    window: Window
    denoised: np.ndarray
    mask: np.ndarray | None


class Previews:
    """Decides when a preview is due, so that previews never take the time that training needs.

    Parameters
    ----------
    network : DenoisingNetwork
        That which denoises, to interrupt it.
    denoise : callable
        Makes the preview of a window at a step.
    view : callable, optional
        Says which window to preview, or None for none.
    should_stop : callable, optional
        Asked during a preview, which it interrupts.
    first : int
        The first step that is worth a preview.
    """

    def __init__(
        self,
        network: DenoisingNetwork,
        denoise: Callable[[Window, int], PreviewDone],
        view: Callable[[], Window | None] | None,
        should_stop: Callable[[], bool] | None,
        first: int = FIRST_STEP,
    ) -> None:
        self._network, self._denoise, self._view = network, denoise, view
        self._should_stop = should_stop or (lambda: False)
        self._first = first
        self._last_window: Window | None = None
        self._next = 0.0

    def due(self, step: int, *, only_changed: bool = False) -> Iterator[PreviewDone]:
        """Yield a preview if the view has changed or enough time has passed.

        ``only_changed`` is for pauses, in which an unchanged view has nothing new to show.
        """
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
        self._next = now + max((now - began) / SHARE, LEAST_SECONDS)
        yield preview
