"""What the noise of an image is, and what follows from it for the training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_redenoise.data import Planes, measured
from napari_redenoise.errors import InputError
from napari_redenoise.model._excess import what_is_removed
from napari_redenoise.noise import (
    NoiseReport,
    estimate_noise,
    recommend,
    without_noise,
)


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
        return measured(self.planes.read(sample, rows, columns)[self.channel])


def noise_reports(
    planes: Planes, *, ask_denoiser: bool = True, always: bool = False
) -> tuple[NoiseReport, ...]:
    """Measure the noise of every channel, about a second each.

    Parameters
    ----------
    planes : Planes
    ask_denoiser : bool
        Whether to ask the shipped network, where the noise is not independent from pixel to pixel
        or its strength not known, if that is noise at all.

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
    # One that is adapted by R2R in any case learns what is structure; there are no weights for
    # several channels.
    if not ask_denoiser or len(reports) > 1:
        return reports
    if recommend(reports[0]).objective == "r2r" and not always:
        return reports
    return (replace(reports[0], removed=what_is_removed(planes, reports[0])),)


def _report_or_error(planes: Planes, channel: int) -> NoiseReport | InputError:
    try:
        return estimate_noise(ChannelStack(planes, channel))
    except InputError as error:
        return error
