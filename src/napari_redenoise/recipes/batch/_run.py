"""The run of a batch, as a generator of events: files are read ahead while others are denoised."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from napari_redenoise.errors import ConfigError, RedenoiseError
from napari_redenoise.io import check_folder
from napari_redenoise.model import Redenoiser
from napari_redenoise.recipes._prefetch import prefetch
from napari_redenoise.recipes.batch._events import (
    BatchEvent,
    FileDone,
    FileFailed,
    FileSkipped,
    FileStarted,
)
from napari_redenoise.recipes.batch._file_work import (
    FileWork,
    ResultChecks,
    read_source,
)
from napari_redenoise.recipes.batch._files import BatchFile, name_results
from napari_redenoise.recipes.batch._manifest import MANIFEST, Manifest
from napari_redenoise.recipes.batch._settings import BatchSettings
from napari_redenoise.recipes.batch._shared_model import SharedModel
from napari_redenoise.recipes.batch._standing import Standing, Standings


class BatchRun:
    """Denoises many image files into a folder, and records them in its manifest.

    A file that fails is recorded and does not stop the others. A run that was stopped, or killed,
    is continued by another one with the same arguments: files whose results are up to date are
    skipped. They are up to date if neither image (size, time of modification) nor settings have
    changed since the manifest recorded them.

    Parameters
    ----------
    images : mapping
        Result of `find_images`.
    folder : Path
        For denoised images, manifest and shared model; created if necessary.
    settings : BatchSettings
    device : str, optional
        As in `Redenoiser`.
    check : callable, optional
        Makes the quality checks of a result; called with the model, the image, the denoised array
        and ``should_stop``.

    Raises
    ------
    OutputError
        When results would replace images or each other.
    ConfigError
        When the network lacks the mask or the branches that were asked for.
    ModelFileError
        When the given model cannot be read.
    """

    def __init__(
        self,
        images: Mapping[Path, Path],
        folder: Path,
        settings: BatchSettings,
        device: str | None = None,
        check: ResultChecks | None = None,
    ) -> None:
        self.files = name_results(images, folder, settings)
        self._folder, self._settings, self._device, self._check = folder, settings, device, check
        self._given = None if settings.model is None else Redenoiser.load(settings.model, device)
        kind = (settings.config if self._given is None else self._given.config).network.kind
        if kind != "adarenet" and (settings.masks is not None or settings.has_branches):
            raise ConfigError(
                "only the adarenet has a fusion mask and two branches: omit the masks and branches"
            )

    def events(
        self, should_stop: Callable[[], bool] = lambda: False
    ) -> Generator[BatchEvent, None, None]:
        """Denoise all files that are not up to date.

        Parameters
        ----------
        should_stop : callable, optional
            Ends the run; of the file at work nothing is written.

        Yields
        ------
        FileSkipped, FileFailed
            First, for the files that are up to date, or whose results exist otherwise.
        TrainingPlanned, StepDone, Judgement, ModelTrained
            For the training of a shared model.
        FileStarted, then events of training and prediction, then FileDone or FileFailed
            For every other file.

        Raises
        ------
        RedenoiseError
            When the manifest cannot be written, or the shared model cannot be trained.
        """
        manifest = Manifest(self._folder)
        check_folder(manifest.path)
        shared = self._shared_model(manifest)
        digest = None if shared is None else shared.sha256()
        pending = yield from self._pending(Standings(manifest, self._settings, digest), manifest)
        if shared is not None and digest == "" and pending:
            images = [file.image for file in self.files]
            yield from shared.train(images, self._device, should_stop)
            digest = shared.sha256()
        if not pending or should_stop():
            return
        model = self._given
        if model is None and shared is not None:
            # As in a later run, which has the file alone.
            model = Redenoiser.load(shared.path, self._device)
        works = [
            FileWork(
                file,
                self._settings.overwrite or standing == "replaceable",
                self._settings,
                model,
                self._device,
                self._check,
                manifest,
                digest,
                should_stop,
            )
            for file, standing in pending.items()
        ]
        yield from _denoise_all(works, self._settings.axes)

    def _shared_model(self, manifest: Manifest) -> SharedModel | None:
        if not self._settings.is_shared:
            return None
        return SharedModel(self._settings, self._folder, manifest)

    def _pending(
        self, standings: Standings, manifest: Manifest
    ) -> Generator[BatchEvent, None, dict[BatchFile, Standing]]:
        """The files to denoise; events of the others."""
        pending: dict[BatchFile, Standing] = {}
        for file in self.files:
            try:
                standing = standings.of(file)
            except RedenoiseError as error:
                yield FileFailed(file, _reason(file, error))
                continue
            if standing == "current":
                yield FileSkipped(file, manifest.latest(file.output) or {})
            else:
                pending[file] = standing
        return pending


def _denoise_all(works: Sequence[FileWork], axes: str | None) -> Generator[BatchEvent, None, None]:
    """Denoise files one by one; the others are read meanwhile, a failed one is recorded."""
    files = [work.file for work in works]
    # One thread: it decodes the next files while this one trains and predicts.
    with closing(prefetch(partial(read_source, axes=axes), files, 1)) as sources:
        for number, (work, source) in enumerate(zip(works, sources, strict=True), 1):
            if work.should_stop():
                return
            yield FileStarted(work.file, number, len(works))
            try:
                record = yield from work.events(source)
            except (RedenoiseError, MemoryError) as error:
                reason = _reason(work.file, error)
                work.record_failure(reason)
                yield FileFailed(work.file, reason)
                continue
            except Exception as error:  # noqa: BLE001 - one file does not stop the others
                reason = f"{work.file.image}: unexpected error ({error!r}): see {MANIFEST}"
                work.record_failure(reason, traceback.format_exc())
                yield FileFailed(work.file, reason)
                continue
            if record is None:
                return
            yield FileDone(work.file, record)


def _reason(file: BatchFile, error: Exception) -> str:
    """The message of an error, with the name of the image."""
    if isinstance(error, MemoryError):
        return f"{file.image} does not fit into memory: denoise it where there is more, or in parts"
    text = str(error)
    named = any(str(path) in text for path in (file.image, *file.results.values()))
    return text if named else f"{file.image}: {text}"
