"""Folders of clean images, for `redenoise train` and `redenoise evaluate`."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

from napari_redenoise.errors import OutputError

Subfolders = Annotated[bool, typer.Option("--subfolders", help="Include images in all subfolders.")]

_MOST_NAMED = 5


def refuse_among_images(target: Path, images: Path, *, subfolders: bool) -> None:
    """Refuse an output folder whose files would count as clean images or replace them.

    Raises
    ------
    OutputError
        When it is the folder of images, or one of the subfolders that are read.
    """
    inside, folder = Path(os.path.realpath(target)), Path(os.path.realpath(images))
    if inside == folder or (subfolders and folder in inside.parents):
        raise OutputError(f"{target} holds the clean images: choose another folder")


def left_out(what: str, reasons: Collection[str]) -> str:
    """List images that are not used: their number, and the reasons for the first ones.

    Parameters
    ----------
    what : str
        For example ``"skipped"``.
    reasons : collection of str
        One sentence per image, with its name.
    """
    number = "1 image is" if len(reasons) == 1 else f"{len(reasons)} images are"
    named = "\n  ".join(list(reasons)[:_MOST_NAMED])
    others = len(reasons) - _MOST_NAMED
    more = f"\n  and {others} more" if others > 0 else ""
    return f"{number} {what}:\n  {named}{more}"
