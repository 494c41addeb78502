"""Finite groups of rotations and reflections of the image plane.

Convention
----------
Element ``g`` acts on an image as seen on the screen (x along columns, y down the rows):
``g < order`` turns it counter-clockwise by ``2 pi g / order``, so that element ``order / 4`` is
``numpy.rot90``; element ``order + g`` mirrors it first (``numpy.fliplr``) and then turns it.
On a function, ``(g f)(p) = f(M_g p)`` with ``M_g`` the inverse of the motion of the points.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from napari_redenoise.errors import ConfigError

Representation = Literal["trivial", "regular"]


@dataclass(frozen=True)
class Group:
    """A cyclic or dihedral group; made by `CyclicGroup`, `DihedralGroup` or `parse_group`."""

    order: int
    has_reflections: bool

    def __post_init__(self) -> None:
        if self.order < 1:
            raise ConfigError(f"a group needs at least one rotation, got order {self.order}")

    def __len__(self) -> int:
        return self.order * (2 if self.has_reflections else 1)

    @property
    def name(self) -> str:
        """The usual name: C4, D8, ..."""
        return f"{'D' if self.has_reflections else 'C'}{self.order}"

    @cached_property
    def coordinate_maps(self) -> npt.NDArray[np.float64]:
        """Matrices ``M_g``, shape (len(group), 2, 2), acting on (x, y) with y down."""
        t = 2 * np.pi * np.arange(self.order) / self.order
        cos, sin = np.cos(t), np.sin(t)
        turned = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
        if not self.has_reflections:
            return turned
        # Points move by A_g = A_turn A_flip, so functions are read at M_g = A_flip M_turn.
        return np.concatenate([turned, np.diag([-1.0, 1.0]) @ turned])

    @cached_property
    def product(self) -> npt.NDArray[np.int64]:
        """Multiplication table: ``product[g, h]`` is the element g h (h acts first)."""
        element = np.arange(len(self))
        turn, flip = element % self.order, element // self.order
        sign = 1 - 2 * flip
        turns = (turn[:, None] + sign[:, None] * turn[None]) % self.order
        return np.asarray(turns + self.order * (flip[:, None] ^ flip[None]))

    @cached_property
    def inverse(self) -> npt.NDArray[np.int64]:
        """``inverse[g]`` is the element that undoes g."""
        return np.asarray(np.argmin(self.product, axis=1))

    @cached_property
    def relative(self) -> npt.NDArray[np.int64]:
        """``relative[g, h]`` is g^-1 h: the filter by which g sees orientation h."""
        return self.product[self.inverse]

    @cached_property
    def exact_elements(self) -> tuple[int, ...]:
        """Elements that map the pixel grid onto itself: turns by multiples of 90 degrees."""
        return tuple(g for g in range(len(self)) if 4 * (g % self.order) % self.order == 0)

    def quarter_turns(self, element: int) -> int:
        """Number of ``numpy.rot90`` turns in an exact element (after its mirror, if any)."""
        return 4 * (element % self.order) // self.order

    def is_reflection(self, element: int) -> bool:
        """Whether an element mirrors the image before it turns it."""
        return element >= self.order


def CyclicGroup(order: int) -> Group:
    """Rotations by multiples of ``360 / order`` degrees."""
    return Group(order, has_reflections=False)


def DihedralGroup(order: int) -> Group:
    """Rotations by multiples of ``360 / order`` degrees, and the mirror images of each."""
    return Group(order, has_reflections=True)


def parse_group(name: str) -> Group:
    """Read a group's name: ``C4``, ``C8``, ``D4``, ...

    Raises
    ------
    ConfigError
        When the name is not of that form.
    """
    match = re.fullmatch(r"([CD])([1-9]\d*)", name)
    if match is None:
        raise ConfigError(f"group {name!r} is unknown: give C4, C8, D4, ...")
    return Group(int(match[2]), has_reflections=match[1] == "D")
