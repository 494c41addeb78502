"""Training on folders of clean images with added noise, as in the paper."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import napari_redenoise
from napari_redenoise.config import Config, FolderConfig
from napari_redenoise.data import FULL_SCALE, ImageFolder, Normalisation, measure
from napari_redenoise.devices import explain_out_of_memory, get_device, training_dtype
from napari_redenoise.errors import ConfigError
from napari_redenoise.io import save_model
from napari_redenoise.metrics import psnr
from napari_redenoise.model import TrainingPlan, make_objective
from napari_redenoise.objectives import R2R, Sample, Supervised
from napari_redenoise.recipes._added_noise import Image, add_noise, noise_config
from napari_redenoise.recipes._checkpoint_file import load_checkpoint, save_checkpoint
from napari_redenoise.recipes._evaluation import denoise_image, scale_normalisation
from napari_redenoise.recipes._folder_batches import FolderBatch, FolderBatches
from napari_redenoise.recipes._prefetch import default_workers, prefetch
from napari_redenoise.training import StepDone, start, train

_MEASURED = 64
"""Images for the mean and standard deviation."""

_MAY_GROW = ("config.training.steps", "folder.epochs")
"""Settings that grow when a run is extended."""


@dataclass(frozen=True)
class EpochDone:
    """An epoch has been completed, and the averaged network was validated.

    ``psnr`` and ``noisy_psnr`` are means over the validation images in dB, full scale 255, or
    ``nan`` without such images. ``seconds`` is the duration of the epoch. ``unreadable`` holds the
    reasons for images that could not be read so far; the next image in the folder replaces one.
    """

    epoch: int
    epochs: int
    loss: float
    psnr: float
    noisy_psnr: float
    learning_rate: float
    seconds: float
    unreadable: tuple[str, ...] = ()


class FolderTraining:
    """Trains a network on a folder of clean images with added noise.

    Parameters
    ----------
    config : Config
        Its number of steps follows from the epochs and the number of images.
    folder : FolderConfig
    train_dir : path
    valid_dir : path, optional
    device : str, optional
    workers : int, optional
        Threads that read images and add noise ahead of the training. The result does not depend
        on them. Default 4, or one less than the number of cores.

    Attributes
    ----------
    images : ImageFolder
    validation : ImageFolder or None

    Notes
    -----
    An epoch takes one random crop of every image, not rotated or flipped, with its own noise level
    and noise. The objective chooses the target: the noisy crop itself, a second draw of the noise
    (Noise2Noise), or the clean crop.

    Raises
    ------
    InputError
        When a folder is missing or holds no usable image.
    ConfigError
        When the objective cannot use clean targets, or ``workers`` is negative.
    """

    def __init__(
        self,
        config: Config,
        folder: FolderConfig,
        train_dir: str | Path,
        valid_dir: str | Path | None = None,
        device: str | None = None,
        workers: int | None = None,
    ) -> None:
        _check(config, folder, workers)
        self.device = get_device(device)
        self.folder = folder
        self.workers = default_workers() if workers is None else workers
        self.images = ImageFolder.open(train_dir, folder.train_size, subfolders=folder.subfolders)
        channels = self.images.channels
        self.validation = (
            None
            if valid_dir is None
            else ImageFolder.open(
                valid_dir, folder.valid_size, channels, subfolders=folder.subfolders
            )
        )
        training = config.replace({"training.start": "random"}).training
        self.batch_size = min(training.patches_per_step, len(self.images))
        self.steps_per_epoch = -(-len(self.images) // self.batch_size)
        noise = noise_config(folder.noise_type, folder.valid_level)
        is_r2r = config.objective.draws_noise
        self.config = config.replace(
            {
                "network.channels": channels,
                # Images of a folder have no neighbours.
                "network.context": 0,
                "training.start": "random",
                "training.steps": folder.epochs * self.steps_per_epoch,
                "objective.noise": noise.model_dump() if is_r2r else None,
            }
        )
        self.normalisation = self._measure()
        self.state = start(self.config, self.device)
        self.provenance: dict[str, Any] = {}
        self._make_batch = FolderBatches(
            self.images,
            folder,
            self.normalisation,
            self.batch_size,
            self.config.training.patch_side,
            self.config.training.seed,
            is_paired=self.config.objective.needs_target,
            is_pinned=self.device.type == "cuda",
        )

    @property
    def settings(self) -> str:
        """The settings that determine the run, as JSON."""
        names = [self.images.name(number) for number in range(len(self.images))]
        return json.dumps({**self._settings(self.config), "images": names})

    def resume(self, path: str | Path) -> None:
        """Continue from a checkpoint of `save_checkpoint`.

        With the same number of epochs the result equals that of an uninterrupted run. With more
        epochs the learning rate follows the schedule of the longer run, and may rise again.

        Parameters
        ----------
        path : path

        Raises
        ------
        ModelFileError
            When the file is missing or damaged, or its settings differ, except for fewer epochs.
        """
        load_checkpoint(path, self.state, self.settings, may_grow=_MAY_GROW)

    def save_checkpoint(self, path: str | Path) -> Path:
        """Write a checkpoint for `resume`, and replace an older one.

        Parameters
        ----------
        path : path

        Returns
        -------
        path

        Raises
        ------
        OutputError
            When the file cannot be written.
        """
        return save_checkpoint(path, self.state, self.settings)

    def save_model(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the averaged network as a model file, for the grey levels of the image files.

        Parameters
        ----------
        path : path
            Ends in ``.safetensors``.
        overwrite : bool
            Replace an existing file.

        Returns
        -------
        path

        Raises
        ------
        OutputError
            When the file exists and ``overwrite`` is not set, or cannot be written.
        """
        factor = self.images.white / FULL_SCALE
        config = self.config
        # Later trainings of the model measure the noise of their own image.
        asked = config.replace({"objective.noise": None})
        if config.objective.noise is not None:
            noise = config.objective.noise.scaled(factor)
            config = config.replace({"objective.noise": noise.model_dump()})
        network, normalisation = self.state.average, scale_normalisation(self.normalisation, factor)
        plan = TrainingPlan(asked, config)
        return save_model(
            path,
            network,
            config,
            normalisation,
            self._describe(config),
            plan=plan.as_json(),
            overwrite=overwrite,
        )

    def events(self) -> Iterator[StepDone | EpochDone]:
        """Train from the current step to the last epoch.

        The state remains valid if the generator is closed at any event.

        Yields
        ------
        StepDone or EpochDone

        Raises
        ------
        DeviceError
            When the memory of the device is exhausted.
        """
        training = self.config.training
        with explain_out_of_memory(self.device), closing(self.batches()) as batches:
            dtype = training_dtype(self.device, training.precision)
            steps = train(self.state, batches, self._objective(), training, dtype)
            began = time.perf_counter()
            for step in steps:
                yield step
                if step.step % self.steps_per_epoch == 0:
                    yield self._epoch(step, time.perf_counter() - began, dtype)
                    began = time.perf_counter()

    def _epoch(self, step: StepDone, seconds: float, dtype: torch.dtype) -> EpochDone:
        found = list(self.validate(dtype))
        noisy, denoised = (
            float(np.mean([score[part] for score in found])) if found else float("nan")
            for part in (0, 1)
        )
        return EpochDone(
            step.step // self.steps_per_epoch,
            self.folder.epochs,
            float(np.mean(self.state.losses[-self.steps_per_epoch :])),
            denoised,
            noisy,
            step.learning_rate,
            seconds,
            self._unreadable(),
        )

    def validate(self, dtype: torch.dtype = torch.float32) -> Iterator[tuple[float, float]]:
        """Measure the PSNR of the centre crop of every validation image.

        Parameters
        ----------
        dtype : torch.dtype
            Precision of the network.

        Yields
        ------
        noisy, denoised : float
            In dB, full scale 255.
        """
        if self.validation is None:
            return
        noise = noise_config(self.folder.noise_type, self.folder.valid_level)
        side, seed = self.config.training.patch_side, self.config.training.seed
        for number, image in self.validation.readable():
            clean = _centre_crop(image, side)
            noisy = add_noise(clean, noise, np.random.default_rng([seed, number]))
            denoised = denoise_image(
                self.state.average, noisy, self.config, self.normalisation, dtype
            )
            yield psnr(noisy, clean, FULL_SCALE), psnr(denoised, clean, FULL_SCALE)

    def _unreadable(self) -> tuple[str, ...]:
        folders = (self.images, *(() if self.validation is None else (self.validation,)))
        return tuple(why for folder in folders for why in folder.unreadable.values())

    def batches(self) -> Generator[FolderBatch, None, None]:
        """Endless batches from the current step on, prefetched by the workers.

        A resumed training sees the same batches. Closing the generator ends the workers.

        Yields
        ------
        FolderBatch
        """
        return prefetch(self._make_batch, itertools.count(self.state.step), self.workers)

    def _objective(self) -> Callable[[FolderBatch, torch.Generator], Sample]:
        config = self.config.objective
        if config.draws_noise:
            return lambda batch, generator: R2R(batch.noise, config.recorruption)(
                batch.noisy, generator
            )
        objective = (
            Supervised()
            if self.folder.clean_targets
            else make_objective(config, self.normalisation)
        )
        return lambda batch, generator: objective(batch.noisy, generator)

    def _measure(self) -> Normalisation:
        """Measure the normalisation over images spread evenly over the folder."""
        count = min(_MEASURED, len(self.images))
        numbers = np.linspace(0, len(self.images) - 1, count).round().astype(int)
        return measure([image for _, image in self.images.readable(numbers.tolist())])

    def _settings(self, config: Config) -> dict[str, Any]:
        parts = {"config": config, "folder": self.folder}
        return {name: part.model_dump(mode="json") for name, part in parts.items()}

    def _describe(self, config: Config) -> dict[str, Any]:
        return {
            "version": napari_redenoise.__version__,
            **self._settings(config),
            "images": len(self.images),
            "white": self.images.white,
            "steps": self.state.step,
            "device": str(self.device),
            "torch": torch.__version__,
        }


def _check(config: Config, folder: FolderConfig, workers: int | None) -> None:
    if folder.clean_targets and not config.objective.needs_target:
        raise ConfigError(
            f"clean targets replace the second shot of noise2noise, which {config.objective.kind} "
            "does not use: leave --clean-targets out"
        )
    if workers is not None and workers < 0:
        raise ConfigError(f"the number of workers is {workers}: give 0 or more")


def _centre_crop(image: Image, side: int) -> Image:
    """The centre crop of an image."""
    height, width = (min(side, size) for size in image.shape[1:])
    top, left = (image.shape[1] - height) // 2, (image.shape[2] - width) // 2
    return image[:, top : top + height, left : left + width]
