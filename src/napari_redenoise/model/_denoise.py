"""Functions that denoise or measure an image in one call."""

from __future__ import annotations

import numpy as np

from napari_redenoise.config import Config
from napari_redenoise.data import ArrayLike
from napari_redenoise.model._noise_reports import noise_reports
from napari_redenoise.model._redenoiser import Redenoiser
from napari_redenoise.model._training_images import as_planes
from napari_redenoise.noise import NoiseReport


def denoise(
    image: ArrayLike,
    axes: str | None = None,
    *,
    steps: int | None = None,
    device: str | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Denoise an image: fine-tune the pretrained network on it, and predict.

    Parameters
    ----------
    image : array-like
        Noisy pixels of any integer or floating dtype, at least 16 x 16; never modified.
    axes : str, optional
        One letter per axis: Y, X, C (channels), others are samples. Default
        ``YX``, ``ZYX``, ``TZYX`` or ``STZYX`` by the number of axes.
    steps : int, optional
        Training steps; 0 uses the pretrained network without fine-tuning. Default 100.
    device : str, optional
        ``"cuda:0"``, ``"mps"``, ``"cpu"``; default the fastest available.
    seed : int
        Seed of all random numbers.

    Returns
    -------
    ndarray
        Denoised image in the shape and grey levels of the image, float32; float64 where float32
        cannot resolve the grey levels.

    Raises
    ------
    InputError
        When the image cannot be denoised.
    ConfigError
        When a setting is not valid.
    DeviceError
        When the device is not available, or out of memory.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_redenoise import denoise
    >>> noisy = np.random.default_rng(0).poisson(20.0, (64, 64))
    >>> denoise(noisy, steps=0, device="cpu").shape
    (64, 64)
    """
    config = Config(training={"steps": steps, "seed": seed})
    return Redenoiser(config, device).fit(image, axes).predict(image, axes).denoised


def measure_noise(image: ArrayLike, axes: str | None = None) -> tuple[NoiseReport, ...]:
    """Measure the noise of an image, about a second per channel.

    Parameters
    ----------
    image, axes
        As in `denoise`.

    Returns
    -------
    tuple of NoiseReport
        One per channel.

    Raises
    ------
    InputError
        When the image cannot be denoised, or every channel is constant.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_redenoise import measure_noise
    >>> flat = np.random.default_rng(0).normal(100.0, 5.0, (128, 128))
    >>> (report,) = measure_noise(flat)
    >>> round(report.noise_std)
    5
    """
    return noise_reports(as_planes(image, axes))
