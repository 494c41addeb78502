"""Choice among the scenes of a microscope's own file."""

from __future__ import annotations

import math
from collections.abc import Sequence

from napari_redenoise.io._tiff_series import check_series

_MOST_LISTED = 8


def choose_series(
    names: Sequence[str], shapes: Sequence[tuple[int, ...]], number: int | None
) -> tuple[int, tuple[str, ...]]:
    """Choose a scene: by its number, or else the one with the most pixels.

    Parameters
    ----------
    names : sequence of str
    shapes : sequence of tuple of int
        Only needed for several scenes without a number.
    number : int or None

    Returns
    -------
    int
    tuple of str
        A note that lists the scenes, if there are several and none is given.

    Raises
    ------
    InputError
        When there is no such scene.
    """
    if number is not None:
        check_series(number, len(names))
        return number, ()
    if len(names) == 1:
        return 0, ()
    largest = max(range(len(names)), key=lambda place: math.prod(shapes[place]))
    listed = ", ".join(
        f"{place} ({name}, {' × '.join(map(str, shape))})"
        for place, (name, shape) in enumerate(zip(names, shapes, strict=True))
        if place < _MOST_LISTED
    )
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return largest, (
        f"it holds {len(names)} series: {listed}{more}; series {largest}, the largest, is read: "
        "give another number with --series for the others",
    )
