"""The choice between training a network and using a trained one."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFileDialog, QFormLayout, QWidget

from napari_redenoise._napari._eliding_box import ElidingBox
from napari_redenoise._napari._trained_models import remembered
from napari_redenoise._napari._words import refusal, short_name
from napari_redenoise.errors import RedenoiseError
from napari_redenoise.model import Redenoiser

NEW = "Train a new one"
OPEN = "Open a model file..."


class ModelChoice(QObject):
    """A form row: train a network, or use one of this session or from a file."""

    changed = Signal()

    refused = Signal(str)
    """A message on a file that is not a model."""

    def __init__(self, form: QFormLayout, parent: QWidget) -> None:
        super().__init__(parent)
        self._parent = parent
        self._files: dict[Path, Redenoiser] = {}
        self.box = ElidingBox()
        self.box.setToolTip(
            "The network that denoises. A network from another layer or from a file denoises "
            "without training; it suits images of the same kind and the same settings."
        )
        form.addRow("Networ&k", self.box)
        self._number = 0
        self.offer()
        self.box.currentIndexChanged.connect(self._on_choice)
        self.box.activated.connect(self._on_activated)

    @property
    def model(self) -> Redenoiser | None:
        """The chosen trained model; None to train."""
        model = self.box.currentData()
        return model if isinstance(model, Redenoiser) else None

    @property
    def file(self) -> Path | None:
        """File of the chosen model; None for one of this session."""
        model = self.model
        return next((path for path, found in self._files.items() if found is model), None)

    @property
    def name(self) -> str:
        """Label of the choice."""
        return str(self.box.currentText())

    def offer(self) -> None:
        """Update the list; the choice stays."""
        entries: list[tuple[str, Redenoiser | str | None]] = [(NEW, None)]
        entries += [(f"trained on '{name}'", model) for name, model in remembered()]
        entries += [(short_name(path, self._files), model) for path, model in self._files.items()]
        self.box.offer([*entries, (OPEN, OPEN)], keep=self.model)

    def open_file(self, path: str | Path) -> None:
        """Load a model file and choose it; refuse a file that is not a model."""
        try:
            model = Redenoiser.load(path)
        except RedenoiseError as error:
            self.refused.emit(refusal(error))
            return
        self._files[Path(path).resolve()] = model
        self.offer()
        self.box.choose(model)

    def _on_choice(self, number: int) -> None:
        if self.box.itemData(number) != OPEN:
            self._number = number
            self.changed.emit()

    def _on_activated(self, number: int) -> None:
        if self.box.itemData(number) != OPEN:
            return
        # What was chosen stays, unless a file is opened.
        self.box.setCurrentIndex(self._number)
        path, _ = QFileDialog.getOpenFileName(
            self._parent, "Open a model", "", "Redenoise models (*.safetensors)"
        )
        if path:
            self.open_file(path)
