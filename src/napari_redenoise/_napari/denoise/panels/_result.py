"""The tab *Result*: compare, inspect and save the result."""

from __future__ import annotations

from collections.abc import Sequence

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

from napari_redenoise._napari._eliding_box import ElidingBox
from napari_redenoise._napari._words import WrappedLabel, as_tooltip, set_available
from napari_redenoise._napari.denoise._extra_layers import EXTRAS, OF_VIEW, ExtraKind

LEGEND = (
    "Fusion mask (hidden layer): yellow where the standard branch dominates, dark blue where the "
    "equivariant branch does. Its contrast is stretched; fine speckle is noise."
)


CHOICE = (
    "The results of this session: source, method and time. The tabs Training, Result and Quality "
    "show the chosen one."
)
NO_RESULT = "There is no result yet."
NO_SOURCE = "The noisy layer was deleted, and this map is of its current view: denoise again."
ONE_BRANCH = "The network of this result has one branch only."
BUSY = "Layers are being computed or written: wait for them."
UNCHECKED = "The quality checks are part of the report: wait for them."
SAVE_ALL = (
    "Makes a folder with the denoised image, the fusion mask, the residual, the outputs of both "
    "branches, the network, and a report with the quality checks and all settings."
)

EXPORT = (
    "Writes the trained network as a package for programs that read the BioImage Model Zoo, such "
    "as ilastik and deepImageJ. No file is replaced."
)


class ResultPanel(QWidget):
    """Blending, grid, further layers, files, and the run as code."""

    chosen = Signal(int)
    """Number of a listed result."""

    blended = Signal(float)
    """Share of the denoised image, 0 to 1."""

    side_by_side = Signal(bool)

    extra = Signal(str)
    """An `ExtraKind`."""

    save_image = Signal()
    save_model = Signal()
    save_all = Signal()
    export_model = Signal()
    copy_python = Signal()
    copy_command = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.title = WrappedLabel()
        self.choice = ElidingBox()
        self.choice.setPlaceholderText("Earlier results")
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
        self.legend = WrappedLabel(LEGEND)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.title)
        layout.addWidget(self.choice)
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
        self.choice.activated.connect(self.chosen)
        self.list_results((), None)
        self.offer(None)

    def show_grid(self, *, enabled: bool) -> None:
        """Show whether napari's grid is on, which has a button and a shortcut of its own."""
        self.grid.blockSignals(True)
        self.grid.setChecked(enabled)
        self.grid.blockSignals(False)

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
                    "Writes the denoised image as TIFF or OME-Zarr, with axes, pixel size and "
                    "units.",
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
            # Files first; the rows between are those of long names.
            grid.addWidget(button, number // 2 * 3, number % 2)
        self.save_all_button = QPushButton("Save all...")
        self.save_all_button.clicked.connect(self.save_all)
        grid.addWidget(self.save_all_button, 1, 0, 1, 2)
        self.export_button = QPushButton("Export to BioImage Model Zoo...")
        self.export_button.clicked.connect(self.export_model)
        grid.addWidget(self.export_button, 2, 0, 1, 2)
        return grid

    def list_results(self, titles: Sequence[str], shown: int | None) -> None:
        """List the results of the session, and choose the one that is shown."""
        self.choice.clear()
        self.choice.addItems(list(titles))
        for number, title in enumerate(titles):
            # A narrow dock cuts the method and the time off.
            self.choice.setItemData(number, as_tooltip(title), Qt.ItemDataRole.ToolTipRole)
        self.choice.setCurrentIndex(-1 if shown is None else shown)
        shown_title = "" if shown is None else f"{titles[shown]}. "
        self.choice.setToolTip(as_tooltip(f"{shown_title}{CHOICE}"))
        self.choice.setVisible(bool(titles))

    def offer(
        self,
        title: str | None,
        *,
        message: str = NO_RESULT,
        is_fused: bool = False,
        has_source: bool = True,
        is_busy: bool = False,
        is_checked: bool = True,
        legends: Sequence[str] = (),
        opacity: float = 1.0,
    ) -> None:
        """Enable the controls for a result; where ``title`` is None, say the message instead."""
        self.title.setText(message if title is None else title)
        for widget in (*self.extras.values(), *self.buttons.values(), self.blend):
            widget.setEnabled(title is not None)
        if title is not None:
            reasons = _reasons(is_fused=is_fused, has_source=has_source, is_busy=is_busy)
            for kind, reason in reasons.items():
                set_available(self.extras[kind], reason, EXTRAS[kind][1])
        waits = BUSY if is_busy else "" if is_checked else UNCHECKED
        set_available(self.save_all_button, message if title is None else waits, SAVE_ALL)
        waits = BUSY if is_busy else ""
        set_available(self.export_button, message if title is None else waits, EXPORT)
        self.show_legends((LEGEND, *legends) if is_fused else legends)
        self.blend.blockSignals(True)
        self.blend.setValue(round(100 * opacity))
        self.blend.blockSignals(False)

    def show_legends(self, legends: Sequence[str]) -> None:
        """Explain the layers that were added."""
        self.legend.setText("\n".join(legends))
        self.legend.setVisible(bool(legends))


def _reasons(*, is_fused: bool, has_source: bool, is_busy: bool) -> dict[ExtraKind, str]:
    """Why a kind of layers cannot be added; empty where it can."""
    reasons: dict[ExtraKind, str] = dict.fromkeys(EXTRAS, BUSY if is_busy else "")
    for kind in OF_VIEW:
        reasons[kind] = reasons[kind] or ("" if has_source else NO_SOURCE)
    reasons["branches"] = reasons["branches"] or ("" if is_fused else ONE_BRANCH)
    return reasons
