"""Arrays for results: in memory, or on disk where memory is not for them."""

from __future__ import annotations

import atexit
import math
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_redenoise.data import Planes

MOST_BYTES_IN_MEMORY = 2 * 2**30


def result_array(planes: Planes, *, channels: bool = True, fill_value: float = 0.0) -> Any:
    """Make a float32 array for a result: numpy, or beyond 2 GiB zarr in a temporary folder.

    The folder is removed when the process ends, as memory would be.

    Parameters
    ----------
    planes : Planes
        The image; the result has its shape.
    channels : bool
        False leaves the channel axis out, as a mask does.
    fill_value : float
    """
    axes = planes.axes if channels else planes.axes_without_channels
    shape = tuple(map(int, planes.array.shape)) if channels else planes.shape_without_channels
    if math.prod(shape) * np.dtype(np.float32).itemsize <= MOST_BYTES_IN_MEMORY:
        return np.full(shape, fill_value, np.float32)
    # What is written and read together makes a chunk: a part of one plane.
    chunks = tuple(
        min(size, 1024) if axis in "CYX" else 1 for size, axis in zip(shape, axes, strict=True)
    )
    folder = tempfile.mkdtemp(dir=_folder(), suffix=".zarr")
    return zarr.create_array(
        store=folder, shape=shape, chunks=chunks, dtype="float32", fill_value=fill_value
    )


@lru_cache(maxsize=1)
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="napari-redenoise-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
