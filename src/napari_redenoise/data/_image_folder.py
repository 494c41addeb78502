"""Folders of images, read one at a time and converted to one grey scale."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from skimage.color import rgb2gray

from napari_redenoise.data._image_decoding import (
    IMAGE_SUFFIXES,
    Header,
    decode,
    read_header,
    white_of,
)
from napari_redenoise.errors import InputError

FULL_SCALE = 255.0
MOST_CACHED = 2**30
"""Bytes; largest size of the cache."""

Window = tuple[slice, slice]


class _Cache:
    """A thread-safe cache of decoded images."""

    def __init__(self) -> None:
        self._images: dict[int, npt.NDArray[Any]] = {}
        self.failures: dict[int, str] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, number: int, path: Path) -> npt.NDArray[Any]:
        """Decode an image unless it is cached; a file that failed is not tried again."""
        if number in self.failures:
            raise InputError(self.failures[number])
        if number in self._images:
            return self._images[number]
        try:
            image = decode(path)
        except InputError as error:
            self.failures[number] = str(error)
            raise
        with self._lock:
            if self._bytes + image.nbytes <= MOST_CACHED:
                self._bytes += image.nbytes
                self._images[number] = image
        return image


@dataclass(frozen=True)
class ImageFolder:
    """Images of a folder sorted by name, all with the channels of the first.

    Parameters
    ----------
    root : Path
    paths : tuple of Path
    channels : int
        1 (grey) or 3 (RGB); other images are converted.
    white : float
        White level of the first image: 255, 65535, or 1 for floats.
    skipped : dict
        Reason by path, for files that were skipped when the folder was listed.
    """

    root: Path
    paths: tuple[Path, ...]
    channels: int
    white: float = FULL_SCALE
    skipped: dict[Path, str] = field(default_factory=dict)
    _cache: _Cache = field(default_factory=_Cache, repr=False, compare=False)

    @classmethod
    def open(
        cls,
        folder: str | Path,
        most: int,
        channels: int | None = None,
        *,
        subfolders: bool = False,
    ) -> ImageFolder:
        """List at most ``most`` images of a folder that are usable according to their headers.

        Parameters
        ----------
        folder : path
        most : int
        channels : int, optional
            Default those of the first image.
        subfolders : bool
            Whether to include images in subfolders.

        Raises
        ------
        InputError
            When the folder is missing or holds no usable image.
        """
        if channels not in (None, 1, 3):
            raise InputError(
                f"the model has {channels} channels and images have 1 or 3: choose a model that "
                "was trained on grey or RGB images"
            )
        folder = Path(folder)
        found, skipped = _usable(folder, most, subfolders=subfolders)
        if not found:
            raise InputError(_nothing_usable(folder, list(skipped.values())))
        first = next(iter(found.values()))
        return cls(folder, tuple(found), channels or first.channels, first.white, skipped)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def unreadable(self) -> dict[Path, str]:
        """Reason by path, for images with a valid header that could not be decoded so far."""
        return {self.paths[number]: why for number, why in sorted(self._cache.failures.items())}

    def name(self, number: int) -> str:
        """Path of an image within the folder, with slashes on every system."""
        return self.paths[number].relative_to(self.root).as_posix()

    def read(
        self, number: int, window: Callable[[int, int], Window] | None = None
    ) -> npt.NDArray[np.float32]:
        """Read an image with grey levels from 0 to 255.

        Parameters
        ----------
        number : int
        window : callable, optional
            Returns the rows and columns to read, given height and width; default all.

        Returns
        -------
        array of shape (channels, height, width), float32

        Raises
        ------
        InputError
            When the file is not an image, or its grey scale is unknown.
        """
        image = self._cache.get(number, self.paths[number])
        if window is not None:
            image = image[window(*image.shape[:2])]
        return _as_planes(image, self.channels)

    def readable(
        self, numbers: Iterable[int] | None = None
    ) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        """Read images and skip those that cannot be read.

        Parameters
        ----------
        numbers : iterable of int, optional
            Default all.

        Yields
        ------
        number : int
        image : array of shape (channels, height, width), float32

        Raises
        ------
        InputError
            When none can be read.
        """
        is_any_readable = False
        for number in range(len(self)) if numbers is None else numbers:
            try:
                image = self.read(number)
            except InputError:
                continue
            is_any_readable = True
            yield number, image
        if not is_any_readable:
            raise InputError(_nothing_usable(self.root, list(self.unreadable.values())))


def _usable(
    folder: Path, most: int, *, subfolders: bool
) -> tuple[dict[Path, Header], dict[Path, str]]:
    """Headers of the first usable images, and the reasons for skipping others."""
    found: dict[Path, Header] = {}
    skipped: dict[Path, str] = {}
    for path in list_images(folder, subfolders=subfolders):
        if len(found) == most:
            break
        try:
            found[path] = read_header(path)
        except InputError as error:
            skipped[path] = str(error)
    return found, skipped


def list_images(folder: Path, *, subfolders: bool) -> list[Path]:
    """List the files of a folder that have an image suffix, without hidden files and folders.

    Parameters
    ----------
    folder : Path
    subfolders : bool
        Whether to include images in subfolders.

    Returns
    -------
    list of Path
        Sorted.

    Raises
    ------
    InputError
        When the folder is missing or not readable.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}: check the name")
    try:
        inside = list(folder.rglob("*") if subfolders else folder.iterdir())
    except OSError as error:
        raise InputError(
            f"{folder} cannot be listed ({error.strerror}): check its permissions"
        ) from error
    return sorted(
        path
        for path in inside
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not path.is_dir()
    )


def _nothing_usable(folder: Path, reasons: list[str]) -> str:
    if not reasons:
        endings = ", ".join(IMAGE_SUFFIXES)
        return f"{folder} holds no images: give a folder of files ending in {endings}"
    others = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return f"{folder} holds no usable image{others}: {reasons[0]}"


def _as_planes(image: npt.NDArray[Any], channels: int) -> npt.NDArray[np.float32]:
    """Convert to planes: grey is repeated for RGB, RGB becomes luminance (Rec. 709)."""
    scaled = image.astype(np.float32) * np.float32(FULL_SCALE / white_of(image.dtype))
    if scaled.ndim == 3 and channels == 1:
        scaled = rgb2gray(scaled)
    planes = scaled.transpose(2, 0, 1) if scaled.ndim == 3 else scaled[None]
    if planes.shape[0] != channels:
        planes = np.repeat(planes, channels, axis=0)
    return np.ascontiguousarray(planes, dtype=np.float32)
