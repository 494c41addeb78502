"""Training on folders of clean pictures with added noise, as in the paper, and its evaluation."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import napari_redenoise
from napari_redenoise.config import Config, FolderConfig, NoiseConfig, NoiseKind
from napari_redenoise.data import FULL_SCALE, Normalisation, PictureFolder, Planes, measure
from napari_redenoise.devices import get_device, memory_in_words, training_dtype
from napari_redenoise.errors import ConfigError
from napari_redenoise.inference import predict, tile_sizes
from napari_redenoise.io import save_model
from napari_redenoise.metrics import psnr, ssim
from napari_redenoise.model import draws_of, figures, make_objective, shows_draws
from napari_redenoise.nn import DenoisingNetwork
from napari_redenoise.noise import poisson_gaussian
from napari_redenoise.objectives import R2R, NoiseFigures, Sample, Supervised
from napari_redenoise.recipes._state_file import load_state, save_state
from napari_redenoise.training import StepDone, start, train

Picture = npt.NDArray[np.float32]

_MEASURED = 64
"""Pictures from which mean and deviation are taken."""


@dataclass(frozen=True)
class EpochDone:
    """All pictures have been seen once more, and the averaged network was validated.

    ``psnr`` and ``noisy_psnr`` are means over the validation pictures in dB, full scale 255,
    ``nan`` without such pictures. ``seconds`` is what the epoch took.
    """

    epoch: int
    epochs: int
    loss: float
    psnr: float
    noisy_psnr: float
    learning_rate: float
    seconds: float


class FolderBatch(NamedTuple):
    """Noisy crops (B, shots * channels, H, W), normalised, and the noise that was added."""

    noisy: Tensor
    noise: NoiseFigures


class FolderTraining:
    """Trains one network on a folder of clean pictures, to which it adds noise.

    Parameters
    ----------
    config : Config
        Its steps are set from the epochs and the number of pictures.
    folder : FolderConfig
    train_dir : path
    valid_dir : path, optional
    device : str, optional

    Notes
    -----
    An epoch takes one random crop of every picture, not turned or mirrored, with a noise level
    and noise of its own. Targets are what the objective makes of the noisy crop: the noisy crop
    itself, a second draw of the noise (Noise2Noise), or the clean crop if asked for.

    Raises
    ------
    InputError
        When a folder is missing or holds no pictures.
    ConfigError
        When clean targets are asked for with an objective that has no use for them.
    """

    def __init__(
        self,
        config: Config,
        folder: FolderConfig,
        train_dir: str | Path,
        valid_dir: str | Path | None = None,
        device: str | None = None,
    ) -> None:
        if folder.clean_targets and config.objective.kind != "noise2noise":
            raise ConfigError(
                f"clean targets take the place of the second shot of noise2noise, and "
                f"{config.objective.kind} has none: leave --clean-targets out"
            )
        self.device = get_device(device)
        self.folder = folder
        self.pictures = PictureFolder.open(train_dir, folder.train_size)
        channels = self.pictures.channels
        self.validation = (
            None
            if valid_dir is None
            else PictureFolder.open(valid_dir, folder.valid_size, channels)
        )
        training = config.replace({"training.start": "random"}).training
        self.batch_size = min(training.patches_per_step, len(self.pictures))
        self.steps_per_epoch = -(-len(self.pictures) // self.batch_size)
        noise = noise_config(folder.noise_type, folder.valid_level)
        is_r2r = config.objective.kind == "r2r"
        self.config = config.replace(
            {
                "network.channels": channels,
                "training.start": "random",
                "training.steps": folder.epochs * self.steps_per_epoch,
                "objective.noise": noise.model_dump() if is_r2r else None,
                # The level of validation: an image that the model is trained on has its own.
            }
        )
        self.normalisation = self._measure()
        self.state = start(self.config, self.device)
        self.provenance: dict[str, Any] = {}

    @property
    def settings(self) -> str:
        """What determines the run, as JSON."""
        names = [path.name for path in self.pictures.paths]
        return json.dumps({**self._settings(self.config), "pictures": names})

    def resume(self, path: str | Path) -> None:
        """Go on from a state that `save_state` wrote: see `io.load_state`."""
        load_state(path, self.state, self.settings)

    def save_state(self, path: str | Path) -> Path:
        """Write all that `resume` needs; an older state is replaced."""
        return save_state(path, self.state, self.settings)

    def save_model(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the averaged network as a model file, for grey levels as the files hold them."""
        factor = self.pictures.white / FULL_SCALE
        config = self.config
        if config.objective.noise is not None:
            noise = config.objective.noise.scaled(factor)
            config = config.replace({"objective.noise": noise.model_dump()})
        network, normalisation = self.state.average, scaled(self.normalisation, factor)
        about = self._describe(config)
        return save_model(path, network, config, normalisation, about, overwrite=overwrite)

    def events(self) -> Iterator[StepDone | EpochDone]:
        """Train from where the state is to the last epoch.

        Leaving the generator at any event keeps what was learned up to then.

        Raises
        ------
        DeviceError
            When the device's memory does not suffice.
        """
        training = self.config.training
        with memory_in_words(self.device):
            yield from self._events(training_dtype(self.device, training.precision))

    def _events(self, dtype: torch.dtype) -> Iterator[StepDone | EpochDone]:
        training = self.config.training
        steps = train(self.state, self._batches(), self._objective(), training, dtype)
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
        )

    def validate(self, dtype: torch.dtype = torch.float32) -> Iterator[tuple[float, float]]:
        """PSNR of every validation picture's middle, noisy and denoised."""
        if self.validation is None:
            return
        noise = noise_config(self.folder.noise_type, self.folder.valid_level)
        for number in range(len(self.validation)):
            clean = _middle(self.validation.read(number), self.config.training.patch_side)
            noisy = _shot(clean, noise, np.random.default_rng([self.config.training.seed, number]))
            denoised = denoise_picture(
                self.state.average, noisy, self.config, self.normalisation, dtype
            )
            yield psnr(noisy, clean, FULL_SCALE), psnr(denoised, clean, FULL_SCALE)

    def _batches(self) -> Iterator[FolderBatch]:
        """From the state's step on, so that a resumed training sees what it would have seen."""
        for step in itertools.count(self.state.step):
            epoch, within = divmod(step, self.steps_per_epoch)
            rng = np.random.default_rng([self.config.training.seed, epoch])
            order = rng.permutation(len(self.pictures))
            first = within * self.batch_size
            chosen = order.take(range(first, first + self.batch_size), mode="wrap")
            yield self._batch(chosen.tolist())

    def _batch(self, numbers: list[int]) -> FolderBatch:
        draw = torch.randint(2**62, (), generator=self.state.generator)
        rng = np.random.default_rng(int(draw))
        crops, noises = [], []
        for number in numbers:
            clean = _crop(self.pictures.read(number), self.config.training.patch_side, rng)
            noise = noise_config(
                self.folder.noise_type, rng.uniform(0, self.folder.noise_param) or 1e-3
            )
            shots = [_shot(clean, noise, rng)]
            if self.config.objective.kind == "noise2noise":
                shots.append(clean if self.folder.clean_targets else _shot(clean, noise, rng))
            crops.append(self.normalisation.apply(np.concatenate(shots)))
            noises.append(figures(noise, self.normalisation))
        side = min(crop.shape[-1] for crop in crops), min(crop.shape[-2] for crop in crops)
        stacked = np.stack([crop[:, : side[1], : side[0]] for crop in crops])
        return FolderBatch(torch.from_numpy(stacked), NoiseFigures.of_patches(noises))

    def _objective(self) -> Callable[[FolderBatch, torch.Generator], Sample]:
        config = self.config.objective
        if config.kind == "r2r":
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
        """Of pictures spread evenly over the folder."""
        count = min(_MEASURED, len(self.pictures))
        numbers = np.linspace(0, len(self.pictures) - 1, count).round().astype(int)
        return measure([self.pictures.read(int(number)) for number in numbers])

    def _settings(self, config: Config) -> dict[str, Any]:
        parts = {"config": config, "folder": self.folder}
        return {name: part.model_dump(mode="json") for name, part in parts.items()}

    def _describe(self, config: Config) -> dict[str, Any]:
        return {
            "version": napari_redenoise.__version__,
            **self._settings(config),
            "pictures": len(self.pictures),
            "white": self.pictures.white,
            "steps": self.state.step,
            "device": str(self.device),
            "torch": torch.__version__,
        }


@dataclass(frozen=True)
class PictureDone:
    """One picture has been evaluated; all pictures (channels, Y, X), grey levels 0 to 255."""

    path: Path
    clean: Picture
    noisy: Picture
    denoised: Picture
    noisy_psnr: float
    psnr: float
    noisy_ssim: float
    ssim: float


def evaluate(
    network: DenoisingNetwork,
    config: Config,
    normalisation: Normalisation,
    pictures: PictureFolder,
    noise: NoiseConfig,
    seed: int = 0,
) -> Iterator[PictureDone]:
    """Add noise to clean pictures, denoise them, and compare.

    Parameters
    ----------
    network : DenoisingNetwork
        In evaluation mode.
    config : Config
    normalisation : Normalisation
        For grey levels from 0 to 255.
    pictures : PictureFolder
    noise : NoiseConfig
        In grey levels from 0 to 255, the same for all pictures.
    seed : int
        Of the noise; every picture draws its own.
    """
    if config.objective.kind == "r2r":
        config = config.replace({"objective.noise": noise.model_dump()})
    for number in range(len(pictures)):
        clean = pictures.read(number)
        noisy = _shot(clean, noise, np.random.default_rng([seed, number]))
        denoised = denoise_picture(network, noisy, config, normalisation)
        yield PictureDone(
            pictures.paths[number],
            clean,
            noisy,
            denoised,
            psnr(noisy, clean, FULL_SCALE),
            psnr(denoised, clean, FULL_SCALE),
            *(_mean_ssim(shown, clean) for shown in (noisy, denoised)),
        )


def denoise_picture(
    network: DenoisingNetwork,
    noisy: Picture,
    config: Config,
    normalisation: Normalisation,
    dtype: torch.dtype = torch.float32,
) -> Picture:
    """Denoise (channels, Y, X), averaged over draws where the objective has them."""
    draws = None
    if shows_draws(config):
        objective = make_objective(config.objective, normalisation)
        draws = draws_of(objective, config.objective.draws, config.training.seed)
    denoised = np.empty_like(noisy)
    tile, halo, _ = tile_sizes(config.network, config.tiling)
    with memory_in_words(next(network.parameters()).device):
        for _ in predict(
            network,
            Planes(noisy, "CYX"),
            normalisation,
            {"denoised": denoised},
            tile=tile,
            halo=halo,
            dtype=dtype,
            draws=draws,
        ):
            pass
    return denoised


def scaled(normalisation: Normalisation, factor: float) -> Normalisation:
    """The same for grey levels that are so many times as large."""
    return Normalisation(
        tuple(factor * mean for mean in normalisation.mean),
        tuple(factor * std for std in normalisation.std),
    )


def noise_config(kind: NoiseKind, level: float) -> NoiseConfig:
    """Noise of one level: deviation, gain, or both (see `FolderConfig`)."""
    gain = 0.0 if kind == "gaussian" else level
    read_noise = 0.0 if kind == "poisson" else level
    return NoiseConfig(gain=(gain,), read_noise=(read_noise,))


def _shot(clean: Picture, noise: NoiseConfig, rng: np.random.Generator) -> Picture:
    """A clean picture as it is seen with noise."""
    (gain,), (read_noise,) = noise.gain, noise.read_noise
    if gain == 0:
        return np.asarray(clean + rng.normal(0.0, read_noise, clean.shape), np.float32)
    seen = poisson_gaussian(clean / gain, rng, gain=gain, read_noise=read_noise)
    return np.asarray(seen, np.float32)


def _crop(picture: Picture, side: int, rng: np.random.Generator) -> Picture:
    """A random square, as large as the picture allows."""
    height, width = (min(side, size) for size in picture.shape[1:])
    top = int(rng.integers(picture.shape[1] - height + 1))
    left = int(rng.integers(picture.shape[2] - width + 1))
    return picture[:, top : top + height, left : left + width]


def _middle(picture: Picture, side: int) -> Picture:
    """The square in the middle."""
    height, width = (min(side, size) for size in picture.shape[1:])
    top, left = (picture.shape[1] - height) // 2, (picture.shape[2] - width) // 2
    return picture[:, top : top + height, left : left + width]


def _mean_ssim(image: Picture, reference: Picture) -> float:
    pairs = zip(image, reference, strict=True)
    return float(np.mean([ssim(one, other, FULL_SCALE) for one, other in pairs]))
