"""How much more than the noise the shipped network takes away: whether it knows such structure.

In a picture with hardly any noise and details as fine as pixels (electron microscopy, often) what
seems to be noise is structure: neighbours seem correlated, and blind spots would blur it. The
network that comes with the package gives it away, for it takes all that for noise, too.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from napari_redenoise._warm_start import warm_network
from napari_redenoise.config import Config
from napari_redenoise.data import Planes, measure, some_pixels
from napari_redenoise.errors import InputError
from napari_redenoise.inference import predict_window
from napari_redenoise.io import training_dtype
from napari_redenoise.nn import DenoisingNetwork
from napari_redenoise.noise import NoiseReport

_SIDE = 384
"""Pixels of the window that is looked at; a fraction of a second."""

_BLOCK = 16
"""Pixels; of blocks of this side the median decides, and not a few bright or broken pixels."""

_DEVICE = torch.device("cpu")


def times_the_noise(planes: Planes, report: NoiseReport) -> float | None:
    """What the shipped network removes, in deviations of the noise that was measured.

    Parameters
    ----------
    planes : Planes
        Of one channel.
    report : NoiseReport
        Of the same image.

    Returns
    -------
    float or None
        About 1 where the noise is what it seems to be; None where no block holds two values.

    Notes
    -----
    The square root of the median over blocks of 16 x 16 pixels, in one window of 384 x 384, of
    the mean square of what is removed, without the means of lines, over the expected variance.
    """
    some = some_pixels(planes, _SIDE**2, _SIDE)
    sample = next(iter(some.indices()))
    noisy = np.asarray(some.read(sample, slice(None), slice(None)), np.float64)
    try:
        normalisation = measure([noisy])
    except InputError:
        return None
    denoised = predict_window(
        _network(), noisy.astype(np.float32), normalisation, training_dtype(_DEVICE, "auto")
    ).denoised[0]
    light = _blocks(noisy[0])
    # Without blocks that hold a pixel that is no number, or one value only: filled, saturated.
    used = np.ptp(light, axis=1) > 0
    if not used.any():
        return None
    rest = noisy[0] - denoised
    # Offsets of lines are removed, too, and are neither the noise nor structure.
    finite = np.isfinite(rest)
    for axis in (0, 1):
        means = rest.sum(axis, keepdims=True, where=finite)
        rest = rest - means / np.maximum(finite.sum(axis, keepdims=True), 1)
    # The rounding to grey levels is there in any case.
    variance = np.maximum(report.model.variance(denoised), report.step**2 / 12)
    removed, expected = ((_blocks(part).mean(1)[used]) for part in (rest**2, variance))
    return float(np.sqrt(np.median(removed / np.maximum(expected, np.finfo(np.float32).tiny))))


def _blocks(pixels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Pixels (rows, columns) as blocks (N, pixels of a block)."""
    rows, columns = (size // _BLOCK for size in pixels.shape)
    whole = pixels[: rows * _BLOCK, : columns * _BLOCK]
    return whole.reshape(rows, _BLOCK, columns, _BLOCK).swapaxes(1, 2).reshape(-1, _BLOCK * _BLOCK)


@lru_cache(maxsize=1)
def _network() -> DenoisingNetwork:
    return warm_network(Config().network).eval().requires_grad_(False)
