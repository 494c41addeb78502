"""Thumbnails of image files, read one by one in a thread."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_redenoise._napari._background_task import Task
from napari_redenoise._napari.batch._file_layers import read_thumbnail


class Thumbnails(QObject):
    """Reads the thumbnails that are wanted, the latest wish first."""

    made = Signal(object, object)
    """Path and pixels (rows, columns, 3) of a thumbnail."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._wanted: list[Path] = []
        self._tried: set[Path] = set()
        self._is_busy = self._has_left = False

    def want(self, paths: Iterable[Path]) -> None:
        """Read these next; those that were read already are not read again."""
        self._wanted = [path for path in paths if path not in self._tried]
        self._read_next()

    def leave(self) -> None:
        """Read no more: the dock is closed."""
        self._wanted, self._has_left = [], True

    def _read_next(self) -> None:
        if self._is_busy or not self._wanted:
            return
        path = self._wanted.pop(0)
        self._tried.add(path)
        self._is_busy = True
        Task(
            partial(read_thumbnail, path),
            returned=partial(self._on_made, path),
            finished=self._on_finished,
        )

    def _on_made(self, path: Path, pixels: Any) -> None:
        if not self._has_left:
            self.made.emit(path, pixels)

    def _on_finished(self) -> None:
        self._is_busy = False
        if not self._has_left:
            self._read_next()
