"""The series of a TIFF from which another program has read an array."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_redenoise.data import ArrayLike
from napari_redenoise.io._tiff_reading import is_tiff
from napari_redenoise.io._tiff_series import OpenTiff, open_tiff
from napari_redenoise.io._unreadable import UNREADABLE


def series_of_array(path: str | Path, array: ArrayLike) -> int | None:
    """Find the series of a TIFF that holds the pixels of an array.

    Parameters
    ----------
    path : path
    array : array-like
        One plane of it is read. It may lack axes of size 1, and alpha.

    Returns
    -------
    int or None
        Counted from 0, as in `read_image`. None where the file has one series, none of these
        pixels, or cannot be read.
    """
    try:
        if not os.path.isfile(path) or not is_tiff(Path(path)):
            return None
        with open_tiff(Path(path)) as opened:
            if len(opened.series) < 2:
                return None
            return _matching(opened, array)
    except UNREADABLE:
        return None


def _matching(opened: OpenTiff, array: ArrayLike) -> int | None:
    """The only series of the array's shape, or the first one whose first plane is that of it."""
    shape, dtype = _long(array.shape), np.dtype(array.dtype)
    fitting = [
        number
        for number, series in enumerate(opened.series)
        if dtype == series.dtype and shape in (_long(series.shape), _long(_opaque(series)))
    ]
    if len(fitting) < 2:
        return fitting[0] if fitting else None
    return next((one for one in fitting if _has_plane(opened.series[one], array)), None)


def _long(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(size) for size in shape if size != 1)


def _opaque(series: Any) -> tuple[int, ...]:
    """Shape of a series without alpha."""
    sizes = zip(series.axes, series.shape, strict=True)
    return tuple(3 if axis == "S" and size == 4 else size for axis, size in sizes)


def _has_plane(series: Any, array: ArrayLike) -> bool:
    """Whether the first page of a series is the first plane of an array."""
    page = np.squeeze(series.pages[0].asarray())
    leading = len(_long(array.shape)) - page.ndim
    plane = np.squeeze(np.asarray(array[(0,) * (len(array.shape) - page.ndim)]))
    if leading < 0 or page.ndim != plane.ndim:
        return False
    return np.array_equal(page[..., : plane.shape[-1]], plane)
