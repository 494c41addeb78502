"""Offsets of rows and columns, found in what the shipped network takes for noise, and subtracted.

A camera or a scanner that adds a number of its own to every row makes noise that no blind spot
removes: within a row it is the same everywhere. But over a whole row the other noise averages out,
so once a network has taken the structure away, what is left of a row tells its offset.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from napari_redenoise._prediction import predict_in_tiles
from napari_redenoise._warm_start import warm_network
from napari_redenoise.config import Config, Lines
from napari_redenoise.data import Normalisation, Planes, measure
from napari_redenoise.errors import InputError
from napari_redenoise.inference import Interrupted
from napari_redenoise.io import training_dtype
from napari_redenoise.nn import DenoisingNetwork

Plane = npt.NDArray[np.float32]

MOST_PIXELS = 2**20
"""That are read for a training on planes without offsets, which take a few predictions to find."""

_MOST_ROUNDS = 3

_KEPT = 0.2
"""Of the offsets of both rows and columns the network takes so much for structure; of one, half."""

_SIDE = 2048
"""Of the window by whose mean and deviation a plane is normalised."""

_TAILS = (2.0, 98.0)
"""Percentiles at which what is left is cut off: a single bright pixel is no offset."""


_AROUND = 15
"""Pixels; a square of this side tells how strong the noise is."""

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
        window = Planes.read(self, sample, rows, columns).astype(np.float64)
        if sample not in self._found:
            self._found[sample] = self._offsets(sample)
        found = self._found[sample]
        return (window - found.rows[:, rows] - found.columns[:, :, columns]).astype(np.float32)

    def _offsets(self, sample: tuple[int, ...]) -> Offsets:
        planes = Planes(self.array, self.axes)
        every = [
            _offsets(_Channel(planes, sample, channel), self.lines, self.device, self.should_stop)
            for channel in range(self.channels)
        ]
        rows, columns = (np.stack(part) for part in zip(*every, strict=True))
        return Offsets(rows[:, :, None], columns[:, None, :])


def some_samples(planes: Planes, most_pixels: int = MOST_PIXELS) -> Planes:
    """Of a stack, as many samples as have so many pixels, at least one, spread over all."""
    count = max(1, most_pixels // (planes.height * planes.width))
    if len(planes) <= count:
        return planes
    every = list(planes.indices())
    chosen = [every[number] for number in np.linspace(0, len(every) - 1, count).astype(int)]
    region = None if planes.region is None else _SomeInside(planes, chosen)
    return Planes(_Some(planes, chosen), "TCYX", region)


@dataclass(frozen=True)
class _Some:
    """Some samples of planes, (N, channels, rows, columns), read where they are asked for."""

    planes: Planes
    samples: list[tuple[int, ...]]

    @property
    def dtype(self) -> Any:
        return np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        planes = self.planes
        return len(self.samples), planes.channels, planes.height, planes.width

    def __getitem__(self, key: tuple[int, slice, slice, slice]) -> npt.NDArray[Any]:
        number, channels, rows, columns = key
        window = self.planes.read(self.samples[number], rows, columns)
        return np.asarray(window[channels], np.float32)


@dataclass(frozen=True)
class _SomeInside:
    """Where the same samples may be learned from, (N, rows, columns)."""

    planes: Planes
    samples: list[tuple[int, ...]]

    @property
    def dtype(self) -> Any:
        return np.dtype(bool)

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.samples), self.planes.height, self.planes.width

    def __getitem__(self, key: tuple[int, slice, slice]) -> npt.NDArray[np.bool_]:
        number, rows, columns = key
        inside = self.planes.inside(self.samples[number], rows, columns)
        if inside is None:
            raise ValueError("there is no region")
        return inside


class _Channel:
    """One channel of one sample (rows, columns) as an array, less the offsets found so far."""

    dtype = np.dtype(np.float32)

    def __init__(self, planes: Planes, sample: tuple[int, ...], channel: int) -> None:
        self._planes, self._sample, self._channel = planes, sample, channel
        self.shape = (planes.height, planes.width)
        self.rows, self.columns = np.zeros(planes.height), np.zeros(planes.width)

    def __getitem__(self, key: tuple[slice, slice]) -> Plane:
        rows, columns = key
        window = self._planes.read(self._sample, rows, columns)[self._channel]
        offsets = self.rows[rows, None] + self.columns[None, columns]
        return np.asarray(window - offsets, np.float32)


class _Rest:
    """Takes a denoised plane tile by tile, and sums up what it leaves of rows and columns.

    A pixel counts the more the less noise there is around it, as in a weighted mean: in the dark
    there is hardly any photon noise.
    """

    def __init__(self, noisy: _Channel) -> None:
        self._noisy = noisy
        self._sums = [np.zeros(size) for size in noisy.shape]
        self._weights = [np.zeros(size) for size in noisy.shape]

    def __setitem__(self, key: tuple[slice, slice], denoised: Plane) -> None:
        noisy = self._noisy[key].astype(np.float64)
        finite = np.isfinite(noisy) & np.isfinite(denoised)
        if not finite.any():
            return
        rest = np.subtract(noisy, denoised, out=np.zeros_like(noisy), where=finite)
        rest = np.clip(rest, *np.percentile(rest[finite], _TAILS))
        noise = ndimage.uniform_filter(rest**2, _AROUND)
        weight = finite / (noise + max(_LEAST_NOISE * noise.mean(), np.finfo(float).tiny))
        for axis, lines in enumerate(key):
            self._sums[axis][lines] += (rest * weight).sum(1 - axis)
            self._weights[axis][lines] += weight.sum(1 - axis)

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
    network, config = _network(device)
    normalisation = _normalisation(planes)
    if normalisation is None:
        return noisy.rows, noisy.columns
    axes = {"rows": (0,), "columns": (1,)}.get(lines, (0, 1))
    found = (noisy.rows, noisy.columns)
    for _ in range(_MOST_ROUNDS):
        rest = _Rest(noisy)
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
    rows, columns = (
        slice(max(0, (size - _SIDE) // 2), max(0, (size - _SIDE) // 2) + _SIDE)
        for size in (planes.height, planes.width)
    )
    try:
        return measure([planes.read((), rows, columns).astype(np.float64)])
    except InputError:
        return None


@lru_cache(maxsize=2)
def _network(device: torch.device) -> tuple[DenoisingNetwork, Config]:
    """The shipped network, whatever is trained: it takes lines for noise."""
    config = Config()
    network = warm_network(config.network).to(device).eval()
    return network.requires_grad_(False), config
