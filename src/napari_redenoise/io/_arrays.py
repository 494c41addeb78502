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

MOST_BYTES_IN_MEMORY = 2 * 2**30


def result_array(
    shape: tuple[int, ...], plane_axes: tuple[int, ...], fill_value: float = 0.0
) -> Any:
    """Make a float32 array for a result: numpy, or beyond 2 GiB zarr in a temporary folder.

    The folder is removed when the process ends, as memory would be.

    Parameters
    ----------
    shape : tuple of int
    plane_axes : tuple of int
        Axes that are written and read together: they make the chunks.
    fill_value : float
    """
    if math.prod(shape) * np.dtype(np.float32).itemsize <= MOST_BYTES_IN_MEMORY:
        return np.full(shape, fill_value, np.float32)
    chunks = tuple(min(size, 1024) if axis in plane_axes else 1 for axis, size in enumerate(shape))
    folder = tempfile.mkdtemp(dir=_folder(), suffix=".zarr")
    return zarr.create_array(
        store=folder, shape=shape, chunks=chunks, dtype="float32", fill_value=fill_value
    )


@lru_cache(maxsize=1)
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="napari-redenoise-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
