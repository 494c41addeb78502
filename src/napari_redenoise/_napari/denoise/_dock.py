"""The dock widget *Denoise*: a layer, a summary of the run, a button, and tabs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QWidget

from napari_redenoise._napari._words import TITLE, listed, refusal, show_text
from napari_redenoise._napari.batch._choices import Training
from napari_redenoise._napari.denoise._cautions import NO_PREVIEW
from napari_redenoise._napari.denoise._closing import (
    Answer,
    ClosingQuestion,
    close_window,
    delete_closed,
    is_close_of_user,
    is_exit,
    other_viewers,
    takes_back_exit,
)
from napari_redenoise._napari.denoise._finished_run import FinishedRun
from napari_redenoise._napari.denoise._form import A_BATCH, A_RUN, DenoiseForm
from napari_redenoise._napari.denoise._jobs import layer_jobs, make_job, read_all
from napari_redenoise._napari.denoise._layer_rows import LayerRows
from napari_redenoise._napari.denoise._layer_run import LayerRun
from napari_redenoise._napari.denoise._result_tabs import ResultTabs
from napari_redenoise._napari.denoise._run import ACTIONS, Job
from napari_redenoise._napari.denoise._surveys import image_kind
from napari_redenoise.config import Config
from napari_redenoise.errors import RedenoiseError
from napari_redenoise.io import model_beside
from napari_redenoise.model import Redenoiser
from napari_redenoise.training import StepDone

if TYPE_CHECKING:
    import napari.viewer


CANCELS_AFTER_MS = 700
"""Milliseconds from the end of a training to the time when *Cancel* is offered."""


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
        self._main_window: QWidget | None = None
        self._question: ClosingQuestion | None = None
        self._exits = self._has_answer = False
        self._queue: list[tuple[Any, Job]] = []
        self._details = ""
        self._sentences: list[str] = []
        self._postponed: tuple[Any, Callable[[], None]] | None = None
        self._cancels_soon = QTimer(self, singleShot=True, interval=CANCELS_AFTER_MS)
        self._cancels_soon.timeout.connect(lambda: self.button.setEnabled(True))
        self._result_tabs = ResultTabs(viewer, self, self._begin)
        self._layer_rows = LayerRows(self._batch, self._run_layers, self._stop_layers)
        self._result_tabs.assessed.connect(self._layer_rows.show_report)
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
        self.options.model.refused.connect(self.refuse)
        self._file_axes.changed.connect(self._start_postponed)

    def _connect_viewer(self) -> None:
        # Functions and not methods: napari cannot disconnect the methods of a deleted widget.
        def changed(_: Any) -> None:
            self._refresh_choices()

        def selected(_: Any) -> None:
            self.withdraw_refusal()
            self._follow_selection()

        def described(_: Any) -> None:
            # The summary names a view without preview.
            self._describe()

        def themed(_: Any = None) -> None:
            self.show_theme(get_theme(self._viewer.theme).text.as_hex())

        def gridded(_: Any) -> None:
            self.result.show_grid(enabled=grid.enabled)

        themed()
        layers = self._viewer.layers
        grid = getattr(self._viewer, "canvas", self._viewer).grid
        self._connections = [
            (self._viewer.events.theme, themed),
            (layers.events.inserted, changed),
            (layers.events.removed, changed),
            (layers.events.reordered, changed),
            (layers.events.renamed, changed),
            (layers.selection.events.active, selected),
            (self._viewer.dims.events.ndisplay, described),
            (self._viewer.dims.events.order, described),
            (grid.events.enabled, gridded),
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
        self._listen(None)
        self._queue = []
        self._question = None
        self._surveys.leave()
        self._file_axes.leave()
        self._result_tabs.leave(viewer_is_open=viewer_is_open)
        self._batch.leave()
        if viewer_is_open:
            delete_closed(self)
        run, self.run = self.run, None
        if run is None:
            return
        if viewer_is_open and self._main_window is not None:
            window, losses = self._main_window, self.loss_plot.losses
            reports = self._surveys.reports(image_kind(run.layer, run.job.source))
            viewer = self._viewer

            def keep(run: LayerRun) -> None:
                FinishedRun(viewer, run, window, reports, losses).leave()

            run.finish_alone(window, keep)
        else:
            run.abandon()
        self._watch(None)

    def _outermost(self) -> QWidget | None:
        """The window of the viewer; None outside of one. A floating dock is no window of it."""
        found = self.parentWidget()
        while found is not None and found.parentWidget() is not None:
            found = found.parentWidget()
        return found

    def _watch(self, window: QWidget | None) -> None:
        """Watch the window of the viewer, and those of others as long, or none."""
        if self._main_window is not None:
            for one in (self._main_window, *other_viewers(self._main_window)):
                # Qt raises RuntimeError where the window is deleted.
                with contextlib.suppress(RuntimeError):
                    one.removeEventFilter(self)
        self._main_window = window
        if window is not None:
            for one in (window, *other_viewers(window)):
                one.installEventFilter(self)

    def showEvent(self, event: QEvent) -> None:
        """Show the results of a dock that was closed before."""
        super().showEvent(event)
        window = self._outermost()
        if window is not None and self.run is None:
            self._result_tabs.take_over(window, self.layer_choice.value)

    # -- closing ------------------------------------------------------------------------------

    def changeEvent(self, event: QEvent) -> None:
        """Detect that napari takes the widget out of a closing dock."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            if self._is_training and self._main_window is not None:
                self._main_window.destroyed.connect(self._on_window_destroyed)
                self._ask(self._on_dock_answer)
            else:
                self._leave(viewer_is_open=True)
        super().changeEvent(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Ask before the user closes the viewer during a training; scripts close it at once."""
        asks = self._is_training and not self._has_answer
        ends = watched is self._main_window or is_exit(watched)
        if asks and ends and is_close_of_user(watched, event):
            event.ignore()
            self._exits = takes_back_exit(watched)
            self._ask(self._on_viewer_answer, closes_viewer=True)
            return True
        return bool(super().eventFilter(watched, event))

    @property
    def _is_training(self) -> bool:
        """Whether a run would lose something that it learned."""
        return self.run is not None and self.run.job.action != "apply"

    def _ask(self, answered: Callable[[Answer], None], *, closes_viewer: bool = False) -> None:
        """Ask what becomes of a training, unless that is being asked."""
        if self._question is not None or self._main_window is None or self.run is None:
            return
        self._question = ClosingQuestion(
            self._main_window,
            self.run.source.name,
            answered,
            left_out=len(self._queue),
            model=str(model_beside(self.run.image_place())) if closes_viewer else "",
        )
        self._question.open()

    def _on_dock_answer(self, answer: Answer) -> None:
        self._question = None
        if self._main_window is not None:
            self._main_window.destroyed.disconnect(self._on_window_destroyed)
        if answer == "resume":
            self._viewer.window.add_dock_widget(self, name=TITLE)
            self.show()
            return
        if answer == "discard" and self.run is not None:
            self.run.control.abandon()
        self._leave(viewer_is_open=True)

    def _on_viewer_answer(self, answer: Answer) -> None:
        self._question = None
        if answer == "resume":
            return
        if self.run is not None:
            self.run.kept_beside = self.run.image_place() if answer == "keep" else None
        self._close_viewer()

    def _close_viewer(self) -> None:
        # This closing comes from the menu or the frame, too.
        self._has_answer = True
        if self._main_window is not None:
            close_window(self._main_window, exits=self._exits)

    def _on_window_destroyed(self) -> None:
        """A script closed the viewer while the user was asked."""
        self._leave(viewer_is_open=False)

    def _dismiss_question(self) -> None:
        """The training ended while the user was asked: there is nothing to lose any more."""
        question = self._question
        if question is None or self._is_training:
            return
        question.dismiss()
        if self.parent() is None:
            self._on_dock_answer("keep")
        self._question = None

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
        if self.run is not None or self._batch.is_running:
            self.say(A_BATCH if self.run is None else A_RUN)
            return
        reason = self._choice.choose_selected()
        if reason:
            self.refuse(reason)
            return
        left_out, selected = self._choice.left_out(), self._choice.selected()
        notes = (f"Left out {listed(left_out)}.",) if left_out else ()
        if len(selected) == 1:
            self.start(notes)
            return
        # The noise of the first one is measured.
        selected.sort(key=lambda layer: layer != self.layer_choice.value)
        error = self._run_layers(selected, "all", notes)
        if error:
            self.refuse(error)

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
        if self.run is not None or self._batch.is_running or layer is None:
            return
        if self._file_axes.is_reading:
            self._postponed = layer, partial(self.start, notes, instant=instant)
            self.say("Reading the axes of the file.")
            return
        try:
            job = self._instant_job(layer) if instant else self._job(layer)
        except RedenoiseError as error:
            self.refuse(refusal(error))
            return
        self._run_jobs([(layer, job)], notes)

    def _run_layers(
        self, layers: Sequence[Any], training: Training, notes: Sequence[str] = ()
    ) -> str:
        """Denoise layers one after the other; return why that is not possible, else ""."""
        self._file_axes.begin(layers)
        if self._file_axes.is_reading:
            return "The axes of the files are being read: try again in a moment."
        try:
            images, refused = read_all(layers)
            if training == "one" and layers[0] in refused:
                # No other layer takes the place of the one that was chosen.
                raise refused[layers[0]]
            jobs = layer_jobs(images, self.options, self.config, training)
        except RedenoiseError as error:
            return refusal(error)
        reasons = {layer: refusal(error) for layer, error in refused.items()}
        for layer, reason in reasons.items():
            self._layer_rows.fail(layer, reason)
        self._run_jobs(jobs, (*notes, *reasons.values()))
        return ""

    def _run_jobs(self, jobs: list[tuple[Any, Job]], notes: Sequence[str]) -> None:
        (layer, job), *self._queue = jobs
        self.loss_plot.clear_losses()
        self._begin(layer, job, notes=notes)

    def _start_postponed(self) -> None:
        """Begin the run that has waited for the axes of a file."""
        postponed, self._postponed = self._postponed, None
        if postponed is None:
            return
        layer, start = postponed
        self.say("")
        if layer == self.layer_choice.value:
            start()

    def _job(self, layer: Any) -> Job:
        return make_job(self._viewer, layer, self.options, self.config, self._surveyed(layer))

    def _stop_layers(self) -> None:
        """Cancel the run of a layer, and those that would follow."""
        self._queue = []
        if self.run is not None:
            self.run.control.abandon()

    def _begin(
        self, layer: Any, job: Job, *, follows: bool = False, notes: Sequence[str] = ()
    ) -> None:
        """Run a job; where it ``follows`` another one, the tabs keep the result of that one."""
        if self._batch.is_running:
            self.say(A_BATCH)
            return
        self._sentences = self._sentences if follows else list(notes)
        self._details = self._details if follows else ""
        title = f"{ACTIONS[job.action]} '{layer.name}'"
        self._result_tabs.hide(title, follows=follows)
        self.keeps_tab = self._batch.has_running_layers
        self.denoiser = job.denoiser
        if self._question is None:
            # Find it now: a closing dock has left the window.
            self._watch(self._outermost())
        self.run = LayerRun(self._viewer, layer, job)
        self.run.stepped.connect(self._on_step)
        self.run.progressed.connect(self._on_progress)
        self.run.denoising.connect(self._on_denoising)
        self.run.ended.connect(self._on_end)
        self.show_running(trains=job.has_steps)
        # The status says it of the view that is shown then.
        self.plan.setText(self.plan.text().replace(f"{NO_PREVIEW} ", ""))
        if job.action == "continue":
            self.loss_plot.truncate(job.denoiser.session.step)
        elif job.action == "train":
            self.loss_plot.clear_losses()
        self._describe()
        self._layer_rows.follow(self.run)
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
        """The training has ended."""
        self.button.setText("Cancel")
        self.pause_button.setVisible(False)
        if self.run is not None and self.run.job.has_steps:
            # A press that was meant for Stop, in the same place, would lose the result.
            self.button.setEnabled(False)
            self._cancels_soon.start()

    def _on_end(self, sentence: str) -> None:
        """Prepare for the next press, or run the next queued layer."""
        run, self.run = self.run, None
        if run is None:
            return
        self._cancels_soon.stop()
        self._result_tabs.hide_snapshot()
        self.loss_plot.redraw()
        self.show_idle()
        self._sentences.append(sentence)
        # Of all layers of a press: the sentence of each stays.
        self._details = "\n".join(filter(None, (self._details, run.details)))
        self.details_button.setVisible(bool(self._details))
        self._layer_rows.end(run, sentence)
        if run.provenance is None or run.result is None:
            self._queue = self._queue_after_failure(run)
        else:
            reports = self._surveys.reports(image_kind(run.layer, run.job.source))
            self._result_tabs.add_run(run, reports, self._main_window)
        while self._queue:
            layer, job = self._queue.pop(0)
            if layer in self._viewer.layers:
                self._begin(layer, job, follows=True)
                return
            self._sentences.append(f"'{job.source.name}' was deleted before its turn.")
            self._layer_rows.fail(layer, self._sentences[-1])
        self._layer_rows.leave()
        self._refresh_choices()
        self._result_tabs.show(self.layer_choice.value)
        self._result_tabs.tell(self._sentences, self.layer_choice.value)
        self._dismiss_question()
        self._watch(None)

    def _queue_after_failure(self, run: LayerRun) -> list[tuple[Any, Job]]:
        """The jobs that do not need the network of a failed run; none after a cancellation."""
        if run.control.cancel.is_set():
            return []
        return [
            (layer, job)
            for layer, job in self._queue
            if job.denoiser is not run.denoiser or job.denoiser.session.is_loaded
        ]

    def _show_details(self) -> None:
        show_text(self, "Error log", self._details)
