"""Levels of an OME-Zarr, each half as large as the one before."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from napari_redenoise.io._ome_form import OmeForm
from napari_redenoise.io._result_arrays import round_to_integers

_CHUNK = 512
_SHARD = (2, 8)
"""Chunks of a shard along Y and X: few rows, since rows are kept in memory until it is full."""

_MOST_CHUNKS = 1000
"""An image of more chunks is sharded, since each would be a file."""

_COARSEST = 256
"""Pixels; largest side of the coarsest level."""


def create_level(
    group: zarr.Group, level: int, form: OmeForm, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> zarr.Array[Any]:
    """Create the array of a level.

    Parameters
    ----------
    group : zarr.Group
    level : int
        Its name.
    form : OmeForm
    shape : tuple of int
        In the order of the file.
    dtype : dtype

    Returns
    -------
    zarr.Array
        Chunks are parts of one plane; many of them are sharded.
    """
    names = [axis.name for axis in form.metadata.axes]
    in_plane = [axis.is_in_plane for axis in form.metadata.axes]
    chunks = tuple(
        min(size, _CHUNK) if inside else 1 for size, inside in zip(shape, in_plane, strict=True)
    )
    counts = [-(-size // chunk) for size, chunk in zip(shape, chunks, strict=True)]
    most = iter(_SHARD)
    shards = tuple(
        chunk * (min(count, next(most)) if inside else 1)
        for chunk, count, inside in zip(chunks, counts, in_plane, strict=True)
    )
    is_sharded = math.prod(counts) > _MOST_CHUNKS and shards != chunks
    return group.create_array(
        str(level),
        shape=shape,
        chunks=chunks,
        shards=shards if is_sharded else None,
        dtype=dtype,
        dimension_names=names,
        fill_value=0,
        # A killed process may have left half of it.
        overwrite=True,
    )


def written_shape(level: zarr.Array[Any]) -> tuple[int, ...]:
    """Shape of what is written at once, so that it is written once."""
    return level.chunks if level.shards is None else level.shards


def add_levels(group: zarr.Group, level: zarr.Array[Any], form: OmeForm) -> int:
    """Write the coarser levels; return the number of all levels."""
    plane = [axis.is_in_plane for axis in form.metadata.axes]
    number = 0
    while True:
        number += 1
        sizes = [size for size, inside in zip(level.shape, plane, strict=True) if inside]
        if max(sizes) <= _COARSEST or min(sizes) < 2:
            return number
        shape = tuple(
            size // 2 if inside else size for size, inside in zip(level.shape, plane, strict=True)
        )
        coarser = create_level(group, number, form, shape, level.dtype)
        _halve(level, coarser, plane)
        level = coarser


def channel_ranges(level: zarr.Array[Any], form: OmeForm) -> list[tuple[float, float]]:
    """Smallest and largest grey level of each channel, of those that are not NaN.

    Parameters
    ----------
    level : zarr.Array
        Read plane by plane.
    form : OmeForm

    Returns
    -------
    list of (float, float)
        One pair for an image without a channel axis. The second is larger.
    """
    axes = [form.letters[axis] for axis in form.order]
    found: dict[int, list[float]] = {}
    outer: list[Sequence[Any]] = [
        [slice(None)] if axis in "YX" else range(size)
        for axis, size in zip(axes, level.shape, strict=True)
    ]
    for key in itertools.product(*outer):
        plane = np.asarray(level[key])
        known = plane[np.isfinite(plane)]
        channel = key[axes.index("C")] if "C" in axes else 0
        if known.size:
            found.setdefault(channel, []).extend((float(known.min()), float(known.max())))
    count = level.shape[axes.index("C")] if "C" in axes else 1
    ranges = [(min(values), max(values)) for values in (found.get(k, [0.0]) for k in range(count))]
    return [(low, high if high > low else low + 1) for low, high in ranges]


def _halve(fine: zarr.Array[Any], coarse: zarr.Array[Any], plane: Sequence[bool]) -> None:
    """Fill a level with means of 2 x 2 pixels of the finer one, a row of chunks at a time."""
    first, second = (axis for axis, inside in enumerate(plane) if inside)
    rows, columns = coarse.shape[first], coarse.shape[second]
    height = written_shape(coarse)[first]
    sizes = zip(plane, coarse.shape, strict=True)
    outer = [range(1) if inside else range(size) for inside, size in sizes]
    for index in itertools.product(*outer):
        for top in range(0, rows, height):
            bottom = min(top + height, rows)
            parts = []
            for factor in (1, 2):
                key: list[Any] = list(index)
                key[first] = slice(factor * top, factor * bottom)
                key[second] = slice(0, factor * columns)
                parts.append(tuple(key))
            coarse[parts[0]] = halved(np.asarray(fine[parts[1]]))


def halved(plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Means of 2 x 2 pixels, of those that are not NaN.

    Parameters
    ----------
    plane : array of shape (2 rows, 2 columns)

    Returns
    -------
    array of shape (rows, columns)
        Of the same dtype; integers are rounded.
    """
    rows, columns = (size // 2 for size in plane.shape)
    if plane.dtype.kind in "ui" and plane.dtype.itemsize <= 2:
        # Their sums are exact in float32, which is several times faster.
        total = plane[::2].astype(np.float32) + plane[1::2]
        means: npt.NDArray[Any] = np.rint((total[:, ::2] + total[:, 1::2]) / 4).astype(plane.dtype)
        return means
    pixels = plane.reshape(rows, 2, columns, 2).astype(np.float64)
    known = ~np.isnan(pixels)
    counts = known.sum((1, 3))
    mean = np.where(known, pixels, 0).sum((1, 3)) / np.maximum(counts, 1)
    if plane.dtype.kind in "ui":
        return round_to_integers(mean, plane.dtype)
    found: npt.NDArray[Any] = np.where(counts, mean, np.nan).astype(plane.dtype)
    return found
