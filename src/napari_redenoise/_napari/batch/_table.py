"""The table of a batch: an image per row, with its state and its quality checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QBrush, QColor, QIcon, QImage, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from napari_redenoise._napari._words import as_tooltip
from napari_redenoise._napari.denoise.panels._quality import (
    BY_WEIGHT,
    COLOURS,
    MARKS,
    MARKS_IN_WORDS,
)
from napari_redenoise.assessment import Mark

ICON = 36
LOWEST = 200
"""Pixels."""

COLUMNS = ("Image", "State and checks")
IMAGE, STATE = range(2)
_WORDS = Qt.ItemDataRole.UserRole
_QUALITY = Qt.ItemDataRole.UserRole + 1
WAITING, DONE, UP_TO_DATE, FAILED = "waiting", "done", "up to date", "failed"


class BatchTable(QTableWidget):
    """Rows are found by their key: the path of an image, or the identity of a layer."""

    def __init__(self) -> None:
        super().__init__(0, len(COLUMNS))
        self.setHorizontalHeaderLabels(COLUMNS)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setIconSize(QSize(ICON, ICON))
        self.setMinimumHeight(LOWEST)
        self.setShowGrid(False)
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        if rows is not None and columns is not None:
            rows.setVisible(False)
            rows.setDefaultSectionSize(ICON + 4)
            columns.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self._rows: dict[Any, int] = {}

    def list_images(self, names: Mapping[Any, str]) -> None:
        """Show these images; those that were shown keep their icons."""
        icons = {key: self._item(row, IMAGE).icon() for key, row in self._rows.items()}
        shown = {key: self._item(row, IMAGE).text() for key, row in self._rows.items()}
        is_same = list(shown.items()) == list(names.items())
        self._rows = {key: row for row, key in enumerate(names)}
        # Items are filled before they are in the table, which follows every change of them.
        self.setUpdatesEnabled(False)
        self.setRowCount(len(names))
        for row, (key, name) in enumerate(names.items()):
            if not is_same:
                self.setItem(row, IMAGE, _image_item(key, name, icons.get(key, QIcon())))
            if not is_same or self.state(key) != WAITING:
                self.setItem(row, STATE, _state_item())
        self.setUpdatesEnabled(True)

    @property
    def keys(self) -> tuple[Any, ...]:
        """Keys of the rows, in their order."""
        return tuple(self._rows)

    @property
    def chosen(self) -> Any:
        """Key of the selected row, or None."""
        row = self.currentRow()
        return self.keys[row] if 0 <= row < len(self._rows) and self.selectedItems() else None

    def visible_keys(self) -> list[Any]:
        """Keys of the rows that are in view, without a thumbnail."""
        port = self.viewport()
        height = 0 if port is None else port.height()
        first, last = self.rowAt(0), self.rowAt(height - 1)
        end = len(self._rows) if last < 0 else last + 1
        keys = self.keys[max(0, first) : end]
        return [key for key in keys if self._item(self._rows[key], IMAGE).icon().isNull()]

    def state(self, key: Any) -> str:
        """The state of an image, in words."""
        return str(self._item(self._rows[key], STATE).data(_WORDS))

    def quality(self, key: Any) -> Mapping[str, Any]:
        """The quality checks of a result, as the manifest has them; empty without a result."""
        return dict(self._item(self._rows[key], STATE).data(_QUALITY) or {})

    def has_result(self, key: Any) -> bool:
        """Whether an image is denoised."""
        return key in self._rows and self.state(key) in (DONE, UP_TO_DATE)

    def worst_row(self) -> str:
        """Name of the image whose checks are the worst, and the check; "" without doubts."""
        qualities = {key: self.quality(key) for key in self._rows}
        doubts = {key: found for key, found in qualities.items() if found and worst_checks(found)}
        if not doubts:
            return ""
        key = max(doubts, key=lambda one: BY_WEIGHT.index(worst_mark(doubts[one])))
        name = self._item(self._rows[key], IMAGE).text()
        return f"'{name}' ({worst_checks(doubts[key])[0].lower()})"

    def show_state(
        self, key: Any, state: str, tooltip: str = "", quality: Mapping[str, Any] | None = None
    ) -> None:
        """Show the state of an image, and below it the worst of the checks of its result.

        ``quality`` is the entry of the manifest.
        """
        if key not in self._rows:
            return
        _fill_state(self._item(self._rows[key], STATE), state, tooltip, quality)

    def show_thumbnail(self, key: Any, pixels: npt.NDArray[np.uint8]) -> None:
        """Show a thumbnail (rows, columns, 3)."""
        if key in self._rows:
            self._item(self._rows[key], IMAGE).setIcon(QIcon(_pixmap(pixels)))

    def _item(self, row: int, column: int) -> QTableWidgetItem:
        found = self.item(row, column)
        return QTableWidgetItem() if found is None else found


def _image_item(key: Any, name: str, icon: QIcon) -> QTableWidgetItem:
    item = QTableWidgetItem(icon, name)
    item.setToolTip(as_tooltip(str(key) if isinstance(key, Path) else name))
    return item


def _state_item() -> QTableWidgetItem:
    item = QTableWidgetItem()
    _fill_state(item, WAITING, "", None)
    return item


def _fill_state(
    item: QTableWidgetItem, state: str, tooltip: str, quality: Mapping[str, Any] | None
) -> None:
    item.setData(_WORDS, state)
    item.setData(_QUALITY, quality)
    lines, details = [state], [tooltip or state]
    if quality:
        lines.append(_in_words(quality))
        details += ["", *quality["sentences"]]
    item.setText("\n".join(lines))
    item.setToolTip(as_tooltip("\n".join(details)))
    mark = "bad" if state == FAILED else worst_mark(quality) if quality else "unknown"
    item.setForeground(QBrush() if mark == "unknown" else QColor(COLOURS[mark]))


def worst_mark(quality: Mapping[str, Any]) -> Mark:
    """The worst mark of the checks that could be made; "unknown" where none could."""
    # Manifests of earlier versions lack the single checks.
    marks: Iterable[Mark] = quality.get("checks", {}).values() or [quality["mark"]]
    return max(marks, key=BY_WEIGHT.index)


def worst_checks(quality: Mapping[str, Any]) -> Sequence[str]:
    """Names of the checks with the worst mark, where it is a doubt."""
    mark = worst_mark(quality)
    checks = quality.get("checks", {})
    return [name for name, found in checks.items() if found == mark and mark in BY_WEIGHT[2:]]


def _in_words(quality: Mapping[str, Any]) -> str:
    mark, worst = worst_mark(quality), worst_checks(quality)
    return f"{MARKS[mark]} {worst[0] if worst else MARKS_IN_WORDS[mark]}"


def _pixmap(pixels: npt.NDArray[np.uint8]) -> QPixmap:
    height, width, _ = pixels.shape
    content = pixels.tobytes()
    image = QImage(content, width, height, 3 * width, QImage.Format.Format_RGB888)
    # The image does not own its pixels: the pixmap copies them.
    return QPixmap.fromImage(image)
