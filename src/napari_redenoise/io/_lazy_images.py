"""Images that are read when they are indexed."""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
import zarr

from napari_redenoise.data import LazyArray
from napari_redenoise.errors import InputError, error_text
from napari_redenoise.io._unreadable import UNREADABLE

MOST_BYTES_IN_MEMORY = 2**28
"""A larger TIFF is read plane by plane."""

_MOST_CHANNELS = 16
"""Channels that are read at once."""

_BLOCK = 2048
"""Pixels; largest side of what is read at once, unless the chunks are larger."""


def lazy_image(array: zarr.Array[Any], name: str, axes: str) -> Any:
    """Wrap a zarr array in a dask array, which reads what it is asked for.

    Parameters
    ----------
    array : zarr.Array
        Its store is closed with the last reference to it.
    name : str
        File name, for messages.
    axes : str
        One letter per axis.

    Returns
    -------
    dask.array.Array
        Blocks of one plane. An `InputError` is raised when they cannot be read.
    """
    weakref.finalize(array, array.store.close)
    return lazy_pixels(array, name, axes, array.chunks)


def whole_or_lazy(array: Any, name: str, axes: str, chunks: Sequence[int]) -> Any:
    """Read an array, unless it is larger than 256 MB: then it is wrapped by `lazy_pixels`.

    Parameters
    ----------
    array, name, axes, chunks
        As for `lazy_pixels`.
    """
    if math.prod(array.shape) * np.dtype(array.dtype).itemsize > MOST_BYTES_IN_MEMORY:
        return lazy_pixels(array, name, axes, chunks)
    return np.asarray(array[(slice(None),) * len(array.shape)])


def lazy_pixels(array: Any, name: str, axes: str, chunks: Sequence[int]) -> Any:
    """Wrap an array in a dask array, which reads what it is asked for.

    Parameters
    ----------
    array : array
        Anything that is read when it is indexed.
    name : str
        File name, for messages.
    axes : str
        One letter per axis.
    chunks : sequence of int
        Sizes in which the array is stored.

    Returns
    -------
    dask.array.Array
        As from `lazy_image`.
    """
    shape, dtype = tuple(map(int, array.shape)), np.dtype(array.dtype).newbyteorder("=")

    def read(key: Any) -> npt.NDArray[Any]:
        try:
            return np.asarray(array[key], dtype)
        except UNREADABLE as error:
            raise InputError(
                f"{name} has pixels that cannot be read ({error_text(error)}): copy it again "
                "completely"
            ) from error

    return _in_blocks(LazyArray(shape, dtype, read), chunks, axes)


def series_pixels(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> Any:
    """Read a series of a TIFF, or have it read later if it is large.

    Parameters
    ----------
    file : tifffile.TiffFile
        May be closed afterwards.
    series : tifffile.TiffPageSeries
        Its first level is read.

    Returns
    -------
    numpy.ndarray or dask.array.Array
        A dask array for more than 256 MB.
    """
    if series.nbytes <= MOST_BYTES_IN_MEMORY:
        return np.asarray(series.asarray())
    path = Path(file.filehandle.path)
    dtype = np.dtype(series.dtype).newbyteorder(file.byteorder)
    if series.dataoffset is not None and dtype.isnative and path.is_file():
        return _contiguous_image(path, dtype, series.dataoffset, series.shape, series.axes)
    array = zarr.open_array(series.aszarr(level=0), mode="r")
    return lazy_image(array, str(path), series.axes)


def _contiguous_image(
    path: Path, dtype: np.dtype[Any], offset: int, shape: tuple[int, ...], axes: str
) -> Any:
    """Read pixels in one piece when they are indexed.

    The file is mapped for each reading alone: the pages of a lasting map, once read, would stay in
    the memory of the process.
    """

    def read(key: Any) -> npt.NDArray[Any]:
        return np.array(np.memmap(path, dtype, "r", offset, shape)[key])

    return _in_blocks(LazyArray(shape, dtype, read), (1,) * len(shape), axes)


def _in_blocks(array: LazyArray, chunks: Sequence[int], axes: str) -> Any:
    # Its import takes a second.
    import dask.array

    blocks = _block_sizes(array.shape, chunks, axes)
    return dask.array.from_array(array, chunks=blocks, name=False)


def _block_sizes(shape: Sequence[int], chunks: Sequence[int], axes: str) -> tuple[int, ...]:
    """Sizes of blocks: whole chunks in the plane, all channels, and one plane of a stack."""
    sizes = dict.fromkeys("CS", _MOST_CHANNELS)
    for axis, chunk in zip(axes, chunks, strict=True):
        if axis in "YX":
            sizes[axis] = max(1, _BLOCK // chunk) * chunk
    return tuple(min(size, sizes.get(axis, 1)) for size, axis in zip(shape, axes, strict=True))
