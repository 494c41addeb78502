"""The tabs about the last result, and runs that continue from it."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from typing import Any

from qtpy.QtCore import QObject

from napari_redenoise._napari.denoise._finished_run import FinishedRun
from napari_redenoise._napari.denoise._layer_run import LayerRun
from napari_redenoise._napari.denoise._layout import DenoiseLayout
from napari_redenoise._napari.denoise._run import Job
from napari_redenoise._napari.denoise._snapshot_viewer import SnapshotViewer
from napari_redenoise._napari.denoise.panels._quality import NO_RESULT, summary
from napari_redenoise.errors import RedenoiseError
from napari_redenoise.noise import NoiseReport


class ResultTabs(QObject):
    """Shows the result of the last run in the tabs *Training*, *Result* and *Quality*.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    dock : DenoiseLayout
    begin : callable
        Runs a job on a layer.

    Attributes
    ----------
    finished_run : FinishedRun or None
        The last run with a result.
    """

    def __init__(self, viewer: Any, dock: DenoiseLayout, begin: Callable[[Any, Job], None]) -> None:
        super().__init__(dock)
        self._viewer, self._dock, self._begin = viewer, dock, begin
        self._viewed_snapshots: SnapshotViewer | None = None
        self._is_shown = False
        self.finished_run: FinishedRun | None = None
        dock.training.snapshot_selected.connect(self._on_snapshot_selected)
        dock.training.snapshot_used.connect(self._on_snapshot_used)
        dock.training.continued.connect(self._on_continue)
        result = dock.result
        for signal, name in (
            (result.blended, "blend"),
            (result.extra, "add"),
            (result.save_image, "save_image"),
            (result.save_model, "save_model"),
            (result.copy_python, "copy_python"),
            (result.copy_command, "copy_command"),
        ):
            signal.connect(lambda *given, name=name: self._do(name, *given))
        result.side_by_side.connect(self._on_grid)

    def set_run(self, run: LayerRun, reports: tuple[NoiseReport, ...] | None) -> None:
        """Replace the last result by that of a run."""
        if self.finished_run is not None:
            self.finished_run.drop()
        provenance = dict(run.provenance or {})
        finished_run = FinishedRun(
            self._viewer, run.layer, run.result, run.job, provenance, self._dock
        )
        finished_run.said.connect(self._dock.say)
        finished_run.assessed.connect(self._on_assessed)
        finished_run.check_quality(reports)
        self.finished_run = finished_run
        self._dock.open_tab(self._dock.result)

    def show(self) -> None:
        """Enable the controls for the last result, if there is one."""
        finished_run, dock = self.finished_run, self._dock
        self._is_shown = True
        if finished_run is None:
            return
        model, source = finished_run.job.denoiser, finished_run.job.source
        dock.result.offer(
            source=source.name, is_fused=finished_run.config.network.kind == "adarenet"
        )
        used = finished_run.provenance["steps"]
        dock.training.offer(model.session.snapshots, can_train=True, current=used)
        self._viewed_snapshots = SnapshotViewer(self._viewer, finished_run.layer, source, model)
        self._show_report(finished_run)

    def hide(self) -> None:
        """Disable the controls during a run."""
        self._is_shown = False
        self.hide_snapshot()
        self._dock.result.offer(source=None, is_fused=False)
        self._dock.training.offer((), can_train=False)
        self._dock.quality.say(NO_RESULT)

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
            self._viewed_snapshots = None

    def leave(self, *, viewer_is_open: bool) -> None:
        """Stop background work: the dock or the viewer is closed."""
        for part in (self.finished_run, self._viewed_snapshots):
            if part is not None:
                part.leave()
        if viewer_is_open:
            self.hide_snapshot()

    def _do(self, name: str, *given: Any) -> None:
        if self.finished_run is not None:
            getattr(self.finished_run, name)(*given)

    def _show_report(self, finished_run: FinishedRun) -> None:
        panel = self._dock.quality
        if finished_run.report is not None:
            panel.show_report(finished_run.report)
        elif finished_run.is_checked:
            panel.say("The quality checks failed: see the log.")
        else:
            panel.say("Checking the result.")

    def _on_assessed(self) -> None:
        finished_run = self.finished_run
        if finished_run is None or not self._is_shown:
            return
        self._show_report(finished_run)
        if finished_run.report is not None:
            self._dock.say(f"{self._dock.status.text()} {summary(finished_run.report)}")

    def _on_grid(self, wanted: bool) -> None:
        canvas = getattr(self._viewer, "canvas", self._viewer)
        canvas.grid.enabled = wanted
        self._viewer.reset_view()

    def _on_snapshot_selected(self, step: int) -> None:
        if self._viewed_snapshots is None:
            return
        if self._viewer.dims.ndisplay != 2:
            self._dock.say("A snapshot shows a plane: switch to the 2-D view.")
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
            self._dock.say(f"{error}.")
            return
        self._begin(self.finished_run.layer, replace(job, denoiser=model, **changes))
