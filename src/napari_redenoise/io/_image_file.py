"""An image file in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class ImageFile:
    """Pixels and axes of an image file, and what a TIFF of its result stores beside them.

    Attributes
    ----------
    array : array
        Grey levels as they are stored, without alpha channel.
    axes : str
        One letter per axis.
    metadata : dict
        ``spacing``, ``unit`` and ``finterval`` in ImageJ's terms, if known. ``spacing`` has the
        unit of a pixel; ``finterval`` is in seconds.
    resolution : tuple of (float, float), or None
        Pixels per unit along x and y.
    resolution_unit : int or None
        The ``ResolutionUnit`` of TIFF.
    white_is_zero : bool
        Whether 0 is displayed as white.
    orientation : int
        The ``Orientation`` of TIFF: how viewers rotate and flip the pixels.
    notes : tuple of str
        What a user has to know about the reading, for example planes that are missing.
    """

    array: np.ndarray
    axes: str
    metadata: dict[str, Any] = field(default_factory=dict)
    resolution: tuple[float, float] | None = None
    resolution_unit: int | None = None
    white_is_zero: bool = False
    orientation: int = 1
    notes: tuple[str, ...] = ()
