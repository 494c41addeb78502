"""The dock widget *Denoise*: a layer, a summary of the run, a button, and tabs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels, Shapes
from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent, QObject

from napari_redenoise._napari._layers import LayerImage, is_auxiliary
from napari_redenoise._napari._words import show_text
from napari_redenoise._napari.denoise._finished_run import FinishedRun
from napari_redenoise._napari.denoise._jobs import check, make_job, model_of, read, target_of
from napari_redenoise._napari.denoise._layer_run import LayerRun
from napari_redenoise._napari.denoise._layout import DenoiseLayout
from napari_redenoise._napari.denoise._plan_sentence import (
    choose_objective,
    summarise_prediction,
    summarise_training,
)
from napari_redenoise._napari.denoise._result_tabs import ResultTabs
from napari_redenoise._napari.denoise._run import Job
from napari_redenoise._napari.denoise._surveys import Surveys
from napari_redenoise._napari.denoise.panels._axes import chosen_axes
from napari_redenoise._napari.denoise.panels._noise import NO_LAYER
from napari_redenoise.config import Config
from napari_redenoise.errors import RedenoiseError
from napari_redenoise.model import Redenoiser, TrainingPlan, is_fine_tuned
from napari_redenoise.training import StepDone

if TYPE_CHECKING:
    import napari.viewer


class DenoiseWidget(DenoiseLayout):
    """Trains on the chosen layer and adds its denoised image and its fusion mask.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    config : Config, optional
        Configuration of a run, which the options modify; by default the package's defaults with
        the objective ``auto``.

    Attributes
    ----------
    config : Config
    run : LayerRun or None
        The current run.
    denoiser : Redenoiser or None
        The model of the last run.
    """

    def __init__(self, viewer: napari.viewer.Viewer, config: Config | None = None) -> None:
        config = config or Config().replace({"objective.kind": "auto"})
        super().__init__(config)
        self._viewer = viewer
        self.run: LayerRun | None = None
        self.layer_choice.choices = self._image_layers
        self.denoiser: Redenoiser | None = None
        self._main_window: QObject | None = None
        self._queue: list[tuple[Any, Job]] = []
        self._details = ""
        self._sentences: list[str] = []
        self._follows = False
        self._surveys = Surveys()
        self._result_tabs = ResultTabs(viewer, self, self._begin)
        self._connect_widgets()
        self._connect_viewer()
        self._follow_selection()
        self._describe()

    @property
    def config(self) -> Config:
        """Configuration of a run, which the options modify."""
        return self._config

    @config.setter
    def config(self, config: Config) -> None:
        self._config = config
        self.options.show_config(config)

    @property
    def finished_run(self) -> FinishedRun | None:
        """The last run with a result."""
        return self._result_tabs.finished_run

    @property
    def is_measuring(self) -> bool:
        """Whether the noise of the layer or the speed of the machine is being measured."""
        return self._surveys.is_measuring

    # -- building -----------------------------------------------------------------------------

    def _connect_widgets(self) -> None:
        self.button.clicked.connect(self._pressed)
        self.pause_button.toggled.connect(self._on_pause)
        self.details_button.clicked.connect(self._show_details)
        self.layer_choice.changed.connect(self._describe)
        for part in (self.axes, self.options):
            part.changed.connect(self._describe)
        self._surveys.changed.connect(self._describe)
        self.options.model.refused.connect(self.say)

    def _connect_viewer(self) -> None:
        # Functions and not methods: napari cannot disconnect the methods of a deleted widget.
        def changed(_: Any) -> None:
            self._refresh_choices()

        def selected(_: Any) -> None:
            self._follow_selection()

        def described(_: Any) -> None:
            # The options name the number of selected layers.
            self._describe()

        def themed(_: Any = None) -> None:
            self.show_theme(get_theme(self._viewer.theme).text.as_hex())

        themed()
        layers = self._viewer.layers
        self._connections = [
            (self._viewer.events.theme, themed),
            (layers.events.inserted, changed),
            (layers.events.removed, changed),
            (layers.events.reordered, changed),
            (layers.events.renamed, changed),
            (layers.selection.events.active, selected),
            (layers.selection.events.changed, described),
        ]
        for signal, callback in self._connections:
            signal.connect(callback)
        # Qt calls functions, but no methods of a deleted widget.
        self.destroyed.connect(lambda: self._leave(viewer_is_open=False))

    def _leave(self, *, viewer_is_open: bool) -> None:
        """Disconnect: the dock or the viewer is closed; keep what a run has learned."""
        for signal, callback in self._connections:
            signal.disconnect(callback)
        self._connections = []
        self._queue = []
        self._surveys.leave()
        self._result_tabs.leave(viewer_is_open=viewer_is_open)
        run, self.run = self.run, None
        if run is None:
            return
        if viewer_is_open and self._main_window is not None:
            run.finish_alone(self._main_window)
        else:
            run.abandon()
        self._main_window = None

    def _outermost(self) -> QObject:
        """The window of the viewer."""
        found: QObject = self
        while found.parent() is not None:
            found = found.parent()
        return found

    def changeEvent(self, event: QEvent) -> None:
        """Detect that napari takes the widget out of a closing dock."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._leave(viewer_is_open=True)
        super().changeEvent(event)

    # -- choosing a layer ---------------------------------------------------------------------

    def _image_layers(self, _: Any = None) -> list[tuple[str, Image]]:
        preview = None if self.run is None else self.run.result
        return [
            (layer.name, layer)
            for layer in self._viewer.layers
            if isinstance(layer, Image) and layer != preview and not is_auxiliary(layer)
        ]

    def _refresh_choices(self) -> None:
        self.layer_choice.reset_choices()
        self._describe()

    def _follow_selection(self) -> None:
        active = self._viewer.layers.selection.active
        self.layer_choice.reset_choices()
        if self.run is None and active in [layer for _, layer in self._image_layers()]:
            self.layer_choice.value = active
        self._describe()

    def _selected(self, layer: Any) -> list[Any]:
        """The chosen layer, then the other selected images."""
        chosen = self._viewer.layers.selection
        return [layer, *(o for _, o in self._image_layers() if o in chosen and o != layer)]

    def _describe(self, _: Any = None) -> None:
        """Summarise the next run, or say why none is possible."""
        if self.run is not None:
            return
        layer = self.layer_choice.value
        self.button.setEnabled(False)
        self.plan.setToolTip("")
        if layer is None:
            self.axes.show_none()
            self.noise.say(NO_LAYER)
            self.plan.setText("Open an image, or try File > Open Sample > Redenoise.")
            return
        self._offer(layer)
        try:
            source, target = read(layer), target_of(self.options)
            denoiser = model_of(self.options, self.config)
            if self.options.model.model is None:
                check(denoiser, source, target)
        except RedenoiseError as error:
            chosen = chosen_axes(layer)
            # The error may come from the axes that the user chose.
            if chosen is None:
                self.axes.show_none()
            else:
                self.axes.show_axes(layer, chosen)
            self.plan.setText(f"Cannot denoise this layer: {error}.")
            return
        self.axes.show_axes(layer, source.axes)
        self._show_noise(layer, source, denoiser)
        self._show_plan(layer, source, denoiser)
        self.button.setEnabled(True)
        if self.options.model.model is None:
            kinds = self._kind(source), self._noise_kind(layer, source)
            self._surveys.begin(*kinds, denoiser, source, target)

    def _offer(self, layer: Any) -> None:
        """Update the choices that depend on the layers."""
        regions = [o for o in self._viewer.layers if isinstance(o, Labels | Shapes)]
        self.options.offer(
            others=[other for _, other in self._image_layers() if other != layer],
            regions=regions,
            is_stack=layer.ndim - ("C" in (chosen_axes(layer) or "")) > 2,
            selected=len(self._selected(layer)),
        )

    def _show_plan(self, layer: Any, source: LayerImage, denoiser: Redenoiser) -> None:
        """Summarise a run; the tooltip gives the reason for the objective."""
        if self.options.model.model is not None:
            name = self.options.model.name
            self.plan.setText(summarise_prediction(source, denoiser, name))
            return
        kind, noise_kind = self._kind(source), self._noise_kind(layer, source)
        chosen = choose_objective(
            self.objective.kind,
            self._surveys.plan(kind, noise_kind),
            self._surveys.reports(noise_kind),
            fine_tuning=is_fine_tuned(denoiser.config, source.channels),
        )
        seconds = self.options.value().seconds or self._surveys.seconds(kind)
        region = self.options.training_region.kind
        self.plan.setText(summarise_training(source, denoiser, chosen, seconds, region))
        self.plan.setToolTip(chosen.reason)

    def _show_noise(self, layer: Any, source: LayerImage, denoiser: Redenoiser) -> None:
        kind = self._noise_kind(layer, source)
        reports = self._surveys.reports(kind)
        if reports is not None:
            fine_tuning = is_fine_tuned(denoiser.config, source.channels)
            self.noise.show_reports(reports, fine_tuning=fine_tuning)
        elif self._surveys.is_known(kind):
            self.noise.say(
                "The noise cannot be measured, because the layer is too small or constant: choose "
                "another layer."
            )
        else:
            self.noise.say("Measuring the noise.")

    def _kind(self, source: LayerImage) -> tuple[Any, ...]:
        shape, chosen = tuple(source.array.shape), self.options.value()
        return (source.axes, shape, self.objective.kind, chosen, self.config)

    def _noise_kind(self, layer: Any, source: LayerImage) -> tuple[Any, ...]:
        # The array itself: napari makes a new list of levels at every access.
        data = layer.data[0] if layer.multiscale else layer.data
        return (layer.unique_id, id(data), source.axes)

    # -- running ------------------------------------------------------------------------------

    def _pressed(self) -> None:
        if self.run is None:
            self.start()
            return
        stopped = self.run.control.stop.is_set()
        self.say("Cancelling." if stopped else "Stopping; the network is kept.")
        self.button.setEnabled(False)
        self.pause_button.setVisible(False)
        self.run.stop()

    def start(self) -> None:
        """Begin a run on the chosen layer, unless one is running; errors are shown."""
        layer = self.layer_choice.value
        if self.run is not None or layer is None:
            return
        try:
            others = self._selected(layer)[1:]
            job = make_job(
                self._viewer, layer, self.options, self.config, others, self._plan(layer)
            )
        except RedenoiseError as error:
            self.say(f"{error}.")
            return
        self._queue = [
            (other, replace(job, source=source, action="apply"))
            for other, source in zip(others, job.others, strict=False)
        ]
        self._begin(layer, job)

    def _plan(self, layer: Any) -> TrainingPlan | None:
        """The plan of the run, if it was made beforehand."""
        source = read(layer)
        return self._surveys.plan(self._kind(source), self._noise_kind(layer, source))

    def _begin(self, layer: Any, job: Job, *, follows: bool = False) -> None:
        """Run a job; where it ``follows`` another one, the tabs keep the result of that one."""
        self._follows = follows
        self._sentences = self._sentences if follows else []
        self._result_tabs.hide()
        self.denoiser = job.denoiser
        # Find it now: a closing dock has left the window.
        self._main_window = self._outermost()
        self.run = LayerRun(self._viewer, layer, job)
        self.run.stepped.connect(self._on_step)
        self.run.progressed.connect(self._on_progress)
        self.run.denoising.connect(self._on_denoising)
        self.run.ended.connect(self._on_end)
        self.show_running(trains=job.action != "apply")
        if job.action == "train":
            self.loss_plot.clear_losses()
        elif job.action == "continue":
            self.loss_plot.truncate(job.denoiser.session.step)
        self.run.start()

    def _on_pause(self, paused: bool) -> None:
        if self.run is None:
            return
        self.run.pause(paused=paused)
        self.show_paused(paused=paused)
        self._result_tabs.pause(self.run, paused=paused)

    def _on_step(self, step: StepDone) -> None:
        self.loss_plot.append(step.step, step.loss)

    def _on_progress(self, sentence: str, value: int, maximum: int) -> None:
        self.progress.setRange(0, maximum)
        self.progress.setValue(value)
        self.say(sentence)
        self.loss_plot.redraw()
        run = self.run
        if (
            run is not None
            and run.is_paused
            and run.denoiser.session.snapshots != self.training.snapshots
        ):
            # The snapshot of the pause.
            self.training.offer(run.denoiser.session.snapshots, can_train=False)

    def _on_denoising(self) -> None:
        self.button.setText("Cancel")
        self.button.setEnabled(True)
        self.pause_button.setVisible(False)

    def _on_end(self, sentence: str) -> None:
        """Prepare for the next press, or run the next queued layer."""
        run, self.run = self.run, None
        if run is None:
            return
        self._main_window = None
        self._result_tabs.hide_snapshot()
        self.loss_plot.redraw()
        self.show_idle()
        self._sentences.append(sentence)
        self._details = run.details
        self.details_button.setVisible(bool(self._details))
        if run.provenance is None or run.result is None:
            self._queue = []
        elif not self._follows:
            reports = self._surveys.reports(self._noise_kind(run.layer, run.job.source))
            self._result_tabs.set_run(run, reports)
        while self._queue:
            layer, job = self._queue.pop(0)
            if layer in self._viewer.layers:
                self._begin(layer, job, follows=True)
                return
        self._result_tabs.show()
        self._follow_selection()
        self.say(" ".join(self._sentences))

    def _show_details(self) -> None:
        show_text(self, "Error log", self._details)
