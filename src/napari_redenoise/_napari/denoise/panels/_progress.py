"""The part of the dock that shows the training, goes back in it, and goes on with it."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSlider, QVBoxLayout, QWidget

from napari_redenoise._napari._plots import LossPlot
from napari_redenoise._napari._words import wrapped
from napari_redenoise.model import Snapshot


class ProgressPanel(QWidget):
    """Loss curve, a slider over the snapshots of the training, and what to do with one."""

    snapshot_selected = Signal(int)
    """Step of the snapshot to look at."""

    snapshot_used = Signal(int)
    """Step of the snapshot to denoise with."""

    continued = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.loss_plot = LossPlot()
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setToolTip(
            "Goes back to earlier states of the network and shows them on the current view."
        )
        self.where = wrapped()
        self.take_button = QPushButton("Use &this one")
        self.take_button.setToolTip("Denoises the layer anew with the network as it was here.")
        self.continue_button = QPushButton("C&ontinue training")
        self.continue_button.setToolTip(
            "Trains as long again, from the state that the slider shows. Worth it while the "
            "curve still falls or the preview still improves."
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
        """What the slider goes over."""
        return self._snapshots

    @property
    def step(self) -> int:
        """Step of the snapshot that the slider shows."""
        return self._snapshots[self.slider.value()].step if self._snapshots else 0

    def offer(
        self, snapshots: Sequence[Snapshot], *, can_train: bool, current: int | None = None
    ) -> None:
        """Show the snapshots that there are; none while nothing is trained.

        ``can_train`` is False in a pause, when they can only be looked at; ``current`` is the
        step of the one that is used, where that is not the last.
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
            self.where.setText("Snapshots of the training can be looked at when it has ended.")
            return
        shown = self._snapshots[self.slider.value()]
        which = ", the last one" if last else f" of {self._snapshots[-1].step}"
        which += "" if other else ", in use"
        self.where.setText(f"Step {shown.step}{which}; loss {shown.loss:.3f}.")
