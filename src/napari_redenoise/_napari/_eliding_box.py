"""A list of choices that elides long entries instead of widening the dock."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QStyle, QStyleOptionComboBox, QStylePainter, QWidget

_MARGIN = 6
"""Pixels beside the text, which the rectangle of the style does not leave out."""


def narrow(box: QComboBox) -> None:
    """Have a box be as narrow as its dock, whatever its entries."""
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)


class ElidingBox(QComboBox):
    """A combo box that shows an ellipsis where the closed box cuts its entry off."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        narrow(self)

    def paintEvent(self, _: object) -> None:
        """Draw the box as Qt does, with a shorter text."""
        painter, option = QStylePainter(self), QStyleOptionComboBox()
        self.initStyleOption(option)
        style, box = self.style(), QStyle.ComplexControl.CC_ComboBox
        field = style.subControlRect(box, option, QStyle.SubControl.SC_ComboBoxEditField, self)
        option.currentText = self.fontMetrics().elidedText(
            option.currentText, Qt.TextElideMode.ElideRight, field.width() - _MARGIN
        )
        painter.drawComplexControl(box, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
