"""The tabs about a result of the chosen layer, and runs that continue from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QWidget

from napari_redenoise._napari._layers import is_auxiliary
from napari_redenoise._napari._view import shows_planes
from napari_redenoise._napari._words import in_short, refusal
from napari_redenoise._napari.denoise._finished_run import FinishedRun
from napari_redenoise._napari.denoise._layer_run import LayerRun
from napari_redenoise._napari.denoise._layout import DenoiseLayout
from napari_redenoise._napari.denoise._results import Results
from napari_redenoise._napari.denoise._run import Job
from napari_redenoise._napari.denoise._snapshot_viewer import SnapshotViewer
from napari_redenoise._napari.denoise.panels._progress import (
    LEFT_OUT,
    NO_TRAINING,
    UNTRAINED,
)
from napari_redenoise._napari.denoise.panels._quality import NO_RESULT as NO_REPORT
from napari_redenoise._napari.denoise.panels._quality import Row, summary_of_all
from napari_redenoise._napari.denoise.panels._result import NO_RESULT
from napari_redenoise.errors import RedenoiseError
from napari_redenoise.noise import NoiseReport


class ResultTabs(QObject):
    """Shows a result of the chosen layer in the tabs *Training*, *Result* and *Quality*.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    dock : DenoiseLayout
    begin : callable
        Runs a job on a layer.

    Attributes
    ----------
    finished_run : FinishedRun or None
        The result that is shown.
    """

    assessed = Signal(object)
    """A `FinishedRun` whose result was checked."""

    def __init__(self, viewer: Any, dock: DenoiseLayout, begin: Callable[[Any, Job], None]) -> None:
        super().__init__(dock)
        self._viewer, self._dock, self._begin = viewer, dock, begin
        self._viewed_snapshots: SnapshotViewer | None = None
        self._viewed_run: FinishedRun | None = None
        self._is_shown = True
        self._results = Results()
        self._batch: list[FinishedRun] = []
        self._layer_name: str | None = None
        self._told: tuple[Any, ...] = ()
        self.finished_run: FinishedRun | None = None
        dock.training.snapshot_selected.connect(self._on_snapshot_selected)
        dock.training.snapshot_used.connect(self._on_snapshot_used)
        dock.training.continued.connect(self._on_continue)
        result = dock.result
        for signal, name in (
            (result.extra, "add"),
            (result.save_image, "save_image"),
            (result.save_model, "save_model"),
            (result.save_all, "save_all"),
            (result.export_model, "export_model"),
            (result.copy_python, "copy_python"),
            (result.copy_command, "copy_command"),
        ):
            signal.connect(lambda *given, name=name: self._do(name, *given))
        result.blended.connect(self._on_blend)
        result.side_by_side.connect(self._on_grid)
        result.chosen.connect(self._on_chosen)

    def add_run(
        self, run: LayerRun, reports: tuple[NoiseReport, ...] | None, window: QWidget | None
    ) -> None:
        """Add the result of a run, kept by the viewer's window; the first of a press is shown."""
        losses = self._dock.loss_plot.losses
        finished_run = FinishedRun(self._viewer, run, window or self._dock, reports, losses)
        self._connect(finished_run)
        if self._batch:
            finished_run.batch = self._batch
            self._batch.append(finished_run)
        else:
            self._batch = finished_run.batch
            self.finished_run = finished_run
            self._dock.open_tab(self._dock.result)
        self._results.add(finished_run)

    def take_over(self, window: QWidget, layer: Any) -> None:
        """Show the results of a dock that was closed."""
        taken = self._results.take_over(window)
        for run in taken:
            self._connect(run)
        if taken:
            self.follow(layer)

    def _connect(self, run: FinishedRun) -> None:
        for signal, slot in self._connections(run):
            signal.connect(slot)

    def _connections(self, run: FinishedRun) -> tuple[tuple[Any, Callable[..., None]], ...]:
        return (
            (run.said, self._dock.say),
            (run.assessed, self._on_assessed),
            (run.busy_changed, self._on_busy),
            (run.progressed, self._on_extra_progress),
        )

    def show(self, layer: Any) -> None:
        """Enable the tabs for a layer after a run, and check its results."""
        self._is_shown = True
        self.follow(layer)

    def tell(self, outcomes: Sequence[str], layer: Any) -> None:
        """Say the outcomes of a press, until a layer is chosen that they do not concern."""
        said, tooltip = in_short(outcomes), "\n".join(outcomes)
        if self._batch:
            self._dock.say(said, tooltip=tooltip)
        else:
            # Without a result, they say why there is none.
            self._dock.refuse(said, tooltip=tooltip)
        about = (layer, *(one for run in self._batch for one in (run.layer, run.result)))
        # Not the layers, whose pixels would stay in memory.
        self._told = tuple(one.unique_id for one in about if one is not None)

    def _forget_outcome(self, layer: Any) -> None:
        """Hide the outcome of a run on other layers: below a refusal it reads as its result."""
        is_other = layer is None or layer.unique_id not in self._told
        if self._is_shown and self._told and is_other:
            self._told = ()
            self._dock.say("")

    def follow(self, layer: Any) -> None:
        """Show a result of the chosen layer: the shown one where it is, else the latest."""
        self._forget_outcome(layer)
        self._results.drop_deleted(self._viewer.layers)
        shown = self.finished_run
        if shown is not None and (shown not in self._results or not shown.concerns(layer)):
            shown = None
        shown = shown or self._results.latest_of(layer)
        name = None if layer is None else str(layer.name)
        before, self.finished_run, self._layer_name = self.finished_run, shown, name
        if shown is not before:
            self.hide_snapshot()
            self._show_other_work(before)
        if self._is_shown:
            self._refresh()
            self._results.check_next()

    def _show_other_work(self, before: FinishedRun | None) -> None:
        """Show whether layers of the shown result are computed, instead of another one's."""
        if not self._is_shown:
            return
        if before is not None and before.is_busy:
            self._dock.say("")
        self._dock.show_busy(busy=self.finished_run is not None and self.finished_run.is_busy)

    def _on_chosen(self, number: int) -> None:
        """Show a listed result, and choose its layer."""
        run = self._results.grouped()[number]
        self.hide_snapshot()
        self.finished_run = run
        self._dock.layer_choice.value = run.layer if run.has_source else run.result
        self._refresh()

    def _refresh(self) -> None:
        """Show the result in all tabs, or that there is none."""
        runs = self._results.grouped()
        shown = self.finished_run
        number = None if shown is None else runs.index(shown)
        self._dock.result.list_results([run.title for run in runs], number)
        self._dock.result.choice.setEnabled(True)
        if shown is None:
            self._show_nothing()
            return
        self._show_result(shown)
        self._show_training(shown)
        self._show_report(shown)

    def _show_nothing(self) -> None:
        dock, name = self._dock, self._layer_name
        message = NO_RESULT if name is None else f"There is no result of '{name}' yet."
        dock.result.offer(None, message=message)
        dock.training.title.setText(NO_TRAINING)
        dock.training.offer((), can_train=False)
        dock.loss_plot.clear_losses()
        dock.quality.show_title("")
        dock.quality.say(message if self._results.grouped() else NO_REPORT)

    def _show_result(self, run: FinishedRun) -> None:
        self._dock.result.offer(
            f"Result of '{run.source_name}':",
            is_fused=run.config.network.kind == "adarenet",
            has_source=run.has_source,
            is_busy=run.is_busy,
            is_checked=run.is_checked,
            legends=tuple(run.legends.values()),
            opacity=run.result.opacity,
        )

    def _show_training(self, run: FinishedRun) -> None:
        panel, model = self._dock.training, run.job.denoiser
        trains = run.config.training.total_steps > 0
        plan = model.session.plan
        is_left_out = plan is not None and plan.corrections.smooth_scales > 0
        why = LEFT_OUT if is_left_out else UNTRAINED
        panel.title.setText(run.title if trains else f"{run.title}. {why}")
        if self._dock.loss_plot.losses != run.losses:
            self._dock.loss_plot.show_losses(run.losses)
        if self._viewed_run is not run:
            self.hide_snapshot()
            self._viewed_run = run
            self._viewed_snapshots = SnapshotViewer(self._viewer, run.layer, run.job.source, model)
            used = run.provenance["steps"]
            panel.offer(model.session.snapshots, can_train=trains, current=used)

    def hide(self, title: str, *, follows: bool) -> None:
        """Disable the tabs during a run, which may follow another one of a press, and name it."""
        self._is_shown = False
        if not follows:
            self._batch = []
        self.hide_snapshot()
        message = f"{title}: there is no result yet."
        self._dock.result.offer(None, message=message)
        self._dock.result.choice.setEnabled(False)
        self._dock.training.title.setText(title)
        self._dock.training.offer((), can_train=False)
        self._dock.quality.show_title("")
        self._dock.quality.say(message)

    def pause(self, run: LayerRun, *, paused: bool) -> None:
        """Offer the snapshots of a paused run."""
        if paused:
            self._dock.training.offer(run.denoiser.session.snapshots, can_train=False)
            self._viewed_snapshots = SnapshotViewer(
                self._viewer, run.layer, run.job.source, run.denoiser
            )
        else:
            self.hide_snapshot()
            self._dock.training.offer((), can_train=False)

    def hide_snapshot(self) -> None:
        """Remove the layer of a snapshot."""
        if self._viewed_snapshots is not None:
            self._viewed_snapshots.clear()
            self._viewed_snapshots = self._viewed_run = None

    def leave(self, *, viewer_is_open: bool) -> None:
        """Stop background work: the dock or the viewer is closed."""
        self._results.leave()
        if self._viewed_snapshots is not None:
            self._viewed_snapshots.leave()
        if viewer_is_open:
            self.hide_snapshot()
            # Not where the interpreter ends: Qt frees what Python holds no longer.
            self.finished_run = None
            for run in self._results.hand_over():
                for signal, slot in self._connections(run):
                    signal.disconnect(slot)

    def _do(self, name: str, *given: Any) -> None:
        if self.finished_run is not None:
            getattr(self.finished_run, name)(*given)

    def _show_report(self, run: FinishedRun) -> None:
        panel = self._dock.quality
        panel.show_title(run.title, _rows(run.batch))
        if run.report is not None:
            panel.show_report(run.report)
        elif run.is_checked:
            panel.say("The quality checks failed: see the log.")
        else:
            panel.say("Checking the result.")

    def _on_assessed(self, run: FinishedRun) -> None:
        """Show a report; after the last one of a run, add the outcome to the status."""
        self.assessed.emit(run)
        if not self._is_shown:
            return
        shown = self.finished_run
        if shown is not None and shown in run.batch:
            self._show_report(shown)
            self._show_result(shown)
        if run.batch is self._batch and all(one.is_checked for one in run.batch):
            rows = _rows(run.batch)
            is_told = self._told and not self._dock.is_refusing
            if is_told and any(row.report is not None for row in rows):
                status = self._dock.status
                said = f"{status.text()} {summary_of_all(rows)}"
                self._dock.say(said, tooltip=status.toolTip())
        self._results.check_next()

    def _on_busy(self) -> None:
        if not self._is_shown:
            return
        is_busy = self.finished_run is not None and self.finished_run.is_busy
        self._dock.show_busy(busy=is_busy)
        if self.finished_run is not None:
            self._show_result(self.finished_run)

    def _on_extra_progress(self, value: int, maximum: int) -> None:
        if self._is_shown and self.finished_run is not None and self.finished_run.is_busy:
            self._dock.progress.setRange(0, maximum)
            self._dock.progress.setValue(value)

    def _on_blend(self, share: float) -> None:
        """Compare the shown result with the noisy layer: no other result and no map covers them."""
        if self.finished_run is None:
            return
        for other in self._results.grouped():
            if other is not self.finished_run and other.concerns(self.finished_run.layer):
                other.result.visible = False
        for layer in self._viewer.layers:
            if is_auxiliary(layer) and layer.visible:
                layer.visible = False
        if self._viewed_snapshots is not None:
            self._viewed_snapshots.hide()
        self.finished_run.blend(share)

    def _on_grid(self, wanted: bool) -> None:
        canvas = getattr(self._viewer, "canvas", self._viewer)
        canvas.grid.enabled = wanted
        self._viewer.reset_view()

    def _on_snapshot_selected(self, step: int) -> None:
        if self._viewed_snapshots is None:
            return
        if self.finished_run is not None and not self.finished_run.has_source:
            self._dock.refuse("A snapshot is shown on the noisy layer, which is deleted.")
            return
        if not shows_planes(self._viewer):
            self._dock.refuse("A snapshot shows a plane: switch to the 2-D view of y and x.")
            return
        self._viewed_snapshots.show(step)

    def _on_snapshot_used(self, step: int) -> None:
        self._run_again(step, action="apply")

    def _on_continue(self) -> None:
        if self.finished_run is not None:
            steps = max(1, self.finished_run.config.training.total_steps)
            self._run_again(self._dock.training.step, action="continue", steps=steps)

    def _run_again(self, step: int, **changes: Any) -> None:
        """Run the last job from a snapshot, on a copy: other runs may use the model."""
        if self.finished_run is None or not self._is_shown:
            return
        job = self.finished_run.job
        try:
            model = copy(job.denoiser)
            session = model.session
            if session.snapshots and step != session.step:
                session.use_snapshot(step)
        except RedenoiseError as error:
            self._dock.refuse(refusal(error))
            return
        self._begin(self.finished_run.layer, replace(job, denoiser=model, **changes))


def _rows(batch: list[FinishedRun]) -> list[Row]:
    return [Row(str(run.result.name), run.report, run.is_checked) for run in batch]
