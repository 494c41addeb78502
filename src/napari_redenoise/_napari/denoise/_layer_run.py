"""One run on one layer, in the viewer's thread."""

from __future__ import annotations

import contextlib
import logging
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari.layers import Image
from qtpy.QtCore import QObject, QTimer, Signal

from napari_redenoise._napari import _garbage_collection
from napari_redenoise._napari._add_layers import add_image
from napari_redenoise._napari._layers import (
    LayerImage,
    denoised_layer,
    denoised_name,
    mask_layer,
    move,
    placed_now,
    provenance_of,
)
from napari_redenoise._napari._trained_models import keep_model, note_use, remember
from napari_redenoise._napari._view import current_window, shows_planes
from napari_redenoise._napari._words import counted, duration, file_name
from napari_redenoise._napari._worker import in_words, start_worker
from napari_redenoise._napari.denoise._cautions import NO_PREVIEW
from napari_redenoise._napari.denoise._run import (
    Begun,
    Finished,
    Job,
    RunControl,
    RunEvent,
    Trained,
    run,
)
from napari_redenoise._napari.denoise._time_left import TimeLeft
from napari_redenoise.errors import RedenoiseError
from napari_redenoise.inference import TileDone
from napari_redenoise.model import PreviewDone, judgement_in_words
from napari_redenoise.training import StepDone

logger = logging.getLogger(__name__)

PAINT_MS = 30
"""Milliseconds for a new layer to appear before the run continues."""

REFRESH_MS = 150
"""Milliseconds between two readings of the view."""

TELL_MS = 1000
"""Milliseconds between two progress messages: each one redraws the whole window."""

LONGEST_END, POLL_SECONDS = 5.0, 0.02
"""Longest wait for the end of a step after the viewer was closed, and the polling interval."""

_running: set[LayerRun] = set()


class LayerRun(QObject):
    """Trains on a layer, shows previews, and adds the result to the viewer.

    napari returns layers as public-only proxies, new at every access: compare them by equality.
    """

    stepped = Signal(object)
    """A `StepDone`."""

    progressed = Signal(str, int, int)
    """A message, the value and the maximum, which is 0 where it is not known."""

    denoising = Signal()
    """Training has ended: the next stop cancels the prediction."""

    ended = Signal(str)
    """A message on the outcome."""

    def __init__(self, viewer: Any, layer: Image, job: Job) -> None:
        super().__init__()
        self.control = RunControl()
        self.job = job
        self.denoiser = job.denoiser
        self.details = ""
        self.result: Image | None = None
        self.step: StepDone | None = None
        self._time_left = TimeLeft(job.time)
        self._began_denoising = 0.0
        self._notes: list[str] = []
        self._viewer, self.layer, self._source = viewer, layer, job.source
        self._placed = job.source.spatial
        self._canvas: Any = None
        self._drawn: Any = None
        self._finished: Finished | None = None
        self._mask_name = ""
        self.mask_layer: Any = None
        self._sentence = "Cancelled; no layers were added."
        self._abandoned = False
        self._main_window: QObject | None = None
        self._then: Callable[[LayerRun], None] | None = None
        self.kept_beside = None if job.source.file is None else Path(job.source.file)
        self._timers = []
        for interval, slot in ((REFRESH_MS, self._refresh), (TELL_MS, self._tell)):
            timer = QTimer(self)
            timer.setInterval(interval)
            timer.timeout.connect(slot)
            self._timers.append(timer)

    def start(self) -> None:
        """Start the run, which keeps itself alive until it has ended."""
        _running.add(self)
        _garbage_collection.begin(self)
        self._refresh()
        for timer in self._timers:
            timer.start()
        if not self.job.trains:
            # There is no training to end: the first stop cancels.
            self.control.stop.set()
        self.control.events = run(self.job, self.control)
        self._worker = start_worker(
            self.control.events,
            yielded=self._on_event,
            returned=self._on_returned,
            errored=self._on_errored,
            finished=self._on_worker_finished,
        )

    def stop(self) -> None:
        """End the training and keep the network; without one, or called again, cancel the run."""
        if self.control.stop.is_set() or not self.job.has_steps:
            self.control.cancel.set()
        self.control.stop.set()

    @property
    def provenance(self) -> dict[str, Any] | None:
        """Metadata of the result; None without one."""
        return None if self._finished is None else self._finished.provenance

    @property
    def mask(self) -> Any:
        """Fusion mask of the result; None without one."""
        return None if self._finished is None else self._finished.mask

    @property
    def source(self) -> LayerImage:
        """The noisy image, with the name and position of its layer now, else of the result."""
        return placed_now(self._source, self._viewer.layers, self.layer, self.result)

    @property
    def covers(self) -> tuple[Any, ...]:
        """Layers of the run that would cover the noisy one."""
        return () if self.mask_layer is None else (self.mask_layer,)

    @property
    def is_paused(self) -> bool:
        """Whether the training is paused."""
        return self.control.pause.is_set()

    def pause(self, *, paused: bool) -> None:
        """Pause or resume the training; previews follow the view in both cases."""
        if paused:
            self.control.pause.set()
            self._tell()
        else:
            self.control.pause.clear()

    def finish_alone(self, main_window: QObject, then: Callable[[LayerRun], None]) -> None:
        """Stop training and add the result, after the dock was closed; ``then`` is told it."""
        self.blockSignals(True)
        self._then = then
        self.control.stop.set()
        # The viewer may be closed before the result is complete.
        main_window.destroyed.connect(self.abandon)
        self._main_window = main_window

    def abandon(self, _: Any = None) -> None:
        """End without layers and save the model to a file, after the viewer was closed."""
        self._abandoned, self._main_window = True, None
        self.control.abandon()
        self._stop_timers()
        place = self.kept_beside
        if self.job.trains and place is not None and self._wait_for_worker():
            keep_model(self.denoiser, place)

    def image_place(self) -> Path:
        """File of the image, or where it has none a place for its model."""
        file = self._source.file
        return Path(file) if file else Path.home() / f"{file_name(self._source.name)}.tif"

    def _wait_for_worker(self) -> bool:
        """Wait for the run to end, which no signal tells once the viewer is closed."""
        end = time.monotonic() + LONGEST_END
        while self._worker.is_running and not self.control.end():
            if time.monotonic() > end:
                return False
            time.sleep(POLL_SECONDS)
        return True

    # -- during the run -----------------------------------------------------------------------

    def _refresh(self) -> None:
        present = self.layer in self._viewer.layers
        self.control.window = (
            current_window(self._viewer, self.layer, self._source) if present else None
        )

    def _tell(self) -> None:
        step = self.step
        if step is not None and not self.control.stop.is_set():
            left = duration(self._time_left.seconds(step))
            sentence = f"Training: step {step.step} of {step.steps}, about {left} left."
            is_volume = not shows_planes(self._viewer)
            if self.is_paused:
                follows = "" if is_volume else "; the preview follows the view"
                sentence = f"Paused at step {step.step} of {step.steps}{follows}."
            if is_volume:
                sentence += f" {NO_PREVIEW}"
            self.progressed.emit(sentence, step.step, step.steps)
        elif self.is_paused and not self.control.stop.is_set():
            self.progressed.emit("Paused before the first step.", 0, 0)

    def _on_event(self, event: RunEvent) -> None:
        if self._abandoned:
            return
        if isinstance(event, StepDone):
            self.step = event
            self._time_left.add(event)
            if event.note is not None:
                self._notes.append(f"{event.note[0].upper()}{event.note[1:]}.")
            self.stepped.emit(event)
        elif isinstance(event, PreviewDone):
            self._show()
            QTimer.singleShot(PAINT_MS, self.control.shown.set)
            if self.step is None and not self.control.stop.is_set():
                self.progressed.emit("The preview is shown; preparing the training.", 0, 0)
        elif isinstance(event, Begun):
            self._canvas = event.canvas
        elif isinstance(event, Trained):
            self.control.stop.set()
            self._began_denoising = time.monotonic()
            self.denoising.emit()
            self.progressed.emit("Denoising the layer.", 0, 0)
        elif isinstance(event, TileDone) and not self.control.cancel.is_set():
            self._tell_tile(event)

    def _tell_tile(self, done: TileDone) -> None:
        sentence = f"Denoising: tile {done.tile} of {done.tiles}"
        if done.tile < done.tiles:
            mean = (time.monotonic() - self._began_denoising) / done.tile
            sentence += f", about {duration((done.tiles - done.tile) * mean)} left"
        self.progressed.emit(f"{sentence}.", done.tile, done.tiles)

    def _show(self) -> None:
        """Draw the canvas; a layer that was deleted, or given other data, is added again."""
        source = self.source
        shown = self._moved_along(source)
        if shown is not None:
            shown.refresh()
            return
        data, keywords, _ = denoised_layer(source, self._canvas)
        self.result = add_image(self._viewer, data, keywords)
        self._drawn = self.result.data

    def _moved_along(self, source: LayerImage) -> Image | None:
        """The layer of the canvas, after it was moved with its source; None where it is gone."""
        before, self._placed = self._placed, source.spatial
        shown = self.result
        if shown is None or shown not in self._viewer.layers or shown.data is not self._drawn:
            return None
        move(shown, before, source.spatial)
        return shown

    # -- the end ------------------------------------------------------------------------------

    def _on_returned(self, finished: Finished | None) -> None:
        self._finished = finished

    def _on_errored(self, error: Exception) -> None:
        if isinstance(error, RedenoiseError):
            self._sentence = f"Cannot denoise '{self.source.name}': {error}."
            return
        logger.error("denoising failed", exc_info=error)
        self.details = "".join(traceback.format_exception(error))
        what = in_words(error)
        self._sentence = (
            f"Unexpected error ({what}). Your layers are unchanged; press Show the error log."
        )

    def _stop_timers(self) -> None:
        for timer in self._timers:
            # Qt raises RuntimeError where it was deleted with the application.
            with contextlib.suppress(RuntimeError):
                timer.stop()

    def _on_worker_finished(self) -> None:
        self._stop_timers()
        if self._finished is None and not self._abandoned:
            # A partly denoised image is no result.
            self._remove_result()
            if self.job.has_steps and self.denoiser.session.provenance and not self.details:
                remember(self.layer, self.denoiser)
                self._sentence += " The network is kept: choose it in Options > Network."
        if self._finished is None or self._abandoned:
            self._end()
        else:
            self._add_mask()

    # One layer per event-loop iteration, so that the viewer stays responsive.

    def _add_mask(self) -> None:
        finished = self._finished
        if finished is not None and finished.mask is not None:
            source = self.source
            # Before: napari warns of layers with other units.
            self._moved_along(source)
            data, keywords, _ = mask_layer(source, finished.mask, finished.provenance)
            mask = add_image(self._viewer, data, keywords)
            layers = self._viewer.layers
            if self.result in layers:
                # Below the denoised image, which it would cover once it is shown.
                layers.move(layers.index(mask), layers.index(self.result))
            self._mask_name, self.mask_layer = mask.name, mask
        QTimer.singleShot(PAINT_MS, self._complete)

    def _complete(self) -> None:
        finished = self._finished
        if finished is not None and not self._abandoned:
            # Not earlier: until the layer is complete, no other run may use the network.
            if self.job.trains and finished.provenance["steps"]:
                remember(self.layer, self.denoiser)
            elif self.job.action == "apply":
                note_use(self.layer, self.denoiser)
            self._show()
            if self.result is not None:
                if finished.as_source is not None:
                    self.result.data = finished.as_source
                # Before the name: its listeners read the metadata.
                source, provenance = self.source, finished.provenance
                self.result.metadata = provenance_of(source, provenance, "denoised image")
                self.result.name = denoised_name(source, provenance)
                success = self._success(provenance, self.result.name)
                self._sentence = " ".join([success, *self._notes])
        self._end()

    def _success(self, provenance: dict[str, Any], name: str) -> str:
        mask = f" and '{self._mask_name}'" if self._mask_name else ""
        added = f"Added '{name}'{mask}."
        if self.job.action == "apply":
            return f"Done, without training. {added}"
        if not provenance["steps"]:
            return f"Done: the pretrained network, without training. {added}"
        spent = duration(provenance["seconds"])
        done = f"Done: {counted(provenance['steps'], 'training step')} in {spent}. {added}"
        judgement = provenance.get("judgement")
        if judgement is None:
            return done
        shares = [one["share"] for one in judgement["estimates"].values()]
        return f"{done} {judgement_in_words(judgement['share'], shares)}."

    def _remove_result(self) -> None:
        if self.result is not None and self.result in self._viewer.layers:
            self._viewer.layers.remove(self.result)

    def _end(self) -> None:
        _running.discard(self)
        if self._main_window is not None and not self._abandoned:
            # The connection would keep this run alive, and with it the viewer.
            self._main_window.destroyed.disconnect(self.abandon)
            self._main_window = None
            if self._then is not None and self._finished is not None:
                self._then(self)
            self._then = None
        _garbage_collection.end(self)
        if not self._abandoned:
            self.ended.emit(self._sentence)
