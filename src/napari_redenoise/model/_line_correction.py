"""Line correction: offsets of rows and columns, measured with the pretrained network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
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
"""Pixels around a window that show which of its pixels are missing."""


@dataclass(frozen=True)
class CorrectedPlanes(Planes):
    """Planes minus the offsets of their rows and columns.

    They are float64 where float32 does not hold all grey levels, else float32.
    """

    offsets: Mapping[Sample, tuple[Offsets, ...]] = field(
        default_factory=dict, compare=False, repr=False
    )

    def read(self, sample: Sample, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Read a window, shape (channels, rows, columns)."""
        (more_rows, inner_rows), (more_columns, inner_columns) = (
            _widen(lines, size) for lines, size in ((rows, self.height), (columns, self.width))
        )
        wide = super().read(sample, more_rows, more_columns)
        offsets = [
            channel.rows[more_rows, None] + channel.columns[more_columns]
            for channel in self.offsets[sample]
        ]
        # Missing pixels have no offsets.
        corrected = wide - np.where(is_missing(wide), 0.0, offsets)
        return corrected[:, inner_rows, inner_columns].astype(_floating(wide.dtype))


def correct_lines(
    planes: Planes,
    lines: Lines,
    device: torch.device,
    should_stop: Stop = None,
    samples: Iterable[Sample] | None = None,
    known: dict[Sample, tuple[Offsets, ...]] | None = None,
) -> Planes:
    """Subtract the line offsets of every plane, measured by up to three predictions each.

    Only the given samples can be read then. Offsets in ``known`` are not measured again, and new
    ones are added to it. `Interrupted` is raised when stopped.
    """
    if lines == "none":
        return planes
    offsets = {} if known is None else known
    for sample in planes.indices() if samples is None else samples:
        if sample not in offsets:
            offsets[sample] = _offsets(planes, sample, lines, device, should_stop)
    return CorrectedPlanes(planes.array, planes.axes, planes.region, planes.context, offsets)


def _offsets(
    planes: Planes, sample: Sample, lines: Lines, device: torch.device, should_stop: Stop
) -> tuple[Offsets, ...]:
    """Measure the offsets of every channel of a sample; 0 for constant channels."""
    whole = planes.read(sample, slice(0, planes.height), slice(0, planes.width))
    offsets = []
    for plane in whole:
        normalisation = _normalisation(plane)
        if normalisation is None:
            offsets.append(Offsets(*map(np.zeros, plane.shape)))
            continue
        denoise = partial(
            _denoise, normalisation=normalisation, device=device, should_stop=should_stop
        )
        offsets.append(line_offsets(mask_missing(plane, keep_outliers=True), lines, denoise))
    return tuple(offsets)


def _normalisation(plane: npt.NDArray[Any]) -> Normalisation | None:
    """Measure it in the middle of a plane; return None where that is constant or missing."""
    planes = Planes(plane, "YX")
    try:
        return measure([read_middle(planes)])
    except InputError:
        return None


def _denoise(
    noisy: Plane, normalisation: Normalisation, device: torch.device, should_stop: Stop
) -> Plane:
    """Denoise a plane (rows, columns) by the pretrained network."""
    denoised = np.empty(noisy.shape, _floating(noisy.dtype))
    for _ in predict_in_tiles(
        pretrained_denoiser(device),
        Planes(noisy, "YX"),
        normalisation,
        {"denoised": denoised},
        Config(),
        device,
        None,
        should_stop,
        tta=False,
        dtype=training_dtype(device, "auto"),
    ):
        pass
    if should_stop is not None and should_stop():
        raise Interrupted
    return denoised


def _floating(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """The smallest floating-point type that holds the grey levels of a type, from float32 on."""
    return np.result_type(dtype, np.float32)


def _widen(lines: slice, size: int) -> tuple[slice, slice]:
    """Extend a slice on both sides; return it and the position of the slice in it."""
    start, stop, _ = lines.indices(size)
    first, last = max(0, start - _FAR), min(size, stop + _FAR)
    return slice(first, last), slice(start - first, stop - first)
