"""What the noise of an image is, and what follows from it for the training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_redenoise.config import NoiseConfig, ObjectiveConfig
from napari_redenoise.data import Planes
from napari_redenoise.errors import InputError
from napari_redenoise.noise import NoiseReport, Recommendation, estimate_noise, recommend


@dataclass(frozen=True)
class ChannelStack:
    """One channel of an image as a stack of planes, read where it is asked for."""

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
        plane = self.planes.read(sample, rows, columns)[self.channel]
        return np.asarray(plane)


def noise_reports(planes: Planes) -> tuple[NoiseReport, ...]:
    """Measure the noise of every channel, about a second each.

    Raises
    ------
    InputError
        When the image is too small, or holds one value only.
    """
    return tuple(
        estimate_noise(ChannelStack(planes, channel)) for channel in range(planes.channels)
    )


def recommendation(reports: tuple[NoiseReport, ...]) -> Recommendation:
    """One for all channels: that of the channel whose blind spot has to be the largest."""
    return max(map(recommend, reports), key=lambda advice: "".join(advice.mask_shape).count("1"))


def resolve(objective: ObjectiveConfig, planes: Planes) -> ObjectiveConfig:
    """Fill in what an objective has to know of the noise of an image.

    ``auto`` becomes what is recommended, ``r2r`` without noise takes the one that is measured:
    gain, offset and read noise together, so that photons are never taken for Gaussian noise.

    Raises
    ------
    InputError
        When R2R is to draw from noise and there is none, or photons cannot be told from it.
    """
    if objective.kind == "auto":
        advice = recommendation(noise_reports(planes))
        return objective.model_copy(
            update={"kind": advice.objective, "mask_shape": advice.mask_shape}
        )
    if objective.kind != "r2r" or objective.noise is not None:
        return objective
    reports = noise_reports(planes)
    models = [report.model for report in reports]
    if not all(model.gain or model.read_noise for model in models):
        raise InputError(
            "no noise was found in the image, and R2R learns from it: choose noise2self, or give "
            "the noise"
        )
    if not all(report.gain_is_known for report in reports):
        raise InputError(
            "whether the noise grows with the light cannot be told from this image, and R2R has to "
            "know: give gain, offset and read noise, or choose noise2self"
        )
    noise = NoiseConfig(
        gain=tuple(model.gain for model in models),
        offset=tuple(model.offset for model in models),
        read_noise=tuple(model.read_noise for model in models),
    )
    return objective.model_copy(update={"noise": noise})
