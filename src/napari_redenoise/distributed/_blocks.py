"""Blocks of an image, each of which one task denoises and writes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from napari_redenoise.data import Planes

_SIDE, _SIDE_OF_FEW = 4096, 2048
"""Pixels; about the side of a block. Tiles that reach into two blocks are predicted twice."""

_FEW = 16
"""Planes; smaller blocks occupy more workers."""


class Block(NamedTuple):
    """A window of a plane.

    Attributes
    ----------
    sample : tuple of int
        Index of the plane, in all axes but C, Y and X.
    rows, columns : tuple of int
        First pixel, and the one after the last.
    """

    sample: tuple[int, ...]
    rows: tuple[int, int]
    columns: tuple[int, int]

    @property
    def place(self) -> tuple[int, int]:
        """First row and first column."""
        return self.rows[0], self.columns[0]

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns as slices."""
        return slice(*self.rows), slice(*self.columns)


def plane_blocks(
    planes: Planes, written: tuple[int, int], *, whole: bool = False
) -> dict[tuple[int, ...], list[Block]]:
    """Divide every plane into blocks; they do not depend on the number of workers.

    Parameters
    ----------
    planes : Planes
    written : tuple of int
        Rows and columns that are written at once: blocks begin at multiples of them.
    whole : bool
        Make one block of every plane.

    Returns
    -------
    dict of list of Block
        By the index of the plane. Planes of up to 3000 pixels a side are one block, and of up to
        6000 in stacks of at least 16 planes.
    """
    side = _SIDE if len(planes) >= _FEW else _SIDE_OF_FEW
    sizes = zip((planes.height, planes.width), written, strict=True)
    spans = [[(0, size)] if whole else list(_spans(size, unit, side)) for size, unit in sizes]
    return {
        sample: [Block(sample, rows, columns) for rows, columns in itertools.product(*spans)]
        for sample in planes.indices()
    }


def _spans(size: int, unit: int, side: int) -> Iterator[tuple[int, int]]:
    """Divide an axis into about equal spans of about ``side`` pixels, multiples of ``unit``."""
    length = -(-size // max(1, round(size / side)))
    length = -(-length // unit) * unit
    for start in range(0, size, length):
        yield start, min(start + length, size)
