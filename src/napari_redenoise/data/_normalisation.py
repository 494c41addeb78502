"""Normalisation of grey levels, and the preparation of a network's input."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from napari_redenoise.data._bad_pixels import (
    Mask,
    clipping_limits,
    fill_missing,
    is_missing,
    is_outlier,
    mask_missing,
    neighbour_median,
)
from napari_redenoise.data._bounded_reading import read_middle, spread_evenly
from napari_redenoise.data._planes import Planes
from napari_redenoise.data._window_places import spread_window
from napari_redenoise.errors import InputError, check_grey_scale

_SHOWN = 40.0
"""Standard deviations from the mean at which a network's input is clipped."""

_FAINT = 8.0
"""Standard deviations of a stack over that of a plane, above which the plane is normalised by its
own: at 60 it loses 5 dB otherwise. At 12, beside a flash, it loses 0.5 dB and its mean shifts by
0.8 %."""

_BRIGHT = 5e-4
"""Share of the pixels of a faint plane beyond `_SHOWN`, above which it has the scale of its model:
these are more than hot pixels, and the model may have been trained on such a bright region."""

_OUTSHINES = 6.0
"""Standard deviation of a plane over that of another, above which it is not its neighbour: beside a
flash of 5 times neighbours gain 1.5 dB, beside one of 20 times the mean shifts by 1.2 %. In stacks
of every kind the planes next to each other differ by at most 1.9."""

_MOST_KEPT = 4096
"""Planes whose scale is remembered."""

_MOST_MEASURED, _FEW_MEASURED = 2**24, 2**16
"""Pixels of the largest planes that are measured, and about how many of them are used."""

_WINDOWS, _SIDE = 16, 256
"""Windows of an image that are compared with a model, and their side in pixels. One of the model's
grey scale is enough. One costs less than a hundredth of a prediction of its pixels."""

GreyScale = tuple[tuple[float, float], ...]
"""Mean and standard deviation of every channel."""

_DISTINCT = 2.0**8
"""Grey levels per standard deviation that float32 has to resolve."""


@dataclass(frozen=True)
class Normalisation:
    """``(x - mean) / std`` per channel, in the units of the image."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def dtype(self) -> npt.DTypeLike:
        """Type of results: float32, or float64 where float32 cannot resolve the grey levels."""
        largest = max(
            abs(mean) / std for mean, std in zip(self.mean, self.std, strict=True) if std > 0
        )
        return np.float32 if largest * _DISTINCT < 2**24 else np.float64

    def apply(self, plane: np.ndarray) -> np.ndarray:
        """Normalise (shots * channels, Y, X) to float32; non-finite pixels become 0."""
        mean, std = self._columns(len(plane))
        normalised = ((plane - mean) / std).astype(np.float32)
        return np.asarray(np.nan_to_num(normalised, copy=False, nan=0, posinf=0, neginf=0))

    def undo(self, plane: np.ndarray) -> np.ndarray:
        """Convert (channels, Y, X) back to grey levels, in the dtype of results."""
        mean, std = self._columns(len(plane))
        return np.asarray(plane * std + mean, self.dtype)

    def _columns(self, planes: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of every plane (planes, 1, 1), for one or more shots."""
        shots = planes // len(self.mean)
        mean, std = (
            np.tile(np.asarray(values, np.float64), shots)[:, None, None]
            for values in (self.mean, self.std)
        )
        return mean, std


@dataclass(frozen=True)
class NetworkInput:
    """A window prepared for a network, all of shape (shots * channels, Y, X).

    Attributes
    ----------
    image : float32
        Normalised. Missing pixels are filled by reflection, outliers by the median of their
        neighbours. Values are clipped at 40 standard deviations from the mean.
    missing, outlier : bool
        From `is_missing` and `is_outlier`.
    clipped : float64
        Grey levels removed by the clipping, to be added to the denoised image.
    """

    image: np.ndarray
    missing: Mask
    outlier: Mask
    clipped: np.ndarray

    @property
    def replaced(self) -> Mask:
        """Pixels that the network does not see as they are."""
        return np.asarray(self.missing | self.outlier | (self.clipped != 0))

    @classmethod
    def of(cls, window: np.ndarray, normalisation: Normalisation) -> NetworkInput:
        """Prepare a window of grey levels."""
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

    Extreme grey levels are clipped, since a few saturated or hot pixels would dominate the
    standard deviation. A constant channel, or one without finite pixels, keeps its scale.

    Parameters
    ----------
    blocks : list of ndarray
        Channels first; NaN where pixels are missing.
    what : str
        Name of the source in errors.

    Raises
    ------
    InputError
        When every channel is constant, or none has a finite pixel, or float64 does not resolve
        the grey levels.
    """
    channels = range(blocks[0].shape[0])
    found = [[block[c][np.isfinite(block[c])] for block in blocks] for c in channels]
    if not any(part.size for parts in found for part in parts):
        raise InputError(
            f"the {what} holds no finite pixels outside constant areas: choose another {what}"
        )
    statistics = [_mean_and_std([part for part in parts if part.size]) for parts in found]
    if all(one is None for one in statistics):
        raise InputError(
            f"every pixel of the {what} has the same value, so there is nothing to denoise: choose "
            f"another {what}"
        )
    mean, std = zip(
        *(one or (_any_value(parts), 1.0) for one, parts in zip(statistics, found, strict=True)),
        strict=True,
    )
    return Normalisation(tuple(mean), tuple(std))


def _mean_and_std(parts: list[np.ndarray]) -> tuple[float, float] | None:
    """Statistics of the finite pixels of one channel; None if they are constant."""
    # Rounding of the mean keeps the standard deviation of constant pixels above zero.
    if not parts or min(part.min() for part in parts) == max(part.max() for part in parts):
        return None
    low, high = clipping_limits(np.concatenate([_some(part, len(parts)) for part in parts]))
    if np.isfinite(low):
        # A limit beyond float32 clips nothing.
        with np.errstate(over="ignore"):
            parts = [np.clip(part, low, high) for part in parts]
    count = sum(part.size for part in parts)
    mean = float(sum(part.sum(dtype=np.float64) for part in parts)) / count
    square = sum(float(((part - np.float64(mean)) ** 2).sum(dtype=np.float64)) for part in parts)
    std = math.sqrt(square / count)
    check_grey_scale(abs(mean), std)
    return mean, std


def _some(values: np.ndarray, parts: int) -> np.ndarray:
    """A subset of the pixels; all parts together hold about a million."""
    return np.asarray(values[:: max(1, values.size * parts // 2**20)], np.float64)


def _any_value(parts: list[np.ndarray]) -> float:
    return next((float(part[0]) for part in parts if part.size), 0.0)


@dataclass(frozen=True)
class _Scale:
    """Normalisation of one plane, and whether some of it would be clipped with that."""

    normalisation: Normalisation
    is_clipped: bool


class PlaneScales:
    """The scales of the planes of an image; some may be far fainter than others.

    Parameters
    ----------
    planes : Planes
        Planes above 16 million pixels are not measured.
    normalisation : Normalisation
        Of the model.
    """

    def __init__(self, planes: Planes, normalisation: Normalisation) -> None:
        self._planes, self._usual = planes, normalisation
        self._scale = lru_cache(maxsize=_MOST_KEPT)(self._measure)

    def normalisation(self, sample: tuple[int, ...]) -> Normalisation:
        """The normalisation of the model, or that of a plane which is far fainter.

        Beside a bright position or a flash, or with a model of longer exposures, the noise of a
        faint plane is too small for the network: it stays, and the mean shifts. Up to an eighth of
        the standard deviation, a plane is denoised in a stack as well as alone.
        """
        own = self._scale(sample)
        if own is None or own.is_clipped:
            return self._usual
        pairs = zip(own.normalisation.std, self._usual.std, strict=True)
        is_faint = all(one < other / _FAINT for one, other in pairs)
        return own.normalisation if is_faint else self._usual

    def neighbours(self, sample: tuple[int, ...]) -> tuple[tuple[int, ...] | None, ...]:
        """Neighbours of a plane, None where there is none, or one of far more contrast.

        A flash shifts the brightness of the planes beside it, and an empty plane would get a ghost
        of its neighbours.
        """
        found = self._planes.neighbours(sample)
        return tuple(one if one and not self._outshines(one, sample) else None for one in found)

    def _outshines(self, one: tuple[int, ...], other: tuple[int, ...]) -> bool:
        bright, faint = self._scale(one), self._scale(other)
        if bright is None or faint is None:
            return False
        pairs = zip(bright.normalisation.std, faint.normalisation.std, strict=True)
        return any(more > _OUTSHINES * less for more, less in pairs)

    def _measure(self, sample: tuple[int, ...]) -> _Scale | None:
        """Measure a plane; None for one that is too large, or constant."""
        planes = self._planes
        pixels = planes.height * planes.width
        if pixels > _MOST_MEASURED:
            return None
        plane = planes.read(sample, slice(0, planes.height), slice(0, planes.width))
        step = max(1, math.isqrt(pixels // _FEW_MEASURED))
        levels = plane[:, ::step, ::step].astype(np.float64)
        try:
            own = measure([levels])
        except InputError:
            return None
        mean, std = own._columns(len(levels))
        # What little is bright would be clipped.
        is_clipped = float((np.abs(levels - mean) > _SHOWN * std).mean()) > _BRIGHT
        return _Scale(own, is_clipped)


def result_dtype(planes: Planes) -> npt.DTypeLike:
    """Type of a denoised image: float32, or float64 where float32 cannot resolve its grey levels.

    Reads the middle of the middle sample, and only if the image exceeds float32.
    """
    dtype = np.dtype(planes.array.dtype)
    if np.can_cast(dtype, np.float32):
        return np.float32
    try:
        return measure([read_middle(planes)]).dtype
    except InputError:
        return np.float32


def grey_scale(planes: Planes, number: int = 0, of: int = 1) -> GreyScale:
    """Mean and standard deviation of every channel in one of several windows; 0: the middle.

    Parameters
    ----------
    planes : Planes
        Its training region does not matter: whole images are denoised.
    number, of : int
        Of windows that are spread over samples and places.

    Returns
    -------
    tuple of (float, float)
        NaN for constant channels.
    """
    planes = replace(planes, region=None)
    if number:
        samples = spread_evenly(list(planes.indices()), of)
        sample = samples[number % len(samples)]
        window = mask_missing(planes.read(sample, *spread_window(planes, sample, _SIDE, number)))
    else:
        window = read_middle(planes, side=_SIDE)
    return tuple(map(_mean_and_std_of, window.astype(np.float64)))


def _mean_and_std_of(channel: np.ndarray) -> tuple[float, float]:
    finite = channel[np.isfinite(channel)]
    if not finite.size or finite.min() == finite.max():
        return math.nan, math.nan
    return float(finite.mean()), float(finite.std())


def check_scale(
    planes: Planes, normalisation: Normalisation, known: Collection[GreyScale] = ()
) -> None:
    """Refuse an image whose grey scale differs from that of a model.

    Reads the middle of the middle sample and, where that differs, windows spread over the image:
    a frame may be dark, or the middle of a field empty. The limits exceed all differences between
    images of one camera: a mean 30 standard deviations away, or a standard deviation a hundred
    times smaller.

    Parameters
    ----------
    planes : Planes
    normalisation : Normalisation
        Of the model.
    known : collection of GreyScale
        Of the middles of images that the model was trained on, which are not refused.

    Raises
    ------
    InputError
        For example for an image of 16 bits and a model trained on 8 bits.
    """
    found = None
    for number in range(_WINDOWS):
        window = grey_scale(planes, number, _WINDOWS)
        if window in known or _fits(window, normalisation):
            return
        # Nothing is known of a constant window.
        found = found or (None if np.isnan(window).all() else window)
    for channel, mean, std in zip(found or (), normalisation.mean, normalisation.std, strict=False):
        if not _is_near(channel, mean, std):
            raise InputError(
                f"the model expects grey levels of {mean:.4g} ± {std:.4g} and this image has "
                f"{channel[0]:.4g} ± {channel[1]:.4g}: convert it to the same grey scale, "
                "train on it, or choose another model"
            )


def _fits(found: GreyScale, normalisation: Normalisation) -> bool:
    near = map(_is_near, found, normalisation.mean, normalisation.std)
    return not np.isnan(found).all() and all(near)


def _is_near(found: tuple[float, float], mean: float, std: float) -> bool:
    is_constant = math.isnan(found[0])
    return is_constant or (abs(found[0] - mean) <= 30 * std and found[1] >= std / 100)
