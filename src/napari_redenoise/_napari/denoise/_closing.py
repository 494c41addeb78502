"""The end of a dock: the question whether it ends a training, and its deletion."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Literal

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QApplication, QMainWindow, QMessageBox, QWidget

Answer = Literal["keep", "resume", "discard"]

_KEEP_RESULT = "Stop and keep adds the image, denoised with what the network learned so far."
_KEEP_MODEL = "Stop and keep saves the network as {}."


class ClosingQuestion(QMessageBox):
    """Asks in a window of its own what becomes of a training; Escape continues it.

    Parameters
    ----------
    parent : QWidget
        The window of the viewer, which accepts no input meanwhile. The training continues.
    source : str
        Name of the layer.
    answered : callable
        Receives the answer.
    left_out : int
        Further layers that are denoised only if the training continues.
    model : str
        File for the network where the viewer closes; empty where the dock closes.
    """

    def __init__(
        self,
        parent: QWidget,
        source: str,
        answered: Callable[[Answer], None],
        *,
        left_out: int = 0,
        model: str = "",
    ) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setIcon(QMessageBox.Icon.Question)
        # Names of layers may look like tags.
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWindowTitle("Close napari" if model else "Close the dock")
        self.setText(f"The training on '{source}' is in progress.")
        more = f" Layers that follow and are left out: {left_out}." if left_out else ""
        keep = _KEEP_MODEL.format(model) if model else _KEEP_RESULT
        self.setInformativeText(f"{keep}{more}")
        role = QMessageBox.ButtonRole
        self.choices = {
            answer: self.addButton(text, place)
            for answer, text, place in (
                ("keep", "&Stop and keep", role.AcceptRole),
                ("resume", "&Continue training", role.RejectRole),
                ("discard", "&Discard", role.DestructiveRole),
            )
        }
        self.setDefaultButton(self.choices["keep"])
        self.setEscapeButton(self.choices["resume"])
        self._answered = answered
        self.finished.connect(self._on_finished)

    def _on_finished(self, _: int) -> None:
        chosen = self.clickedButton()
        answers: tuple[Answer, ...] = ("keep", "resume", "discard")
        self._answered(next((one for one in answers if self.choices[one] is chosen), "resume"))

    def dismiss(self) -> None:
        """Close without an answer: the training has ended."""
        self.finished.disconnect(self._on_finished)
        self.close()


def is_close_of_user(window: QObject | None, event: QEvent) -> bool:
    """Whether the user closes the window of the viewer, by its frame, a menu, or a shortcut.

    Where a script closes the viewer, napari closes the canvas inside the window first.
    """
    if event.type() != QEvent.Type.Close:
        return False
    centre = window.centralWidget() if isinstance(window, QMainWindow) else None
    parts = [] if centre is None else centre.children()
    is_open = any(isinstance(one, QWidget) and not one.isHidden() for one in parts)
    return bool(event.spontaneous()) or is_open


def other_viewers(window: QWidget) -> list[QMainWindow]:
    """The windows of further viewers: an exit of napari from one of them closes all."""
    windows = QApplication.topLevelWidgets()
    return [
        one
        for one in windows
        if isinstance(one, QMainWindow) and one is not window and hasattr(one, "_quit_app")
    ]


def is_exit(window: Any) -> bool:
    """Whether all of napari is about to exit with a window."""
    return bool(getattr(window, "_quit_app", False))


def takes_back_exit(window: Any) -> bool:
    """Whether all of napari was about to exit with its window, which is taken back.

    napari keeps that as a mark on the window. Its next closing would exit, too.
    """
    exits = is_exit(window)
    if exits:
        window._quit_app = False
    return exits


def close_window(window: Any, *, exits: bool) -> None:
    """Close the window of the viewer, or exit napari with it."""
    if exits:
        window.close(quit_app=True)
    else:
        window.close()


def delete_closed(widget: QWidget) -> None:
    """Delete a widget that napari has taken out of its closed dock, unless it is docked again.

    What is left over when the interpreter ends, Qt deletes in no fixed order: PyQt may crash.
    """

    def delete() -> None:
        # Qt raises RuntimeError where the widget is deleted with the viewer.
        with contextlib.suppress(RuntimeError):
            if widget.parent() is None:
                widget.deleteLater()

    QTimer.singleShot(0, delete)
