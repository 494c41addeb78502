"""The life of one run on one layer, as the viewer's thread sees it."""

from __future__ import annotations

import logging
import time
import traceback
from pathlib import Path
from typing import Any

from napari.layers import Image
from qtpy.QtCore import QObject, QTimer, Signal
from superqt.utils import create_worker

from napari_redenoise._napari import _garbage_collection
from napari_redenoise._napari._activity import Activity
from napari_redenoise._napari._add_layers import add_image
from napari_redenoise._napari._layers import (
    denoised_layer,
    denoised_name,
    mask_layer,
    provenance_of,
)
from napari_redenoise._napari._trained_models import keep_model, remember
from napari_redenoise._napari._view import current_window
from napari_redenoise._napari._words import duration
from napari_redenoise._napari.denoise._run import (
    Begun,
    Finished,
    Job,
    RunControl,
    RunEvent,
    RunFailed,
    Trained,
    run,
)
from napari_redenoise.errors import RedenoiseError
from napari_redenoise.inference import TileDone
from napari_redenoise.model import PreviewDone, judgement_in_words
from napari_redenoise.training import StepDone

logger = logging.getLogger(__name__)

PAINT_MS = 30
"""Time that a new layer is given to appear before the run goes on."""

REFRESH_MS = 150
"""How often the view is looked at."""

TELL_MS = 1000
"""How often progress is told: every change in the window has all of it drawn again."""

LONGEST_END, POLL_SECONDS = 5.0, 0.02
"""Seconds that the end of a step is waited for when the viewer is closed, and between two looks."""

_running: set[LayerRun] = set()


class LayerRun(QObject):
    """Trains on a layer, shows previews, and adds the result to the viewer.

    Layers come as public-only proxies, a new one at every access: they are compared by equality.
    """

    stepped = Signal(object)
    """A `StepDone`."""

    progressed = Signal(str, int, int)
    """A sentence, how much is done, and of how much; of 0 when that is not known."""

    denoising = Signal()
    """Training is over: from now on, there is something to cancel and nothing to keep."""

    ended = Signal(str)
    """A sentence on how it ended."""

    def __init__(self, viewer: Any, layer: Image, job: Job) -> None:
        super().__init__()
        self.control = RunControl()
        self.job = job
        self.denoiser = job.denoiser
        self.details = ""
        self.result: Image | None = None
        self.step: StepDone | None = None
        self._notes: list[str] = []
        self._viewer, self.layer, self._source = viewer, layer, job.source
        self._activity: Activity | None = None
        self._canvas: Any = None
        self._finished: Finished | None = None
        self._mask_name = ""
        self._sentence = "Cancelled; no layers were added."
        self._abandoned = False
        self._main_window: QObject | None = None
        self._timers = []
        for interval, slot in ((REFRESH_MS, self._refresh), (TELL_MS, self._tell)):
            timer = QTimer(self)
            timer.setInterval(interval)
            timer.timeout.connect(slot)
            self._timers.append(timer)

    def start(self) -> None:
        """Begin; the run keeps itself alive until it has ended."""
        _running.add(self)
        _garbage_collection.begin(self)
        self._refresh()
        for timer in self._timers:
            timer.start()
        self._activity = Activity(f"Denoising {self._source.name}")
        self._worker = create_worker(
            run,
            self.job,
            self.control,
            _connect={
                "yielded": self._on_event,
                "returned": self._on_returned,
                "errored": self._on_errored,
                "finished": self._on_worker_finished,
            },
        )

    def stop(self) -> None:
        """End the training and keep what was learned; afterwards, end everything."""
        if self.control.stop.is_set():
            self.control.cancel.set()
        else:
            self.control.stop.set()

    @property
    def provenance(self) -> dict[str, Any] | None:
        """What came of the run; None while there is no result."""
        return None if self._finished is None else self._finished.provenance

    @property
    def is_paused(self) -> bool:
        """Whether the training waits."""
        return self.control.pause.is_set()

    def pause(self, *, paused: bool) -> None:
        """Let the training wait, or go on; previews follow the view all the same."""
        if paused:
            self.control.pause.set()
            self._tell()
        else:
            self.control.pause.clear()

    def finish_alone(self, main_window: QObject) -> None:
        """Stop training and add what was learned as layers, though the dock is gone."""
        self.blockSignals(True)
        self.control.stop.set()
        # The viewer may be closed before that.
        main_window.destroyed.connect(self.abandon)
        self._main_window = main_window

    def abandon(self, _: Any = None) -> None:
        """End without a result: the viewer is gone. What was learned goes to a file."""
        self._abandoned, self._main_window = True, None
        self.control.abandon()
        self._stop_timers()
        if (
            self.job.action != "apply"
            and self._source.file is not None
            and self._has_come_to_rest()
        ):
            keep_model(self.denoiser, Path(self._source.file))

    def _has_come_to_rest(self) -> bool:
        """Wait a moment for the worker, which will not be heard of when the viewer is gone."""
        end = time.monotonic() + LONGEST_END
        while self._worker.is_running and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
        return not self._worker.is_running

    # -- while the worker works ---------------------------------------------------------------

    def _refresh(self) -> None:
        present = self.layer in self._viewer.layers
        self.control.window = (
            current_window(self._viewer, self.layer, self._source) if present else None
        )

    def _tell(self) -> None:
        step = self.step
        if step is not None and not self.control.stop.is_set():
            left = duration((step.steps - step.step) * step.seconds)
            sentence = f"Training: step {step.step} of {step.steps}, about {left} left."
            if self.is_paused:
                sentence = f"Paused at step {step.step} of {step.steps}; the preview follows."
            self._progress(sentence, step.step, step.steps)

    def _progress(self, sentence: str, value: int, maximum: int) -> None:
        self.progressed.emit(sentence, value, maximum)
        if self._activity is not None:
            self._activity.show(value, maximum)

    def _on_event(self, event: RunEvent) -> None:
        if self._abandoned:
            return
        if isinstance(event, StepDone):
            self.step = event
            if event.note is not None:
                self._notes.append(f"{event.note[0].upper()}{event.note[1:]}.")
            self.stepped.emit(event)
        elif isinstance(event, PreviewDone):
            self._show()
            QTimer.singleShot(PAINT_MS, self.control.shown.set)
        elif isinstance(event, Begun):
            self._canvas = event.canvas
        elif isinstance(event, Trained):
            self.control.stop.set()
            self.denoising.emit()
            self._progress("Denoising the layer.", 0, 0)
        elif isinstance(event, TileDone) and not self.control.cancel.is_set():
            sentence = f"Denoising: part {event.tile} of {event.tiles}."
            self._progress(sentence, event.tile, event.tiles)

    def _show(self) -> None:
        """Draw what the canvas holds now; a layer that was deleted comes back."""
        if self.result is not None and self.result in self._viewer.layers:
            self.result.refresh()
            return
        data, keywords, _ = denoised_layer(self._source, self._canvas)
        self.result = self._add(data, keywords)

    def _add(self, data: Any, keywords: dict[str, Any]) -> Image:
        return add_image(self._viewer, data, keywords)

    # -- the end ------------------------------------------------------------------------------

    def _on_returned(self, finished: Finished | None) -> None:
        self._finished = finished

    def _on_errored(self, error: Exception) -> None:
        if isinstance(error, RedenoiseError):
            self._sentence = f"{error}."
            return
        logger.error("denoising failed", exc_info=error)
        self.details = "".join(traceback.format_exception(error))
        what = str(error) if isinstance(error, RunFailed) else f"{type(error).__name__}: {error}"
        self._sentence = f"Something unexpected went wrong ({what}). Your layers are unchanged."

    def _stop_timers(self) -> None:
        for timer in self._timers:
            timer.stop()

    def _on_worker_finished(self) -> None:
        self._stop_timers()
        if self._activity is not None:
            self._activity.close()
            self._activity = None
        if self._finished is None and not self._abandoned:
            # Removed and not emptied: nobody asked for half a picture.
            self._remove_result()
            if self.job.action != "apply" and self.denoiser.session.provenance and not self.details:
                remember(self.layer, self.denoiser)
                self._sentence += " The network is kept: see Network among the options."
        if self._finished is None or self._abandoned:
            self._end()
        else:
            self._add_mask()

    # One layer per turn of the event loop, so that the viewer never stands still for long.

    def _add_mask(self) -> None:
        finished = self._finished
        if finished is not None and finished.mask is not None:
            data, keywords, _ = mask_layer(self._source, finished.mask, finished.provenance)
            mask = self._add(data, keywords)
            layers = self._viewer.layers
            if self.result in layers:
                # Below the denoised image, which then is what the eye button next to it shows.
                layers.move(layers.index(mask), layers.index(self.result))
            self._mask_name = mask.name
        QTimer.singleShot(PAINT_MS, self._complete)

    def _complete(self) -> None:
        finished = self._finished
        if finished is not None and not self._abandoned:
            # Only now: until the layer is complete, nobody else may use the network.
            if self.job.action != "apply":
                remember(self.layer, self.denoiser)
            self._show()
            if self.result is not None:
                if finished.as_source is not None:
                    self.result.data = finished.as_source
                # Before its name, at which others look what it is.
                self.result.metadata = provenance_of(
                    self._source, finished.provenance, "denoised image"
                )
                self.result.name = denoised_name(self._source, finished.provenance)
                success = self._success(finished.provenance, self.result.name)
                self._sentence = " ".join([success, *self._notes])
        self._end()

    def _success(self, provenance: dict[str, Any], name: str) -> str:
        mask = f" and '{self._mask_name}'" if self._mask_name else ""
        added = f"Added '{name}'{mask}."
        if self.job.action == "apply":
            return f"Done, without training. {added}"
        if not provenance["steps"]:
            return f"Done: the shipped network as it is, without training. {added}"
        spent = duration(provenance["seconds"])
        done = f"Done: {provenance['steps']} training steps in {spent}. {added}"
        judgement = provenance.get("judgement")
        return done if judgement is None else f"{done} {judgement_in_words(judgement['share'])}."

    def _remove_result(self) -> None:
        if self.result is not None and self.result in self._viewer.layers:
            self._viewer.layers.remove(self.result)

    def _end(self) -> None:
        _running.discard(self)
        if self._main_window is not None and not self._abandoned:
            # A connection keeps what it calls, and with it the viewer.
            self._main_window.destroyed.disconnect(self.abandon)
            self._main_window = None
        _garbage_collection.end(self)
        if not self._abandoned:
            self.ended.emit(self._sentence)
