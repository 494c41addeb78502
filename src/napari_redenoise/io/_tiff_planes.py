"""Pixels of a series, without the planes that its file does not hold."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from napari_redenoise.errors import InputError
from napari_redenoise.io._lazy_images import series_pixels


def read_planes(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> tuple[Any, str | None]:
    """Read the pixels of a series.

    Parameters
    ----------
    file : tifffile.TiffFile
    series : tifffile.TiffPageSeries

    Returns
    -------
    array : array
        With the axes of the series. Entries of the first axis with a plane that is missing or
        cut off are left out. Large ones are read later, see `series_pixels`.
    note : str or None
        What is missing.

    Raises
    ------
    InputError
        When no entry of the first axis is complete.

    Notes
    -----
    tifffile replaces missing planes by zeros.
    """
    held = _held_planes(file, series)
    if held.all():
        return series_pixels(file, series), None
    entries = series.shape[0]
    missing = f"{np.count_nonzero(~held)} of {held.size} planes are missing or cut off"
    if held.size == 1 or held.size % entries:
        raise InputError(f"its pixels end too early ({missing}): copy or export it again")
    complete = held.reshape(entries, -1).all(axis=1)
    if not complete.any():
        raise InputError(f"{missing}, and no part is complete: copy or export it again")
    pixels = _pixels_of(file, series, np.repeat(complete, held.size // entries))
    array = pixels.reshape(-1, *series.shape[1:])
    return array, f"{missing}: {_extent(held, series, len(array))} again for the others"


def _extent(held: npt.NDArray[np.bool_], series: tifffile.TiffPageSeries, read: int) -> str:
    """What is read of an incomplete series."""
    if held.size == series.shape[0]:
        return f"{read} are read, copy or export the file"
    return f"{read} of {series.shape[0]} entries of {series.axes[0]} are read, copy or export it"


def plane_count(series: tifffile.TiffPageSeries) -> int:
    """Number of planes that a series declares.

    Parameters
    ----------
    series : tifffile.TiffPageSeries

    Returns
    -------
    int
    """
    return max(len(series), math.prod(series.shape) // max(series.keyframe.size, 1))


def _held_planes(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> npt.NDArray[np.bool_]:
    """Whether each plane of a series is completely in its file."""
    count = plane_count(series)
    if series.dataoffset is not None:
        rest = file.filehandle.size - series.dataoffset
        return np.arange(1, count + 1) * series.keyframe.nbytes <= rest
    pages = itertools.islice(itertools.chain(series, itertools.repeat(None)), count)
    return np.array([page is not None and _is_complete(page) for page in pages])


def _is_complete(page: Any) -> bool:
    """Whether all pixels of a page are in its file."""
    size = page.parent.filehandle.size
    offsets, counts = page.dataoffsets, page.databytecounts
    if page.keyframe.is_contiguous and offsets:
        # Some programs write wrong byte counts for uncompressed pages.
        return bool(0 < offsets[0] <= size - page.keyframe.nbytes)
    ends = [start + count for start, count in zip(offsets, counts, strict=False)]
    return any(counts) and max(ends) <= size


def _pixels_of(
    file: tifffile.TiffFile, series: tifffile.TiffPageSeries, wanted: npt.NDArray[np.bool_]
) -> npt.NDArray[Any]:
    """Pixels of some planes, in a row."""
    if series.dataoffset is None:
        pages = [page for page, is_wanted in zip(series, wanted, strict=False) if is_wanted]
        return np.stack([page.asarray() for page in pages if page is not None])
    count = np.count_nonzero(wanted) * series.keyframe.size
    dtype = np.dtype(series.keyframe.dtype).newbyteorder(file.byteorder)
    pixels = file.filehandle.read_array(dtype, count=int(count), offset=series.dataoffset)
    return pixels.astype(dtype.newbyteorder("="))
