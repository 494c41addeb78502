"""The tab *Result*: compare, inspect and save the result."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from napari_redenoise._napari._words import wrapped
from napari_redenoise._napari.denoise._extra_layers import EXTRAS, ExtraKind

LEGEND = (
    "Fusion mask (hidden layer): yellow where the standard branch dominates, dark blue where the "
    "equivariant branch does. Its contrast is stretched; fine speckle is noise."
)


class ResultPanel(QWidget):
    """Blending, grid, further layers, files, and the run as code."""

    blended = Signal(float)
    """Share of the denoised image, 0 to 1."""

    side_by_side = Signal(bool)

    extra = Signal(str)
    """An `ExtraKind`."""

    save_image = Signal()
    save_model = Signal()
    copy_python = Signal()
    copy_command = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.title = wrapped()
        self.blend = QSlider(Qt.Orientation.Horizontal)
        self.blend.setRange(0, 100)
        self.blend.setValue(100)
        self.blend.setToolTip(
            "Blends the noisy and the denoised image, by the opacity of the denoised layer."
        )
        self.grid = QPushButton("Side by side")
        self.grid.setCheckable(True)
        self.grid.setToolTip("Shows all visible layers side by side (Ctrl+G).")
        self.extras: dict[ExtraKind, QPushButton] = {}
        self.legend = wrapped(LEGEND)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.title)
        layout.addLayout(self._blend_row())
        layout.addWidget(self.grid)
        layout.addWidget(self.legend)
        layout.addWidget(QLabel("Add as layers:"))
        layout.addLayout(self._extras_grid())
        layout.addWidget(QLabel("Save or repeat:"))
        layout.addLayout(self._save_grid())
        layout.addStretch()
        self.blend.valueChanged.connect(lambda value: self.blended.emit(value / 100))
        self.grid.toggled.connect(self.side_by_side)
        self.offer(source=None, is_fused=False)

    def _blend_row(self) -> QHBoxLayout:
        row = QHBoxLayout()
        for text in ("&Noisy", "Denoised"):
            label = QLabel(text)
            label.setBuddy(self.blend)
            row.addWidget(label)
        row.insertWidget(1, self.blend)
        return row

    def _extras_grid(self) -> QGridLayout:
        grid = QGridLayout()
        # Short names share a row, long ones have their own: the dock is narrow.
        places: dict[ExtraKind, tuple[int, int, int, int]] = {
            "residual": (0, 0, 1, 1),
            "branches": (0, 1, 1, 1),
            "rotation": (1, 0, 1, 2),
            "support": (2, 0, 1, 2),
        }
        for kind, place in places.items():
            text, tooltip = EXTRAS[kind]
            button = QPushButton(text)
            button.setToolTip(tooltip)
            button.clicked.connect(lambda _=False, kind=kind: self.extra.emit(kind))
            self.extras[kind] = button
            grid.addWidget(button, *place)
        return grid

    def _save_grid(self) -> QGridLayout:
        grid = QGridLayout()
        self.buttons: dict[str, QPushButton] = {}
        for number, (text, tooltip, signal) in enumerate(
            (
                (
                    "Save image...",
                    "Writes the denoised image as TIFF with axes, pixel size and units.",
                    self.save_image,
                ),
                (
                    "Save model...",
                    "Writes the trained network, for other images of the same kind.",
                    self.save_model,
                ),
                (
                    "Copy as Python",
                    "Copies a script that repeats the run.",
                    self.copy_python,
                ),
                (
                    "Copy as command",
                    "Copies a command line that repeats the run.",
                    self.copy_command,
                ),
            )
        ):
            button = QPushButton(text)
            button.setToolTip(tooltip)
            button.clicked.connect(signal)
            self.buttons[text] = button
            grid.addWidget(button, number // 2, number % 2)
        return grid

    def offer(self, *, source: str | None, is_fused: bool) -> None:
        """Enable the controls for the result of a layer, or disable them without one."""
        self.title.setText(
            "There is no result yet." if source is None else f"Result of '{source}':"
        )
        for button in (*self.extras.values(), *self.buttons.values(), self.blend):
            button.setEnabled(source is not None)
        self.legend.setVisible(is_fused)
        self.extras["branches"].setEnabled(is_fused)
        self.blend.blockSignals(True)
        self.blend.setValue(100)
        self.blend.blockSignals(False)
