"""The dock widget *Denoise*: a layer, a sentence, a button."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from napari.layers import Image
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget
from superqt.utils import create_worker

from napari_redenoise._denoiser import Redenoiser
from napari_redenoise._layers import LayerImage, is_mask, read_layer
from napari_redenoise._widgets._layer_run import LayerRun
from napari_redenoise._widgets._loss_plot import LossPlot
from napari_redenoise._widgets._objective_choice import ObjectiveChoice
from napari_redenoise._widgets._run import estimate
from napari_redenoise._widgets._words import device_name, duration
from napari_redenoise.config import Config
from napari_redenoise.errors import RedenoiseError
from napari_redenoise.training import StepDone

if TYPE_CHECKING:
    import napari.viewer


class DenoiseWidget(QWidget):
    """Trains on the chosen layer and adds its denoised image and its fusion mask.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    config : Config, optional
        What a press runs; default the package's defaults.

    Attributes
    ----------
    config : Config
    run : LayerRun or None
        What runs now.
    denoiser : Redenoiser or None
        The model of the last run.
    """

    def __init__(self, viewer: napari.viewer.Viewer, config: Config | None = None) -> None:
        super().__init__()
        self._viewer = viewer
        self.config = config or Config()
        self.run: LayerRun | None = None
        self.denoiser: Redenoiser | None = None
        # Expected seconds by kind of image; None where they could not be measured.
        self._estimates: dict[tuple[Any, ...], float | None] = {}
        self._trial: Any = None

        self.layer_choice = ComboBox(label="Image layer", choices=self._image_layers, nullable=True)
        self.layer_choice.tooltip = "The noisy image. Follows the layer selected in the layer list."
        self.objective = ObjectiveChoice(self.config)
        self.plan = QLabel()
        self.button = QPushButton("Denoise")
        self.progress = QProgressBar()
        self.status = QLabel()
        self.loss_plot = LossPlot()
        self._build()
        self._connect_viewer()
        self._follow_selection()
        self._describe()

    @property
    def is_measuring(self) -> bool:
        """Whether the speed of this machine is being tried."""
        return self._trial is not None

    # -- building -----------------------------------------------------------------------------

    def _build(self) -> None:
        layout = QVBoxLayout(self)
        for label in (self.plan, self.status):
            label.setWordWrap(True)
        self.progress.setVisible(False)
        self.loss_plot.setVisible(False)
        for widget in (
            QLabel("Noisy image layer"),
            self.layer_choice.native,
            self.objective,
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
        self.objective.changed.connect(self._describe)

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
        self.destroyed.connect(lambda: self._leave(viewer_is_open=False))

    def _leave(self, *, viewer_is_open: bool) -> None:
        """End what runs and listen no more: the dock or the viewer is gone."""
        for signal, callback in self._connections:
            signal.disconnect(callback)
        self._connections = []
        if self.run is not None:
            self.run.abandon(viewer_is_open=viewer_is_open)
            self.run = None

    def changeEvent(self, event: QEvent) -> None:
        """Notice when napari takes the widget out of a dock that is being closed."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._leave(viewer_is_open=True)
        super().changeEvent(event)

    # -- choosing a layer ---------------------------------------------------------------------

    def _image_layers(self, _: Any = None) -> list[tuple[str, Image]]:
        preview = None if self.run is None else self.run.result
        return [
            (layer.name, layer)
            for layer in self._viewer.layers
            if isinstance(layer, Image) and layer != preview and not is_mask(layer)
        ]

    def _refresh_choices(self) -> None:
        self.layer_choice.reset_choices()
        self._describe()

    def _follow_selection(self) -> None:
        active = self._viewer.layers.selection.active
        self.layer_choice.reset_choices()
        if self.run is None and active in [layer for _, layer in self._image_layers()]:
            self.layer_choice.value = active

    def _describe(self, _: Any = None) -> None:
        """Say in one sentence what a press will do, or why it can do nothing."""
        if self.run is not None:
            return
        layer = self.layer_choice.value
        self.button.setEnabled(False)
        if layer is None:
            self.plan.setText("Open an image, or try File > Open Sample > Redenoise.")
            return
        self.objective.offer([other for _, other in self._image_layers() if other != layer])
        try:
            source, denoiser, second = self._chosen(layer)
            denoiser.check(
                source.array, source.axes, second=None if second is None else second.array
            )
        except RedenoiseError as error:
            self.plan.setText(f"Cannot denoise this layer: {error}.")
            return
        device = device_name(denoiser.device.type)
        seconds = self._estimates.get(self._kind(source))
        runs = f"Takes about {duration(seconds)}" if seconds is not None else "Runs"
        self.plan.setText(
            f"{source.describe()}. Trains a network on these noisy pixels alone, then adds the "
            f"denoised image and the fusion mask as new layers. {runs} on {device}."
        )
        self.button.setEnabled(True)
        if self._kind(source) not in self._estimates and not self.is_measuring:
            self._measure(denoiser, source)

    def _measure(self, denoiser: Redenoiser, source: LayerImage) -> None:
        """Try the speed of this machine in the background, once per kind of image and objective."""
        kind = self._kind(source)

        def done(seconds: float) -> None:
            self._estimates[kind] = seconds

        def finished() -> None:
            self._trial = None
            # Also where it failed: a run will say why, and no trial is made again.
            self._estimates.setdefault(kind, None)
            if self._connections:
                self._describe()

        self._trial = create_worker(
            estimate,
            denoiser,
            source,
            _ignore_errors=True,
            _connect={"returned": done, "finished": finished},
        )

    # -- running ------------------------------------------------------------------------------

    def _pressed(self) -> None:
        if self.run is None:
            self._start()
            return
        stopped = self.run.control.stop.is_set()
        self.status.setText("Cancelling." if stopped else "Stopping; what was learned is kept.")
        self.button.setEnabled(False)
        self.run.stop()

    def _start(self) -> None:
        layer = self.layer_choice.value
        try:
            source, denoiser, second = self._chosen(layer)
        except RedenoiseError as error:
            self.status.setText(f"{error}.")
            return
        self.denoiser = denoiser
        self.run = LayerRun(self._viewer, layer, source, denoiser, second)
        self.run.stepped.connect(self._on_step)
        self.run.progressed.connect(self._on_progress)
        self.run.denoising.connect(self._on_denoising)
        self.run.ended.connect(self._on_end)
        self.loss_plot.clear_losses()
        self.loss_plot.setVisible(True)
        self.progress.setVisible(True)
        self.progress.setRange(0, 0)
        self.layer_choice.enabled = False
        self.objective.setEnabled(False)
        self.button.setText("Stop and keep what was learned")
        self.status.setText("Reading the image.")
        self.run.start()

    def _chosen(self, layer: Image) -> tuple[LayerImage, Redenoiser, LayerImage | None]:
        """What a press runs on: the layer, a model, and the second shot if there is one.

        Raises
        ------
        RedenoiseError
            When one of the layers cannot be used.
        """
        other = self.objective.second_layer
        return (
            read_layer(layer),
            Redenoiser(self.objective.apply(self.config)),
            None if other is None else read_layer(other),
        )

    def _on_step(self, step: StepDone) -> None:
        self.loss_plot.append(step.step, step.loss)

    def _on_progress(self, sentence: str, value: int, maximum: int) -> None:
        self.progress.setRange(0, maximum)
        self.progress.setValue(value)
        self.status.setText(sentence)
        self.loss_plot.redraw()

    def _on_denoising(self) -> None:
        self.button.setText("Cancel")
        self.button.setEnabled(True)

    def _on_end(self, sentence: str) -> None:
        """Be ready for the next press."""
        self.run = None
        self.loss_plot.redraw()
        self.progress.setVisible(False)
        self.layer_choice.enabled = True
        self.objective.setEnabled(True)
        self.button.setText("Denoise")
        self._follow_selection()
        self._describe()
        self.status.setText(sentence)

    def _kind(self, source: LayerImage) -> tuple[Any, ...]:
        return (source.axes, tuple(source.array.shape), self.objective.kind)
