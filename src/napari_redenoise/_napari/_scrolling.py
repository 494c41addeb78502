"""Pages that scroll where their dock is too low."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt
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
