"""Expected time of a run on this machine, from a trial of a few steps."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache

import torch

from napari_redenoise.config import DEFAULT_STEPS, Config, NoiseConfig, TilingConfig
from napari_redenoise.data import ArrayLike, Normalisation, Planes, Pool, context_of, patches
from napari_redenoise.devices import training_dtype
from napari_redenoise.inference import Tile, predict_tile, tile_sizes, tiles
from napari_redenoise.model._pretrained import for_image, is_fine_tuned
from napari_redenoise.model._training_images import (
    as_planes,
    compare_usable,
    make_draws,
    make_objective,
    should_recorrupt,
)
from napari_redenoise.nn import total_stride
from napari_redenoise.training import UNRECORDED_STEPS, start, train

TRIAL_STEPS = 4
TRIAL_SIDE = 256
MIN_STEPS = 20
"""Fewer steps have no visible effect."""

JUDGED_PASSES, JUDGED_PIXELS = 9, 9 * 128**2
"""Predictions of the judge of a fine-tuning, before and after it, and their pixels."""

_ANY_NOISE = NoiseConfig(gain=(1.0,), offset=(-1.0,))


@dataclass(frozen=True)
class RunTime:
    """Expected time of a run on this machine.

    Attributes
    ----------
    steps : int
        Training steps.
    per_step : float
        Seconds of a step.
    per_pixel : float
        Seconds of the prediction of a pixel.
    judging : float
        Seconds in which a fine-tuning is judged by hold-out pixels; 0 without fine-tuning.
    prediction : float
        Seconds in which the image is denoised.
    """

    steps: int
    per_step: float
    per_pixel: float
    judging: float
    prediction: float

    @property
    def after(self) -> float:
        """Seconds that follow the training."""
        return self.judging + self.prediction

    @property
    def seconds(self) -> float:
        """Seconds of the training and what follows it."""
        return self.steps * self.per_step + (self.after if self.steps else self.prediction)


def estimate_run(
    config: Config, image: ArrayLike, axes: str | None, device: torch.device
) -> RunTime:
    """Estimate the time of training on an image and denoising it.

    The trial takes one or two seconds and is cached.

    Parameters
    ----------
    config : Config
    image, axes
        As in `Redenoiser.fit_events`.
    device : torch.device
    """
    planes = as_planes(image, axes)
    config = for_image(config, planes)
    per_step, per_pixel, prediction = _seconds(config, planes, device)
    judged = JUDGED_PASSES * min(JUDGED_PIXELS, planes.pixels)
    is_judged = config.training.start == "pretrained"
    return RunTime(
        config.training.total_steps,
        per_step,
        per_pixel,
        judged * per_pixel if is_judged else 0.0,
        prediction,
    )


def steps_within(
    config: Config, image: ArrayLike, axes: str | None, device: torch.device, seconds: float
) -> int:
    """Estimate the steps for training on an image and denoising it within some seconds.

    At least `MIN_STEPS`, and at most 100 for fine-tuning, which overfits a single image with more.
    """
    expected = estimate_run(config.replace({"training.steps": MIN_STEPS}), image, axes, device)
    steps = max(MIN_STEPS, int((seconds - expected.after) / expected.per_step))
    if is_fine_tuned(config, as_planes(image, axes).channels):
        return min(steps, DEFAULT_STEPS["pretrained"])
    return steps


def _seconds(config: Config, planes: Planes, device: torch.device) -> tuple[float, float, float]:
    """Seconds of a training step, of a predicted pixel, and of the prediction of an image."""
    network = config.network
    # On CUDA the first steps are slower than the later ones, which are recorded.
    steps = TRIAL_STEPS + (UNRECORDED_STEPS + 1 if device.type == "cuda" else 0)
    trial = config.training.model_copy(update={"steps": steps})
    objective = config.objective
    if objective.draws_noise:
        objective = objective.model_copy(update={"noise": _ANY_NOISE})
    tiling = TilingConfig(precision=config.tiling.precision)
    per_step, per_pixel = _speed(
        Config(network=network, training=trial, objective=objective, tiling=tiling), device
    )
    tile, halo, _ = tile_sizes(network, config.tiling)
    cuts = tiles(planes.height, planes.width, tile, halo, total_stride(network))
    pixels = sum(_area(cut) for cut in cuts) * len(planes)
    if config.tiling.uses_tta(planes.pixels) and not should_recorrupt(config):
        # Some of several draws are flipped instead.
        pixels *= 2
    return per_step, per_pixel, pixels * per_pixel


def _area(tile: Tile) -> int:
    """Number of pixels that are read for a tile."""
    (top, bottom), (left, right) = tile.rows.read, tile.columns.read
    return (bottom - top) * (right - left)


@lru_cache(maxsize=32)
def _speed(config: Config, device: torch.device) -> tuple[float, float]:
    """Seconds per training step and per predicted pixel."""
    channels, training = config.network.channels, config.training
    state = start(config, device)
    normalisation = Normalisation((0.0,) * channels, (1.0,) * channels)
    objective = make_objective(config.objective, normalisation)
    shape = (objective.shots * channels, TRIAL_SIDE, TRIAL_SIDE)
    noise = torch.randn(shape, generator=state.generator, dtype=torch.float32)
    around = (noise[:channels],) * config.network.neighbours
    pool = Pool((noise,), normalisation, around=(around,))
    side = training.patch_side * objective.scale
    batches = patches(pool, side, training.patches_per_step, state.generator)
    dtype = training_dtype(device, training.precision)
    steps = train(state, batches, compare_usable(objective), training, dtype)
    # The first steps include the preparation of kernels and memory.
    per_step = min(step.seconds for step in steps)
    draws = make_draws(objective, config.objective.draws if should_recorrupt(config) else 1, 0)
    began = time.perf_counter()
    image, context = noise[:channels], context_of(around, noise[:channels])
    dtype = training_dtype(device, config.tiling.precision)
    predict_tile(state.average, image.numpy(), normalisation, dtype, draws, context=context)
    return per_step, (time.perf_counter() - began) / TRIAL_SIDE**2
