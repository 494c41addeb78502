"""Blocks of an incomplete OME-Zarr, which several processes write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from napari_redenoise.io._image_file import ImageFile
from napari_redenoise.io._ome_form import ome_form
from napari_redenoise.io._result_arrays import round_to_integers
from napari_redenoise.io._safe_writing import explain_os_error


class OmeZarrBlocks:
    """The pixels of an incomplete OME-Zarr, which an `OmeZarrStream` of another process made.

    Parameters
    ----------
    path : Path
        ``OmeZarrStream.partial``.
    like : ImageFile
        The source.
    shape : tuple of int, optional
        As of the stream.

    Raises
    ------
    OutputError
        When the file cannot be opened.
    """

    def __init__(self, path: Path, like: ImageFile, shape: Sequence[int] | None = None) -> None:
        self.shape = tuple(map(int, like.array.shape if shape is None else shape))
        self._path = path
        self._form = ome_form(self.shape, like)
        with explain_os_error(path):
            self._level = zarr.open_array(path / "0", mode="r+")
        self.dtype = np.dtype(self._level.dtype)

    def write(self, key: tuple[Any, ...], values: npt.NDArray[Any]) -> None:
        """Write a block, whose rows and columns are multiples of ``OmeZarrStream.written_block``.

        Parameters
        ----------
        key : tuple of int and slice
            One per axis of the image.
        values : array
            Rounded to an integer dtype.

        Raises
        ------
        OutputError
            When the file cannot be written.
        """
        if self.dtype.kind in "ui":
            values = round_to_integers(values, self.dtype)
        with explain_os_error(self._path):
            self._form.write(self._level, key, values)
