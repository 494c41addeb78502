"""Folders of pictures, read one at a time and brought to one grey scale."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import skimage.io
from skimage.color import rgb2gray

from napari_redenoise.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
FULL_SCALE = 255.0
_CACHED = 512


@dataclass(frozen=True)
class PictureFolder:
    """Pictures of a folder in the order of their names, all with as many channels as the first.

    Parameters
    ----------
    paths : tuple of Path
    channels : int
        1 (grey) or 3 (RGB); pictures of the other kind are converted.
    """

    paths: tuple[Path, ...]
    channels: int

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
        if channels is None:
            channels = 3 if _read(found[0]).ndim == 3 else 1
        return cls(tuple(found[:most]), channels)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, number: int) -> npt.NDArray[np.float32]:
        """A picture of shape (channels, height, width), grey levels from 0 to 255.

        Raises
        ------
        InputError
            When the file is no picture, or its grey scale is not known.
        """
        return _as_planes(self.paths[number], self.channels)


@lru_cache(maxsize=_CACHED)
def _as_planes(path: Path, channels: int) -> npt.NDArray[np.float32]:
    picture = _read(path)
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


def _read(path: Path) -> npt.NDArray[np.float64]:
    """A picture (Y, X) or (Y, X, 3) in 0..1."""
    try:
        picture = np.asarray(skimage.io.imread(path))
    except (OSError, ValueError, LookupError, RuntimeError, SyntaxError) as error:
        raise InputError(f"{path} cannot be read as a picture ({error}): remove it") from error
    if picture.ndim == 3 and picture.shape[2] in (3, 4):
        picture = picture[..., :3]
    elif picture.ndim != 2:
        raise InputError(
            f"{path} has shape {picture.shape}: expected a single grey or RGB picture; split "
            "stacks into pictures, or train on the stack itself with `redenoise denoise`"
        )
    return _in_unit_range(picture, path)


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
