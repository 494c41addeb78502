"""What the shipped network takes for noise: a second look at it, and at structure it does not know.

In a picture with details as fine as pixels (electron microscopy, often) structure looks like noise:
neighbours seem correlated, no place is homogeneous, and the strength of the noise cannot be told.
The network that comes with the package knows many structures. If what it takes away is independent
from pixel to pixel, that is the noise. If it is not, and more than there seems to be, it holds
structure that the network does not know.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from napari_redenoise.data import (
    Normalisation,
    Planes,
    measure,
    measured,
    middle_window,
    some_pixels,
)
from napari_redenoise.devices import training_dtype
from napari_redenoise.errors import InputError
from napari_redenoise.inference import predict_window
from napari_redenoise.model._pretrained import pretrained_denoiser
from napari_redenoise.noise import (
    NoiseReport,
    Removed,
    estimate_noise,
    noise_of_removed,
    square_blocks,
)

_SIDE = 384
"""Pixels of the window that is looked at; a fraction of a second."""

_BLOCK = 16
"""Pixels; of blocks of this side the median decides, and not a few bright or broken pixels."""

_TRIED = 8
"""Planes of which one has to hold more than one value."""

_DEVICE = torch.device("cpu")


_CLIPPED = 0.0005
"""Share of the pixels at an end of the scale from which on these are left out."""


def what_is_removed(planes: Planes, report: NoiseReport) -> Removed | None:
    """What the shipped network takes for noise.

    Parameters
    ----------
    planes : Planes
        Of one channel.
    report : NoiseReport
        Of the same image.

    Returns
    -------
    Removed or None
        None where no block holds two values.

    Notes
    -----
    In one window of 384 x 384 pixels, without the means of its lines. How many times the noise
    that is, is the square root of the median over blocks of 16 x 16 pixels of its mean square over
    the variance that was measured.
    """
    found = _window(planes)
    if found is None:
        return None
    noisy, normalisation = found
    network, dtype = pretrained_denoiser(_DEVICE), training_dtype(_DEVICE, "auto")
    denoised = predict_window(network, noisy, normalisation, dtype).denoised[0]
    light = square_blocks(noisy[0], _BLOCK)
    # Without blocks that hold a pixel that is no number, or one value only: filled, saturated.
    used = np.isfinite(light).all(1) & (light.max(1) > light.min(1))
    if not used.any():
        return None
    with np.errstate(invalid="ignore"):
        rest = noisy[0] - denoised
    # Offsets of lines are removed, too, and are neither the noise nor structure.
    finite = np.isfinite(rest)
    for axis in (0, 1):
        means = rest.sum(axis, keepdims=True, where=finite)
        rest = rest - means / np.maximum(finite.sum(axis, keepdims=True), 1)
    # The rounding to grey levels is there in any case.
    variance = np.maximum(_variance(report, denoised), report.step**2 / 12)
    if len(planes) > 1:
        # This plane may have more noise than the others.
        variance = np.maximum(variance, _variance(estimate_noise(noisy), denoised))
    removed, expected = (square_blocks(part, _BLOCK).mean(1)[used] for part in (rest**2, variance))
    times = float(np.sqrt(np.median(removed / np.maximum(expected, np.finfo(np.float32).tiny))))
    low, high = (
        limit if share > _CLIPPED else outside
        for limit, share, outside in zip(
            report.limits, report.clipped, (-np.inf, np.inf), strict=True
        )
    )
    noise = noise_of_removed(noisy[0], rest, denoised.astype(np.float64), (low, high))
    return Removed(times, *(noise or (None, (0.0, 0.0), 0.0, 0.0)))


def _window(planes: Planes) -> tuple[npt.NDArray[np.float64], Normalisation] | None:
    """The middle (1, rows, columns) of a plane that holds more than one value, float64."""
    some = some_pixels(planes, _SIDE**2, _SIDE)
    samples = list(some.indices())
    middle = len(samples) // 2
    for number in sorted(range(len(samples)), key=lambda number: abs(number - middle))[:_TRIED]:
        window = middle_window(some, samples[number], _SIDE)
        noisy = measured(some.read(samples[number], *window)).astype(np.float64)
        try:
            return noisy, measure([noisy])
        except InputError:
            continue
    return None


def _variance(report: NoiseReport, light: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Expected of the noise, where the light is a number."""
    return np.asarray(report.model.variance(np.where(np.isfinite(light), light, 0.0)))
