"""The choice of the objective, and of the second shot for Noise2Noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFormLayout, QLabel

from napari_redenoise._napari._eliding_box import ElidingBox
from napari_redenoise._napari._words import set_available
from napari_redenoise.config import Config, ObjectiveKind

OBJECTIVES: dict[ObjectiveKind, tuple[str, str]] = {
    "auto": (
        "Automatic",
        "Measures the noise and chooses: R2R where the noise is white and its model is known, "
        "else Noise2Self. Where the noise is correlated along x, along y or over several pixels, "
        "the blind spot covers the pixels that share noise.",
    ),
    "noise2self": (
        "Noise2Self",
        "Predicts pixels masked on a grid from their neighbours. For noise that is independent "
        "between pixels, as of most cameras and photon counters.",
    ),
    "noise2void": (
        "Noise2Void",
        "Predicts pixels masked at random from their neighbours. For noise that is independent "
        "between pixels.",
    ),
    "noise2noise": (
        "Noise2Noise: two shots",
        "Predicts one shot from another: a second layer, or the next frame of the stack. The "
        "noise may be correlated within a shot; the scene must not move between shots.",
    ),
    "r2r": (
        "R2R: splits the photons",
        "Splits the photons of the image into an input and a target with independent noise. "
        "Estimates gain, offset and read noise first; for white noise.",
    ),
    "neighbor2neighbor": (
        "Neighbor2Neighbor",
        "Predicts pixels from adjacent pixels. For structures that are much wider than a pixel.",
    ),
}
SECOND_SHOT = "A second shot of the same scene, in the same size."
NEXT_FRAME = "The next frame of the stack"
NOT_CHOSEN = "Choose a layer"


class ObjectiveChoice(QObject):
    """Form rows of the objective, and of the second shot for Noise2Noise."""

    changed = Signal()

    def __init__(self, form: QFormLayout, config: Config) -> None:
        super().__init__()
        self.objective = ElidingBox()
        self.objective.explain(OBJECTIVES)
        self.choose(config.objective.kind)
        self.second = ElidingBox()
        self.second.setToolTip(SECOND_SHOT)
        self.second_label = QLabel("Second shot")
        self._wanted: Any = None
        form.addRow("O&bjective", self.objective)
        form.addRow(self.second_label, self.second)
        self.second.currentIndexChanged.connect(self._on_second)
        self.objective.currentIndexChanged.connect(self._on_change)
        self._on_change()

    @property
    def kind(self) -> ObjectiveKind:
        """The chosen objective."""
        kind: ObjectiveKind = self.objective.currentData()
        return kind

    def choose(self, kind: ObjectiveKind) -> None:
        """Choose an objective."""
        self.objective.choose(kind)

    @property
    def target_layer(self) -> Any:
        """The layer with the second shot; None for the next frame or another objective."""
        return self.second.currentData() if self.kind == "noise2noise" else None

    @property
    def target_in_words(self) -> str:
        """What the second shot is."""
        layer = self.second.currentData()
        return "the next frame" if layer is None else f"the second shot '{layer.name}'"

    def apply(self, config: Config) -> Config:
        """Set the chosen objective in a configuration."""
        if config.objective.kind == self.kind:
            return config
        return config.replace({"objective.kind": self.kind, "objective.mask_shape": ("1",)})

    def set_available(self, reason: str) -> None:
        """Disable the choice where there is a reason."""
        self.objective.set_available(reason)
        set_available(self.second, reason, SECOND_SHOT)

    def offer(self, layers: Sequence[Any], *, is_stack: bool) -> None:
        """List the next frame of a stack and other image layers as second shots.

        The choice stays, or comes back where the layer is listed again.
        """
        wanted = (layer for layer in layers if layer.unique_id == self._wanted)
        entries = [(NEXT_FRAME if is_stack else NOT_CHOSEN, None)]
        entries += [(layer.name, layer) for layer in layers]
        self.second.offer(entries, keep=next(wanted, None))

    def _on_second(self, _: int) -> None:
        chosen = self.second.currentData()
        self._wanted = None if chosen is None else chosen.unique_id
        self._on_change()

    def _on_change(self, _: int = 0) -> None:
        for widget in (self.second, self.second_label):
            widget.setVisible(self.kind == "noise2noise")
        self.changed.emit()
