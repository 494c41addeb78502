"""The results of this session, and the order of their quality checks."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from qtpy.QtWidgets import QWidget

from napari_redenoise._napari.denoise._finished_run import FinishedRun

MOST_MODELS = 8
"""Trained models that results keep, each of up to 100 MB: the results of the oldest are dropped.

Those of one press are kept, however many there are.
"""


class Results:
    """Finished runs whose denoised layers are in the viewer."""

    def __init__(self) -> None:
        self._runs: list[FinishedRun] = []

    def __contains__(self, run: FinishedRun) -> bool:
        return run in self._runs

    def take_over(self, window: QWidget) -> list[FinishedRun]:
        """Take over what another dock of this viewer, which was closed, has left in its window."""
        left = [run for run in window.findChildren(FinishedRun) if run.is_left]
        taken = [run.renewed() for run in left]
        self._runs += taken
        return taken

    def add(self, run: FinishedRun) -> None:
        """Add a result; drop the oldest where there are too many models."""
        self._runs.append(run)
        while len({id(one.job.denoiser) for one in self._runs}) > MOST_MODELS:
            oldest = next((one for one in self._runs if _is_droppable(one, run)), None)
            if oldest is None:
                return
            self._drop(oldest)

    def drop_deleted(self, layers: Collection[Any]) -> None:
        """Drop the results whose denoised layers were deleted."""
        for run in [run for run in self._runs if run.result not in layers]:
            self._drop(run)

    def _drop(self, run: FinishedRun) -> None:
        self._runs.remove(run)
        if run in run.batch:
            run.batch.remove(run)
        run.drop()

    def latest_of(self, layer: Any) -> FinishedRun | None:
        """The latest result of a layer, or the one that the layer is."""
        return next((run for run in reversed(self._runs) if run.concerns(layer)), None)

    def grouped(self) -> list[FinishedRun]:
        """All results, those of one source together, by name and time."""
        return sorted(self._runs, key=lambda run: (run.source_name, run.ended_at))

    def check_next(self) -> None:
        """Begin the quality checks of one result, unless others are being checked."""
        if any(run.is_checking for run in self._runs):
            return
        waiting = next((run for run in self._runs if not run.is_checked), None)
        if waiting is not None:
            waiting.check_quality()

    def leave(self) -> None:
        """Stop background work."""
        for run in self._runs:
            run.leave()

    def hand_over(self) -> list[FinishedRun]:
        """Leave the results to another dock."""
        left, self._runs = self._runs, []
        return left


def _is_droppable(run: FinishedRun, latest: FinishedRun) -> bool:
    """Whether nothing is lost with a result: it is checked, idle, and of an earlier press."""
    return run.is_checked and not run.is_busy and run not in latest.batch
