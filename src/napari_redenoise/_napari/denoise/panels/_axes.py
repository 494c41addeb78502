"""The control that shows and corrects the axes of a layer."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QLabel, QVBoxLayout, QWidget

from napari_redenoise._napari._layers import axes_in_words, possible_axes
from napari_redenoise._napari._words import narrow

_chosen: dict[Hashable, str] = {}
"""Axes that users chose, by layer identifier, as long as napari runs."""


def chosen_axes(layer: Any) -> str | None:
    """Axes that the user chose for a layer, or None."""
    return _chosen.get(layer.unique_id)


class AxesChoice(QWidget):
    """A list of the possible axes of a layer, hidden where there is no choice."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.choice = narrow(QComboBox())
        self.choice.setToolTip(
            "The axes of the layer. The network learns from all time points, slices and images, "
            "and denoises them one by one; one network learns from all channels. The choice is "
            "remembered for this layer."
        )
        label = QLabel("A&xes")
        label.setBuddy(self.choice)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(label)
        layout.addWidget(self.choice)
        self._layer: Any = None
        self.choice.currentIndexChanged.connect(self._on_change)

    def show_axes(self, layer: Any, axes: str) -> None:
        """List the possible axes of a layer; the assumed ones are chosen."""
        self._layer = layer
        offered = () if layer.rgb else possible_axes(len(axes))
        self.choice.blockSignals(True)
        self.choice.clear()
        for reading in dict.fromkeys((axes, *offered)):
            self.choice.addItem(axes_in_words(reading), reading)
        self.choice.blockSignals(False)
        self.setVisible(len(offered) > 1)

    def show_none(self) -> None:
        """Hide the list, without a layer or where its axes are unknown."""
        self._layer = None
        self.setVisible(False)

    def _on_change(self, _: int) -> None:
        if self._layer is not None:
            _chosen[self._layer.unique_id] = self.choice.currentData()
            self.changed.emit()
