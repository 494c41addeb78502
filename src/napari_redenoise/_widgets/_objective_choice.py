"""The part of the dock that says what is learned, and from which layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QLabel, QVBoxLayout, QWidget

from napari_redenoise.config import Config, ObjectiveKind

OBJECTIVES: tuple[tuple[ObjectiveKind, str, str], ...] = (
    (
        "noise2self",
        "Hidden pixels, in a grid (Noise2Self)",
        "Predicts hidden pixels from their neighbours. For noise that is independent from pixel "
        "to pixel: most cameras and photon counters.",
    ),
    (
        "auto",
        "What suits the noise (automatic)",
        "Measures the noise first. Where it is correlated along x, along y or over several "
        "pixels, pixels are hidden together with those whose noise they share.",
    ),
    (
        "noise2void",
        "Hidden pixels, at random (Noise2Void)",
        "Predicts pixels hidden at random places from their neighbours. For noise that is "
        "independent from pixel to pixel.",
    ),
    (
        "noise2noise",
        "Two shots of the scene (Noise2Noise)",
        "Predicts one shot from another: a second layer, or the next frame of the stack. Noise may "
        "be correlated within a shot; nothing may have moved between them.",
    ),
    (
        "r2r",
        "Photons dealt out at random (R2R)",
        "Splits the picture into two with independent noise. Measures gain, offset and read noise "
        "first; for cameras that follow them.",
    ),
    (
        "neighbor2neighbor",
        "Neighbouring pixels (Neighbor2Neighbor)",
        "Predicts every other pixel from those next to them. For structures that are wide "
        "compared with a pixel.",
    ),
)
NEXT_FRAME = "The next frame of the stack"


class ObjectiveChoice(QWidget):
    """What is learned, and for Noise2Noise the layer that holds the second shot."""

    changed = Signal()

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.objective = QComboBox()
        for kind, label, tooltip in OBJECTIVES:
            self.objective.addItem(label, kind)
            self.objective.setItemData(
                self.objective.count() - 1, tooltip, Qt.ItemDataRole.ToolTipRole
            )
        self.objective.setCurrentIndex(self.objective.findData(config.objective.kind))
        self.second = QComboBox()
        self.second_label = QLabel("Second shot of the scene")
        self._layers: list[Any] = []
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        label = QLabel("&Learn from")
        label.setBuddy(self.objective)
        for widget in (label, self.objective, self.second_label, self.second):
            layout.addWidget(widget)
        for box in (self.objective, self.second):
            # A long entry must not make the dock wider than it is.
            box.setSizeAdjustPolicy(
                QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
            box.currentIndexChanged.connect(self._on_change)
        self._on_change()

    @property
    def kind(self) -> ObjectiveKind:
        """The chosen objective."""
        return OBJECTIVES[self.objective.currentIndex()][0]

    @property
    def second_layer(self) -> Any:
        """The layer that holds the second shot; None for the next frame, or without need."""
        number = self.second.currentIndex()
        return self._layers[number - 1] if self.kind == "noise2noise" and number > 0 else None

    def apply(self, config: Config) -> Config:
        """The configuration with the chosen objective."""
        if config.objective.kind == self.kind:
            return config
        return config.changed(**{"objective.kind": self.kind, "objective.mask_shape": ("1",)})

    def offer(self, layers: Sequence[Any]) -> None:
        """Offer other image layers as the second shot; the one that is chosen stays."""
        before = self.second_layer
        self._layers = list(layers)
        self.second.blockSignals(True)
        self.second.clear()
        self.second.addItems([NEXT_FRAME, *(layer.name for layer in layers)])
        number = next((n for n, layer in enumerate(layers, start=1) if layer == before), 0)
        self.second.setCurrentIndex(number)
        self.second.blockSignals(False)

    def _on_change(self, _: int = 0) -> None:
        self.objective.setToolTip(OBJECTIVES[self.objective.currentIndex()][2])
        for widget in (self.second, self.second_label):
            widget.setVisible(self.kind == "noise2noise")
        self.changed.emit()
