"""Decoding of PNG, JPEG and TIFF files to grey levels or RGB."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from napari_redenoise.errors import InputError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
SMALLEST_SIDE = 16

_TIFF_SUFFIXES = (".tif", ".tiff")
_GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")

# Raised by the decoders for damaged files and unknown formats.
_UNREADABLE = (
    ArithmeticError,
    EOFError,
    Image.DecompressionBombError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


class Header(NamedTuple):
    """Size, channels (1 grey, 3 RGB) and white level of a file, known before decoding."""

    height: int
    width: int
    channels: int
    white: float


def read_header(path: Path) -> Header:
    """Read the header of an image file and check that the image can be used for training.

    Raises
    ------
    InputError
        When the file is not an image, or holds a stack, too few pixels, or another dtype.
    """
    try:
        header = _tiff_header(path) if _is_tiff(path) else _pillow_header(path)
    except InputError:
        raise
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    if min(header.height, header.width) < SMALLEST_SIDE:
        raise InputError(
            f"{path} has {header.height} x {header.width} pixels, expected at least "
            f"{SMALLEST_SIDE} x {SMALLEST_SIDE} pixels: remove it from the folder"
        )
    return header


def decode(path: Path) -> npt.NDArray[Any]:
    """Decode an image file.

    Returns
    -------
    array of shape (Y, X) or (Y, X, 3)
        bool, uint8, uint16, or floats from 0 to 1.

    Raises
    ------
    InputError
        When the file is damaged, or holds floats of another range.

    Notes
    -----
    The alpha channel is dropped. Palette images, CMYK and YCbCr are converted to RGB. TIFFs in
    which 0 is white are inverted. PNG files with 16 bits per colour are read with 8 bits.
    """
    try:
        image = _decode_tiff(path) if _is_tiff(path) else _decode_pillow(path)
    except InputError:
        raise
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    if image.dtype.kind == "f" and not (image.min() >= 0 and image.max() <= 1):
        raise InputError(
            f"{path} holds {image.dtype} from {image.min():g} to {image.max():g}: convert it to 8 "
            "or 16 bits, or to floats from 0 to 1"
        )
    return image


def white_of(dtype: np.dtype[Any]) -> float:
    """Grey level of white: 255, 65535, or 1 for floats and booleans."""
    return float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0


def _unreadable(path: Path, error: BaseException) -> InputError:
    # Pillow repeats the whole path.
    reason = str(error).replace(f"'{path}'", "it").replace(str(path), "it")
    return InputError(f"{path} cannot be read as an image ({reason}): repair or remove it")


def _is_tiff(path: Path) -> bool:
    return path.suffix.lower() in _TIFF_SUFFIXES


def _pillow_header(path: Path) -> Header:
    with Image.open(path) as image:
        # The name of 16-bit grey depends on the version of Pillow.
        white = 65535.0 if image.mode.startswith("I") else 1.0 if image.mode == "1" else 255.0
        channels = 1 if image.mode in _GREY_MODES else 3
        return Header(image.height, image.width, channels, white)


def _decode_pillow(path: Path) -> npt.NDArray[Any]:
    with Image.open(path) as image:
        if image.mode not in _GREY_MODES:
            return np.asarray(image.convert("RGB"))
        if image.mode in ("LA", "La"):
            return np.asarray(image.convert("L"))
        pixels = np.asarray(image)
    return pixels.astype(np.uint16) if image.mode.startswith("I") else pixels


def _tiff_header(path: Path) -> Header:
    with tifffile.TiffFile(path) as file:
        page = _single_page(file, path)
        dtype = page.dtype or np.dtype(np.uint8)
        _check_dtype(dtype, path)
        is_grey = page.photometric in (
            tifffile.PHOTOMETRIC.MINISBLACK,
            tifffile.PHOTOMETRIC.MINISWHITE,
        )
        height, width = page.imagelength, page.imagewidth
        return Header(height, width, 1 if is_grey else 3, white_of(dtype))


def _decode_tiff(path: Path) -> npt.NDArray[Any]:
    with tifffile.TiffFile(path) as file:
        page = _single_page(file, path)
        is_inverted = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
        is_deep = page.bitspersample > 16 or (
            page.bitspersample == 16 and (page.samplesperpixel > 1 or is_inverted)
        )
        if is_deep:
            # Pillow cannot read these with all bits; for the others it supports more compressions.
            return _inverted(_plain(page), page) if is_inverted else _plain(page)
    return _decode_pillow(path)


def _single_page(file: tifffile.TiffFile, path: Path) -> tifffile.TiffPage:
    """The only page of a TIFF that holds one complete image."""
    series, page = file.series[0], file.pages[0]
    shape = tuple(
        size
        for axis, size in zip(series.axes, series.shape, strict=True)
        if axis != "S" and size > 1
    )
    if len(shape) > 2 or not isinstance(page, tifffile.TiffPage):
        raise InputError(
            f"{path} has shape {series.shape}, expected one grey or RGB image: split the stack "
            "into images, or train on the stack with `redenoise denoise`"
        )
    ends = (
        start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=False)
    )
    if max(ends, default=0) > file.filehandle.size:
        raise InputError(f"{path} ends before its last pixel: copy or export it again")
    return page


def _check_dtype(dtype: np.dtype[Any], path: Path) -> None:
    if dtype.kind not in "fub" or (dtype.kind == "u" and dtype.itemsize > 2):
        raise InputError(
            f"{path} holds {dtype}: convert it to 8 or 16 bits, or to floats from 0 to 1"
        )


def _plain(page: tifffile.TiffPage) -> npt.NDArray[Any]:
    """Pixels without alpha, colours on the last axis."""
    pixels = page.asarray()
    if page.axes.startswith("S"):
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.ndim == 2:
        return pixels
    return pixels[..., :3] if page.photometric == tifffile.PHOTOMETRIC.RGB else pixels[..., 0]


def _inverted(pixels: npt.NDArray[Any], page: tifffile.TiffPage) -> npt.NDArray[Any]:
    white = white_of(pixels.dtype)
    return np.asarray(white - pixels, pixels.dtype)
