"""What is subtracted before the network sees an image: line offsets and smooth noise.

Both are measured in whole planes, with the pretrained network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from napari_redenoise.config import Config, Lines
from napari_redenoise.data import (
    SMALLEST_SIDE,
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
from napari_redenoise.model._noise_reports import channel_stack
from napari_redenoise.model._pretrained import pretrained_denoiser
from napari_redenoise.model._tiled import predict_in_tiles
from napari_redenoise.noise import (
    Offsets,
    bin_pixels,
    enlarge,
    has_smooth_noise,
    line_offsets,
    smooth_noise,
)

Plane = npt.NDArray[np.floating]
Sample = tuple[int, ...]
Stop = Callable[[], bool] | None

MAX_SMOOTHED = 2**26
"""Pixels of the largest plane whose smooth noise is measured: it is read whole, below 1 GB."""

_STRIP = 256
"""Rows that are binned at a time, between which a stop is noticed."""

_FAR = 64
"""Pixels around a window that show which of its pixels are missing."""


class Corrections(NamedTuple):
    """Which corrections are made: lines, and coarser scales of smooth noise.

    The latter in every plane and channel, or ``where_found`` only.
    """

    lines: Lines = "none"
    smooth_scales: int = 0
    where_found: bool = False

    def __bool__(self) -> bool:
        return self.lines != "none" or self.smooth_scales > 0


class Correction(NamedTuple):
    """What is subtracted from a channel of a plane, in grey levels."""

    offsets: Offsets
    smooth: npt.NDArray[np.float32] | None
    """At half the size of the plane."""

    def within(self, shape: tuple[int, int], rows: slice, columns: slice) -> Plane:
        """What is subtracted in a window of a plane of some shape."""
        lines: Plane = self.offsets.rows[rows, None] + self.offsets.columns[columns]
        return (
            lines if self.smooth is None else lines + enlarge(self.smooth, shape, (rows, columns))
        )


@dataclass(frozen=True)
class CorrectedPlanes(Planes):
    """Planes minus the corrections of every channel.

    They are float64 where float32 does not hold all grey levels, else float32.
    """

    corrections: Mapping[Sample, tuple[Correction, ...]] = field(
        default_factory=dict, compare=False, repr=False
    )

    def read(self, sample: Sample, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Read a window, shape (channels, rows, columns)."""
        (more_rows, inner_rows), (more_columns, inner_columns) = (
            _widen(lines, size) for lines, size in ((rows, self.height), (columns, self.width))
        )
        wide = super().read(sample, more_rows, more_columns)
        shape = self.height, self.width
        subtracted = [
            channel.within(shape, more_rows, more_columns) for channel in self.corrections[sample]
        ]
        # Missing pixels are not corrected.
        corrected = wide - np.where(is_missing(wide), 0.0, subtracted)
        return corrected[:, inner_rows, inner_columns].astype(_floating(wide.dtype))


def correct(
    planes: Planes,
    corrections: Corrections,
    device: torch.device,
    should_stop: Stop = None,
    samples: Iterable[Sample] | None = None,
    known: dict[Sample, tuple[Correction, ...]] | None = None,
) -> Planes:
    """Subtract line offsets and smooth noise, measured by a few predictions per plane.

    Only the given samples can be read then. Corrections in ``known`` are not measured again, and
    new ones are added to it. `Interrupted` is raised when stopped.
    """
    if not corrections:
        return planes
    found = {} if known is None else known
    for sample in planes.indices() if samples is None else samples:
        if sample not in found:
            found[sample] = _measure(planes, sample, corrections, device, should_stop)
    return CorrectedPlanes(planes.array, planes.axes, planes.region, planes.context, found)


def _measure(
    planes: Planes,
    sample: Sample,
    corrections: Corrections,
    device: torch.device,
    should_stop: Stop,
) -> tuple[Correction, ...]:
    """Measure the corrections of every channel of a sample; 0 for constant channels."""
    whole = planes.read(sample, slice(0, planes.height), slice(0, planes.width))
    found = []
    for plane in whole:
        nothing = Offsets(*map(np.zeros, plane.shape))
        normalisation = _normalisation(plane)
        if normalisation is None:
            found.append(Correction(nothing, None))
            continue
        offsets = nothing
        if corrections.lines != "none":
            denoise = partial(
                _denoise,
                normalisation=normalisation,
                device=device,
                should_stop=should_stop,
                precision="auto",
            )
            levels = mask_missing(plane, keep_outliers=True)
            offsets = line_offsets(levels, corrections.lines, denoise)
        smooth = None
        if _is_smooth(plane, corrections):
            binned = _bin(plane, offsets, should_stop)
            denoise = partial(_denoise_by_itself, device=device, should_stop=should_stop)
            noise = smooth_noise(binned, corrections.smooth_scales, denoise)
            smooth = noise.astype(np.float32)
        found.append(Correction(offsets, smooth))
    return tuple(found)


def _is_smooth(plane: npt.NDArray[Any], corrections: Corrections) -> bool:
    """Whether smooth noise is removed from a plane: others would lose detail."""
    if not corrections.smooth_scales or min(plane.shape) < 2 * SMALLEST_SIDE:
        return False
    return not corrections.where_found or has_smooth_noise(channel_stack(Planes(plane, "YX"), 0))


def _bin(plane: npt.NDArray[Any], offsets: Offsets, should_stop: Stop) -> npt.NDArray[np.float64]:
    """Bin a plane without its line offsets, some rows at a time."""
    parts = []
    for start in range(0, len(plane), _STRIP):
        if should_stop is not None and should_stop():
            raise Interrupted
        rows = slice(start, start + _STRIP)
        wide, inner = _widen(rows, len(plane))
        levels = mask_missing(plane[wide])[inner] - offsets.columns
        parts.append(bin_pixels(levels - offsets.rows[rows, None]))
    return np.concatenate(parts)


def _normalisation(plane: npt.NDArray[Any]) -> Normalisation | None:
    """Measure it in the middle of a plane; return None where that is constant or missing."""
    planes = Planes(plane, "YX")
    try:
        return measure([read_middle(planes)])
    except InputError:
        return None


def _denoise_by_itself(noisy: Plane, device: torch.device, should_stop: Stop) -> Plane:
    """Denoise a plane with its own normalisation: binned pixels have another spread."""
    normalisation = _normalisation(noisy)
    if normalisation is None:
        return noisy
    # A binned plane takes a quarter of the time: it need not be the fastest precision.
    return _denoise(noisy, normalisation, device, should_stop, "float32")


def _denoise(
    noisy: Plane,
    normalisation: Normalisation,
    device: torch.device,
    should_stop: Stop,
    precision: str,
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
        dtype=training_dtype(device, precision),
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
