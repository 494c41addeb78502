"""Reads the axes of files in the background, since napari's own readers do not hand them on."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_redenoise._napari._background_task import Task
from napari_redenoise._napari.denoise.panels._axes import axes_file, read_file_axes

LONGEST_WAIT = 0.2
"""Seconds in which most files are read: the axes are then known before they are shown."""


class FileAxes(QObject):
    """Reads the axes of the files of layers, and keeps them."""

    changed = Signal()
    """Axes were read after a wait that was too short for them."""

    def __init__(self) -> None:
        super().__init__()
        self._done: Event | None = None
        self._over = False

    @property
    def is_reading(self) -> bool:
        """Whether the axes of a file are being read."""
        return self._done is not None and not self._done.is_set()

    def leave(self) -> None:
        """Emit no more signals."""
        self._over = True

    def begin(self, layers: Sequence[Any]) -> None:
        """Read what is not known, and wait a moment for it; not while busy."""
        paths = [(layer, axes_file(layer)) for layer in layers]
        readings = [read_file_axes(layer, path) for layer, path in paths if path is not None]
        if self.is_reading or not readings:
            return
        self._done = done = Event()

        def read() -> None:
            try:
                for reading in readings:
                    reading()
            finally:
                done.set()

        Task(read, finished=lambda: self._on_finished(done))
        if done.wait(LONGEST_WAIT):
            self._done = None

    def _on_finished(self, done: Event) -> None:
        # Axes that were read in time are shown already.
        if self._done is done and not self._over:
            self._done = None
            self.changed.emit()
