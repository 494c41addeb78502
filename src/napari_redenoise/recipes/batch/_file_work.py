"""The work on one file of a batch: reading, training, prediction, checks and writing."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from napari_redenoise import __version__
from napari_redenoise.errors import InputError, RedenoiseError
from napari_redenoise.io import (
    ImageFile,
    bytes_needed,
    cast_like,
    check_folder,
    check_output,
    check_space,
    is_zarr,
    lack_in_words,
    lost_metadata,
    read_image,
    restored_after_errors,
    result_like,
    write_result,
)
from napari_redenoise.model import Redenoiser
from napari_redenoise.recipes.batch._events import BatchEvent
from napari_redenoise.recipes.batch._files import BatchFile
from napari_redenoise.recipes.batch._manifest import Manifest, Record
from napari_redenoise.recipes.batch._settings import BatchSettings, file_state
from napari_redenoise.recipes.batch._shared_model import train

MOST_READ_AHEAD = 2**29
"""Bytes; larger files are read when it is their turn, because up to three images are in memory."""

ResultChecks = Callable[[Redenoiser, ImageFile, Any, Callable[[], bool]], Mapping[str, Any]]
"""Makes the quality checks of a denoised image: plain values for the manifest."""


@dataclass(frozen=True)
class Source:
    """An image that was read ahead, or will be read now, and the state of its file."""

    read: Callable[[], ImageFile]
    state: dict[str, int]


def read_source(file: BatchFile, axes: str | None) -> Source:
    """Read an image ahead, unless it is large."""
    # Errors are raised when it is the turn of the file.
    try:
        state = file_state(file.image)
        if state["size"] > MOST_READ_AHEAD:
            return Source(partial(read_image, file.image, axes), state)
        image = read_image(file.image, axes)
    except (RedenoiseError, MemoryError) as error:
        return Source(partial(_raise, error), {})
    return Source(lambda: image, state)


def _raise(error: Exception) -> ImageFile:
    raise error


@dataclass(frozen=True)
class FileWork:
    """Everything that is done with one file."""

    file: BatchFile
    overwrite: bool
    settings: BatchSettings
    model: Redenoiser | None
    device: str | None
    check: ResultChecks | None
    manifest: Manifest
    digest: str | None
    should_stop: Callable[[], bool]

    def events(self, read: Source) -> Generator[BatchEvent, None, Record | None]:
        """Denoise the file, write its results and return its record; None when stopped."""
        started = perf_counter()
        source = read.read()
        cautions = [*source.notes, *self._check_results(source)]
        denoiser = self.model or (yield from self._train(source))
        if self.should_stop():
            return None
        outputs = yield from self._predict(denoiser, source)
        quality = None if self.should_stop() else self._quality(denoiser, source, outputs)
        if self.should_stop():
            return None
        record: Record = {
            "state": "done",
            **self._names(),
            **read.state,
            "results": self._write(source, outputs, denoiser.session.provenance),
            "settings": self.settings.of_result(self.digest),
            "plan": denoiser.session.trained_plan().as_json(),
            "judgement": denoiser.session.provenance.get("judgement"),
            "cautions": cautions,
            "quality": None if quality is None else dict(quality),
            "seconds": round(perf_counter() - started, 3),
            "version": __version__,
        }
        self.manifest.append(record)
        return record

    def record_failure(self, reason: str, trace: str = "") -> None:
        """Record why the file is not denoised, and where in the code an unexpected error was."""
        more = {"trace": trace} if trace else {}
        self.manifest.append({"state": "failed", **self._names(), "error": reason, **more})

    def _names(self) -> Record:
        return {
            "input": self.manifest.name(self.file.image),
            "output": self.manifest.name(self.file.output),
        }

    def _train(self, source: ImageFile) -> Generator[BatchEvent, None, Redenoiser]:
        denoiser = Redenoiser(self.settings.config, self.device)
        yield from train(
            denoiser,
            source.array,
            source.axes,
            file=self.file,
            stop_after=self.settings.stop_after,
            should_stop=self.should_stop,
        )
        return denoiser

    def _predict(
        self, denoiser: Redenoiser, source: ImageFile
    ) -> Generator[BatchEvent, None, dict[str, Any]]:
        array, axes = source.array, source.axes
        outputs = denoiser.session.allocate(array, axes, branches=self.settings.has_branches)
        yield from denoiser.predict_events(
            array, axes, outputs=outputs, should_stop=self.should_stop
        )
        return outputs

    def _check_results(self, source: ImageFile) -> list[str]:
        """Refuse results that could not be written, before any work; return cautions."""
        lost: dict[str, None] = {}
        needs: dict[Path, int] = {}
        for name, path in self.file.results.items():
            like = result_like(name, source, as_source=self.settings.as_source)
            lost |= dict.fromkeys(lost_metadata(like.array, like, path))
            check_folder(path)
            needs[path] = bytes_needed(path, like)
        check_space(needs)
        return [lack_in_words(self.file.output, lost)] if lost else []

    def _quality(
        self, denoiser: Redenoiser, source: ImageFile, outputs: dict[str, Any]
    ) -> Mapping[str, Any] | None:
        if self.check is None:
            return None
        try:
            return self.check(denoiser, source, outputs["denoised"], self.should_stop)
        except InputError as error:
            # For example where the noise cannot be measured: the result is written nevertheless.
            return {"mark": "unknown", "sentences": [str(error)]}

    def _write(
        self, source: ImageFile, outputs: dict[str, Any], provenance: dict[str, Any]
    ) -> dict[str, int]:
        """Write all results or none; return their bytes by name."""
        results = self.file.results
        for path in results.values():
            check_output(path, overwrite=self.overwrite)
        sizes = {self.manifest.name(path): 0 for path in results.values()}
        # The last record of a process that is killed while it writes: see `Standings`.
        self.manifest.append({"state": "writing", **self._names(), "results": sizes})
        with ExitStack() as before, ExitStack() as undo:
            for name, path in results.items():
                before.enter_context(restored_after_errors(path))
                array = outputs[name]
                if self.settings.as_source and name != "mask":
                    array = cast_like(source.array, source.axes, array)
                write_result(
                    path,
                    array,
                    result_like(name, source),
                    overwrite=self.overwrite,
                    is_denoised=name == "denoised",
                    provenance=provenance,
                )
                if is_zarr(path):
                    undo.callback(shutil.rmtree, path, ignore_errors=True)
                else:
                    undo.callback(path.unlink, missing_ok=True)
                sizes[self.manifest.name(path)] = file_state(path)["size"]
            undo.pop_all()
        return sizes
