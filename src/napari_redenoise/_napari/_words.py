"""Numbers, devices and files in words, and the widgets that hold words."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QLabel,
    QPlainTextEdit,
    QVBoxLayout,
    QWidget,
)


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def device_name(kind: str) -> str:
    """A device as a person knows it."""
    names = {"cpu": "the processor (CPU)", "mps": "the Apple GPU", "cuda": "the GPU"}
    return names.get(kind, kind)


def short_name(path: Path, paths: Collection[Path]) -> str:
    """Name of a file, after as many of its folders as tell it from the others."""
    length = 1
    while any(path != other and _end(path, length) == _end(other, length) for other in paths):
        length += 1
    return str(_end(path, length))


def _end(path: Path, length: int) -> Path:
    return Path(*path.parts[-length:])


def narrow(box: QComboBox) -> QComboBox:
    """Let a long entry be cut within the list, and not make the dock wider."""
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    return box


def wrapped(text: str = "") -> QLabel:
    """A label whose text wraps."""
    label = QLabel(text)
    label.setWordWrap(True)
    return label


def show_text(parent: QWidget, title: str, text: str) -> None:
    """Open a window with a long text that can be copied."""
    dialog = QDialog(parent)
    dialog.setWindowTitle(title)
    edit = QPlainTextEdit(text, dialog)
    edit.setReadOnly(True)
    QVBoxLayout(dialog).addWidget(edit)
    dialog.resize(700, 400)
    dialog.open()
