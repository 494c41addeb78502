"""Noise reports of an image, with the residual of the pretrained network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from napari_redenoise.data import (
    LazyArray,
    Planes,
    mask_missing,
    measure,
    middle_window,
    read_middle,
    representative_subset,
    spread_evenly,
)
from napari_redenoise.devices import training_dtype
from napari_redenoise.errors import InputError
from napari_redenoise.inference import Interrupted, predict_tile
from napari_redenoise.model._pretrained import pretrained_denoiser
from napari_redenoise.noise import (
    NoiseReport,
    ResidualNoise,
    diagnose,
    estimate_noise,
    is_noise_shared,
    residual_noise,
    without_noise,
)

Plane = npt.NDArray[np.float64]

_SIDE = 384
"""Pixels; side of the window whose residual is measured."""

_MAX_TRIED = 8
"""Planes that are tried until one is not constant."""

_COMPARED, _COMPARED_SIDE = 6, 256
"""Planes whose noise is compared with that of the next ones, and pixels a side."""

Sample = tuple[int, ...]

_DEVICE = torch.device("cpu")


def channel_stack(planes: Planes, channel: int) -> LazyArray:
    """One channel of an image as a stack of planes, NaN at missing pixels."""

    def read(key: tuple[int, slice, slice]) -> npt.NDArray[Any]:
        number, rows, columns = key
        sizes = planes.sample_shape
        sample = tuple(int(part) for part in np.unravel_index(number, sizes)) if sizes else ()
        return mask_missing(planes.read(sample, rows, columns)[channel])

    shape = len(planes), planes.height, planes.width
    return LazyArray(shape, planes.array.dtype, read)


def noise_reports(
    planes: Planes, *, ask_denoiser: bool = True, always: bool = False
) -> tuple[NoiseReport, ...]:
    """Measure the noise of every channel, about a second each.

    Parameters
    ----------
    planes : Planes
    ask_denoiser : bool
        Whether to measure the residual of the pretrained network, too, where the noise is not white
        or of unknown variance.
    always : bool
        Whether to measure the residual of white noise, too: without fine-tuning the pretrained
        network may remove structure.

    Raises
    ------
    InputError
        When the image is too small, or every channel is constant.
    """
    reports, errors = [], []
    between: Literal["none", "independent", "shared", "alike"] = "none"
    if planes.context_axes:
        between = "independent"
        if shares_noise(planes):
            between = "alike" if has_pairs_alone(planes) else "shared"
    pairs = _following(planes) if between == "independent" else []
    for channel in range(planes.channels):
        try:
            found = estimate_noise(channel_stack(planes, channel), pairs)
            reports.append(replace(found, planes=between))
        except InputError as error:
            reports.append(without_noise())
            errors.append(error)
    if len(errors) == len(reports):
        raise errors[0]
    if not ask_denoiser:
        return tuple(reports)
    if not always and diagnose(reports, fine_tuning=True).objective == "r2r":
        return tuple(reports)
    return tuple(
        replace(report, residual=pretrained_residual(planes, report, channel))
        for channel, report in enumerate(reports)
    )


def pretrained_residual(
    planes: Planes, report: NoiseReport, channel: int = 0
) -> ResidualNoise | None:
    """Measure the residual of the pretrained network in one window of a channel.

    Returns None where every block is constant or has missing pixels.
    """
    window = _window(planes, channel)
    if window is None:
        return None
    return residual_noise(window, report, _denoise, is_one_of_many=len(planes) > 1)


def _denoise(plane: Plane) -> npt.NDArray[Any]:
    network, window = pretrained_denoiser(_DEVICE), plane[None]
    # Small windows take no time: what is decided by them is the same on all processors.
    is_small = plane.size <= (_SIDE // 2) ** 2
    dtype = training_dtype(_DEVICE, "float32" if is_small else "auto")
    return np.asarray(predict_tile(network, window, measure([window]), dtype).denoised[0])


def _window(planes: Planes, channel: int) -> Plane | None:
    """Read the middle (rows, columns) of a plane of a channel that is not constant."""
    some = representative_subset(planes, _SIDE**2, _SIDE)
    samples = list(some.indices())
    middle = len(samples) // 2
    for number in sorted(range(len(samples)), key=lambda number: abs(number - middle))[:_MAX_TRIED]:
        noisy = read_middle(some, samples[number], _SIDE).astype(np.float64)[channel]
        try:
            measure([noisy[None]])
        except InputError:
            continue
        return noisy  # type: ignore[no-any-return]
    return None


def has_pairs_alone(planes: Planes) -> bool:
    """Whether there are no three successive planes, so that texture looks like shared noise."""
    return all(planes.size(axis) == 2 for axis in planes.context_axes)


def shares_noise(planes: Planes, should_stop: Callable[[], bool] | None = None) -> bool:
    """Whether noise of a plane is also in its neighbours, see `is_noise_shared`.

    Raises
    ------
    Interrupted
        When stopped.
    """
    middle = tuple(size // 2 for size in planes.sample_shape)
    window = middle_window(planes, middle, _COMPARED_SIDE)
    read = cache(partial(_compared_window, planes, window, should_stop))
    for along in map(planes.sample_axes.index, planes.context_axes):
        if is_noise_shared(_runs(planes, along, read)):
            return True
    return False


def _compared_window(
    planes: Planes,
    window: tuple[slice, slice],
    should_stop: Callable[[], bool] | None,
    sample: Sample,
) -> npt.NDArray[np.float64]:
    """A window of a plane, (channels, rows, columns)."""
    if should_stop is not None and should_stop():
        raise Interrupted
    return np.asarray(mask_missing(planes.read(sample, *window)), np.float64)


def _runs(
    planes: Planes, along: int, read: Callable[[Sample], npt.NDArray[np.float64]]
) -> list[tuple[Plane, ...]]:
    """Windows of runs of three planes that are spread over the stack, or of all two."""
    size = planes.sample_shape[along]
    length = min(3, size)
    found: list[tuple[Plane, ...]] = []
    for sample in spread_evenly(list(planes.indices()), _COMPARED):
        # Every second plane may be another kind, such as one that was interpolated.
        for first in (sample[along] - 1, sample[along]):
            if first < 0 or first + length > size:
                continue
            run = [
                read((*sample[:along], number, *sample[along + 1 :]))
                for number in range(first, first + length)
            ]
            found += list(zip(*run, strict=True))
    return found


def _following(planes: Planes) -> list[tuple[int, int]]:
    """Numbers of planes, and of those after them along T, else along Z."""
    axes = planes.sample_axes
    along = min(map(axes.index, planes.context_axes), key=lambda n: axes[n] != "T")
    step = int(np.prod(planes.sample_shape[along + 1 :], dtype=np.int64))
    return [
        (number, number + step)
        for number, sample in enumerate(planes.indices())
        if sample[along] + 1 < planes.sample_shape[along]
    ]
