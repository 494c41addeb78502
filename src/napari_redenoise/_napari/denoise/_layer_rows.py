"""The rows of layers in the table of the tab *Batch*, which runs of layers fill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from napari_redenoise._napari.batch._choices import Training
from napari_redenoise._napari.batch._control import BatchControl
from napari_redenoise._napari.batch._table import DONE, FAILED, WAITING
from napari_redenoise._napari.denoise._finished_run import FinishedRun
from napari_redenoise._napari.denoise._layer_run import LayerRun
from napari_redenoise.training import StepDone


class LayerRows:
    """Starts and stops the runs of the layers of a batch, and shows their states.

    Parameters
    ----------
    batch : BatchControl
    start : callable
        Runs layers with a kind of training; returns why that is not possible, else "".
    stop : callable
        Cancels the run, and those that would follow.
    """

    def __init__(
        self,
        batch: BatchControl,
        start: Callable[[Sequence[Any], Training], str],
        stop: Callable[[], None],
    ) -> None:
        self._batch, self._start = batch, start
        # The denoised layer of a row, and what was said of it.
        self._outcomes: dict[Any, tuple[Any, str]] = {}
        batch.layers_started.connect(self._on_start)
        batch.layers_stopped.connect(lambda: stop())

    def _on_start(self, layers: Sequence[Any], training: Training) -> None:
        self._outcomes = {}
        error = self._start(layers, training)
        if error:
            self._batch.end_layers(error)

    def follow(self, run: LayerRun) -> None:
        """Show the progress of a run."""
        if not self._batch.has_running_layers:
            return
        self._say(run, "reading")
        run.stepped.connect(lambda step: self._on_step(run, step))
        run.denoising.connect(lambda: self._say(run, "denoising"))

    def _on_step(self, run: LayerRun, step: StepDone) -> None:
        self._say(run, f"training {step.step} of {step.steps}")

    def end(self, run: LayerRun, sentence: str) -> None:
        """Show the outcome of a run."""
        if not self._batch.has_running_layers:
            return
        if run.control.cancel.is_set():
            self._say(run, WAITING)
        else:
            self._outcomes[run.layer.unique_id] = run.result, sentence
            self._say(run, FAILED if run.provenance is None else DONE, sentence)

    def fail(self, layer: Any, reason: str) -> None:
        """Show that a layer has no run."""
        if self._batch.has_running_layers:
            self._batch.table.show_state(layer.unique_id, FAILED, reason)

    def leave(self) -> None:
        """All runs have ended."""
        self._batch.end_layers()

    def show_report(self, run: FinishedRun) -> None:
        """Show the quality checks of a result."""
        table, key = self._batch.table, run.layer.unique_id
        result, sentence = self._outcomes.get(key, (None, ""))
        # A later run on the layer has no row.
        is_of_row = key in table.keys and table.state(key) == DONE and result == run.result
        if run.report is not None and is_of_row:
            table.show_state(key, DONE, sentence, run.report.summary())

    def _say(self, run: LayerRun, state: str, tooltip: str = "") -> None:
        self._batch.table.show_state(run.layer.unique_id, state, tooltip)
