"""Measurements before a run: noise, plan and expected time."""

from __future__ import annotations

import logging
import weakref
import zlib
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_redenoise._napari._background_task import Task
from napari_redenoise._napari._layers import LayerImage
from napari_redenoise._napari.denoise._run import Survey, survey
from napari_redenoise.model import Redenoiser, RunTime, TrainingPlan
from napari_redenoise.noise import NoiseReport

Reports = tuple[NoiseReport, ...]


logger = logging.getLogger(__name__)

SAMPLED = 4096
"""Most pixels that tell whether the values of an array have changed: 0.1 ms."""

_arrays: dict[Hashable, tuple[Callable[[], Any], int]] = {}
"""The last array of every layer, and how many it has had: the place of one in memory recurs."""


def image_kind(layer: Any, source: LayerImage) -> Hashable:
    """Key of the pixels of a layer: two layers never share it, nor do other values in one array."""
    # The array itself: napari makes a new list of levels at every access.
    data = layer.data[0] if layer.multiscale else layer.data
    last, count = _arrays.get(layer.unique_id, (lambda: None, 0))
    if last() is not data:
        count += 1
        _arrays[layer.unique_id] = _reference(data), count
    return (layer.unique_id, count, source.axes, _sum_of_values(data))


def _sum_of_values(data: Any) -> int:
    """Checksum of some pixels of an array in memory: those of files and tasks take time to read."""
    if type(data) is not np.ndarray or data.size == 0:
        return 0
    return zlib.crc32(data.flat[:: -(-data.size // SAMPLED)].tobytes())


def _reference(data: Any) -> Callable[[], Any]:
    """A weak reference where there are such of an array."""
    try:
        return weakref.ref(data)
    except TypeError:
        return lambda: data


class Surveys(QObject):
    """Measures in the background, one image at a time, and keeps the results."""

    changed = Signal()
    """A measurement has ended."""

    def __init__(self) -> None:
        super().__init__()
        # None where a measurement failed.
        self._seconds: dict[Hashable, float | None] = {}
        self._reports: dict[Hashable, Reports | None] = {}
        self._plans: dict[Hashable, TrainingPlan | None] = {}
        self._times: dict[Hashable, RunTime | None] = {}
        self._refusals: dict[Hashable, str] = {}
        self._errors: dict[Hashable, str] = {}
        self._task: Any = None
        self._over = False

    @property
    def is_measuring(self) -> bool:
        """Whether a measurement is running."""
        return self._task is not None

    def seconds(self, run: Hashable, image: Hashable) -> float | None:
        """Expected seconds of a kind of run on an image, or on another one of its shape."""
        return self._seconds.get((run, image), self._seconds.get(run))

    def time(self, run: Hashable, image: Hashable = None) -> RunTime | None:
        """Expected time of the parts of a kind of run on an image, or on another of its shape."""
        return self._times.get((run, image), self._times.get(run))

    def refusal(self, run: Hashable, image: Hashable) -> str:
        """Why a kind of run would refuse the pixels of an image; empty where it would not."""
        return self._refusals.get((run, image), "")

    def plan(self, run: Hashable, image: Hashable) -> TrainingPlan | None:
        """Plan of a kind of run on an image, if known."""
        return self._plans.get((run, image))

    def reports(self, image: Hashable) -> Reports | None:
        """Noise reports of an image, if known."""
        return self._reports.get(image)

    def error(self, image: Hashable) -> str:
        """Why a measurement of an image failed; empty where none did."""
        return self._errors.get(image, "")

    def is_known(self, image: Hashable) -> bool:
        """Whether a measurement of the noise of an image has ended or failed."""
        return image in self._reports

    def leave(self) -> None:
        """Emit no more signals."""
        self._over = True

    def begin(
        self,
        run: Hashable,
        image: Hashable,
        denoiser: Redenoiser,
        source: LayerImage,
        target: LayerImage | None = None,
        limit: int | None = None,
    ) -> None:
        """Measure what is not known of a kind of run on an image, unless busy.

        ``limit`` is the time limit of the run, in seconds.
        """
        if self.is_measuring or (run, image) in self._plans:
            return

        def done(found: Survey) -> None:
            left_out = found.plan is not None and found.plan.is_training_left_out
            # Where the training is left out, that holds for this image only.
            for key in ((run, image), *(() if left_out else (run,))):
                self._seconds[key], self._times[key] = found.seconds, found.time
            self._refusals[run, image] = found.refusal
            self._reports[image], self._plans[run, image] = found.reports, found.plan

        def errored(error: Exception) -> None:
            logger.error("the measurement of the noise failed", exc_info=error)
            self._errors[image] = f"{type(error).__name__}: {error}"

        def finished() -> None:
            self._task = None
            # Failures are kept, too: the run reports the error, and no trial is repeated.
            self._seconds.setdefault((run, image), self._seconds.get(run))
            self._reports.setdefault(image, None)
            self._plans.setdefault((run, image), None)
            if not self._over:
                self.changed.emit()

        reports = self._reports.get(image)
        self._task = Task(
            lambda: survey(denoiser, source, target, reports, limit),
            returned=done,
            errored=errored,
            finished=finished,
        )
