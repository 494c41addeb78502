"""Image files: reading and writing, with their axes, scale and units."""

from __future__ import annotations

import io
import itertools
import math
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import UnidentifiedImageError

from napari_redenoise.data import ArrayLike
from napari_redenoise.errors import InputError, OutputError, error_text
from napari_redenoise.io._bioio_reading import microscope_kind, read_microscope
from napari_redenoise.io._channels import Channel, imagej_options, imagej_texts
from napari_redenoise.io._image_file import ImageFile
from napari_redenoise.io._ome_companion import first_tiff, is_companion
from napari_redenoise.io._ome_form import ome_form
from napari_redenoise.io._ome_zarr import read_ome_zarr
from napari_redenoise.io._ome_zarr_writing import is_zarr
from napari_redenoise.io._other_formats import read_other
from napari_redenoise.io._output_names import check_output
from napari_redenoise.io._own_results import SOFTWARE
from napari_redenoise.io._safe_writing import write_atomically
from napari_redenoise.io._series_choice import check_series
from napari_redenoise.io._spatial_metadata import Scale, per_centimetre, scale_of
from napari_redenoise.io._tiff_reading import is_tiff, read_tiff
from napari_redenoise.io._unreadable import UNREADABLE
from napari_redenoise.io._zarr_source import ZarrSource, local_path

# Offsets have 32 bits; some bytes are reserved for headers.
MOST_BYTES_IN_TIFF = 2**32 - 2**25
_ORIENTATION = 274

# Raised by the encoder for metadata and dtypes that TIFF cannot hold.
_UNWRITABLE = (
    ArithmeticError,
    AssertionError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


def read_image(path: str | Path, axes: str | None = None, series: int | None = None) -> ImageFile:
    """Read a TIFF, OME-Zarr, PNG or JPEG, and others by bioio, by content and not by ending.

    Parameters
    ----------
    path : path or str
        An OME-Zarr is a folder, a zip file, an address such as ``https://...``, or an image inside
        one of these.
    axes : str, optional
        Default the axes in the file, for example ``"TYX"``. Axes that the file does not name are
        ``Z``, then ``TZ``, then ``STZ`` before ``YX``.
    series : int, optional
        Series of a file with several, counted from 0. Default the one with the most pixels.

    Returns
    -------
    ImageFile
        Its ``notes`` say what is left out or missing. The pixels of an OME-Zarr and of a TIFF of
        more than 256 MB are read when they are indexed.

    Raises
    ------
    InputError
        When the file is missing, not an image, or has no such series, or when its pixels are cut
        off.
    """
    source = ZarrSource.find(path)
    if source is not None:
        check_series(series or 0, 1)
        return _with_axes(read_ome_zarr(source), axes)
    path = local_path(path)
    # os.path instead of Path: it returns False for names that are too long.
    if os.path.isdir(path):
        raise InputError(f"{path} is a folder: name an image file in it")
    if not os.path.isfile(path):
        if os.path.exists(path):
            raise InputError(f"{path} is no file but a device or a pipe: save its image as a file")
        raise InputError(f"there is no image file {path}: check the name")
    try:
        image = _read(path, series)
    except InputError as error:
        raise InputError(f"{path} cannot be read as an image: {error}") from error
    except MemoryError as error:
        raise InputError(
            f"{path} cannot be read as an image, since the memory is too small "
            f"({error_text(error)}): split it into smaller files, or repair it"
        ) from error
    except UnidentifiedImageError as error:
        raise InputError(
            f"{path} cannot be read as an image, since its format is unknown: repair it or choose "
            "another file"
        ) from error
    except UNREADABLE as error:
        # The text of a failed look-up is a number or a name.
        why = "it is damaged" if isinstance(error, LookupError) else error_text(error)
        raise InputError(
            f"{path} cannot be read as an image ({why}): repair it or choose another file"
        ) from error
    return _with_axes(image, axes)


def _with_axes(image: ImageFile, axes: str | None) -> ImageFile:
    if axes is None:
        return image
    axes = axes.upper()
    ome = None if image.ome is None else image.ome.renamed(axes)
    return replace(image, axes=axes, ome=ome)


def _read(path: Path, series: int | None) -> ImageFile:
    if is_tiff(path):
        return read_tiff(path, series)
    if is_companion(path):
        return read_tiff(first_tiff(path), series, path)
    if microscope_kind(path) is not None:
        return read_microscope(path, series)
    check_series(series or 0, 1)
    return read_other(path)


def write_tiff(
    path: str | Path,
    array: ArrayLike,
    like: ImageFile,
    *,
    overwrite: bool = False,
    is_denoised: bool = False,
) -> Path:
    """Write a result as TIFF with the axes, scale and units of its source.

    The file appears under its name when it is complete.

    Parameters
    ----------
    path : path
    array : array-like
        From `result_array`; one plane of it is in memory at a time.
    like : ImageFile
        The source. The result may lack its channels, as a mask does.
    overwrite : bool
    is_denoised : bool
        Whether it is a denoised image, which the Software tag of the file tells.

    Returns
    -------
    Path

    Raises
    ------
    OutputError
        When the file exists and ``overwrite`` is not set, its name is not that of a TIFF, or it
        cannot be written.

    Notes
    -----
    The file is an ImageJ hyperstack if that supports the dtype, the axes and the size (4 GiB).
    Otherwise it is a TIFF or BigTIFF with named axes, as tifffile writes it. An invalid scale,
    such as NaN, is omitted, see `lost_metadata`.
    """
    path = Path(path)
    check_output(path, "tiff", overwrite=overwrite)
    shape, dtype = tuple(array.shape), np.dtype(array.dtype)
    size = math.prod(shape) * dtype.itemsize
    with write_atomically(path, overwrite=overwrite, needs=size) as partial:
        form = _form(shape, dtype, like)
        if is_denoised:
            form.options["software"] = SOFTWARE
        _write(partial, array, form)
    return path


def lost_metadata(array: ArrayLike, like: ImageFile, path: Path | None = None) -> tuple[str, ...]:
    """Describe the metadata of a source that a result cannot hold.

    Parameters
    ----------
    array : array-like
        The result; only shape and dtype matter.
    like : ImageFile
        The source.
    path : Path, optional
        Its file, whose ending names the format; default a TIFF.

    Raises
    ------
    OutputError
        When such a result cannot be written.
    """
    if path is not None and is_zarr(path):
        return ome_form(array.shape, like).lost_metadata
    return _form(tuple(array.shape), np.dtype(array.dtype), like).lost_metadata


@dataclass(frozen=True)
class _Form:
    """Layout of a file: order of the axes, number of axes per page, options of tifffile."""

    order: tuple[int, ...]
    depth: int
    options: dict[str, Any]
    lost_metadata: tuple[str, ...] = ()


def _form(shape: tuple[int, ...], dtype: np.dtype[Any], like: ImageFile) -> _Form:
    """Choose the layout of a result; a trial with a few pixels shows whether it can be written."""
    scale = scale_of(like.metadata, like.resolution, like.resolution_unit)
    form = _form_with(shape, dtype, like, scale)
    if _refusal(form, shape, dtype) is None:
        return form
    bare = _form_with(shape, dtype, like, Scale(lost_metadata=("its scale and units",)))
    refusal = _refusal(bare, shape, dtype)
    if refusal is None:
        return bare
    raise OutputError(
        f"an image of shape {shape}, {dtype}, with the axes {like.axes} cannot be written as TIFF "
        f"({refusal}): give other axes"
    ) from refusal


def _form_with(
    shape: tuple[int, ...], dtype: np.dtype[Any], like: ImageFile, scale: Scale
) -> _Form:
    axes = like.axes if len(shape) == len(like.axes) else like.axes.replace("C", "")
    colour = axes.endswith("YXC") and shape[-1] == 3
    metadata = dict(scale.metadata)
    big = math.prod(shape) * dtype.itemsize > MOST_BYTES_IN_TIFF
    grey = "miniswhite" if like.white_is_zero else "minisblack"
    options: dict[str, Any] = {"photometric": "rgb" if colour else grey, "bigtiff": big}
    if like.orientation != 1:
        options["extratags"] = [(_ORIENTATION, "H", 1, like.orientation, False)]
    described = _described(like, axes, shape)
    imagej = dtype in (np.uint8, np.uint16, np.float32) and set(axes) <= set("TZCYX")
    order = tuple(range(len(axes)))
    if imagej and not colour and not big:
        # ImageJ's TIFF has a fixed order of axes; Fiji reads scale and axes from it.
        options["imagej"] = True
        if "unit" in metadata:
            metadata["unit"] = _java_escaped(metadata["unit"])
        kept = [axis for axis in "TZCYX" if axis in axes]
        order = tuple(axes.index(axis) for axis in kept)
        axes = "".join(kept)
        pages = math.prod(shape[axis] for axis in order[:-2])
        # The labels are in the order of the source's slices.
        metadata |= imagej_texts(like.metadata, pages if list(order) == sorted(order) else 0)
        if described:
            metadata |= imagej_options(described, pages)
    else:
        axes = axes.replace("C", "S") if colour else axes
        scale = per_centimetre(scale)
        if described and not colour:
            lost = ("the names, colours and contrast of its channels",)
            scale = replace(scale, lost_metadata=(*scale.lost_metadata, *lost))
    if scale.resolution is not None:
        options["resolution"] = scale.resolution
        if scale.unit is not None:
            options["resolutionunit"] = scale.unit
    options["metadata"] = {"axes": axes, **metadata}
    return _Form(order, 3 if colour else 2, options, scale.lost_metadata)


def _described(like: ImageFile, axes: str, shape: tuple[int, ...]) -> tuple[Channel, ...]:
    """The channels of a result, where the source tells as many."""
    count = shape[axes.index("C")] if "C" in axes else 1
    return like.channels if len(like.channels) == count else ()


def _refusal(form: _Form, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Exception | None:
    """The error of writing and reading a few pixels in a layout, if any."""
    file, few = io.BytesIO(), np.zeros([min(size, 4) for size in shape], dtype)
    try:
        _write(file, few, form)
        file.seek(0)
        found = tifffile.imread(file)
    except _UNWRITABLE as error:
        return error
    return None if found.size == few.size else ValueError("it cannot be read again")


def _write(target: Path | io.BytesIO, array: ArrayLike, form: _Form) -> None:
    shape = tuple(array.shape[axis] for axis in form.order)
    pages = _pages(array, form.order, form.depth)
    dtype = np.dtype(array.dtype)
    # tifffile would write OME, without the scale, into files that end in .ome.tif.
    tifffile.imwrite(target, pages, shape=shape, dtype=dtype, ome=False, **form.options)


def _pages(array: ArrayLike, order: Sequence[int], depth: int) -> Iterator[npt.NDArray[Any]]:
    """Yield the pages of an array with reordered axes, the last ``depth`` axes in a page."""
    outer, inner = order[:-depth], order[-depth:]
    permutation = [sorted(inner).index(axis) for axis in inner]
    for index in itertools.product(*(range(array.shape[axis]) for axis in outer)):
        place = dict(zip(outer, index, strict=True))
        key = tuple(place.get(axis, slice(None)) for axis in range(len(order)))
        yield np.asarray(array[key]).transpose(permutation)


def _java_escaped(text: str) -> str:
    """Escape non-ASCII letters as ImageJ does."""
    return "".join(letter if letter.isascii() else f"\\u{ord(letter):04X}" for letter in str(text))
