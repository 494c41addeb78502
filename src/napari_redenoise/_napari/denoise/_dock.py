"""The dock widget *Denoise*: a layer, a summary of the run, a button, and tabs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent, QObject

from napari_redenoise._napari._words import listed, show_text
from napari_redenoise._napari.denoise._finished_run import FinishedRun
from napari_redenoise._napari.denoise._form import DenoiseForm
from napari_redenoise._napari.denoise._jobs import make_job
from napari_redenoise._napari.denoise._layer_run import LayerRun
from napari_redenoise._napari.denoise._result_tabs import ResultTabs
from napari_redenoise._napari.denoise._run import ACTIONS, Job
from napari_redenoise._napari.denoise._surveys import image_kind
from napari_redenoise.config import Config
from napari_redenoise.errors import RedenoiseError
from napari_redenoise.model import Redenoiser
from napari_redenoise.training import StepDone

if TYPE_CHECKING:
    import napari.viewer


class DenoiseWidget(DenoiseForm):
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
        super().__init__(viewer, config)
        self.denoiser: Redenoiser | None = None
        self._main_window: QObject | None = None
        self._queue: list[tuple[Any, Job]] = []
        self._details = ""
        self._sentences: list[str] = []
        self._follows = False
        self._postponed: tuple[Any, Callable[[], None]] | None = None
        self._result_tabs = ResultTabs(viewer, self, self._begin)
        self._connect_widgets()
        self._connect_viewer()
        self._follow_selection()

    @property
    def finished_run(self) -> FinishedRun | None:
        """The run whose result the tabs show."""
        return self._result_tabs.finished_run

    # -- building -----------------------------------------------------------------------------

    def _connect_widgets(self) -> None:
        self.button.clicked.connect(self._pressed)
        self.instant_button.clicked.connect(lambda: self.start(instant=True))
        self.pause_button.toggled.connect(self._on_pause)
        self.details_button.clicked.connect(self._show_details)
        self.layer_followed.connect(self._result_tabs.follow)
        self.options.model.refused.connect(self.say)
        self._file_axes.changed.connect(self._start_postponed)

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
        self._file_axes.leave()
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

    def start_selected(self) -> None:
        """Begin a run on the selected image layers, or say why not."""
        if self.run is not None:
            self.say("A run is in progress: stop it, or wait for its end.")
            return
        reason = self._choice.choose_selected()
        if reason:
            self.say(reason)
            return
        if len(self._choice.selected()) > 1:
            self.options.training_region.choose("selected")
        left_out = self._choice.left_out()
        self.start((f"Left out {listed(left_out)}.",) if left_out else ())

    def start(self, notes: Sequence[str] = (), *, instant: bool = False) -> None:
        """Begin a run on the chosen layer, unless one is running; errors are shown.

        Parameters
        ----------
        notes : sequence of str
            Sentences before those of the outcome.
        instant : bool
            Whether the pretrained network denoises, without training.
        """
        layer = self.layer_choice.value
        if self.run is not None or layer is None:
            return
        if self._file_axes.is_reading:
            self._postponed = layer, partial(self.start, notes, instant=instant)
            self.say("Reading the axes of the file.")
            return
        try:
            others = self._choice.selected()[1:]
            first, *self._queue = self._jobs(layer, others, instant=instant)
        except RedenoiseError as error:
            self.say(f"{error}.")
            return
        self.loss_plot.clear_losses()
        self._begin(*first, notes=notes)

    def _start_postponed(self) -> None:
        """Begin the run that has waited for the axes of a file."""
        postponed, self._postponed = self._postponed, None
        if postponed is None:
            return
        layer, start = postponed
        self.say("")
        if layer == self.layer_choice.value:
            start()

    def _jobs(self, layer: Any, others: Sequence[Any], *, instant: bool) -> list[tuple[Any, Job]]:
        """The job of the chosen layer, and those of the other selected ones where they follow."""
        if instant:
            layers = [layer, *(others if self.options.training_region.kind == "selected" else ())]
            return [(one, self._instant_job(one)) for one in layers]
        surveyed = self._surveyed(layer)
        job = make_job(self._viewer, layer, self.options, self.config, others, surveyed)
        following = zip(others, job.others, strict=False)
        applied = replace(job, action="apply", time=None)
        return [(layer, job), *((other, replace(applied, source=one)) for other, one in following)]

    def _begin(
        self, layer: Any, job: Job, *, follows: bool = False, notes: Sequence[str] = ()
    ) -> None:
        """Run a job; where it ``follows`` another one, the tabs keep the result of that one."""
        self._follows = follows
        self._sentences = self._sentences if follows else list(notes)
        self._result_tabs.hide(f"{ACTIONS[job.action]} '{job.source.name}'")
        self.denoiser = job.denoiser
        # Find it now: a closing dock has left the window.
        self._main_window = self._outermost()
        self.run = LayerRun(self._viewer, layer, job)
        self.run.stepped.connect(self._on_step)
        self.run.progressed.connect(self._on_progress)
        self.run.denoising.connect(self._on_denoising)
        self.run.ended.connect(self._on_end)
        self.show_running(trains=job.trains)
        if job.action == "continue":
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
        else:
            reports = self._surveys.reports(image_kind(run.layer, run.job.source))
            self._result_tabs.add_run(run, reports, follows=self._follows)
        while self._queue:
            layer, job = self._queue.pop(0)
            if layer in self._viewer.layers:
                self._begin(layer, job, follows=True)
                return
        self._refresh_choices()
        self._result_tabs.show(self.layer_choice.value)
        self.say(" ".join(self._sentences))

    def _show_details(self) -> None:
        show_text(self, "Error log", self._details)
