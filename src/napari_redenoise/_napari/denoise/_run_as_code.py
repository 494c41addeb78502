"""A finished run as code that repeats it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from napari_redenoise._napari._layers import LayerImage
from napari_redenoise._napari.denoise._run import Job
from napari_redenoise.config import Config
from napari_redenoise.data import Planes, middle_window, spread_evenly
from napari_redenoise.errors import RedenoiseError
from napari_redenoise.io import read_image, series_of_array
from napari_redenoise.model import RunAsCode

MOST_COMPARED = 2**26
"""Pixels of an image that are compared with its file; larger images in several planes."""

FEWEST_PLANES = 3
LONGEST_SIDE = 4096
"""Rows and columns that are compared of a plane, in its middle."""


def is_repeatable(job: Job) -> bool:
    """Whether code can repeat the run; else it loads the trained model.

    Continued trainings, and those on several layers or a marked region, cannot be repeated from
    one file.
    """
    is_first = job.action in ("train", "instant")
    return is_first and not job.others and job.region is None


def find_files(job: Job) -> tuple[Job, int | None]:
    """Leave out the files that hold other pixels than their layers.

    Returns the job, and the series of its file. Reads the files: not for the viewer's thread.
    """
    source, target, axes = job.source, job.target, job.source.axes
    series = None if source.file is None else series_of_array(source.file, source.array)
    if not _has_pixels_of_file(source, axes, series):
        source, series = replace(source, file=None), None
    if target is not None and not _has_pixels_of_file(target, axes, None):
        target = replace(target, file=None)
    return replace(job, source=source, target=target), series


def _has_pixels_of_file(image: LayerImage, axes: str, series: int | None) -> bool:
    """Whether the code that reads the file of a layer gets its pixels."""
    if image.file is None:
        return False
    try:
        read = Planes(read_image(image.file, axes, series).array, axes)
        return _is_same(read, Planes(image.array, axes))
    except (RedenoiseError, OSError):
        return False


def _is_same(first: Planes, second: Planes) -> bool:
    if tuple(first.array.shape) != tuple(second.array.shape):
        return False
    types = {np.dtype(one.array.dtype).newbyteorder("=") for one in (first, second)}
    if len(types) > 1:
        return False
    most = max(FEWEST_PLANES, MOST_COMPARED // (first.channels * first.height * first.width))
    samples = spread_evenly(list(first.indices()), most)
    window = middle_window(first, samples[0], LONGEST_SIDE)
    return all(
        np.array_equal(first.read(sample, *window), second.read(sample, *window), equal_nan=True)
        for sample in samples
    )


def run_as_code(job: Job, provenance: dict[str, Any], series: int | None) -> RunAsCode:
    """Make the code of a finished run.

    Parameters
    ----------
    job : Job
        As `find_files` returns it.
    provenance : dict
        Metadata of the result.
    series : int or None
        Series of the file that the layer shows.
    """
    steps, config = provenance["steps"], Config(**provenance["config"])
    return RunAsCode(
        config=Config(**provenance["asked"]),
        source=job.source.file,
        axes=job.source.axes,
        target=None if job.target is None else job.target.file or "",
        device=str(job.denoiser.device),
        stop_after=steps if 0 < steps < config.training.total_steps else None,
        model=None if is_repeatable(job) else "model.safetensors",
        as_source=job.as_source or job.source.colour,
        series=series,
    )
