"""Offsets of rows and columns, found by the pretrained network, and subtracted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from napari_redenoise.config import Config, Lines
from napari_redenoise.data import (
    Normalisation,
    Planes,
    is_missing,
    mask_missing,
    measure,
    read_middle,
)
from napari_redenoise.devices import training_dtype
from napari_redenoise.errors import InputError
from napari_redenoise.inference import Interrupted
from napari_redenoise.model._pretrained import pretrained_denoiser
from napari_redenoise.model._tiled import predict_in_tiles
from napari_redenoise.noise import Offsets, line_offsets

Plane = npt.NDArray[np.floating]
Sample = tuple[int, ...]
Stop = Callable[[], bool] | None

_FAR = 64
"""Pixels around a window that tell what was measured in it."""


@dataclass(frozen=True)
class CorrectedPlanes(Planes):
    """Planes less the offsets of their rows and columns, float32.

    Parameters
    ----------
    array, axes, region
        As of `Planes`.
    offsets : mapping
        Of every sample, those of every channel.
    """

    offsets: Mapping[Sample, tuple[Offsets, ...]] = field(
        default_factory=dict, compare=False, repr=False
    )

    def read(self, sample: Sample, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Read a window, shape (channels, rows, columns), float32."""
        (more_rows, inner_rows), (more_columns, inner_columns) = (
            _wider(lines, size) for lines, size in ((rows, self.height), (columns, self.width))
        )
        wide = super().read(sample, more_rows, more_columns)
        offsets = [
            found.rows[more_rows, None] + found.columns[more_columns]
            for found in self.offsets[sample]
        ]
        # Where nothing was measured there are no offsets.
        corrected = wide - np.where(is_missing(wide), 0.0, offsets)
        return corrected[:, inner_rows, inner_columns].astype(np.float32)


def correct_lines(
    planes: Planes,
    lines: Lines,
    device: torch.device,
    should_stop: Stop = None,
    samples: Iterable[Sample] | None = None,
) -> Planes:
    """Find the line offsets of every plane, which takes up to three predictions of each.

    Parameters
    ----------
    planes : Planes
    lines : {"none", "rows", "columns", "both"}
    device : torch.device
        Where offsets are found.
    should_stop : callable, optional
        Leaves the search.
    samples : iterable of tuple, optional
        Which ones are read of what is returned; default all.

    Returns
    -------
    Planes
        The same ones less their offsets, whose mean is 0: the brightness stays. Reading them only
        subtracts.

    Raises
    ------
    Interrupted
        Once ``should_stop()`` is true.
    """
    if lines == "none":
        return planes
    offsets = {
        sample: _offsets(planes, sample, lines, device, should_stop)
        for sample in (planes.indices() if samples is None else samples)
    }
    return CorrectedPlanes(planes.array, planes.axes, planes.region, offsets)


def _offsets(
    planes: Planes, sample: Sample, lines: Lines, device: torch.device, should_stop: Stop
) -> tuple[Offsets, ...]:
    """Of every channel of a sample."""
    whole = planes.read(sample, slice(0, planes.height), slice(0, planes.width))
    return tuple(_channel_offsets(plane, lines, device, should_stop) for plane in whole)


def _channel_offsets(
    plane: npt.NDArray[Any], lines: Lines, device: torch.device, should_stop: Stop
) -> Offsets:
    """Of one plane (rows, columns); 0 where it has one value only."""
    normalisation = _normalisation(plane)
    if normalisation is None:
        return Offsets(*map(np.zeros, plane.shape))

    def denoise(noisy: Plane) -> Plane:
        return _denoised(noisy, normalisation, device, should_stop)

    return line_offsets(mask_missing(plane, keep_outliers=True), lines, denoise)


def _normalisation(plane: npt.NDArray[Any]) -> Normalisation | None:
    """By the middle of a plane; None where that holds one value only, or no numbers."""
    planes = Planes(plane, "YX")
    try:
        return measure([read_middle(planes)])
    except InputError:
        return None


def _denoised(
    noisy: Plane, normalisation: Normalisation, device: torch.device, should_stop: Stop
) -> Plane:
    """A plane (rows, columns) by the pretrained network as it is."""
    denoised = np.empty(noisy.shape, np.float32)
    for _ in predict_in_tiles(
        pretrained_denoiser(device),
        Planes(noisy, "YX"),
        normalisation,
        {"denoised": denoised},
        Config(),
        device,
        None,
        should_stop,
        mirrored=False,
        dtype=training_dtype(device, "auto"),
    ):
        pass
    if should_stop is not None and should_stop():
        raise Interrupted
    return denoised


def _wider(lines: slice, size: int) -> tuple[slice, slice]:
    """A slice with some more on both sides, and where in it the slice is."""
    start, stop, _ = lines.indices(size)
    first, last = max(0, start - _FAR), min(size, stop + _FAR)
    return slice(first, last), slice(start - first, stop - first)
