"""Text for users, and widgets that hold text."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import (
    QDialog,
    QLabel,
    QPlainTextEdit,
    QVBoxLayout,
    QWidget,
)

TITLE = "Denoise (Redenoise)"
"""Title of the dock, as of the entry in the menu Plugins, which shows and hides the same dock."""


MOST_SENTENCES = 4
"""Most outcomes of layers that are shown in full."""

LONG_WORD = 24
"""Most characters of a word that keeps its line whole: longer ones would widen the dock."""


class WrappedLabel(QLabel):
    """A label with word wrap, which keeps the height of its text in a low dock.

    Names of layers and files may be long, without a space: they may break everywhere. They may
    look like tags, which only ``rich`` text has.
    """

    def __init__(self, text: str = "", *, rich: bool = False) -> None:
        super().__init__()
        self._long = _LONG_RICH if rich else _LONG
        self.setTextFormat(Qt.TextFormat.RichText if rich else Qt.TextFormat.PlainText)
        self.setWordWrap(True)
        self.setText(text)

    def setText(self, text: str | None) -> None:
        """Set the text and ask for its height."""
        self._text = text or ""
        whole = _UNIT.sub("\N{NO-BREAK SPACE}", self._text)
        super().setText(self._long.sub(_breakable, whole))
        self._fit()

    def text(self) -> str:
        """The text as it was set."""
        return self._text

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Ask for the height of the text in the new width."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        # Layouts of docks ignore that the height depends on the width, and cut the text off. Qt
        # counts the earlier minimum as part of the height.
        self.setMinimumHeight(0)
        self.setMinimumHeight(max(0, self.heightForWidth(self.width())))


_BREAK = "\u200b"
"""A zero-width space."""


_UNIT = re.compile(r"(?<=\d) (?=(?:%|s|min|h|px|nm|µm|mm|dB|MB|GB|GiB)(?!\w))")
"""The space between a number and its unit, where no line breaks."""

_LONG = re.compile(rf"()\S{{{LONG_WORD},}}")
_LONG_RICH = re.compile(rf"(<[^<>]*>|&\w+;)|[^\s<&]{{{LONG_WORD},}}")
"""Long words, and as a group the tags and entities of rich text, which stay whole."""


def _breakable(part: re.Match[str]) -> str:
    return part[1] or _BREAK.join(part[0])


_TAG_BEGINS = re.compile(f"(?<=<)(?!{_BREAK})|(?<=&)(?=lt;)")


def as_tooltip(text: str) -> str:
    """A text as a tooltip, in which Qt takes no name of a layer or file for tags."""
    return _TAG_BEGINS.sub(_BREAK, text)


def counted(number: int, noun: str) -> str:
    """A number and its noun, in the plural where it is not 1."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def listed(parts: Iterable[str]) -> str:
    """Join parts as in a sentence."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def refusal(reason: object) -> str:
    """A reason as a sentence of the dock, which has not every remedy of the command."""
    text = str(reason).removesuffix(", or allow overwriting")
    # Names of files keep their letters.
    is_word = text.split(" ")[0].isalpha()
    return f"{text[0].upper() if is_word else text[:1]}{text[1:]}."


def in_short(sentences: Sequence[str]) -> str:
    """Sentences as one text: of many the first two and the last, which fit into the dock."""
    if len(sentences) <= MOST_SENTENCES:
        return " ".join(sentences)
    more = f"({len(sentences) - 3} more: point here to read them.)"
    return " ".join((*sentences[:2], more, sentences[-1]))


def duration(seconds: float) -> str:
    """A duration with a unit that suits it."""
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def device_name(kind: str) -> str:
    """Common name of a kind of device."""
    names = {"cpu": "CPU", "mps": "Apple GPU", "cuda": "GPU"}
    return names.get(kind, kind)


_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')

LONGEST_NAME = 180
"""Bytes; file systems allow 255, with the endings and words that follow."""


def file_name(name: str) -> str:
    """A layer's name without the characters that file systems refuse, cut where it is too long."""
    kept = _FORBIDDEN.sub("_", name).strip(" .")[:LONGEST_NAME]
    while len(kept.encode(errors="replace")) > LONGEST_NAME:
        kept = kept[:-1]
    return kept.rstrip(" .") or "image"


def short_name(path: Path, paths: Collection[Path]) -> str:
    """Name of a file, with as many parent folders as distinguish it from the others."""
    length = 1
    while any(path != other and _end(path, length) == _end(other, length) for other in paths):
        length += 1
    return str(_end(path, length))


def _end(path: Path, length: int) -> Path:
    return Path(*path.parts[-length:])


def set_available(widget: QWidget, reason: str, tooltip: str) -> None:
    """Disable a widget where there is a reason, which its tooltip gives then."""
    widget.setEnabled(not reason)
    widget.setToolTip(as_tooltip(reason or tooltip))


def show_text(parent: QWidget, title: str, text: str) -> None:
    """Open a window with a long text, which can be copied."""
    dialog = QDialog(parent)
    dialog.setWindowTitle(title)
    edit = QPlainTextEdit(text, dialog)
    edit.setReadOnly(True)
    QVBoxLayout(dialog).addWidget(edit)
    dialog.resize(700, 400)
    dialog.open()
