"""The dock widget *Equivariance*: disagreement of the result under rotation."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import (
    QDockWidget,
    QFileDialog,
    QLabel,
    QMainWindow,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_redenoise._napari._add_layers import add_image
from napari_redenoise._napari._background_task import Task
from napari_redenoise._napari._eliding_box import ElidingBox, narrow
from napari_redenoise._napari._layers import LayerData, LayerImage
from napari_redenoise._napari._maps import disagreement_layers, window_placement
from napari_redenoise._napari._scrolling import scrolled
from napari_redenoise._napari._trained_models import models_for
from napari_redenoise._napari._view import current_window
from napari_redenoise._napari._words import WrappedLabel, refusal, short_name
from napari_redenoise._napari._worker import in_words
from napari_redenoise._napari.denoise._closing import delete_closed
from napari_redenoise._napari.denoise._dock import DenoiseWidget
from napari_redenoise._napari.denoise._jobs import read
from napari_redenoise._napari.denoise._layer_choice import NO_IMAGE, LayerChoice
from napari_redenoise._napari.denoise._layer_run import PAINT_MS
from napari_redenoise.assessment import EquivarianceResult, equivariance
from napari_redenoise.errors import RedenoiseError
from napari_redenoise.inference import Interrupted
from napari_redenoise.model import Redenoiser, Window

if TYPE_CHECKING:
    import napari.viewer

logger = logging.getLogger(__name__)

ANGLES = (90, 180, 270, 45)
SIDE_BY_SIDE = "The grid button below the layer list (Ctrl+G) shows the maps side by side."


class EquivarianceWidget(QWidget):
    """Rotates the view, denoises it, rotates it back, and compares with the denoised view.

    Attributes
    ----------
    is_running : bool
        Whether a comparison is running.
    result : EquivarianceResult or None
        Result of the last comparison.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._files: dict[Path, Redenoiser] = {}
        self._offered: tuple[Any, ...] = ()
        self._stop = Event()
        self._pending: list[LayerData] = []
        self._sentence = ""
        self.is_running = self._is_placed = False
        self.result: EquivarianceResult | None = None

        self.layer_choice = ComboBox(label="Image layer", choices=(), nullable=True)
        self.layer_choice.tooltip = "The noisy image. Follows the layer selected in the layer list."
        narrow(self.layer_choice.native)
        self._choice = LayerChoice(viewer, self.layer_choice)
        self.model_choice = ElidingBox()
        self.model_choice.setToolTip("The trained model to test.")
        self.file_button = QPushButton("&Open a model file...")
        self.file_button.setToolTip("A .safetensors file that Redenoise saved.")
        self.angle_choice = ElidingBox()
        self.angle_choice.setToolTip(
            "Counter-clockwise. Rotations by 90°, 180° and 270° only move pixels; 45° interpolates "
            "between pixels, which also changes the image."
        )
        self.plan = WrappedLabel()
        self.button = QPushButton("Rotate and &compare")
        self.button.setToolTip("Denoises the current view twice; adds one map per network.")
        self.progress = QProgressBar()
        self.status = WrappedLabel()
        self._build()
        self._connect_viewer()
        self._follow_selection()

    # -- building -----------------------------------------------------------------------------

    def _build(self) -> None:
        self.angle_choice.offer(
            (f"{angle}°{'' if angle % 90 == 0 else ' (interpolated)'}", angle) for angle in ANGLES
        )
        page = QWidget()
        layout = QVBoxLayout(page)
        for text, widget in (
            ("&Noisy image layer", self.layer_choice.native),
            ("Trained &model", self.model_choice),
            ("", self.file_button),
            ("&Rotate by", self.angle_choice),
            ("", self.plan),
            ("", self.button),
            ("", self.progress),
            ("", self.status),
        ):
            if text:
                label = QLabel(text)
                label.setBuddy(widget)
                layout.addWidget(label)
            layout.addWidget(widget)
        layout.addStretch()
        # Its texts would make the window higher than the screen.
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scrolled(page))
        self.progress.setVisible(False)
        self.progress.setRange(0, 0)
        self.button.clicked.connect(self._pressed)
        self.file_button.clicked.connect(self._choose_file)
        self.layer_choice.changed.connect(self._on_layer)
        self.model_choice.currentIndexChanged.connect(self._describe)
        self.angle_choice.currentIndexChanged.connect(self._describe)

    def _connect_viewer(self) -> None:
        # Functions and not methods: napari cannot disconnect the methods of a deleted widget.
        def changed(_: Any) -> None:
            if not self.is_running:
                self._choice.refresh()
                self._on_layer()

        def selected(_: Any) -> None:
            self._follow_selection()

        layers = self._viewer.layers
        self._connections = [
            (layers.events.inserted, changed),
            (layers.events.removed, changed),
            (layers.events.renamed, changed),
            (layers.selection.events.active, selected),
        ]
        for signal, callback in self._connections:
            signal.connect(callback)
        # Qt calls functions, but no methods of a deleted widget.
        self.destroyed.connect(lambda: self._leave())

    def _leave(self) -> None:
        """Stop and disconnect: the dock or the viewer is closed."""
        for signal, callback in self._connections:
            signal.disconnect(callback)
        self._connections = []
        self._pending = []
        self._stop.set()

    def showEvent(self, event: QEvent) -> None:
        """Share the place of the dock *Denoise*: one below the other, a screen is too low."""
        super().showEvent(event)
        dock = self.parentWidget()
        window = None if dock is None else dock.parentWidget()
        if self._is_placed or not isinstance(window, QMainWindow):
            return
        self._is_placed = True
        for other in window.findChildren(QDockWidget):
            if isinstance(other.widget(), DenoiseWidget):
                window.tabifyDockWidget(other, dock)
                dock.raise_()

    def changeEvent(self, event: QEvent) -> None:
        """Detect that napari takes the widget out of a closing dock."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._leave()
            delete_closed(self)
        super().changeEvent(event)

    # -- choosing -----------------------------------------------------------------------------

    def _follow_selection(self) -> None:
        if self.is_running:
            return
        active = self._viewer.layers.selection.active
        self._choice.refresh()
        if active in self._choice.images():
            self.layer_choice.value = active
        self._on_layer()

    def _on_layer(self, _: Any = None) -> None:
        """List the models of the layer first, then those of other layers and from files."""
        layer, chosen = self.layer_choice.value, self.model_choice.currentData()
        entries = [] if layer is None else models_for(layer, self._viewer.layers)
        entries += [(short_name(path, self._files), model) for path, model in self._files.items()]
        # A new first model, or that of another layer, counts more than the choice before.
        before, self._offered = self._offered, (layer, *(model for _, model in entries[:1]))
        stays = before == self._offered or chosen in self._files.values()
        self.model_choice.offer(entries, keep=chosen if stays else None)
        self._describe()

    def _choose_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Open a model", "", "Redenoise models (*.safetensors)"
        )
        if path:
            self.open_model(path)

    def open_model(self, path: str | Path) -> None:
        """Load a model file and choose it; refuse a file that is not a model."""
        try:
            model = Redenoiser.load(path)
        except RedenoiseError as error:
            self.status.setText(refusal(error))
            return
        self._files[Path(path).resolve()] = model
        self._on_layer()
        self.model_choice.choose(model)
        self.status.setText("")

    def _describe(self, _: Any = None) -> None:
        """Summarise the next comparison, or say why none is possible."""
        if self.is_running:
            return
        layer, model = self.layer_choice.value, self.model_choice.currentData()
        self.button.setEnabled(False)
        if layer is None:
            self.plan.setText(NO_IMAGE)
            self.status.setText("")
            return
        try:
            read(layer)
        except RedenoiseError as error:
            self.plan.setText(f"Cannot compare this layer: {error}.")
            return
        if model is None:
            self.plan.setText(
                "Train a model on this layer first (Layers > Filter > Denoise this layer), or open "
                "a model file."
            )
            return
        exact = self.angle_choice.currentData() % 90 == 0
        where = "" if exact else ", inside the disc that stays in view"
        self.plan.setText(
            "Rotates the current view, denoises it, rotates it back, and compares it with the "
            f"denoised view{where}. The added maps are bright where the result depends on the "
            "orientation of the sample."
        )
        self.button.setEnabled(True)

    # -- comparing ----------------------------------------------------------------------------

    def _pressed(self) -> None:
        if self.is_running:
            self.status.setText("Stopping.")
            self.button.setEnabled(False)
            self._stop.set()
            return
        layer = self.layer_choice.value
        try:
            source = read(layer)
        except RedenoiseError as error:
            self.status.setText(refusal(error))
            return
        window = current_window(self._viewer, layer, source)
        if window is None:
            self.status.setText(
                "The comparison needs a plane of the layer: show its y and x in the 2-D view."
            )
            return
        self._start(layer, source, window)

    def _start(self, layer: Any, source: LayerImage, window: Window) -> None:
        self._stop = Event()
        self._sentence, self.result = "Stopped; no layers were added.", None
        self._source, self._model = source, self.model_choice.currentData()
        self._placed = window_placement(layer, source, window)
        compare = partial(
            equivariance,
            self._model,
            source.array,
            source.axes,
            angle=self.angle_choice.currentData(),
            window=window,
            should_stop=self._stop.is_set,
        )
        Task(
            compare,
            returned=self._on_returned,
            errored=self._on_errored,
            finished=self._on_finished,
            stop=self._stop,
        )
        self._show_running(running=True)
        self.status.setText("Denoising the view, original and rotated.")

    def _show_running(self, *, running: bool) -> None:
        self.is_running = running
        self.button.setText("Stop" if running else "Rotate and &compare")
        self.progress.setVisible(running)
        for widget in (self.model_choice, self.angle_choice, self.file_button):
            widget.setEnabled(not running)
        self.layer_choice.enabled = not running

    def _on_returned(self, result: EquivarianceResult) -> None:
        self.result = None if self._stop.is_set() else result

    def _on_errored(self, error: Exception) -> None:
        if isinstance(error, Interrupted):
            return
        if isinstance(error, RedenoiseError):
            self._sentence = refusal(error)
            return
        logger.error("comparing failed", exc_info=error)
        self._sentence = (
            f"Unexpected error ({in_words(error)}). Your layers are unchanged; see the log for "
            "details."
        )

    def _on_finished(self) -> None:
        if not self._connections:
            return
        if self.result is not None:
            self._sentence = _in_words(self._source, self.result)
            self._pending = disagreement_layers(
                self._source, self._placed, self.result, self._model.session.provenance
            )
        self._add_next()

    def _add_next(self) -> None:
        """Add one layer per event-loop iteration, so that the viewer stays responsive."""
        if self._pending:
            data, keywords, _ = self._pending.pop(0)
            add_image(self._viewer, data, keywords)
            QTimer.singleShot(PAINT_MS, self._add_next)
        elif self._connections:
            self._show_running(running=False)
            # The new layers are no choice, and the chosen one stays.
            self._choice.refresh()
            self._on_layer()
            self.status.setText(self._sentence)


def _in_words(source: LayerImage, result: EquivarianceResult) -> str:
    rows, columns = result.window.rows, result.window.columns
    size = f"{rows.stop - rows.start} × {columns.stop - columns.start}"
    compared = (
        f"Compared: {size} pixels of '{source.name}'; 100 % is the standard deviation of the "
        "denoised view."
    )
    words = "\n\n".join([*result.sentences(), compared, SIDE_BY_SIDE])
    # No line of a narrow dock begins with the sign.
    return words.replace(" %", "\N{NO-BREAK SPACE}%")
