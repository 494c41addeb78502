"""Keeps the measurements before a run, which it makes in the background."""

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
from napari_redenoise._napari.denoise._survey import Survey, survey
from napari_redenoise.model import Redenoiser
from napari_redenoise.noise import NoiseReport

logger = logging.getLogger(__name__)

UNKNOWN = Survey(None, None)

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
        self._found: dict[Hashable, Survey] = {}
        # None where a measurement failed.
        self._reports: dict[Hashable, tuple[NoiseReport, ...] | None] = {}
        self._errors: dict[Hashable, str] = {}
        self._task: Any = None
        self._over = False

    @property
    def is_measuring(self) -> bool:
        """Whether a measurement is running."""
        return self._task is not None

    def of(self, run: Hashable, image: Hashable = None) -> Survey:
        """What is known of a kind of run on an image: the time at least of another of its shape."""
        return self._found.get((run, image), self._found.get(run, UNKNOWN))

    def reports(self, image: Hashable) -> tuple[NoiseReport, ...] | None:
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
        if self.is_measuring or (run, image) in self._found:
            return

        def done(found: Survey) -> None:
            self._found[run, image], self._reports[image] = found, found.reports
            # Where the training is left out, that holds for this image only.
            if found.plan is None or not found.plan.is_training_left_out:
                self._found[run] = Survey(found.seconds, None, time=found.time)

        def errored(error: Exception) -> None:
            logger.error("the measurement of the noise failed", exc_info=error)
            self._errors[image] = f"{type(error).__name__}: {error}"

        def finished() -> None:
            self._task = None
            # Failures are kept, too: the run reports the error, and no trial is repeated.
            self._found.setdefault((run, image), self.of(run))
            self._reports.setdefault(image, None)
            if not self._over:
                self.changed.emit()

        reports = self._reports.get(image)
        self._task = Task(
            lambda: survey(denoiser, source, target, reports, limit),
            returned=done,
            errored=errored,
            finished=finished,
        )
