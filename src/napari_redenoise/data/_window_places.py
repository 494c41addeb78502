"""Places of windows that are spread over a plane."""

from __future__ import annotations

import numpy as np

from napari_redenoise.data._bounded_reading import middle_window
from napari_redenoise.data._planes import Planes

_STEPS = 0.7549, 0.5698
"""Share of the rows and of the columns from one place to the next: multiples of these fill a square
evenly (M. Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018)."""


def spread_window(
    planes: Planes, sample: tuple[int, ...], side: int, number: int
) -> tuple[slice, slice]:
    """Rows and columns of one of many windows: number 0 is the middle, others are elsewhere.

    Parameters
    ----------
    planes : Planes
        Of a training region, windows are spread over the rows and columns that it covers.
    sample : tuple of int
    side : int
        Longest side, in pixels.
    number : int

    Returns
    -------
    (slice, slice)
    """
    middle = middle_window(planes, sample, side)
    inside = planes.inside(sample, slice(0, planes.height), slice(0, planes.width))
    found = list(middle)
    for axis, size in enumerate((planes.height, planes.width) if number else ()):
        covered = np.arange(size)
        if inside is not None and inside.any():
            covered = np.flatnonzero(inside.any(1 - axis))
        places = int(covered[-1] - covered[0]) + 2 - side
        if places > 1:
            start = int(covered[0]) + int((0.5 + number * _STEPS[axis]) % 1 * places)
            found[axis] = slice(start, start + side)
    return found[0], found[1]
