"""Evaluation of models on clean images with added noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from napari_redenoise.config import Config, NoiseConfig
from napari_redenoise.data import FULL_SCALE, ImageFolder, Normalisation, Planes
from napari_redenoise.devices import explain_out_of_memory
from napari_redenoise.inference import predict, tile_sizes
from napari_redenoise.metrics import psnr, ssim
from napari_redenoise.model import make_draws, make_objective, should_recorrupt
from napari_redenoise.nn import DenoisingNetwork
from napari_redenoise.recipes._added_noise import Image, add_noise


@dataclass(frozen=True)
class ImageDone:
    """An image has been evaluated; all images are (channels, Y, X), grey levels 0 to 255."""

    path: Path
    clean: Image
    noisy: Image
    denoised: Image
    noisy_psnr: float
    psnr: float
    noisy_ssim: float
    ssim: float


def evaluate(
    network: DenoisingNetwork,
    config: Config,
    normalisation: Normalisation,
    images: ImageFolder,
    noise: NoiseConfig,
    seed: int = 0,
) -> Iterator[ImageDone]:
    """Add noise to clean images, denoise them, and compare the results.

    Parameters
    ----------
    network : DenoisingNetwork
        In evaluation mode.
    config : Config
    normalisation : Normalisation
        For grey levels from 0 to 255.
    images : ImageFolder
        Images that cannot be read are skipped.
    noise : NoiseConfig
        For grey levels from 0 to 255, the same for all images.
    seed : int
        Of the noise; every image has its own generator.

    Raises
    ------
    InputError
        When none of the images can be read.
    """
    if config.objective.draws_noise:
        config = config.replace({"objective.noise": noise.model_dump()})
    for number, clean in images.readable():
        noisy = add_noise(clean, noise, np.random.default_rng([seed, number]))
        denoised = denoise_image(network, noisy, config, normalisation)
        yield ImageDone(
            images.paths[number],
            clean,
            noisy,
            denoised,
            psnr(noisy, clean, FULL_SCALE),
            psnr(denoised, clean, FULL_SCALE),
            *(_mean_ssim(image, clean) for image in (noisy, denoised)),
        )


def denoise_image(
    network: DenoisingNetwork,
    noisy: Image,
    config: Config,
    normalisation: Normalisation,
    dtype: torch.dtype = torch.float32,
) -> Image:
    """Denoise (channels, Y, X), averaged over draws if the objective has them."""
    draws = None
    if should_recorrupt(config):
        objective = make_objective(config.objective, normalisation)
        draws = make_draws(objective, config.objective.draws, config.training.seed)
    denoised = np.empty_like(noisy)
    tile, halo, _ = tile_sizes(config.network, config.tiling)
    with explain_out_of_memory(next(network.parameters()).device):
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


def scale_normalisation(normalisation: Normalisation, factor: float) -> Normalisation:
    """Multiply a normalisation by a factor of the grey levels."""
    return Normalisation(
        tuple(factor * mean for mean in normalisation.mean),
        tuple(factor * std for std in normalisation.std),
    )


def _mean_ssim(image: Image, reference: Image) -> float:
    pairs = zip(image, reference, strict=True)
    return float(np.mean([ssim(one, other, FULL_SCALE) for one, other in pairs]))
