"""Axes that a file names, for an array that another program has read from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from napari_redenoise.io._ome_zarr import read_ome_zarr
from napari_redenoise.io._tiff_colours import known_axes
from napari_redenoise.io._tiff_reading import is_tiff
from napari_redenoise.io._tiff_series import open_tiff
from napari_redenoise.io._unreadable import UNREADABLE
from napari_redenoise.io._zarr_source import ZarrSource

_UNNAMED = frozenset("QI")


def axes_of_file(path: str | Path, shape: Sequence[int]) -> str | None:
    """Read the axes of a TIFF or OME-Zarr that belong to an array of a shape.

    No pixels are read.

    Parameters
    ----------
    path : path or str
        Of the file, or of the folder or address of an OME-Zarr.
    shape : sequence of int
        Of the array. It may lack the channels of the file, and its axes of size 1: some readers
        make a layer of each channel.

    Returns
    -------
    str or None
        One letter per axis, Y and X last. None where the file names no axes, or those of an array
        of another shape, or cannot be read.
    """
    wanted = tuple(int(size) for size in shape)
    try:
        named = [_fitting(axes, sizes, wanted) for axes, sizes in _named(path)]
    except UNREADABLE:
        return None
    return next((axes for axes in named if axes is not None), None)


def _named(path: str | Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Axes and shape of every image in a file whose axes are named."""
    source = ZarrSource.find(path)
    if source is not None:
        image = read_ome_zarr(source)
        if image.ome is not None:
            yield image.axes, tuple(image.array.shape)
        return
    path = Path(path)
    if not path.is_file() or not is_tiff(path):
        return
    with open_tiff(path) as opened:
        for series in opened.series:
            if not _UNNAMED & set(series.axes):
                yield known_axes(series.axes, len(series.shape)), tuple(series.shape)


def _fitting(axes: str, sizes: tuple[int, ...], wanted: tuple[int, ...]) -> str | None:
    """The axes of an array of a shape, of all axes of a file."""
    if not axes.endswith("YX"):
        return None
    places = list(zip(axes, sizes, strict=True))
    long = [(axis, size) for axis, size in places if size > 1 or axis in "YX"]
    for one in (places, long):
        for kept in (one, [(axis, size) for axis, size in one if axis != "C"]):
            if tuple(size for _, size in kept) == wanted:
                return "".join(axis for axis, _ in kept)
    return None
