"""Reading of microscopes' own files by optional packages: bioio, and pylibCZIrw for CZI."""

from __future__ import annotations

import contextlib
import io
import math
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from napari_redenoise.errors import InputError, error_text
from napari_redenoise.io._channels import RGB, Channel, known_channels
from napari_redenoise.io._czi_reading import read_czi
from napari_redenoise.io._image_file import ImageFile
from napari_redenoise.io._lazy_images import whole_or_lazy
from napari_redenoise.io._series_choice import choose_series, sizes_in_words
from napari_redenoise.io._spatial_metadata import as_number
from napari_redenoise.io._units import ImagejScale, in_micrometres
from napari_redenoise.io._unreadable import UNREADABLE, quiet

_CZI = b"ZISRAWFILE"
_KINDS = {
    _CZI: ("CZI of Zeiss", "pylibCZIrw"),
    b"\xda\xce\xbe\x0a": ("ND2 of Nikon", "bioio-nd2"),
    b"\x70\x00\x00\x00": ("LIF of Leica", "bioio-lif"),
}
"""First bytes of a file, what it is, and the package that reads it."""


def microscope_kind(path: Path) -> tuple[str, str] | None:
    """Recognise a microscope's own file by its content.

    Returns
    -------
    (str, str) or None
        What it is, and the package that reads it.
    """
    with path.open("rb") as file:
        begin = file.read(max(map(len, _KINDS)))
    return next((kind for mark, kind in _KINDS.items() if begin.startswith(mark)), None)


def read_microscope(path: Path, number: int | None = None) -> ImageFile:
    """Read one scene of a CZI, ND2 or LIF.

    Parameters
    ----------
    path : Path
    number : int, optional
        Of the scene, counted from 0; default the one with the most pixels.

    Returns
    -------
    ImageFile
        Pixels of more than 256 MB are read when they are indexed. Axes of size 1 are left out.

    Raises
    ------
    InputError
        When the package that reads it is not installed, or there is no such scene.
    """
    if microscope_kind(path) == _KINDS[_CZI]:
        # bioio-czi repeats red in all colours, and misses scenes without metadata.
        return read_czi(path, number)
    reader = _open(path)
    number, notes = _choose(reader, number)
    reader.set_scene(number)
    letters, shape = reader.dims.order, tuple(map(int, reader.shape))
    kept = [
        place
        for place, (letter, size) in enumerate(zip(letters, shape, strict=True))
        if size > 1 or letter in "YX"
    ]
    key = tuple(slice(None) if place in kept else 0 for place in range(len(shape)))
    pixels = reader.dask_data[key]
    axes = "".join(letters[place] for place in kept)
    channels = _channels(reader) if "S" not in axes else ()
    if "C" not in axes and "S" in axes:
        # The samples of a colour.
        axes, channels = axes.replace("S", "C"), RGB
    array = whole_or_lazy(pixels, str(path), axes, [max(one) for one in pixels.chunks])
    return ImageFile(array, axes, *_scale(reader), notes=notes, channels=channels)


def _open(path: Path) -> Any:
    """The reader of bioio for a file."""
    kind, package = microscope_kind(path) or ("file", "")
    missing = InputError(f"it is a {kind}, which needs a reader: run pip install bioio {package}")
    try:
        # Its import takes seconds, and the package is optional.
        from bioio import BioImage
        from bioio_base.exceptions import UnsupportedFileFormatError
    except ImportError as error:
        raise missing from error
    # It prints which of its readers are too old, and logs those that refuse a file.
    with contextlib.redirect_stdout(io.StringIO()), quiet("bioio"):
        try:
            return BioImage(path).reader
        except UnsupportedFileFormatError as error:
            if not _is_installed(package):
                raise missing from error
            raise InputError(
                f"it is a {kind} that its reader refuses, since it may be damaged: copy it again, "
                "or convert it to OME-TIFF"
            ) from error
        except UNREADABLE as error:
            raise InputError(
                f"it is a {kind} that its reader refuses ({error_text(error)}): give it its usual "
                "ending, or convert it to OME-TIFF"
            ) from error


def _is_installed(package: str) -> bool:
    try:
        return bool(package and metadata.version(package))
    except metadata.PackageNotFoundError:
        return False


def _choose(reader: Any, number: int | None) -> tuple[int, tuple[str, ...]]:
    """Choose a scene: by its number, or else the one with the most pixels."""
    names = list(reader.scenes)

    @cache
    def shape(place: int) -> tuple[int, ...]:
        reader.set_scene(place)
        return tuple(map(int, reader.shape))

    return choose_series(
        number,
        len(names),
        lambda place: math.prod(shape(place)),
        lambda place: f"{names[place]}, {sizes_in_words(shape(place))}",
    )


def _channels(reader: Any) -> tuple[Channel, ...]:
    try:
        names = list(getattr(reader, "channel_names", None) or ())
    except UNREADABLE:
        return ()
    return known_channels(Channel(str(name)) for name in names)


def _scale(reader: Any) -> ImagejScale:
    """The scale; sizes that bioio gives are in micrometres."""
    sizes = reader.physical_pixel_sizes
    x, y, z = (as_number(getattr(sizes, axis)) for axis in "XYZ")
    interval = reader.time_interval
    seconds = as_number(getattr(interval, "total_seconds", lambda: interval)())
    return in_micrometres((1 / x, 1 / y) if x and y else None, z, seconds)
