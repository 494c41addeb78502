"""Arrays for results: in memory, or on disk if they are large."""

from __future__ import annotations

import atexit
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from napari_redenoise.data import ArrayLike, Planes
from napari_redenoise.errors import OutputError
from napari_redenoise.io._safe_writing import FULL_DISK, format_bytes
from napari_redenoise.io._temporary_folders import TemporaryFolder, remove_leftovers

MOST_BYTES_IN_MEMORY = 2 * 2**30
_PREFIX = "napari-redenoise-"
_cache: Path | None = None


def result_array(
    planes: Planes, *, channels: bool = True, fill_value: float = 0.0, dtype: Any = np.float32
) -> Any:
    """Make an array for a result: numpy, or beyond 2 GiB zarr in a temporary folder.

    The folder is removed when the process ends, or by the next one if this one is killed.

    Parameters
    ----------
    planes : Planes
        The image; the result has its shape.
    channels : bool
        Whether the result has the channel axis; a mask has not.
    fill_value : float
    dtype : dtype
    """
    axes = planes.axes if channels else planes.axes_without_channels
    shape = tuple(map(int, planes.array.shape)) if channels else planes.shape_without_channels
    _remove_leftovers(_cache)
    if math.prod(shape) * np.dtype(dtype).itemsize <= MOST_BYTES_IN_MEMORY:
        return np.full(shape, fill_value, dtype)
    # Chunks are parts of one plane, which are read and written together.
    chunks = tuple(
        min(size, 1024) if axis in "CYX" else 1 for size, axis in zip(shape, axes, strict=True)
    )
    folder = tempfile.mkdtemp(dir=_folder(_cache), suffix=".zarr")
    return zarr.create_array(
        store=folder, shape=shape, chunks=chunks, dtype=np.dtype(dtype), fill_value=fill_value
    )


def disk_space_needed(sizes: Sequence[int]) -> tuple[Path, int]:
    """Return the folder for large results, and the bytes that results of these sizes need there.

    Parameters
    ----------
    sizes : sequence of int
        Bytes of each result.

    Returns
    -------
    folder : Path
    needed : int
        Bytes of the results that do not stay in memory.
    """
    _remove_leftovers(_cache)
    folder = _cache or Path(tempfile.gettempdir())
    return folder, sum(size for size in sizes if size > MOST_BYTES_IN_MEMORY)


def cast_like(source: ArrayLike, axes: str, denoised: ArrayLike) -> Any:
    """Round a denoised image to the integer type of its source, plane by plane.

    Parameters
    ----------
    source, denoised : array-like
        Of one shape; only the dtype of the source matters.
    axes : str
        One letter per axis.

    Returns
    -------
    array
        Of the source's dtype, see `round_to_integers`; unchanged if that is not an integer.
    """
    dtype = np.dtype(source.dtype)
    if dtype.kind not in "ui":
        return denoised
    planes = Planes(denoised, axes)
    whole = result_array(planes, dtype=dtype)
    rows, columns = slice(0, planes.height), slice(0, planes.width)
    with explain_full_disk():
        for sample in planes.indices():
            plane = round_to_integers(planes.read(sample, rows, columns), dtype)
            planes.write(whole, sample, rows, columns, plane)
    return whole


@dataclass(frozen=True)
class RoundingArray:
    """An array of integers that rounds what is assigned, see `round_to_integers`.

    Attributes
    ----------
    array : numpy.ndarray or zarr.Array
        From `result_array`.
    """

    array: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(map(int, self.array.shape))

    @property
    def dtype(self) -> np.dtype[Any]:
        """An integer type."""
        found: np.dtype[Any] = np.dtype(self.array.dtype)
        return found

    def __getitem__(self, key: Any) -> Any:
        return self.array[key]

    def __setitem__(self, key: Any, values: npt.NDArray[Any]) -> None:
        self.array[key] = round_to_integers(values, self.dtype)


def round_to_integers(array: npt.NDArray[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Round to an integer type; values out of range are clipped and NaN becomes 0."""
    dtype = np.dtype(dtype)
    limits = np.iinfo(dtype)
    if dtype.itemsize <= 2:
        # Their limits are exact in float32, which is several times faster.
        small = np.rint(np.asarray(array, np.promote_types(array.dtype, np.float32)))
        np.clip(small, limits.min, limits.max, out=small)
        small[np.isnan(small)] = 0
        rounded: npt.NDArray[Any] = small.astype(dtype)
        return rounded
    values = np.rint(np.asarray(array, np.float64))
    values[np.isnan(values)] = 0
    # In floating point the largest 64-bit integer is rounded up, beyond the type: do not convert
    # values that reach it.
    above, below = values >= float(limits.max), values <= float(limits.min)
    whole = np.where(above | below, 0, values).astype(dtype)
    whole[above], whole[below] = limits.max, limits.min
    return whole


@contextmanager
def explain_full_disk() -> Iterator[None]:
    """Replace the OSError of a full disk by an error with a remedy.

    Raises
    ------
    OutputError
        When results on disk do not fit.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        folder = _cache or tempfile.gettempdir()
        raise OutputError(
            f"the disk of {folder} is full, which holds results beyond "
            f"{format_bytes(MOST_BYTES_IN_MEMORY)}: free some space, or choose another folder "
            "(TMPDIR; in napari the preferences)"
        ) from error


def set_results_folder(folder: str | Path | None) -> None:
    """Set the folder for results beyond 2 GiB.

    Parameters
    ----------
    folder : path or None
        None selects the folder for temporary files.

    Raises
    ------
    OutputError
        When the folder does not exist or is not writable.
    """
    global _cache
    if folder is not None and not (Path(folder).is_dir() and os.access(folder, os.W_OK)):
        raise OutputError(f"the folder {folder} is not writable: choose another cache folder")
    _cache = None if folder is None else Path(folder)


@lru_cache
def _remove_leftovers(parent: Path | None) -> None:
    """Remove the folders of killed processes, once."""
    remove_leftovers(parent, _PREFIX)


@lru_cache
def _folder(parent: Path | None) -> Path:
    folder = TemporaryFolder.make(parent, _PREFIX)
    atexit.register(folder.remove)
    return folder.path
