"""Reading of PNG, JPEG and what else Pillow knows."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image

from napari_redenoise.errors import InputError
from napari_redenoise.io._channels import RGB
from napari_redenoise.io._image_file import ImageFile
from napari_redenoise.io._tiff_colours import grey_if_equal

_GREY = ("1", "L", "I", "F")
_ALPHA = ("LA", "La", "RGBA", "RGBa")
_EXIF_ORIENTATION = 274
_DEEP_COLOURS = (b"\x10\x02", b"\x10\x04", b"\x10\x06")
"""Bits and kind of PNG with 16 bits for each colour or alpha."""

_EXACT = ("BMP", "DIB", "GIF", "JPEG", "MPO", "PCX", "TGA", "WEBP")
"""Formats of 8 bits, which Pillow reads as they are stored."""

_PNM = re.compile(rb"P[2356](?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+(\d+)\s")
"""Header of PGM and PPM: width, height, highest grey level."""


def read_other(path: Path) -> ImageFile:
    """Read a PNG or JPEG.

    Raises
    ------
    InputError
        When its colours are neither grey nor RGB.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path) as image:
            array, axes, notes = _pixels(image, path)
            if _is_scaled(image, path):
                notes += (
                    "its grey levels may be scaled, or lose bits: save it as TIFF to have them as "
                    "they are stored",
                )
            frames = getattr(image, "n_frames", 1)
            if frames > 1:
                notes += (
                    f"it holds {frames} images and the first is read: save the others as TIFF",
                )
            orientation = int(image.getexif().get(_EXIF_ORIENTATION, 1))
    return ImageFile(
        array,
        axes,
        orientation=orientation if orientation in range(1, 9) else 1,
        notes=notes,
        channels=RGB if "C" in axes else (),
    )


def _pixels(image: Image.Image, path: Path) -> tuple[npt.NDArray[Any], str, tuple[str, ...]]:
    """Grey levels or RGB, their axes, and what is left out."""
    mode = image.mode
    if _is_deep(path):
        # Pillow reads 8 of the 16 bits.
        array, axes = imagecodecs.png_decode(path.read_bytes()), "YXC"
    elif mode in ("P", "PA"):
        array, axes = grey_if_equal(np.asarray(image.convert("RGB")), "YX")
        return array, axes, ()
    elif mode.startswith(_GREY):
        array, axes = np.asarray(image), "YX" if mode not in _ALPHA else "YXC"
    elif mode in ("RGB", *_ALPHA):
        array, axes = np.asarray(image), "YXC"
    else:
        raise InputError(
            f"it holds colours of the kind {mode}, expected grey levels or RGB: convert it first"
        )
    return _without_alpha(_as_stored(array, image), axes)


def _as_stored(array: npt.NDArray[Any], image: Image.Image) -> npt.NDArray[Any]:
    # Some versions of Pillow decode 16 bits of grey to 32.
    is_wide = image.format == "PNG" and image.mode == "I"
    return array.astype(np.uint16) if is_wide else array


def _without_alpha(
    array: npt.NDArray[Any], axes: str
) -> tuple[npt.NDArray[Any], str, tuple[str, ...]]:
    if axes == "YX" or array.shape[-1] == 3:
        return array, axes, ()
    note = ("its alpha channel is left out",)
    return (array[..., :3], axes, note) if array.shape[-1] == 4 else (array[..., 0], "YX", note)


def _is_deep(path: Path) -> bool:
    header = _header(path)[:26]
    return header.startswith(b"\x89PNG") and header[24:] in _DEEP_COLOURS


def _is_scaled(image: Image.Image, path: Path) -> bool:
    """Whether Pillow may change the stored grey levels, or read a part of their bits."""
    if image.format == "PNG":
        return image.mode == "L" and _header(path)[24] < 8
    if image.format == "PPM":
        found = _PNM.match(_header(path))
        highest = 1 if found is None else int(found[1])
        exact = (255,) if image.mode == "RGB" else (255, 65535)
        return image.mode != "1" and highest not in exact
    return image.mode != "1" and image.format not in _EXACT


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(1024)
