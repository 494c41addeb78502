"""Offsets of rows and columns, found in what the shipped network takes for noise, and subtracted.

A camera or a scanner that adds a number of its own to every row makes noise that no blind spot
removes: within a row it is the same everywhere. But over a whole row the other noise averages out,
so once a network has taken the structure away, what is left of a row tells its offset.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from napari_redenoise.config import Config, Lines
from napari_redenoise.data import (
    Normalisation,
    Planes,
    is_missing,
    measure,
    measured,
    middle_window,
)
from napari_redenoise.devices import training_dtype
from napari_redenoise.errors import InputError
from napari_redenoise.inference import Interrupted
from napari_redenoise.model._pretrained import pretrained_denoiser
from napari_redenoise.model._tiled import predict_in_tiles

Plane = npt.NDArray[np.float32]

_MOST_ROUNDS = 3

_KEPT = 0.2
"""Of the offsets of both rows and columns the network takes so much for structure; of one, half."""

_TAILS = (2.0, 98.0)
"""Percentiles at which what is left is cut off: a single bright pixel is no offset."""

_AROUND = 15
"""Pixels; a square of this side tells how strong the noise is."""

_FAR = 64
"""Pixels around a window that tell what was measured in it."""

_LEAST_NOISE = 0.1
"""Of the mean variance: what is added to that around a pixel, so that no few pixels decide."""


class Offsets(NamedTuple):
    """Of every row and column of a plane, (channels, rows, 1) and (channels, 1, columns)."""

    rows: npt.NDArray[np.float64]
    columns: npt.NDArray[np.float64]


@dataclass(frozen=True)
class WithoutLines(Planes):
    """Planes whose rows or columns, or both, have no offsets of their own any more, float32.

    The offsets of a plane are found when it is first read, which takes up to three predictions of
    it by the network that comes with the package, and are kept. Their mean is 0: the brightness
    stays.

    Parameters
    ----------
    array, axes, region
        As of `Planes`.
    lines : {"rows", "columns", "both"}
    device : torch.device
        Where offsets are found.
    should_stop : callable, optional
        Leaves the search.

    Raises
    ------
    Interrupted
        By `read`, once ``should_stop()`` is true.
    """

    lines: Lines = "both"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    should_stop: Callable[[], bool] | None = None
    _found: dict[tuple[int, ...], Offsets] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        planes: Planes,
        lines: Lines,
        device: torch.device,
        should_stop: Callable[[], bool] | None = None,
    ) -> WithoutLines:
        """The same planes without offsets."""
        return cls(planes.array, planes.axes, planes.region, lines, device, should_stop)

    def read(self, sample: tuple[int, ...], rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Read a window, shape (channels, rows, columns), float32."""
        if self.should_stop is not None and self.should_stop():
            raise Interrupted
        if sample not in self._found:
            self._found[sample] = self._offsets(sample)
        found = self._found[sample]
        (more_rows, inner_rows), (more_columns, inner_columns) = (
            _wider(lines, size) for lines, size in ((rows, self.height), (columns, self.width))
        )
        wide = Planes.read(self, sample, more_rows, more_columns)
        offsets = found.rows[:, more_rows] + found.columns[:, :, more_columns]
        # Where nothing was measured there are no offsets.
        offsets = np.where(is_missing(wide), 0.0, offsets)
        straight = wide.astype(np.float64) - offsets
        return straight[:, inner_rows, inner_columns].astype(np.float32)

    def _offsets(self, sample: tuple[int, ...]) -> Offsets:
        planes = Planes(self.array, self.axes)
        every = [
            _offsets(_Channel(planes, sample, channel), self.lines, self.device, self.should_stop)
            for channel in range(self.channels)
        ]
        rows, columns = (np.stack(part) for part in zip(*every, strict=True))
        return Offsets(rows[:, :, None], columns[:, None, :])


def _wider(lines: slice, size: int) -> tuple[slice, slice]:
    """A slice with some more on both sides, and where in it the slice is."""
    start, stop, _ = lines.indices(size)
    first, last = max(0, start - _FAR), min(size, stop + _FAR)
    return slice(first, last), slice(start - first, stop - first)


class _Channel:
    """One channel of one sample (rows, columns) as an array, less the offsets found so far."""

    dtype = np.dtype(np.float32)

    def __init__(self, planes: Planes, sample: tuple[int, ...], channel: int) -> None:
        self._planes, self._sample, self._channel = planes, sample, channel
        self.shape = (planes.height, planes.width)
        self.rows, self.columns = np.zeros(planes.height), np.zeros(planes.width)

    def __getitem__(self, key: tuple[slice, slice]) -> Plane:
        return self.straight(self.raw(key), key)

    def raw(self, key: tuple[slice, slice]) -> npt.NDArray[Any]:
        """A window as it is."""
        return np.asarray(self._planes.read(self._sample, *key)[self._channel])

    def straight(self, raw: npt.NDArray[Any], key: tuple[slice, slice]) -> Plane:
        """A window less the offsets."""
        rows, columns = key
        offsets = self.rows[rows, None] + self.columns[None, columns]
        return np.asarray(raw - offsets, np.float32)


class _Rest:
    """Takes a denoised plane tile by tile, and sums up what it leaves of rows and columns.

    A pixel counts the more the less noise there is around it, as in a weighted mean: in the dark
    there is hardly any photon noise.
    """

    def __init__(self, noisy: _Channel, least_noise: float | None) -> None:
        self._noisy, self._least = noisy, least_noise
        self._begin()

    def _begin(self) -> None:
        self._sums = [np.zeros(size) for size in self._noisy.shape]
        self._weights = [np.zeros(size) for size in self._noisy.shape]
        self._variance, self._pixels = 0.0, 0

    def __setitem__(self, key: tuple[slice, slice], denoised: Plane) -> None:
        if key[0].start == key[1].start == 0:
            # Tiles that became too large for the memory are begun again, smaller.
            self._begin()
        raw = self._noisy.raw(key)
        noisy = self._noisy.straight(raw, key).astype(np.float64)
        used = np.isfinite(noisy) & np.isfinite(denoised) & ~is_missing(raw)
        if not used.any():
            return
        rest = np.subtract(noisy, denoised, out=np.zeros_like(noisy), where=used)
        rest = np.clip(rest, *np.percentile(rest[used], _TAILS))
        share = np.maximum(ndimage.uniform_filter(used.astype(float), _AROUND), 1e-3)
        noise = ndimage.uniform_filter(np.where(used, rest, 0.0) ** 2, _AROUND) / share
        mean = float(noise[used].mean())
        least = _LEAST_NOISE * (mean if self._least is None else self._least)
        weight = used / (noise + max(least, np.finfo(float).tiny))
        for axis, lines in enumerate(key):
            self._sums[axis][lines] += (rest * weight).sum(1 - axis)
            self._weights[axis][lines] += weight.sum(1 - axis)
        self._variance += mean * int(used.sum())
        self._pixels += int(used.sum())

    @property
    def noise(self) -> float | None:
        """Mean variance of what was left; None where there was nothing."""
        return self._variance / self._pixels if self._pixels else None

    def means(self, axis: int) -> npt.NDArray[np.float64]:
        """Of every line, less their own mean; 0 for lines without a finite pixel."""
        total, weight = self._sums[axis], self._weights[axis]
        known = weight > 0
        means = np.divide(total, weight, out=np.zeros_like(total), where=known)
        middle = means[known].mean() if known.any() else 0.0
        return np.where(known, means - middle, 0.0)

    def error(self, axis: int) -> float:
        """Standard error of such a mean, over all lines: noise is what was weighed by."""
        weight = self._weights[axis]
        known = weight > 0
        return float(np.sqrt(np.mean(1 / weight[known]))) if known.any() else 0.0


def _offsets(
    noisy: _Channel, lines: Lines, device: torch.device, should_stop: Callable[[], bool] | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Offsets of all rows and columns of one channel; 0 where it has one value only."""
    planes = Planes(noisy, "YX")
    network, config = pretrained_denoiser(device), Config()
    normalisation = _normalisation(planes)
    if normalisation is None:
        return noisy.rows, noisy.columns
    axes = {"rows": (0,), "columns": (1,)}.get(lines, (0, 1))
    found = (noisy.rows, noisy.columns)
    least_noise = None
    for _ in range(_MOST_ROUNDS):
        rest = _Rest(noisy, least_noise)
        for _ in predict_in_tiles(
            network,
            planes,
            normalisation,
            {"denoised": rest},
            config,
            device,
            None,
            should_stop,
            mirrored=False,
            dtype=training_dtype(device, "auto"),
        ):
            pass
        if should_stop is not None and should_stop():
            raise Interrupted
        least_noise = rest.noise
        more = [rest.means(axis) for axis in axes]
        for axis, means in zip(axes, more, strict=True):
            found[axis][:] += means
        # What may be left is little beside what the other noise does to a mean.
        if all(
            _KEPT * means.std() <= rest.error(axis) / 6
            for axis, means in zip(axes, more, strict=True)
        ):
            break
    return noisy.rows, noisy.columns


def _normalisation(planes: Planes) -> Normalisation | None:
    """By the middle of a plane; None where that holds one value only, or no numbers."""
    try:
        return measure([measured(planes.read((), *middle_window(planes, ())))])
    except InputError:
        return None


def correct_lines(
    planes: Planes,
    lines: Lines,
    device: torch.device,
    should_stop: Callable[[], bool] | None = None,
    samples: Any = None,
) -> Planes:
    """Temporary."""
    if lines == "none":
        return planes
    return WithoutLines.of(planes, lines, device, should_stop)
