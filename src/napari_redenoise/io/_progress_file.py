"""The file that lists what is written of an incomplete result, to continue it.

A line is a plane, ``1 0;``, or a block of a plane and its place, ``1 0:0 2048;``.
"""

from __future__ import annotations

from pathlib import Path

Sample = tuple[int, ...]
Progress = tuple[set[Sample], dict[Sample, set[tuple[int, int]]]]


def read_progress(path: Path) -> Progress:
    """Read the finished planes, and the written blocks of others; none without a file.

    Parameters
    ----------
    path : Path
        A killed process may have left half a line.
    """
    finished: set[Sample] = set()
    blocks: dict[Sample, set[tuple[int, int]]] = {}
    for line in path.read_text(encoding="ascii").splitlines() if path.is_file() else ():
        if not line.endswith(";"):
            continue
        sample, colon, place = line[:-1].partition(":")
        if colon:
            top, left = _numbers(place)
            blocks.setdefault(_numbers(sample), set()).add((top, left))
        else:
            finished.add(_numbers(sample))
    return finished, {sample: places for sample, places in blocks.items() if sample not in finished}


def append_plane(path: Path, sample: Sample) -> None:
    """Note that a plane is written."""
    _append(path, _text(sample))


def append_block(path: Path, sample: Sample, place: tuple[int, int]) -> None:
    """Note that a block of a plane is written."""
    _append(path, f"{_text(sample)}:{_text(place)}")


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="ascii") as file:
        # A killed process may have left half a line.
        file.write(f"\n{text};\n")


def _text(numbers: Sample) -> str:
    return " ".join(map(str, numbers))


def _numbers(text: str) -> Sample:
    return tuple(map(int, text.split()))
