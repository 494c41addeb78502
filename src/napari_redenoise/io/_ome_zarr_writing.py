"""Writing of OME-Zarr 0.5, chunk by chunk while an image is denoised."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from napari_redenoise.data import ArrayLike
from napari_redenoise.errors import NameTakenError, OutputError
from napari_redenoise.io._channels import omero_json
from napari_redenoise.io._chunk_rows import ChunkRow, row_name, with_entry
from napari_redenoise.io._image_file import ImageFile
from napari_redenoise.io._ome_form import ome_form
from napari_redenoise.io._ome_levels import add_levels, channel_ranges, create_level, written_shape
from napari_redenoise.io._ome_metadata import ome_json
from napari_redenoise.io._progress_file import append_block, append_plane, read_progress
from napari_redenoise.io._safe_writing import PREFIX, check_folder, explain_os_error
from napari_redenoise.io._temporary_folders import TemporaryFolder
from napari_redenoise.io._zarr_source import is_zarr_folder

ZARR_SUFFIX = ".zarr"
PROVENANCE = "redenoise"
"""Attribute with the provenance of a result."""


class OmeZarrStream:
    """An image that is written to an OME-Zarr while its pixels are assigned.

    It supports item assignment as an array of the image's axes, in any order of windows. Rows of
    chunks are kept in memory until they are complete, and then written once. The file appears
    under its name in `move_to`.

    Parameters
    ----------
    path : path
        Ends in ``.zarr``; its folder holds the incomplete file.
    like : ImageFile
        The source, whose axes, scale, units and channels are kept.
    shape : tuple of int, optional
        Default that of the source. The result may lack its channels, as a mask does.
    dtype : dtype
        Values are rounded to an integer dtype.
    provenance : dict, optional
        Plain values for the attribute ``redenoise``.
    keep_in : Path, optional
        Folder that keeps the incomplete file, beside ``path``. What an earlier stream has left
        there is continued; it must have had the same arguments.

    Attributes
    ----------
    finished : set of tuple
        Indices of the planes that are written: those of all axes but C, Y and X.
    blocks : dict of set
        Places of the blocks that `note_block` noted, by the index of an unfinished plane.
    partial : Path
        The incomplete file.

    Raises
    ------
    OutputError
        When OME-Zarr cannot hold the axes, or the file cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        like: ImageFile,
        shape: Sequence[int] | None = None,
        dtype: Any = np.float32,
        provenance: dict[str, Any] | None = None,
        keep_in: Path | None = None,
    ) -> None:
        self.shape = tuple(map(int, like.array.shape if shape is None else shape))
        self.dtype = np.dtype(dtype)
        self._path = Path(path)
        self._form = ome_form(self.shape, like)
        self._provenance = provenance or {}
        self._pending: dict[tuple[Any, ...], ChunkRow] = {}
        self._written: dict[tuple[Any, ...], set[int]] = {}
        self._is_kept = keep_in is not None
        if not self._is_kept:
            check_folder(self._path)
        with self._explained():
            self._folder = (
                TemporaryFolder.make(self._path.parent, PREFIX)
                if keep_in is None
                else TemporaryFolder(keep_in, None)
            )
            self.partial = self._folder.path / self._path.name
            self._progress = self._folder.path / f"{self._path.name}.progress"
            self.finished, self.blocks = read_progress(self._progress)
            self._open()

    def _open(self) -> None:
        if self.finished or self.blocks:
            self._group = zarr.open_group(self.partial, mode="r+", zarr_format=3)
            self._level = zarr.open_array(self.partial / "0", mode="r+")
        else:
            self._group = zarr.create_group(self.partial, zarr_format=3, overwrite=True)
            self._level = create_level(self._group, 0, self._form, self._form.shape, self.dtype)

    def __setitem__(self, key: tuple[Any, ...], values: npt.NDArray[Any]) -> None:
        """Assign a window; the key has one int or slice per axis."""
        axis = self._form.letters.index("Y")
        start, stop, _ = key[axis].indices(self.shape[axis])
        height = written_shape(self._level)[self._form.order.index(axis)]
        for top in range(start // height * height, stop, height):
            rows = slice(max(start, top), min(stop, top + height))
            part = with_entry(key, axis, slice(rows.start - top, rows.stop - top))
            self._row(key, axis, top, height).set(
                part, values[self._within(key, axis, rows, start)]
            )
            self._write_complete(key, axis, top)

    def _within(self, key: tuple[Any, ...], axis: int, rows: slice, start: int) -> tuple[Any, ...]:
        """Index of some rows in the values of a key."""
        inside = slice(rows.start - start, rows.stop - start)
        return tuple(
            inside if number == axis else slice(None)
            for number, one in enumerate(key)
            if isinstance(one, slice)
        )

    def _row(self, key: tuple[Any, ...], axis: int, top: int, height: int) -> ChunkRow:
        name = row_name(key, top)
        if name not in self._pending:
            sizes = with_entry(self.shape, axis, min(height, self.shape[axis] - top))
            self._pending[name] = ChunkRow.empty(key, sizes, self.dtype)
        return self._pending[name]

    def _write_complete(self, key: tuple[Any, ...], axis: int, top: int) -> None:
        band = self._pending[row_name(key, top)]
        if not band.is_complete:
            return
        rows = slice(top, top + band.height(key, axis))
        place = tuple(
            rows if number == axis else one if not isinstance(one, slice) else slice(None)
            for number, one in enumerate(key)
        )
        with self._explained():
            self._form.write(self._level, place, band.pixels)
            self._note(*row_name(key, top))
        del self._pending[row_name(key, top)]

    def _note(self, *row: int) -> None:
        """Record that a row of chunks is written, and whether its plane is."""
        *sample, top = row
        name = tuple(sample)
        tops = self._written.setdefault(name, set())
        # Rows may be written again.
        tops.add(top)
        axis = self._form.letters.index("Y")
        height = written_shape(self._level)[self._form.order.index(axis)]
        if len(tops) == -(-self.shape[axis] // height):
            del self._written[name]
            self.finished.add(name)
            append_plane(self._progress, name)

    @property
    def written_block(self) -> tuple[int, int]:
        """Rows and columns of what is written at once."""
        shape = written_shape(self._level)
        rows, columns = (self._form.order.index(self._form.letters.index(axis)) for axis in "YX")
        return shape[rows], shape[columns]

    def note_block(self, sample: tuple[int, ...], place: tuple[int, int], of: int) -> None:
        """Record that another process has written a block of a plane, see `OmeZarrBlocks`.

        Parameters
        ----------
        sample : tuple of int
            Index of the plane.
        place : tuple of int
            First row and first column of the block.
        of : int
            Number of blocks of a plane.

        Raises
        ------
        OutputError
            When the file cannot be written.
        """
        blocks = self.blocks.setdefault(sample, set())
        blocks.add(place)
        with self._explained():
            append_block(self._progress, sample, place)
            if len(blocks) == of:
                del self.blocks[sample]
                self.finished.add(sample)
                append_plane(self._progress, sample)

    def move_to(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Complete the file with its coarser levels and metadata, and give it its name.

        Parameters
        ----------
        path : path
            In the folder of the stream's path.
        overwrite : bool
            Replace an existing OME-Zarr.

        Raises
        ------
        NameTakenError
            When the name is taken, and ``overwrite`` is not set.
        OutputError
            When the file cannot be written.
        """
        path = Path(path)
        with self._explained():
            self._complete()
            check_zarr_output(path, overwrite=overwrite)
            replaced = self._folder.path / f"replaced-{path.name}"
            if path.is_dir():
                path.rename(replaced)
            try:
                # Not os.replace, which would replace a file that appeared meanwhile.
                self.partial.rename(path)
            except OSError:
                if replaced.exists():
                    replaced.rename(path)
                if os.path.lexists(path) and not overwrite:
                    raise NameTakenError(f"{path} exists already: choose another name") from None
                raise
        self._progress.unlink(missing_ok=True)
        self.remove()

    def _complete(self) -> None:
        sizes = zip(self._form.letters, self.shape, strict=True)
        planes = math.prod(size for letter, size in sizes if letter not in "CYX")
        if len(self.finished) < planes:
            raise OutputError(
                f"{self._path} is not finished, it lacks {planes - len(self.finished)} of {planes} "
                "planes: assign all pixels first"
            )
        if "ome" in self._group.attrs:
            return
        levels = add_levels(self._group, self._level, self._form)
        metadata = self._form.metadata
        if self._form.channels:
            coarsest = zarr.open_array(self.partial / str(levels - 1), mode="r")
            ranges = channel_ranges(coarsest, self._form)
            omero = omero_json(self._form.channels, self.dtype, ranges)
            metadata = replace(metadata, omero=omero)
        # Last, so that an incomplete file has none.
        self._group.attrs.update(
            {
                "ome": ome_json(metadata, levels),
                PROVENANCE: json.loads(json.dumps(self._provenance, default=str)),
            }
        )

    def remove(self) -> None:
        """Remove the incomplete file, unless it is kept for a later run."""
        if not self._is_kept:
            self._folder.remove()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        size = math.prod(self.shape) * self.dtype.itemsize
        with explain_os_error(self._path, size):
            yield


def write_ome_zarr(
    path: str | Path,
    array: ArrayLike,
    like: ImageFile,
    *,
    overwrite: bool = False,
    provenance: dict[str, Any] | None = None,
) -> Path:
    """Write a result as OME-Zarr 0.5, with the axes, scale, units and channels of its source.

    The file appears under its name when it is complete.

    Parameters
    ----------
    path : path
        Ends in ``.zarr``.
    array : array-like
        One plane of it is in memory at a time.
    like : ImageFile
        The source. The result may lack its channels, as a mask does.
    overwrite : bool
        Replace an existing OME-Zarr.
    provenance : dict, optional
        Plain values for the attribute ``redenoise``.

    Returns
    -------
    Path

    Raises
    ------
    OutputError
        When the file exists and ``overwrite`` is not set, its name does not end in ``.zarr``, or
        it cannot be written.

    Notes
    -----
    Coarser levels are means of 2 x 2 pixels, down to 256 pixels. Images of more than 1000 chunks
    are sharded. The axes are ordered as the format demands: time, channel, space.
    """
    path = Path(path)
    check_zarr_output(path, overwrite=overwrite)
    with ome_zarr_stream(
        path, like, array.shape, array.dtype, overwrite=overwrite, provenance=provenance
    ) as stream:
        axes = like.axes if len(array.shape) == len(like.axes) else like.axes.replace("C", "")
        outer = [
            range(size) if axis not in "CYX" else [slice(0, size)]
            for size, axis in zip(array.shape, axes, strict=True)
        ]
        for key in itertools.product(*outer):
            stream[key] = np.asarray(array[key])
    return path


@contextmanager
def ome_zarr_stream(
    path: str | Path,
    like: ImageFile,
    shape: Sequence[int] | None = None,
    dtype: Any = np.float32,
    *,
    overwrite: bool = False,
    provenance: dict[str, Any] | None = None,
) -> Iterator[OmeZarrStream]:
    """Provide an `OmeZarrStream`, which gets its name when the block succeeds.

    Parameters
    ----------
    path, like, shape, dtype, provenance
        As of `OmeZarrStream`.
    overwrite : bool
        Replace an existing OME-Zarr.

    Yields
    ------
    OmeZarrStream

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    stream = OmeZarrStream(path, like, shape, dtype, provenance)
    try:
        yield stream
        stream.move_to(path, overwrite=overwrite)
    finally:
        stream.remove()


def is_zarr(path: Path) -> bool:
    """Whether a result of this name is an OME-Zarr."""
    return path.suffix.lower() == ZARR_SUFFIX


def check_zarr_output(path: str | Path, *, overwrite: bool = False) -> None:
    """Check that an OME-Zarr can be written under a name.

    Parameters
    ----------
    path : path
    overwrite : bool
        Whether an existing OME-Zarr may be replaced; other folders and files may not.

    Raises
    ------
    NameTakenError
        When the name is taken, and ``overwrite`` is not set.
    OutputError
        When it is not the name of an OME-Zarr, or another folder or file would be replaced.
    """
    path = Path(path)
    if not is_zarr(path):
        raise OutputError(
            f"the result cannot be written as {path.name}: give a name that ends in {ZARR_SUFFIX}"
        )
    if not os.path.lexists(path):
        return
    can_replace = is_zarr_folder(path)
    if not overwrite:
        advice = ", or allow overwriting" if can_replace else ""
        raise NameTakenError(f"{path} exists already: choose another name{advice}")
    if not can_replace:
        raise OutputError(f"{path} exists and is no OME-Zarr: choose another name")
