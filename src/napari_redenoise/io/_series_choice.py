"""Choice among the series of a TIFF, or the scenes of a microscope's own file."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from napari_redenoise.errors import InputError

_MOST_LISTED = 8


def choose_series(
    number: int | None,
    count: int,
    pixels: Callable[[int], int],
    in_words: Callable[[int], str],
    here: Sequence[int] = (),
) -> tuple[int, tuple[str, ...]]:
    """Choose a series: by its number, or else the one with the most pixels.

    Parameters
    ----------
    number : int or None
        Counted from 0.
    count : int
    pixels, in_words : callable
        Pixels and description of a series; only called for several series without a number.
    here : sequence of int
        Series that lie in this file, if others do not.

    Returns
    -------
    int
    tuple of str
        A note that lists the series, if there are several and none is given.

    Raises
    ------
    InputError
        When there is no such series.
    """
    if number is not None:
        check_series(number, count)
        return number, ()
    if count == 1:
        return 0, ()
    largest = max(here or range(count), key=pixels)
    where = " in this file" if 0 < len(here) < count else ""
    listed = ", ".join(f"{one} ({in_words(one)})" for one in range(min(count, _MOST_LISTED)))
    more = f" and {count - _MOST_LISTED} more" if count > _MOST_LISTED else ""
    return largest, (
        f"it holds {count} series: {listed}{more}; series {largest}, the largest{where}, is read: "
        "give another number with --series for the others",
    )


def check_series(number: int, count: int) -> None:
    """Refuse the number of a series that a file does not hold.

    Raises
    ------
    InputError
        When there is no such series.
    """
    if not 0 <= number < count:
        most = f"a number from 0 to {count - 1}" if count > 1 else "0 or none"
        raise InputError(f"there is no series {number} in it: give {most}")


def sizes_in_words(shape: Sequence[int]) -> str:
    """The shape of an image."""
    return " × ".join(map(str, shape))
