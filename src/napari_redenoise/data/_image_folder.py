"""Folders of pictures, read one at a time and brought to one grey scale."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import skimage.io
from skimage.color import rgb2gray

from napari_redenoise.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
FULL_SCALE = 255.0
SMALLEST_SIDE = 16
MOST_CACHED = 2**28
"""Pixels that are kept in memory."""


@dataclass(frozen=True)
class PictureFolder:
    """Pictures of a folder in the order of their names, all with as many channels as the first.

    Parameters
    ----------
    paths : tuple of Path
    channels : int
        1 (grey) or 3 (RGB); pictures of the other kind are converted.
    white : float
        What the first picture's files hold for white: 255, 65535, or 1 for floats.
    """

    paths: tuple[Path, ...]
    channels: int
    white: float = FULL_SCALE
    _cache: dict[int, npt.NDArray[np.float32]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def open(cls, folder: str | Path, most: int, channels: int | None = None) -> PictureFolder:
        """List at most ``most`` pictures of a folder.

        Parameters
        ----------
        folder : path
        most : int
        channels : int, optional
            Default those of the first picture.

        Raises
        ------
        InputError
            When the folder is missing or holds no picture.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise InputError(f"there is no folder {folder}: check the name")
        found = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        )
        if not found:
            raise InputError(
                f"{folder} holds no pictures: expected files ending in {', '.join(SUFFIXES)}"
            )
        first = _read(found[0])
        white = float(np.iinfo(first.dtype).max) if first.dtype.kind == "u" else 1.0
        if channels is None:
            channels = 3 if first.ndim == 3 else 1
        if channels not in (1, 3):
            raise InputError(
                f"pictures have 1 or 3 channels, and {channels} are needed: choose a model that "
                "was trained on grey or RGB pictures"
            )
        return cls(tuple(found[:most]), channels, white)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, number: int) -> npt.NDArray[np.float32]:
        """A picture of shape (channels, height, width), grey levels from 0 to 255.

        Raises
        ------
        InputError
            When the file is no picture, or its grey scale is not known.
        """
        if number in self._cache:
            return self._cache[number]
        planes = _as_planes(self.paths[number], self.channels)
        if sum(kept.size for kept in self._cache.values()) + planes.size <= MOST_CACHED:
            self._cache[number] = planes
        return planes


def _as_planes(path: Path, channels: int) -> npt.NDArray[np.float32]:
    picture = _in_unit_range(_read(path), path)
    colour = picture.ndim == 3
    if colour and channels == 1:
        picture = rgb2gray(picture)
    planes = picture.transpose(2, 0, 1) if picture.ndim == 3 else picture[None]
    if planes.shape[0] != channels:
        planes = np.repeat(planes, channels, axis=0)
    scaled: npt.NDArray[np.float32] = np.ascontiguousarray(planes * FULL_SCALE, dtype=np.float32)
    # It is shared by all who read the picture again.
    scaled.flags.writeable = False
    return scaled


def _read(path: Path) -> npt.NDArray[Any]:
    """A picture (Y, X) or (Y, X, 3) as the file holds it."""
    try:
        picture = np.asarray(skimage.io.imread(path))
    except (OSError, ValueError, LookupError, RuntimeError, SyntaxError) as error:
        raise InputError(f"{path} cannot be read as a picture ({error}): repair it") from error
    if picture.ndim == 3 and picture.shape[2] in (3, 4):
        picture = picture[..., :3]
    elif picture.ndim != 2:
        raise InputError(
            f"{path} has shape {picture.shape}: expected a single grey or RGB picture; split "
            "stacks into pictures, or train on the stack itself with `redenoise denoise`"
        )
    if min(picture.shape[:2]) < SMALLEST_SIDE:
        raise InputError(
            f"{path} has {picture.shape[0]} x {picture.shape[1]} pixels, expected at least "
            f"{SMALLEST_SIDE} x {SMALLEST_SIDE}: take it out of the folder"
        )
    return picture


def _in_unit_range(picture: npt.NDArray[Any], path: Path) -> npt.NDArray[np.float64]:
    """Divide by the largest value that the file can hold."""
    if picture.dtype in (np.uint8, np.uint16):
        return np.asarray(picture / np.iinfo(picture.dtype).max)
    values = np.asarray(picture, np.float64)
    if picture.dtype == bool or (values.min() >= 0 and values.max() <= 1):
        return values
    raise InputError(
        f"{path} holds {picture.dtype} from {values.min():g} to {values.max():g}: expected 8 or 16 "
        "bits, or floats from 0 to 1; convert it"
    )
