"""The noise of the channels of an image, measured with the pretrained network as the denoiser."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from napari_redenoise.data import (
    Planes,
    mask_missing,
    measure,
    read_middle,
    representative_subset,
)
from napari_redenoise.devices import training_dtype
from napari_redenoise.errors import InputError
from napari_redenoise.inference import predict_tile
from napari_redenoise.model._pretrained import pretrained_denoiser
from napari_redenoise.noise import (
    NoiseReport,
    ResidualNoise,
    diagnose,
    estimate_noise,
    residual_noise,
    without_noise,
)

Plane = npt.NDArray[np.float64]

_SIDE = 384
"""Pixels of the window whose residual is measured; a fraction of a second."""

_TRIED = 8
"""Planes of which one has to hold more than one value."""

_DEVICE = torch.device("cpu")


@dataclass(frozen=True)
class ChannelStack:
    """One channel of an image as a stack of planes, NaN where nothing was measured."""

    planes: Planes
    channel: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Planes, rows, columns."""
        return len(self.planes), self.planes.height, self.planes.width

    @property
    def dtype(self) -> Any:
        """Type of a pixel."""
        return self.planes.array.dtype

    def __getitem__(self, key: tuple[int, slice, slice]) -> npt.NDArray[Any]:
        number, rows, columns = key
        sizes = self.planes.sample_shape
        sample = tuple(int(part) for part in np.unravel_index(number, sizes)) if sizes else ()
        return mask_missing(self.planes.read(sample, rows, columns)[self.channel])


def noise_reports(
    planes: Planes, *, ask_denoiser: bool = True, always: bool = False
) -> tuple[NoiseReport, ...]:
    """Measure the noise of every channel, about a second each.

    Parameters
    ----------
    planes : Planes
    ask_denoiser : bool
        Whether to measure the residual of the pretrained network too, where the noise is not white
        or its variance not known. There is none for several channels.
    always : bool
        Whether to measure it in any case, as where that network is used as it is: fine-tuned by
        R2R it learns what is structure.

    Returns
    -------
    tuple of NoiseReport

    Raises
    ------
    InputError
        When the image is too small, or every channel holds one value only.
    """
    found = [_report_or_error(planes, channel) for channel in range(planes.channels)]
    reports = tuple(report for report in found if isinstance(report, NoiseReport))
    if not reports:
        raise next(error for error in found if isinstance(error, InputError))
    if len(reports) < len(found):
        # An unused channel has no noise, and says nothing of the others.
        return tuple(one if isinstance(one, NoiseReport) else without_noise() for one in found)
    if not ask_denoiser or len(reports) > 1:
        return reports
    if not always and diagnose(reports, fine_tuning=True).objective == "r2r":
        return reports
    return (replace(reports[0], residual=pretrained_residual(planes, reports[0])),)


def _report_or_error(planes: Planes, channel: int) -> NoiseReport | InputError:
    try:
        return estimate_noise(ChannelStack(planes, channel))
    except InputError as error:
        return error


def pretrained_residual(planes: Planes, report: NoiseReport) -> ResidualNoise | None:
    """Measure the residual of the pretrained network in one window of an image.

    Parameters
    ----------
    planes : Planes
        Of one channel.
    report : NoiseReport
        Of the same image.

    Returns
    -------
    ResidualNoise or None
        None where no block holds two values.
    """
    window = _window(planes)
    if window is None:
        return None
    return residual_noise(window, report, _pretrained, is_one_of_many=len(planes) > 1)


def _pretrained(plane: Plane) -> npt.NDArray[Any]:
    """Denoise a plane by the pretrained network as it is."""
    network, dtype = pretrained_denoiser(_DEVICE), training_dtype(_DEVICE, "auto")
    window = plane[None]
    return np.asarray(predict_tile(network, window, measure([window]), dtype).denoised[0])


def _window(planes: Planes) -> Plane | None:
    """The middle (rows, columns) of a plane that can be normalised."""
    some = representative_subset(planes, _SIDE**2, _SIDE)
    samples = list(some.indices())
    middle = len(samples) // 2
    for number in sorted(range(len(samples)), key=lambda number: abs(number - middle))[:_TRIED]:
        noisy = read_middle(some, samples[number], _SIDE).astype(np.float64)
        try:
            measure([noisy])
        except InputError:
            continue
        return noisy[0]  # type: ignore[no-any-return]
    return None
