"""Allowed positions of patches in a block: all, or those centred in the training region."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class AllCorners:
    """All corners of patches inside the block.

    Parameters
    ----------
    height, width : int
        Size of the block in pixels.
    side : int
        Side of the patch in pixels.
    """

    def __init__(self, height: int, width: int, side: int) -> None:
        self.weight = float(height * width)
        self._sizes = (height - side + 1, width - side + 1)

    def draw(self, integer: Callable[[int], int]) -> tuple[int, int]:
        """Draw a corner; all are equally likely."""
        rows, columns = self._sizes
        return integer(rows), integer(columns)


class AllowedCorners:
    """A subset of the corners.

    Parameters
    ----------
    allowed : Tensor of bool
        One entry per corner of a patch inside the block.
    side : int
        Side of the patch in pixels.
    """

    def __init__(self, allowed: Tensor, side: int) -> None:
        self._allowed = allowed
        # Counts by row, since a list of corners would need more memory than the block.
        self._until = allowed.sum(1).cumsum(0)
        self._count = int(self._until[-1])
        # Of the area of the block, as of one whose corners are all allowed.
        height, width = (size + side - 1 for size in allowed.shape)
        self.weight = height * width * self._count / allowed.numel()

    def draw(self, integer: Callable[[int], int]) -> tuple[int, int]:
        """Draw a corner; all are equally likely."""
        number = integer(self._count)
        row = int(torch.searchsorted(self._until, number, right=True))
        before = int(self._until[row - 1]) if row else 0
        return row, int(self._allowed[row].nonzero()[number - before])


Corners = AllCorners | AllowedCorners
"""Top left corners of the patches of a block, whose ``weight`` is its relative probability."""


def centred_corners(inside: Tensor, side: int) -> Tensor:
    """Corners of patches whose centre (pixel ``side // 2`` along both axes) lies inside."""
    first = side // 2
    height, width = (size - side + 1 for size in inside.shape)
    return inside[first : first + height, first : first + width]


def nearest_corners(inside: Tensor, side: int) -> Tensor:
    """Corners of the patches nearest to the pixels inside that the border allows."""
    last = torch.tensor([size - side for size in inside.shape])
    corners = (inside.nonzero() - side // 2).clamp(min=0).minimum(last)
    allowed = torch.zeros(tuple((last + 1).tolist()), dtype=torch.bool)
    allowed[corners[:, 0], corners[:, 1]] = True
    return allowed
