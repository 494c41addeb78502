"""Rows of chunks that are kept in memory until all of their pixels are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_redenoise.io._result_arrays import round_to_integers


@dataclass
class ChunkRow:
    """Pixels of a row of chunks of one plane, and which of them are known."""

    pixels: npt.NDArray[Any]
    known: npt.NDArray[np.bool_]

    @classmethod
    def empty(cls, key: tuple[Any, ...], sizes: Sequence[int], dtype: np.dtype[Any]) -> ChunkRow:
        """Make a row for the plane of a key, in an array of these sizes."""
        shape = [size for one, size in zip(key, sizes, strict=True) if isinstance(one, slice)]
        return cls(np.empty(shape, dtype), np.zeros(shape, bool))

    @property
    def is_complete(self) -> bool:
        """Whether all pixels are known."""
        return bool(self.known.all())

    def height(self, key: tuple[Any, ...], axis: int) -> int:
        """Number of rows of pixels; ``axis`` is Y."""
        return int(self.pixels.shape[sum(isinstance(one, slice) for one in key[:axis])])

    def set(self, key: tuple[Any, ...], values: npt.NDArray[Any]) -> None:
        """Assign a window, whose key is relative to the row; integers are rounded."""
        place = tuple(one for one in key if isinstance(one, slice))
        if self.pixels.dtype.kind in "ui":
            values = round_to_integers(values, self.pixels.dtype)
        self.pixels[place] = values
        self.known[place] = True


def row_name(key: tuple[Any, ...], top: int) -> tuple[Any, ...]:
    """Name of a row: its sample and its first row of pixels."""
    return (*(one for one in key if not isinstance(one, slice)), top)


def with_entry(sequence: Sequence[Any], place: int, value: Any) -> tuple[Any, ...]:
    """Replace one entry of a sequence."""
    return (*sequence[:place], value, *sequence[place + 1 :])
