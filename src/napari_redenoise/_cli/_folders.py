"""What `redenoise train` and `redenoise evaluate` share: folders of clean images."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

from napari_redenoise.errors import OutputError

Subfolders = Annotated[
    bool, typer.Option("--subfolders", help="Also take the images in all subfolders.")
]

_MOST_NAMED = 5


def refuse_among_images(target: Path, images: Path, *, subfolders: bool) -> None:
    """Refuse a folder for results in which they would count as clean images, or replace them.

    Raises
    ------
    OutputError
        When it is the folder of images itself, or one of the subfolders that are read.
    """
    inside, folder = target.resolve(), images.resolve()
    if inside == folder or (subfolders and folder in inside.parents):
        raise OutputError(f"{target} holds the clean images themselves: choose another folder")


def left_out(what: str, reasons: Collection[str]) -> str:
    """A sentence on images that are not used: how many, and why the first of them.

    Parameters
    ----------
    what : str
        What became of them, for example ``"skipped"``.
    reasons : collection of str
        One sentence per image, which names it.
    """
    number = "1 image is" if len(reasons) == 1 else f"{len(reasons)} images are"
    named = "\n  ".join(list(reasons)[:_MOST_NAMED])
    others = len(reasons) - _MOST_NAMED
    more = f"\n  and {others} more" if others > 0 else ""
    return f"{number} {what}:\n  {named}{more}"
