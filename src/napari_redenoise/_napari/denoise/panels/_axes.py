"""The control that says, and corrects, what the axes of a layer are taken for."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QLabel, QVBoxLayout, QWidget

from napari_redenoise._napari._layers import axes_in_words, possible_axes
from napari_redenoise._napari._words import narrow

_chosen: dict[Hashable, str] = {}
"""What users have said of layers, by the layers' identifiers, for as long as napari runs."""


def axes_said(layer: Any) -> str | None:
    """What a user has said of the axes of a layer, if anything."""
    return _chosen.get(layer.unique_id)


class AxesChoice(QWidget):
    """One list of what the axes can be; hidden for a plain picture, which leaves no choice."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.choice = narrow(QComboBox())
        self.choice.setToolTip(
            "What the axes of the layer are. Time points, slices and pictures are samples of one "
            "training and are denoised one by one; channels are denoised together. Remembered "
            "for this layer."
        )
        label = QLabel("Its a&xes")
        label.setBuddy(self.choice)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(label)
        layout.addWidget(self.choice)
        self._layer: Any = None
        self.choice.currentIndexChanged.connect(self._on_change)

    def show_axes(self, layer: Any, axes: str) -> None:
        """Offer what the axes of a layer can be, with those that are assumed chosen."""
        self._layer = layer
        offered = () if layer.rgb else possible_axes(len(axes))
        self.choice.blockSignals(True)
        self.choice.clear()
        for reading in dict.fromkeys((axes, *offered)):
            self.choice.addItem(axes_in_words(reading), reading)
        self.choice.blockSignals(False)
        self.setVisible(len(offered) > 1)

    def show_none(self) -> None:
        """There is no layer, or nothing is known of its axes."""
        self._layer = None
        self.setVisible(False)

    def _on_change(self, _: int) -> None:
        if self._layer is not None:
            _chosen[self._layer.unique_id] = self.choice.currentData()
            self.changed.emit()
