"""The run of a batch in a worker's thread."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any
from weakref import WeakKeyDictionary

from qtpy.QtCore import QObject, Signal

from napari_redenoise._napari import _garbage_collection
from napari_redenoise._napari._words import refusal
from napari_redenoise._napari._worker import in_words, start_worker
from napari_redenoise._napari.batch._choices import BatchChoices, RunOptions
from napari_redenoise.assessment import file_checks
from napari_redenoise.errors import OutputError, RedenoiseError
from napari_redenoise.io import check_folder, write_under_free_name
from napari_redenoise.model import Redenoiser
from napari_redenoise.recipes import BatchEvent, BatchFile, BatchRun

logger = logging.getLogger(__name__)

NETWORK = "network.safetensors"

_running: set[BatchWork] = set()
_kept: WeakKeyDictionary[Redenoiser, dict[tuple[Path, int], Path]] = WeakKeyDictionary()
"""Files of the networks of this session, by folder and step."""


@dataclass(frozen=True)
class Listed:
    """The images of the batch and their results."""

    files: tuple[BatchFile, ...]


class BatchWork(QObject):
    """Runs a batch, and keeps itself alive until it has ended."""

    happened = Signal(object)
    """A `BatchEvent` or `Listed`."""

    ended = Signal(str)
    """Why the run failed; empty otherwise."""

    def __init__(self, choices: BatchChoices, options: RunOptions) -> None:
        super().__init__()
        self.stop = Event()
        self._choices, self._options = choices, options
        self._error = ""

    def start(self) -> None:
        """Start the run."""
        _running.add(self)
        _garbage_collection.begin(self)
        start_worker(
            events(self._choices, self._options, self.stop),
            yielded=self.happened.emit,
            errored=self._on_errored,
            finished=self._on_finished,
        )

    def leave(self) -> None:
        """Stop, and report no more: the dock is closed. Finished files stay."""
        self.stop.set()
        # At the end of a script Qt may have deleted it already.
        with contextlib.suppress(RuntimeError):
            self.blockSignals(True)

    def _on_errored(self, error: Exception) -> None:
        if isinstance(error, RedenoiseError):
            self._error = refusal(error)
            return
        logger.error("the batch failed", exc_info=error)
        self._error = (
            f"Unexpected error ({in_words(error)}). Finished images are kept; the log has the "
            "details."
        )

    def _on_finished(self) -> None:
        _running.discard(self)
        _garbage_collection.end(self)
        self.ended.emit(self._error)


def events(
    choices: BatchChoices, options: RunOptions, stop: Event
) -> Generator[BatchEvent | Listed, None, None]:
    """Find the images and denoise them, as a generator of events.

    Raises
    ------
    RedenoiseError
        When there is nothing to denoise, or the results cannot be written.
    """
    images = choices.find()
    if not choices.folder.name:
        raise OutputError("there is no folder for the results: choose one")
    model = _model_file(options, choices.folder) if choices.training == "given" else None
    settings = choices.settings(options, model)
    run = BatchRun(images, choices.folder, settings, options.device, file_checks)
    yield Listed(run.files)
    yield from run.events(stop.is_set)


def _model_file(options: RunOptions, folder: Path) -> Path | None:
    if options.model is None or options.model_file is not None:
        return options.model_file
    return keep_network(options.model, folder)


def keep_network(model: Redenoiser, folder: Path) -> Path:
    """Save a network of this session beside the results, once for each folder.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    check_folder(folder / NETWORK)
    kept, place = _kept.setdefault(model, {}), (folder.resolve(), model.session.step)
    if place in kept and kept[place].is_file():
        return kept[place]

    def write(path: Path) -> Any:
        return model.save(path)

    kept[place] = write_under_free_name(folder / NETWORK, write)
    return kept[place]
