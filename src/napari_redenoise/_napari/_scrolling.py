"""Pages that scroll where their dock is too low, and the end of closed docks."""

from __future__ import annotations

import contextlib

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QAbstractSpinBox, QComboBox, QFrame, QScrollArea, QSlider, QWidget


class _WheelScrolls(QObject):
    """Hands the wheel over a control on to the page, which scrolls: no setting changes by it."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Ignore the wheel, which Qt then offers to the parent."""
        if event.type() == QEvent.Type.Wheel:
            event.ignore()
            return True
        return bool(super().eventFilter(watched, event))


def scrolled(page: QWidget) -> QScrollArea:
    """A page that scrolls vertically where the dock is too low, never horizontally."""
    area = QScrollArea()
    area.setWidget(page)
    guard = _WheelScrolls(area)
    for kind in (QComboBox, QAbstractSpinBox, QSlider):
        for control in page.findChildren(kind):
            control.installEventFilter(guard)
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    return area


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
