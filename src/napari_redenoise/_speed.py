"""How long a run will take on this machine, from a trial of a few steps."""

from __future__ import annotations

import time
from functools import lru_cache

import torch

from napari_redenoise.config import Config, NetworkConfig, TrainingConfig
from napari_redenoise.data import Normalisation, Planes, Pool, patches
from napari_redenoise.inference import Tile, predict_window, tile_sizes, tiles
from napari_redenoise.io import training_dtype
from napari_redenoise.nn import total_stride
from napari_redenoise.objectives import build_objective
from napari_redenoise.training import start, train

TRIAL_STEPS = 4
TRIAL_SIDE = 256


def run_seconds(config: Config, planes: Planes, device: torch.device) -> float:
    """Expected time of training on an image and denoising it.

    The trial takes one or two seconds the first time, and is remembered for the process.
    """
    network = config.network.model_copy(update={"channels": planes.channels})
    trial = config.training.model_copy(update={"steps": TRIAL_STEPS})
    per_step, per_pixel = _speed(network, trial, device)
    tile, halo, _ = tile_sizes(network, config.tiling)
    cuts = tiles(planes.height, planes.width, tile, halo, total_stride(network))
    pixels = sum(_area(cut) for cut in cuts) * len(planes)
    return config.training.steps * per_step + pixels * per_pixel


def _area(tile: Tile) -> int:
    """Pixels that are read for a tile."""
    (top, bottom), (left, right) = tile.rows.read, tile.columns.read
    return (bottom - top) * (right - left)


@lru_cache(maxsize=32)
def _speed(
    network: NetworkConfig, training: TrainingConfig, device: torch.device
) -> tuple[float, float]:
    """Seconds per training step and per predicted pixel."""
    config = Config(network=network, training=training)
    state = start(config, device)
    shape = (network.channels, TRIAL_SIDE, TRIAL_SIDE)
    noise = torch.randn(shape, generator=state.generator)
    normalisation = Normalisation((0.0,) * network.channels, (1.0,) * network.channels)
    pool = Pool((noise,), normalisation)
    batches = patches(pool, training.patch_size, training.batch_size, state.generator)
    dtype = training_dtype(device, training.precision)
    steps = train(state, batches, build_objective(config.objective), training, dtype)
    # The first steps also pay for the preparation of kernels and memory.
    per_step = min(step.seconds for step in steps)
    began = time.perf_counter()
    predict_window(state.average, noise.numpy(), normalisation)
    return per_step, (time.perf_counter() - began) / TRIAL_SIDE**2
