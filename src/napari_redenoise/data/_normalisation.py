"""How grey levels are normalised, and what a network is shown of a window."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_redenoise.data._bad_pixels import (
    Mask,
    clipping_limits,
    fill_missing,
    is_missing,
    is_outlier,
    neighbour_median,
)
from napari_redenoise.data._bounded_reading import read_middle
from napari_redenoise.data._planes import Planes
from napari_redenoise.errors import InputError

_SHOWN = 40.0
"""Standard deviations from the mean beyond which grey levels are not shown to a network."""

_DISTINCT = 2.0**8
"""Grey levels that a float32 has to tell apart within a standard deviation."""


@dataclass(frozen=True)
class Normalisation:
    """``(x - mean) / std`` per channel, in the units of the image."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def dtype(self) -> npt.DTypeLike:
        """Of results: float32, or float64 where that could not tell the grey levels apart."""
        largest = max(
            abs(mean) / std for mean, std in zip(self.mean, self.std, strict=True) if std > 0
        )
        return np.float32 if largest * _DISTINCT < 2**24 else np.float64

    def apply(self, plane: np.ndarray) -> np.ndarray:
        """Normalise (shots * channels, Y, X) of any dtype to float32; not finite becomes 0."""
        mean, std = self._columns(len(plane))
        normalised = ((plane - mean) / std).astype(np.float32)
        return np.asarray(np.nan_to_num(normalised, copy=False, nan=0, posinf=0, neginf=0))

    def undo(self, plane: np.ndarray) -> np.ndarray:
        """Bring (channels, Y, X) back to grey levels, of the dtype of results."""
        mean, std = self._columns(len(plane))
        return np.asarray(plane * std + mean, self.dtype)

    def _columns(self, planes: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of every plane (planes, 1, 1), of one shot or several."""
        shots = planes // len(self.mean)
        mean, std = (
            np.tile(np.asarray(values, np.float64), shots)[:, None, None]
            for values in (self.mean, self.std)
        )
        return mean, std


@dataclass(frozen=True)
class NetworkInput:
    """What a network is shown of a window, all of shape (shots * channels, Y, X).

    Attributes
    ----------
    image : float32
        Normalised; missing pixels are filled by reflection, outliers by the median of their
        neighbours, and what is more than 40 standard deviations from the mean is cut off.
    missing, outlier : bool
        As `is_missing` and `is_outlier` tell.
    clipped : float64
        Grey levels that were cut off, to be added to what is denoised.
    """

    image: np.ndarray
    missing: Mask
    outlier: Mask
    clipped: np.ndarray

    @classmethod
    def of(cls, window: np.ndarray, normalisation: Normalisation) -> NetworkInput:
        """Look at a window in grey levels."""
        missing = is_missing(window)
        outlier = is_outlier(window, missing)
        levels = window.astype(np.float64)
        for channel, absent, single in zip(levels, missing, outlier, strict=True):
            if absent.any():
                channel[:] = fill_missing(channel, absent)
            if single.any():
                channel[single] = neighbour_median(channel, single)
        mean, std = normalisation._columns(len(window))
        within = np.clip(levels, mean - _SHOWN * std, mean + _SHOWN * std)
        return cls(normalisation.apply(within), missing, outlier, levels - within)


def measure(blocks: list[np.ndarray], what: str = "image") -> Normalisation:
    """Mean and standard deviation per channel over the finite pixels of all blocks, in float64.

    Grey levels far beyond the others count as the farthest that is taken in: a few saturated or
    hot pixels would make everything else look even. A channel without a finite pixel, or of one
    value, such as the blue of a red-green overlay, is left as it is.

    Parameters
    ----------
    blocks : list of ndarray
        Channels first; NaN where nothing was measured.
    what : str
        What the blocks are of, for the errors.

    Raises
    ------
    InputError
        When every channel is constant, or none has a finite pixel.
    """
    channels = range(blocks[0].shape[0])
    found = [[block[c][np.isfinite(block[c])] for block in blocks] for c in channels]
    if not any(part.size for parts in found for part in parts):
        raise InputError(f"the {what} holds no finite pixels: choose another {what}")
    figures = [_mean_and_deviation([part for part in parts if part.size]) for parts in found]
    if all(figure is None for figure in figures):
        raise InputError(
            f"every pixel of the {what} has the same value: there is nothing to denoise, choose "
            f"another {what}"
        )
    mean, std = zip(
        *(figure or (_any_value(parts), 1.0) for figure, parts in zip(figures, found, strict=True)),
        strict=True,
    )
    return Normalisation(tuple(mean), tuple(std))


def _mean_and_deviation(parts: list[np.ndarray]) -> tuple[float, float] | None:
    """Of the finite pixels of one channel; None where they have one value."""
    # Not by the deviation, which rounding of the mean keeps above zero.
    if not parts or min(part.min() for part in parts) == max(part.max() for part in parts):
        return None
    low, high = clipping_limits(np.concatenate([_some(part, len(parts)) for part in parts]))
    if np.isfinite(low):
        parts = [np.clip(part, low, high) for part in parts]
    count = sum(part.size for part in parts)
    mean = float(sum(part.sum(dtype=np.float64) for part in parts)) / count
    square = sum(float(((part - np.float64(mean)) ** 2).sum(dtype=np.float64)) for part in parts)
    return mean, math.sqrt(square / count)


def _some(values: np.ndarray, parts: int) -> np.ndarray:
    """So many of a part's pixels that all parts together hold a million."""
    return np.asarray(values[:: max(1, values.size * parts // 2**20)], np.float64)


def _any_value(parts: list[np.ndarray]) -> float:
    return next((float(part[0]) for part in parts if part.size), 0.0)


def result_dtype(planes: Planes) -> npt.DTypeLike:
    """Of a denoised image: float32, or float64 where that could not tell its grey levels apart.

    Looks at the middle of the middle sample, and only where the image itself is more exact.
    """
    dtype = np.dtype(planes.array.dtype)
    if np.can_cast(dtype, np.float32):
        return np.float32
    try:
        return measure([read_middle(planes)]).dtype
    except InputError:
        return np.float32


def check_scale(planes: Planes, normalisation: Normalisation) -> None:
    """Refuse an image whose grey levels a model cannot have been made for.

    Looks at the middle of the middle sample. Images of one camera differ by far less than what
    is refused: a mean 30 deviations away, or a deviation a hundred times smaller.

    Raises
    ------
    InputError
        For example for 16 bits and a model that was trained on 8.
    """
    window = read_middle(planes).astype(np.float64)
    for channel, mean, std in zip(window, normalisation.mean, normalisation.std, strict=True):
        finite = channel[np.isfinite(channel)]
        if not finite.size or finite.min() == finite.max():
            continue
        if abs(finite.mean() - mean) > 30 * std or finite.std() < std / 100:
            raise InputError(
                f"the model was made for grey levels around {mean:.4g} ± {std:.4g}, and this image "
                f"has {finite.mean():.4g} ± {finite.std():.4g}: bring it to the same grey scale, "
                "train on it, or choose another model"
            )
