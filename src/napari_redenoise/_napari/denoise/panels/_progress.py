"""The tab *Training*: loss curve and snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSlider, QVBoxLayout, QWidget

from napari_redenoise._napari._plots import LossPlot
from napari_redenoise._napari._words import WrappedLabel
from napari_redenoise.model import NOT_TRAINED, Snapshot

NO_TRAINING = "The loss and the snapshots of a training appear here."
UNTRAINED = "The pretrained network denoised without training: press Denoise to fine-tune it."
LEFT_OUT = (
    f"The training was left out, because {NOT_TRAINED}: choose an objective to train all the same."
)


class ProgressPanel(QWidget):
    """Loss curve, a slider over the snapshots, and buttons to use a snapshot."""

    snapshot_selected = Signal(int)
    """Step of the snapshot to show."""

    snapshot_used = Signal(int)
    """Step of the snapshot to denoise with."""

    continued = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.title = WrappedLabel(NO_TRAINING)
        self.loss_plot = LossPlot()
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setToolTip(
            "Shows snapshots of the network, taken during the training, on the current view."
        )
        self.where = WrappedLabel()
        self.take_button = QPushButton("Use &this snapshot")
        self.take_button.setToolTip("Denoises the layer with the snapshot shown.")
        self.continue_button = QPushButton("C&ontinue training")
        self.continue_button.setToolTip(
            "Trains for as many steps again, from the snapshot shown. Useful while the loss still "
            "falls or the preview still improves."
        )
        label = QLabel("Snapshots")
        label.setBuddy(self.slider)
        row = QHBoxLayout()
        row.addWidget(label)
        row.addWidget(self.slider)
        buttons = QHBoxLayout()
        buttons.addWidget(self.take_button)
        buttons.addWidget(self.continue_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.title)
        layout.addWidget(self.loss_plot)
        layout.addLayout(row)
        layout.addWidget(self.where)
        layout.addLayout(buttons)
        layout.addStretch()
        self._snapshots: tuple[Snapshot, ...] = ()
        self.slider.valueChanged.connect(self._on_slide)
        self.take_button.clicked.connect(lambda: self.snapshot_used.emit(self.step))
        self.continue_button.clicked.connect(self.continued)
        self.offer((), can_train=False)

    @property
    def snapshots(self) -> tuple[Snapshot, ...]:
        """The snapshots of the slider."""
        return self._snapshots

    @property
    def step(self) -> int:
        """Step of the snapshot shown."""
        return self._snapshots[self.slider.value()].step if self._snapshots else 0

    def offer(
        self, snapshots: Sequence[Snapshot], *, can_train: bool, current: int | None = None
    ) -> None:
        """Show the snapshots of a training, or none.

        ``can_train`` is False in a pause, when snapshots can only be viewed; ``current`` is the
        step of the snapshot in use, where that is not the last.
        """
        self._snapshots = tuple(snapshots)
        self.slider.blockSignals(True)
        self.slider.setRange(0, max(0, len(self._snapshots) - 1))
        steps = [snapshot.step for snapshot in self._snapshots]
        used = steps.index(current) if current in steps else self.slider.maximum()
        self._used = used
        self.slider.setValue(used)
        self.slider.blockSignals(False)
        self.slider.setEnabled(len(self._snapshots) > 1)
        self.continue_button.setEnabled(can_train)
        self._can_train = can_train
        self._describe()

    def _on_slide(self, _: int) -> None:
        self._describe()
        self.snapshot_selected.emit(self.step)

    def _describe(self) -> None:
        last = self.slider.value() == self.slider.maximum()
        other = self.slider.value() != self._used
        self.take_button.setEnabled(bool(self._snapshots) and other and self._can_train)
        if not self._snapshots:
            self.where.setText("Snapshots can be viewed in a pause and after the training.")
            return
        shown = self._snapshots[self.slider.value()]
        notes = {"before training": shown.step == 0, "last": last, "in use": not other}
        noted = ", ".join(note for note, is_true in notes.items() if is_true)
        text = f"Step {shown.step} of {self._snapshots[-1].step}"
        text += f" ({noted})" if noted else ""
        self.where.setText(text + (f"; loss {shown.loss:.3f}." if isfinite(shown.loss) else "."))
