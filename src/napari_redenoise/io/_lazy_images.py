"""Images that are read when they are indexed."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
import zarr

from napari_redenoise.data import MOST_CHANNELS, LazyArray
from napari_redenoise.errors import InputError

MOST_BYTES_IN_MEMORY = 2**28
"""A larger TIFF is read plane by plane."""

_BLOCK = 2048
"""Pixels; largest side of what is read at once, unless the chunks are larger."""

# Raised by stores and decoders for missing and damaged chunks.
_UNREADABLE = (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError)


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
    # Its import takes a second.
    import dask.array

    shape, dtype = tuple(map(int, array.shape)), np.dtype(array.dtype)

    def read(key: Any) -> npt.NDArray[Any]:
        try:
            return np.asarray(array[key])
        except _UNREADABLE as error:
            raise InputError(
                f"{name} has pixels that cannot be read ({error}): copy it again completely"
            ) from error

    weakref.finalize(array, array.store.close)
    blocks = _block_sizes(shape, array.chunks, axes)
    return dask.array.from_array(LazyArray(shape, dtype, read), chunks=blocks, name=False)


def series_array(path: Path, series: tifffile.TiffPageSeries) -> Any:
    """Read a series of a TIFF, or have it read later if it is large.

    Parameters
    ----------
    path : Path
    series : tifffile.TiffPageSeries
        A series of the file, whose first level is read.

    Returns
    -------
    numpy.ndarray or dask.array.Array
        A file of more than 256 MB is mapped into memory, or read by a dask array if it is
        compressed.
    """
    if series.nbytes <= MOST_BYTES_IN_MEMORY:
        return series.asarray()
    try:
        return tifffile.memmap(path, series=series.index, mode="r")
    except ValueError:
        # Compressed, or in pieces.
        pass
    store = tifffile.imread(path, aszarr=True, series=series.index, level=0)
    return lazy_image(zarr.open_array(store, mode="r"), str(path), series.axes)


def _block_sizes(shape: Sequence[int], chunks: Sequence[int], axes: str) -> tuple[int, ...]:
    """Sizes of blocks: whole chunks in the plane, all channels, and one plane of a stack."""
    largest = {
        axis: max(1, _BLOCK // chunk) * chunk for axis, chunk in zip(axes, chunks, strict=True)
    }
    kept = {
        "Y": largest.get("Y", 1),
        "X": largest.get("X", 1),
        "C": MOST_CHANNELS,
        "S": MOST_CHANNELS,
    }
    return tuple(min(size, kept.get(axis, 1)) for size, axis in zip(shape, axes, strict=True))
