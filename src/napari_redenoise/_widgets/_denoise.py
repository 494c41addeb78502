"""The dock widget *Denoise*: a layer, a sentence, a button."""

from __future__ import annotations

import gc
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import ComboBox
from napari.layers import Image
from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget
from superqt.utils import create_worker

from napari_redenoise._denoiser import PreviewDone, Redenoiser
from napari_redenoise._layers import (
    LayerImage,
    denoised_layer,
    denoised_name,
    is_mask,
    mask_layer,
    provenance_of,
    read_layer,
)
from napari_redenoise._widgets._loss_plot import LossPlot
from napari_redenoise._widgets._run import (
    Finished,
    RunControl,
    RunEvent,
    RunFailed,
    estimate,
    run,
)
from napari_redenoise._widgets._view import current_window
from napari_redenoise.config import Config
from napari_redenoise.errors import RedenoiseError
from napari_redenoise.inference import TileDone
from napari_redenoise.training import StepDone

if TYPE_CHECKING:
    import napari.viewer

logger = logging.getLogger(__name__)

PAINT_MS = 30
"""Time that a new layer is given to appear before the run goes on."""

REFRESH_MS = 150
"""How often the view is looked at and the curve redrawn during a run."""


# Layers come as public-only proxies, a new one at every access: they are compared by equality.
class DenoiseWidget(QWidget):
    """Trains on the chosen layer and adds its denoised image and its fusion mask.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    config : Config, optional
        What a press runs; default the package's defaults.
    """

    def __init__(self, viewer: napari.viewer.Viewer, config: Config | None = None) -> None:
        super().__init__()
        self._viewer = viewer
        self._config = config or Config()
        self._control: RunControl | None = None
        self._source: LayerImage | None = None
        self._source_layer: Image | None = None
        self._canvas: np.ndarray | None = None
        self._result: Image | None = None
        self._finished: Finished | None = None
        self._added: list[str] = []
        self._step: StepDone | None = None
        self._estimates: dict[tuple[Any, ...], float] = {}
        self._estimating = False
        self.denoiser: Redenoiser | None = None

        self.layer_choice = ComboBox(label="Image layer", choices=self._image_layers, nullable=True)
        self.layer_choice.tooltip = "The noisy image. Follows the layer selected in the layer list."
        self.plan = QLabel()
        self.button = QPushButton("Denoise")
        self.progress = QProgressBar()
        self.status = QLabel()
        self.loss_plot = LossPlot()
        self._build()

        self._timer = QTimer(self)
        self._timer.setInterval(REFRESH_MS)
        self._timer.timeout.connect(self._refresh)
        self._connect_viewer()
        self._follow_selection()
        self._describe()

    # -- building ---------------------------------------------------------------------------

    def _build(self) -> None:
        layout = QVBoxLayout(self)
        heading = QLabel("Noisy image layer")
        for label in (self.plan, self.status):
            label.setWordWrap(True)
        self.progress.setVisible(False)
        self.loss_plot.setVisible(False)
        for widget in (
            heading,
            self.layer_choice.native,
            self.plan,
            self.button,
            self.progress,
            self.status,
            self.loss_plot,
        ):
            layout.addWidget(widget)
        layout.addStretch()
        self.button.clicked.connect(self._pressed)
        self.layer_choice.changed.connect(self._describe)

    def _connect_viewer(self) -> None:
        # Functions and not methods: napari cannot disconnect the methods of a deleted widget.
        def changed(_: Any) -> None:
            self._refresh_choices()

        def selected(_: Any) -> None:
            self._follow_selection()

        layers = self._viewer.layers
        self._connections = [
            (layers.events.inserted, changed),
            (layers.events.removed, changed),
            (layers.events.reordered, changed),
            (layers.events.renamed, changed),
            (layers.selection.events.active, selected),
        ]
        for signal, callback in self._connections:
            signal.connect(callback)
        # A method of a deleted widget would not be called, a function is.
        self.destroyed.connect(lambda: self._leave())

    def _leave(self) -> None:
        """End a run whose dock or viewer is gone: nobody wants its result."""
        if self._control is not None:
            self._control.abandon()
        for signal, callback in self._connections:
            signal.disconnect(callback)
        self._connections = []

    def changeEvent(self, event: QEvent) -> None:
        """Notice when napari takes the widget out of a dock that is being closed."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._leave()
        super().changeEvent(event)

    # -- choosing a layer -------------------------------------------------------------------

    def _image_layers(self, _: Any = None) -> list[tuple[str, Image]]:
        return [
            (layer.name, layer)
            for layer in self._viewer.layers
            if isinstance(layer, Image) and layer != self._result and not is_mask(layer)
        ]

    def _refresh_choices(self) -> None:
        self.layer_choice.reset_choices()
        self._describe()

    def _follow_selection(self) -> None:
        active = self._viewer.layers.selection.active
        self.layer_choice.reset_choices()
        if self._control is None and active in [layer for _, layer in self._image_layers()]:
            self.layer_choice.value = active

    def _describe(self, _: Any = None) -> None:
        """Say in one sentence what a press will do, or why it can do nothing."""
        if self._control is not None:
            return
        layer = self.layer_choice.value
        self.button.setEnabled(False)
        if layer is None:
            self.plan.setText("Open an image, or try File > Open Sample > Redenoise.")
            return
        try:
            source = read_layer(layer)
            denoiser = Redenoiser(self._config)
        except RedenoiseError as error:
            self.plan.setText(f"Cannot denoise this layer: {error}.")
            return
        seconds = self._estimates.get(_key(source))
        if seconds is None:
            self._measure(denoiser, source)
        time = "" if seconds is None else f" Takes about {_duration(seconds)}"
        self.plan.setText(
            f"{source.describe()}. Trains a network on these noisy pixels alone, then adds the "
            f"denoised image and the fusion mask as new layers.{time or ' Runs'} on "
            f"{_device_name(denoiser)}."
        )
        self.button.setEnabled(True)

    def _measure(self, denoiser: Redenoiser, source: LayerImage) -> None:
        """Measure this machine in the background, once per kind of image."""
        if self._estimating:
            return
        self._estimating = True

        def done(seconds: float) -> None:
            self._estimates[_key(source)] = seconds

        def finished() -> None:
            self._estimating = False
            self._describe()

        self._worker = create_worker(
            estimate,
            denoiser,
            source,
            _ignore_errors=True,
            _connect={"returned": done, "finished": finished},
        )

    # -- running ----------------------------------------------------------------------------

    def _pressed(self) -> None:
        if self._control is None:
            self._start()
        elif not self._control.stop.is_set():
            self._control.stop.set()
            self.button.setEnabled(False)
            self.status.setText("Stopping; what was learned is kept.")
        else:
            self._control.cancel.set()
            self.button.setEnabled(False)
            self.status.setText("Cancelling.")

    def _start(self) -> None:
        layer = self.layer_choice.value
        try:
            source = read_layer(layer)
            self.denoiser = Redenoiser(self._config)
        except RedenoiseError as error:
            self.status.setText(f"{error}.")
            return
        self._source, self._source_layer, self._step = source, layer, None
        self._control = RunControl()
        self.loss_plot.clear_losses()
        self.loss_plot.setVisible(True)
        self.progress.setVisible(True)
        self.progress.setRange(0, 0)
        self.layer_choice.enabled = False
        self.button.setText("Stop and keep what was learned")
        # A full garbage collection takes a third of a second with torch and napari loaded, in
        # whatever thread it comes, and the viewer stands still: it passes over frozen objects.
        gc.freeze()
        self.status.setText("Reading the image.")
        self._refresh()
        self._timer.start()
        self._worker = create_worker(
            run,
            self.denoiser,
            source,
            self._control,
            _connect={
                "yielded": self._on_event,
                "returned": self._on_result,
                "errored": self._on_error,
                "finished": self._on_finished,
            },
        )

    def _refresh(self) -> None:
        """Tell the run what is looked at, and draw what has arrived."""
        if self._control is None or self._source is None:
            return
        layer = self._source_layer
        present = layer in self._viewer.layers
        self._control.window = (
            current_window(self._viewer, layer, self._source) if present else None
        )
        if self._step is not None and not self._control.stop.is_set():
            step = self._step
            left = (step.steps - step.step) * step.seconds
            self.progress.setRange(0, step.steps)
            self.progress.setValue(step.step)
            self.status.setText(
                f"Training: step {step.step} of {step.steps}, about {_duration(left)} left."
            )
            self.loss_plot.redraw()

    def _on_event(self, event: RunEvent) -> None:
        if isinstance(event, StepDone):
            self._step = event
            self.loss_plot.append(event.step, event.loss)
        elif isinstance(event, PreviewDone):
            self._show_preview()
        elif isinstance(event, TileDone):
            self._show_tiles(event)
        else:
            self._canvas = event.canvas

    def _show_preview(self) -> None:
        if self._result is not None and self._result in self._viewer.layers:
            self._result.refresh()
        else:
            self._add_result()
        if self._control is not None:
            QTimer.singleShot(PAINT_MS, self._control.shown.set)

    def _add_result(self) -> None:
        if self._source is None or self._canvas is None or not self._connections:
            return
        data, keywords, _ = denoised_layer(self._source, self._canvas)
        self._result = self._viewer.add_image(data, **keywords)
        self._select_source()

    def _select_source(self) -> None:
        """Keep the source selected, so that the next press means the same layer."""
        if self._source_layer in self._viewer.layers:
            self._viewer.layers.selection.active = self._source_layer

    def _show_tiles(self, event: TileDone) -> None:
        if self._control is None or self._control.cancel.is_set():
            return
        self._control.stop.set()
        self.button.setText("Cancel")
        self.button.setEnabled(True)
        self.progress.setRange(0, event.tiles)
        self.progress.setValue(event.tile)
        self.status.setText(f"Denoising: part {event.tile} of {event.tiles}.")

    def _on_result(self, finished: Finished | None) -> None:
        self._finished = finished
        if finished is None or self._source is None:
            self.status.setText("Cancelled; no layers were added.")
            return
        steps, seconds = finished.provenance["steps"], finished.provenance["seconds"]
        self.status.setText(f"Trained {steps} steps in {_duration(seconds)}; adding the layers.")

    def _on_error(self, error: Exception) -> None:
        if isinstance(error, RedenoiseError):
            self.status.setText(f"{error}.")
            return
        logger.error("denoising failed", exc_info=error)
        self.status.setText(
            f"Something unexpected went wrong ({_what(error)}). Your layers are "
            "unchanged; the log has the details."
        )

    def _on_finished(self) -> None:
        if not self._connections:
            # The dock is gone, and with it whoever asked.
            gc.unfreeze()
            self._control = None
            return
        self._timer.stop()
        self.loss_plot.redraw()
        self.progress.setVisible(False)
        self.button.setEnabled(False)
        if self._finished is None:
            # Removed and not emptied: nobody asked for half a picture.
            if self._result in self._viewer.layers:
                self._viewer.layers.remove(self._result)
            self._rest()
        else:
            self._add_mask(self._finished)

    # One layer per turn of the event loop, so that the viewer never stands still for long.

    def _add_mask(self, finished: Finished) -> None:
        if finished.mask is not None and self._source is not None:
            data, keywords, _ = mask_layer(self._source, finished.mask, finished.provenance)
            mask = self._viewer.add_image(data, **keywords)
            if self._result in self._viewer.layers:
                # Below the denoised image, which then is what the eye button next to it shows.
                layers = self._viewer.layers
                layers.move(layers.index(mask), layers.index(self._result))
            self._select_source()
            self._added.append(mask.name)
        QTimer.singleShot(PAINT_MS, lambda: self._complete(finished))

    def _complete(self, finished: Finished) -> None:
        if self._result not in self._viewer.layers:
            self._add_result()
        if self._result is not None and self._source is not None:
            self._result.refresh()
            self._result.name = denoised_name(self._source)
            self._result.metadata = provenance_of(
                self._source, finished.provenance, "denoised image"
            )
            self._added.insert(0, self._result.name)
        steps, seconds = finished.provenance["steps"], finished.provenance["seconds"]
        added = " and ".join(f"'{name}'" for name in self._added)
        self.status.setText(f"Done: {steps} training steps in {_duration(seconds)}. Added {added}.")
        self._rest()

    def _rest(self) -> None:
        """Be ready for the next press."""
        gc.unfreeze()
        self._control = self._source = self._canvas = self._result = self._finished = None
        self._added = []
        self.layer_choice.enabled = True
        self.button.setText("Denoise")
        self._follow_selection()
        self._describe()


def _what(error: Exception) -> str:
    return str(error) if isinstance(error, RunFailed) else f"{type(error).__name__}: {error}"


def _key(source: LayerImage) -> tuple[Any, ...]:
    return (source.axes, tuple(source.array.shape))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def _device_name(denoiser: Redenoiser) -> str:
    names = {"cpu": "the processor (CPU)", "mps": "the Apple GPU", "cuda": "the GPU"}
    return names.get(denoiser.device.type, str(denoiser.device))
