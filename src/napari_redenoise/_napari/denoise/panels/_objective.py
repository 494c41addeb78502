"""The choice of the objective, and of the second shot for Noise2Noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import QFormLayout, QLabel

from napari_redenoise._napari._eliding_box import ElidingBox
from napari_redenoise._napari._words import set_available
from napari_redenoise.config import Config, ObjectiveKind

OBJECTIVES: tuple[tuple[ObjectiveKind, str, str], ...] = (
    (
        "auto",
        "Automatic",
        "Measures the noise and chooses: R2R where the noise is white and its model is known, "
        "else Noise2Self. Where the noise is correlated along x, along y or over several pixels, "
        "the blind spot covers the pixels that share noise.",
    ),
    (
        "noise2self",
        "Noise2Self",
        "Predicts pixels masked on a grid from their neighbours. For noise that is independent "
        "between pixels, as of most cameras and photon counters.",
    ),
    (
        "noise2void",
        "Noise2Void",
        "Predicts pixels masked at random from their neighbours. For noise that is independent "
        "between pixels.",
    ),
    (
        "noise2noise",
        "Noise2Noise: two shots",
        "Predicts one shot from another: a second layer, or the next frame of the stack. The "
        "noise may be correlated within a shot; the scene must not move between shots.",
    ),
    (
        "r2r",
        "R2R: splits the photons",
        "Splits the photons of the image into an input and a target with independent noise. "
        "Estimates gain, offset and read noise first; for white noise.",
    ),
    (
        "neighbor2neighbor",
        "Neighbor2Neighbor",
        "Predicts pixels from adjacent pixels. For structures that are much wider than a pixel.",
    ),
)
SECOND_SHOT = "A second shot of the same scene, in the same size."
NEXT_FRAME = "The next frame of the stack"
NOT_CHOSEN = "Choose a layer"


class ObjectiveChoice(QObject):
    """Form rows of the objective, and of the second shot for Noise2Noise."""

    changed = Signal()

    def __init__(self, form: QFormLayout, config: Config) -> None:
        super().__init__()
        self.objective = ElidingBox()
        for kind, label, tooltip in OBJECTIVES:
            self.objective.addItem(label, kind)
            self.objective.setItemData(
                self.objective.count() - 1, tooltip, Qt.ItemDataRole.ToolTipRole
            )
        self.objective.setCurrentIndex(self.objective.findData(config.objective.kind))
        self.second = ElidingBox()
        self.second.setToolTip(SECOND_SHOT)
        self.second_label = QLabel("Second shot")
        self._layers: list[Any] = []
        self._wanted: Any = None
        form.addRow("O&bjective", self.objective)
        form.addRow(self.second_label, self.second)
        self.second.currentIndexChanged.connect(self._on_second)
        self.objective.currentIndexChanged.connect(self._on_change)
        self._on_change()

    @property
    def kind(self) -> ObjectiveKind:
        """The chosen objective."""
        return OBJECTIVES[self.objective.currentIndex()][0]

    def choose(self, kind: ObjectiveKind) -> None:
        """Choose an objective."""
        self.objective.setCurrentIndex(self.objective.findData(kind))

    @property
    def target_layer(self) -> Any:
        """The layer with the second shot; None for the next frame or another objective."""
        return self._chosen() if self.kind == "noise2noise" else None

    @property
    def target_in_words(self) -> str:
        """What the second shot is."""
        layer = self._chosen()
        return "the next frame" if layer is None else f"the second shot '{layer.name}'"

    def _chosen(self) -> Any:
        number = self.second.currentIndex()
        return self._layers[number - 1] if number > 0 else None

    def apply(self, config: Config) -> Config:
        """Set the chosen objective in a configuration."""
        if config.objective.kind == self.kind:
            return config
        return config.replace({"objective.kind": self.kind, "objective.mask_shape": ("1",)})

    def set_available(self, reason: str) -> None:
        """Disable the choice where there is a reason."""
        set_available(self.objective, reason, OBJECTIVES[self.objective.currentIndex()][2])
        set_available(self.second, reason, SECOND_SHOT)

    def offer(self, layers: Sequence[Any], *, is_stack: bool) -> None:
        """List the next frame of a stack and other image layers as second shots.

        The choice stays, or comes back where the layer is listed again.
        """
        self._layers = list(layers)
        self.second.blockSignals(True)
        self.second.clear()
        self.second.addItems(
            [NEXT_FRAME if is_stack else NOT_CHOSEN, *(layer.name for layer in layers)]
        )
        places = (n for n, layer in enumerate(layers, start=1) if layer.unique_id == self._wanted)
        number = next(places, 0)
        self.second.setCurrentIndex(number)
        self.second.blockSignals(False)

    def _on_second(self, _: int) -> None:
        chosen = self._chosen()
        self._wanted = None if chosen is None else chosen.unique_id
        self._on_change()

    def _on_change(self, _: int = 0) -> None:
        self.objective.setToolTip(OBJECTIVES[self.objective.currentIndex()][2])
        for widget in (self.second, self.second_label):
            widget.setVisible(self.kind == "noise2noise")
        self.changed.emit()
