"""Finite groups of rotations and reflections of the image plane.

Convention
----------
Element ``g`` acts on an image as seen on the screen (x along columns, y down the rows).
``g < order`` rotates it counter-clockwise by ``2 pi g / order``: element ``order / 4`` is
``numpy.rot90``. Element ``order + g`` flips it first (``numpy.fliplr``) and then rotates it.
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
    """A cyclic or dihedral group, see `CyclicGroup`, `DihedralGroup` and `parse_group`."""

    order: int
    has_reflections: bool

    def __post_init__(self) -> None:
        if self.order < 1:
            raise ConfigError(
                f"the order of a group is at least 1, got {self.order}: give 4, 8, ..."
            )

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
        rotations = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
        if not self.has_reflections:
            return rotations
        # Points move by A_g = A_rotation A_flip, so functions are read at M_g = A_flip M_rotation.
        return np.concatenate([rotations, np.diag([-1.0, 1.0]) @ rotations])

    @cached_property
    def product(self) -> npt.NDArray[np.int64]:
        """Multiplication table: ``product[g, h]`` is the element g h (h acts first)."""
        element = np.arange(len(self))
        rotation, flip = element % self.order, element // self.order
        sign = 1 - 2 * flip
        rotations = (rotation[:, None] + sign[:, None] * rotation[None]) % self.order
        return np.asarray(rotations + self.order * (flip[:, None] ^ flip[None]))

    @cached_property
    def inverse(self) -> npt.NDArray[np.int64]:
        """``inverse[g]`` is the inverse element of g."""
        return np.asarray(np.argmin(self.product, axis=1))

    @cached_property
    def relative(self) -> npt.NDArray[np.int64]:
        """``relative[g, h]`` is g^-1 h: the filter through which g sees orientation h."""
        return self.product[self.inverse]

    @cached_property
    def exact_elements(self) -> tuple[int, ...]:
        """Elements that map the pixel grid onto itself: rotations by multiples of 90 degrees."""
        return tuple(g for g in range(len(self)) if 4 * (g % self.order) % self.order == 0)

    def quarter_turns(self, element: int) -> int:
        """Number of ``numpy.rot90`` rotations in an exact element, after its flip if any."""
        return 4 * (element % self.order) // self.order

    def is_reflection(self, element: int) -> bool:
        """Whether an element flips the image before it rotates it."""
        return element >= self.order


def CyclicGroup(order: int) -> Group:
    """Rotations by multiples of ``360 / order`` degrees.

    Parameters
    ----------
    order : int

    Returns
    -------
    Group
    """
    return Group(order, has_reflections=False)


def DihedralGroup(order: int) -> Group:
    """Rotations by multiples of ``360 / order`` degrees, with and without a flip.

    Parameters
    ----------
    order : int

    Returns
    -------
    Group
    """
    return Group(order, has_reflections=True)


def parse_group(name: str) -> Group:
    """Parse the name of a group: ``C4``, ``C8``, ``D4``, ...

    Parameters
    ----------
    name : str

    Returns
    -------
    Group

    Raises
    ------
    ConfigError
        When the name has another form.
    """
    match = re.fullmatch(r"([CD])([1-9]\d*)", name)
    if match is None:
        raise ConfigError(f"group {name!r} is unknown: give C4, C8, D4, ...")
    return Group(int(match[2]), has_reflections=match[1] == "D")
