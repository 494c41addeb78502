"""A list of choices that elides long entries instead of widening the dock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QStyle, QStyleOptionComboBox, QStylePainter, QWidget

from napari_redenoise._napari._words import set_available

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

    def offer(self, entries: Iterable[tuple[str, Any]], keep: Any = None) -> None:
        """List texts and their data without a signal; choose ``keep``, else the first."""
        self.blockSignals(True)
        self.clear()
        for text, data in entries:
            self.addItem(text, data)
        self.setCurrentIndex(0)
        self.choose(keep)
        self.blockSignals(False)

    def choose(self, data: Any) -> None:
        """Choose an entry by its data, if it is listed."""
        # Not by Qt's search, which compares Python objects by identity.
        places = (number for number in range(self.count()) if self.itemData(number) == data)
        self.setCurrentIndex(next(places, self.currentIndex()))

    def explain(self, entries: Mapping[Any, tuple[str, str]]) -> None:
        """List data with texts and tooltips; the box has the tooltip of its entry."""
        for data, (text, tooltip) in entries.items():
            self.addItem(text, data)
            self.setItemData(self.count() - 1, tooltip, Qt.ItemDataRole.ToolTipRole)
        self.currentIndexChanged.connect(self._show_tooltip)
        self._show_tooltip()

    def _show_tooltip(self) -> None:
        self.setToolTip(self.currentData(Qt.ItemDataRole.ToolTipRole))

    def set_available(self, reason: str) -> None:
        """Disable the explained box where there is a reason, which its tooltip gives then."""
        set_available(self, reason, self.currentData(Qt.ItemDataRole.ToolTipRole))

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
