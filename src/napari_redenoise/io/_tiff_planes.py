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
    entries, missing = series.shape[0], held.size - np.count_nonzero(held)
    lack = f"missing or cut off: {missing} of {held.size} planes"
    complete = held.reshape(entries if held.size % entries == 0 else 1, -1).all(axis=1)
    if not complete.any():
        raise InputError(f"its pixels end too early ({lack}): copy or export it again")
    pixels = _pixels_of(file, series, np.repeat(complete, held.size // complete.size))
    array = pixels.reshape(-1, *series.shape[1:])
    read = f"{len(array)} of {entries} entries of axis {series.axes[0]} are read"
    return array, f"{lack}; {read}, copy or export the file again for the others"


def plane_count(series: tifffile.TiffPageSeries) -> int:
    """Number of planes that a series declares."""
    return max(len(series), math.prod(series.shape) // max(series.keyframe.size, 1))


def _held_planes(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> npt.NDArray[np.bool_]:
    """Whether each plane of a series is completely in its file."""
    count = plane_count(series)
    if count > max(file.filehandle.size, len(series)):
        raise InputError(f"it declares {count} planes, more than it has bytes: copy it again")
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
    first = series.keyframe
    if series.dataoffset is None:
        pages = [page for page, is_wanted in zip(series, wanted, strict=False) if is_wanted]
        shape, axes = (len(pages), *first.shape), f"I{first.axes}"
        part = tifffile.TiffPageSeries(pages, shape, first.dtype, axes, parent=file)
        return np.asarray(part.asarray())
    count = np.count_nonzero(wanted) * first.size
    dtype = np.dtype(first.dtype).newbyteorder(file.byteorder)
    pixels = file.filehandle.read_array(dtype, count=int(count), offset=series.dataoffset)
    return pixels.astype(dtype.newbyteorder("="))
