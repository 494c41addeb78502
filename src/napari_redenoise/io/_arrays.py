"""Arrays for results: in memory, or on disk where memory is not for them."""

from __future__ import annotations

import atexit
import math
import os
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_redenoise.data import ArrayLike, Planes
from napari_redenoise.errors import OutputError

MOST_BYTES_IN_MEMORY = 2 * 2**30
_cache: Path | None = None


def result_array(
    planes: Planes, *, channels: bool = True, fill_value: float = 0.0, dtype: Any = np.float32
) -> Any:
    """Make an array for a result: numpy, or beyond 2 GiB zarr in a temporary folder.

    The folder is removed when the process ends, as memory would be.

    Parameters
    ----------
    planes : Planes
        The image; the result has its shape.
    channels : bool
        False leaves the channel axis out, as a mask does.
    fill_value : float
    dtype : dtype
    """
    axes = planes.axes if channels else planes.axes_without_channels
    shape = tuple(map(int, planes.array.shape)) if channels else planes.shape_without_channels
    if math.prod(shape) * np.dtype(dtype).itemsize <= MOST_BYTES_IN_MEMORY:
        return np.full(shape, fill_value, dtype)
    # What is written and read together makes a chunk: a part of one plane.
    chunks = tuple(
        min(size, 1024) if axis in "CYX" else 1 for size, axis in zip(shape, axes, strict=True)
    )
    folder = tempfile.mkdtemp(dir=_folder(_cache), suffix=".zarr")
    return zarr.create_array(
        store=folder, shape=shape, chunks=chunks, dtype=np.dtype(dtype), fill_value=fill_value
    )


def in_type_of(source: ArrayLike, axes: str, denoised: ArrayLike) -> Any:
    """Round a denoised image to the integers of its source, plane by plane.

    Parameters
    ----------
    source, denoised : array-like
        Of one shape; of the source only the dtype matters.
    axes : str
        One letter per axis.

    Returns
    -------
    array
        Of the source's dtype, pixels without a value as 0; as it is, where that is no integer.
    """
    dtype = np.dtype(source.dtype)
    if dtype.kind not in "ui":
        return denoised
    limits = np.iinfo(dtype)
    planes = Planes(denoised, axes)
    rounded = result_array(planes, dtype=dtype)
    rows, columns = slice(0, planes.height), slice(0, planes.width)
    for sample in planes.indices():
        plane = np.rint(np.nan_to_num(planes.read(sample, rows, columns)))
        plane = np.clip(plane, limits.min, limits.max).astype(dtype)
        planes.write(rounded, sample, rows, columns, plane)
    return rounded


def keep_results_in(folder: str | Path | None) -> None:
    """Choose the folder for results beyond 2 GiB; None takes that for temporary files.

    Raises
    ------
    OutputError
        When there is no such folder, or nothing can be written to it.
    """
    global _cache
    if folder is not None and not (Path(folder).is_dir() and os.access(folder, os.W_OK)):
        raise OutputError(f"nothing can be written to {folder}: choose another cache folder")
    _cache = None if folder is None else Path(folder)


@lru_cache
def _folder(parent: Path | None) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="napari-redenoise-", dir=parent))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
