"""One model for all images of a batch: given, or trained once and kept beside the results."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_redenoise import __version__
from napari_redenoise.data import Planes, read_middle, representative_runs
from napari_redenoise.errors import InputError, RedenoiseError
from napari_redenoise.inference import Interrupted
from napari_redenoise.io import check_folder, check_output, read_image
from napari_redenoise.model import Redenoiser
from napari_redenoise.recipes.batch._events import BatchEvent, ModelTrained, TrainingPlanned
from napari_redenoise.recipes.batch._manifest import Manifest, Record
from napari_redenoise.recipes.batch._settings import BatchSettings, file_state
from napari_redenoise.training import StepDone

MODEL = "model.safetensors"
MOST_FILES = 16
"""Images in the sample of all."""

MOST_PIXELS = 32 * 2**20
"""Pixels of the sample; a training reads no more of them."""


class SharedModel:
    """The model of a batch.

    Parameters
    ----------
    settings : BatchSettings
        With ``model`` or ``train_on``.
    folder : Path
        Folder of the results.
    manifest : Manifest
    """

    def __init__(self, settings: BatchSettings, folder: Path, manifest: Manifest) -> None:
        self._settings, self._manifest = settings, manifest
        self.path = settings.model or settings.save_model or folder / MODEL

    def sha256(self) -> str:
        """Digest of the file; empty where the model has to be trained first.

        Raises
        ------
        InputError
            When the image to train on is missing.
        """
        if self._settings.model is not None:
            return _sha256(self.path)
        training = self._training()
        if not self.path.is_file():
            return ""
        found = _sha256(self.path)
        known = {"model": self._manifest.name(self.path), "sha256": found, "training": training}
        is_known = any(known.items() <= record.items() for record in self._manifest.models())
        return found if is_known else ""

    def train(
        self, images: Sequence[Path], device: str | None, should_stop: Callable[[], bool]
    ) -> Generator[BatchEvent, None, None]:
        """Train and save the model, as a generator of events.

        Parameters
        ----------
        images : sequence of Path
            All images of the batch.
        device : str or None
        should_stop : callable
            Ends the training, and nothing is saved.

        Raises
        ------
        RedenoiseError
            When the training is not possible, or the model cannot be saved.
        """
        settings, started = self._settings, perf_counter()
        check_output(self.path, "model", overwrite=settings.overwrite)
        check_folder(self.path)
        training = self._training()
        first, axes, others, used = self._training_images(images)
        denoiser = Redenoiser(settings.config, device)
        yield from train(
            denoiser, first, axes, others, stop_after=settings.stop_after, should_stop=should_stop
        )
        if should_stop():
            return
        denoiser.save(self.path, overwrite=settings.overwrite)
        record: Record = {
            "state": "trained",
            "model": self._manifest.name(self.path),
            "sha256": _sha256(self.path),
            "training": training,
            "images": [self._manifest.name(path) for path in used],
            "plan": denoiser.session.trained_plan().as_json(),
            "seconds": round(perf_counter() - started, 3),
            "version": __version__,
        }
        self._manifest.append(record)
        yield ModelTrained(record)

    def _training(self) -> dict[str, Any]:
        """Settings of the training; of a sample of all, new images change nothing."""
        image = self._settings.train_on
        state = None if not isinstance(image, Path) else file_state(image)
        name = image if not isinstance(image, Path) else self._manifest.name(image)
        return {**self._settings.of_training(), "train_on": name, "state": state}

    def _training_images(
        self, images: Sequence[Path]
    ) -> tuple[Any, str, list[npt.NDArray[Any]], list[Path]]:
        """The first image and its axes, further images, and the files of all."""
        settings = self._settings
        if isinstance(settings.train_on, Path):
            image = read_image(settings.train_on, settings.axes)
            return image.array, image.axes, [], [settings.train_on]
        sample = _sample(images, settings.axes)
        first, *others = sample.values()
        return first, "STZCYX", others, list(sample)


def train(
    denoiser: Redenoiser,
    image: Any,
    axes: str,
    images: Sequence[Any] = (),
    *,
    file: Any = None,
    stop_after: int | None = None,
    should_stop: Callable[[], bool],
) -> Generator[BatchEvent, None, None]:
    """Plan, train and judge, as a generator of events; returns early when stopped.

    ``file`` is the file of the batch that `TrainingPlanned` names.
    """
    try:
        plan = denoiser.plan(image, axes, images=images, should_stop=should_stop)
    except Interrupted:
        return
    yield TrainingPlanned(plan, file)
    events = denoiser.fit_events(image, axes, images=images, plan=plan, should_stop=should_stop)
    for event in events:
        yield event
        if isinstance(event, StepDone) and event.step == stop_after:
            break
    events.close()
    judgement = denoiser.session.apply_judgement(should_stop)
    if judgement is not None:
        yield judgement


def _sample(images: Sequence[Path], axes: str | None) -> dict[Path, npt.NDArray[Any]]:
    """Runs (S, T, Z, C, Y, X) of images spread evenly over a batch, with the channels of the first.

    Images that cannot be read or trained on are replaced by others.
    """
    found: dict[Path, npt.NDArray[Any]] = {}
    most = min(MOST_FILES, len(images))
    reasons: list[str] = []
    for path in _spread(images):
        try:
            pixels = _runs(path, axes, MOST_PIXELS // most)
        except InputError as error:
            reasons.append(str(error))
            continue
        if not found or pixels.shape[3] == next(iter(found.values())).shape[3]:
            found[path] = pixels
        if len(found) == most:
            break
    if not found:
        raise InputError(f"none of the images can be trained on: {reasons[0]}")
    return found


def _spread(images: Sequence[Path]) -> Iterable[Path]:
    """All images, those first that are spread evenly over the sequence."""
    first = np.linspace(0, len(images) - 1, min(MOST_FILES, len(images))).round().astype(int)
    return [images[number] for number in dict.fromkeys([*first.tolist(), *range(len(images))])]


def _runs(path: Path, axes: str | None, most_pixels: int) -> npt.NDArray[Any]:
    """Consecutive planes of an image, so that they keep their neighbours."""
    image = read_image(path, axes)
    planes = representative_runs(Planes(image.array, image.axes), most_pixels)
    if not any(np.isfinite(read_middle(planes, one)).any() for one in planes.indices()):
        raise InputError(f"{path} holds constant areas only: choose another image")
    everything = slice(0, planes.height), slice(0, planes.width)
    pixels = np.stack([planes.read(sample, *everything) for sample in planes.indices()])
    return pixels.reshape(*planes.sample_shape, *pixels.shape[1:])


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RedenoiseError(
            f"{path} cannot be read ({error.strerror}): check its permissions"
        ) from error
