"""Text for users, and widgets that hold text."""

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


def counted(number: int, noun: str) -> str:
    """A number and its noun, in the plural where it is not 1."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """A duration with a unit that suits it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def device_name(kind: str) -> str:
    """Common name of a kind of device."""
    names = {"cpu": "CPU", "mps": "Apple GPU", "cuda": "GPU"}
    return names.get(kind, kind)


def short_name(path: Path, paths: Collection[Path]) -> str:
    """Name of a file, with as many parent folders as distinguish it from the others."""
    length = 1
    while any(path != other and _end(path, length) == _end(other, length) for other in paths):
        length += 1
    return str(_end(path, length))


def _end(path: Path, length: int) -> Path:
    return Path(*path.parts[-length:])


def narrow(box: QComboBox) -> QComboBox:
    """Elide long entries of a list instead of widening the dock."""
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    return box


def wrapped(text: str = "") -> QLabel:
    """A label with word wrap."""
    label = QLabel(text)
    label.setWordWrap(True)
    return label


def show_text(parent: QWidget, title: str, text: str) -> None:
    """Open a window with a long text, which can be copied."""
    dialog = QDialog(parent)
    dialog.setWindowTitle(title)
    edit = QPlainTextEdit(text, dialog)
    edit.setReadOnly(True)
    QVBoxLayout(dialog).addWidget(edit)
    dialog.resize(700, 400)
    dialog.open()
