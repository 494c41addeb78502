"""Image files: reading and writing, with their axes, scale and units."""

from __future__ import annotations

import io
import itertools
import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import skimage.io
import tifffile

from napari_redenoise.data import ArrayLike, default_axes
from napari_redenoise.errors import InputError, OutputError
from napari_redenoise.io._safe_writing import refuse_existing, write_atomically
from napari_redenoise.io._spatial_metadata import Scale, as_number, per_unit, scale_of

TIFF_SUFFIXES = (".tif", ".tiff")
# Offsets have 32 bits; some bytes are reserved for headers.
MOST_BYTES_IN_TIFF = 2**32 - 2**25

# Raised by the decoders for damaged files and unknown formats.
_UNREADABLE = (
    tifffile.TiffFileError,
    ArithmeticError,
    AssertionError,
    EOFError,
    OSError,
    TypeError,
    ValueError,
    LookupError,
    RuntimeError,
    SyntaxError,
    struct.error,
    zlib.error,
)


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


@dataclass(frozen=True)
class ImageFile:
    """Pixels and axes of an image file, and the scale and units of a TIFF."""

    array: np.ndarray
    axes: str
    metadata: dict[str, Any] = field(default_factory=dict)
    resolution: tuple[float, float] | None = None
    resolution_unit: int | None = None


def read_image(path: str | Path, axes: str | None = None) -> ImageFile:
    """Read a TIFF, PNG or JPEG.

    Parameters
    ----------
    path : path
    axes : str, optional
        Default the axes in the file, for example ``"TYX"``.

    Returns
    -------
    ImageFile

    Raises
    ------
    InputError
        When the file is missing or not an image.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no image file {path}: check the name")
    try:
        if path.suffix.lower() in TIFF_SUFFIXES:
            image = _read_tiff(path)
        else:
            array = skimage.io.imread(path)
            if _is_colour(array):
                # The alpha channel is not measured.
                image = ImageFile(array[..., :3], "YXC")
            else:
                image = ImageFile(array, default_axes(array.ndim))
    except _UNREADABLE as error:
        raise InputError(
            f"{path} cannot be read as an image ({error}): repair it or choose another file"
        ) from error
    if axes is None:
        return image
    return ImageFile(
        image.array, axes.upper(), image.metadata, image.resolution, image.resolution_unit
    )


def write_tiff(
    path: str | Path, array: ArrayLike, like: ImageFile, *, overwrite: bool = False
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
    check_output(path, overwrite=overwrite)
    shape, dtype = tuple(array.shape), np.dtype(array.dtype)
    size = math.prod(shape) * dtype.itemsize
    with write_atomically(path, overwrite=overwrite, needs=size) as partial:
        _write(partial, array, _form(shape, dtype, like))
    return path


def lost_metadata(array: ArrayLike, like: ImageFile) -> tuple[str, ...]:
    """Describe the metadata of a source that a result cannot hold.

    Parameters
    ----------
    array : array-like
        The result; only shape and dtype matter.
    like : ImageFile
        The source.

    Returns
    -------
    tuple of str

    Raises
    ------
    OutputError
        When such a result cannot be written.
    """
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
    colour = axes.endswith("YXC") and shape[-1] in (3, 4)
    metadata = dict(scale.metadata)
    big = math.prod(shape) * dtype.itemsize > MOST_BYTES_IN_TIFF
    options: dict[str, Any] = {"photometric": "rgb" if colour else "minisblack", "bigtiff": big}
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
    else:
        axes = axes.replace("C", "S") if colour else axes
    if scale.resolution is not None:
        options["resolution"] = scale.resolution
        if scale.unit is not None:
            options["resolutionunit"] = scale.unit
    options["metadata"] = {"axes": axes, **metadata}
    return _Form(order, 3 if colour else 2, options, scale.lost_metadata)


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
    tifffile.imwrite(target, pages, shape=shape, dtype=np.dtype(array.dtype), **form.options)


def check_output(path: str | Path, *, overwrite: bool = False) -> None:
    """Check that a result can be written under a name.

    Parameters
    ----------
    path : path
    overwrite : bool

    Raises
    ------
    OutputError
        When the file exists and ``overwrite`` is not set, or its name is not that of a TIFF.
    """
    path = Path(path)
    if path.suffix.lower() not in TIFF_SUFFIXES:
        raise OutputError(
            f"the result cannot be written as {path.name}: give a name that ends in .tif"
        )
    refuse_existing(path, overwrite=overwrite)


def _pages(array: ArrayLike, order: Sequence[int], depth: int) -> Iterator[npt.NDArray[Any]]:
    """Yield the pages of an array with reordered axes, the last ``depth`` axes in a page."""
    outer, inner = order[:-depth], order[-depth:]
    permutation = [sorted(inner).index(axis) for axis in inner]
    for index in itertools.product(*(range(array.shape[axis]) for axis in outer)):
        place = dict(zip(outer, index, strict=True))
        key = tuple(place.get(axis, slice(None)) for axis in range(len(order)))
        yield np.asarray(array[key]).transpose(permutation)


def _read_tiff(path: Path) -> ImageFile:
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        array = series.asarray()
        axes = _known_axes(series.axes, array.ndim)
        if file.ome_metadata:
            return ImageFile(array, axes, *_ome_scale(file.ome_metadata))
        metadata = file.imagej_metadata or next(iter(file.shaped_metadata or ()), {})
        resolution = unit = None
        page = file.pages[0]
        array = _without_alpha(array, axes, page)
        if isinstance(page, tifffile.TiffPage):
            x, y, known = (
                page.tags.valueof(name) for name in ("XResolution", "YResolution", "ResolutionUnit")
            )
            unit = None if known is None else int(as_number(known) or 0)
            across, down = per_unit(x), per_unit(y)
            if across is not None and down is not None:
                resolution = (across, down)
    return ImageFile(array, axes, dict(metadata), resolution, unit)


def _without_alpha(array: np.ndarray, axes: str, page: Any) -> np.ndarray:
    """Remove the alpha channel, which is not measured."""
    if page.photometric != tifffile.PHOTOMETRIC.RGB or "C" not in axes:
        return array
    return array[(*[slice(None)] * axes.index("C"), slice(3))]


def _ome_scale(xml: str) -> tuple[dict[str, Any], tuple[float, float] | None, int]:
    """Metadata, resolution and unit of the first image of an OME-XML, in ImageJ's terms."""
    images = tifffile.xml2dict(xml)["OME"]["Image"]
    pixels = (images[0] if isinstance(images, list) else images)["Pixels"]
    metadata = {
        "spacing": pixels.get("PhysicalSizeZ"),
        "unit": pixels.get("PhysicalSizeXUnit", "µm" if "PhysicalSizeX" in pixels else None),
        "finterval": pixels.get("TimeIncrement"),
    }
    x, y = (as_number(pixels.get(name)) for name in ("PhysicalSizeX", "PhysicalSizeY"))
    resolution = (1 / x, 1 / y) if x and y else None
    known = {key: value for key, value in metadata.items() if value is not None}
    return known, resolution, int(tifffile.RESUNIT.NONE)


def _java_escaped(text: str) -> str:
    """Escape non-ASCII letters as ImageJ does."""
    return "".join(letter if letter.isascii() else f"\\u{ord(letter):04X}" for letter in str(text))


def _known_axes(axes: str, ndim: int) -> str:
    """Axes of a TIFF, with colour samples as channels and a letter for every unnamed axis."""
    if not {"Y", "X"} <= set(axes):
        return default_axes(ndim)
    for samples, channels in (("YXS", "YXC"), ("SYX", "CYX")):
        if axes.endswith(samples) and "C" not in axes:
            axes = axes.replace(samples, channels)
    # tifffile calls unknown axes Q or I, possibly more than once.
    unnamed = sum(axis in "QI" for axis in axes)
    free = [letter for letter in "PRSTZ" if letter not in axes]
    names = iter(free[len(free) - unnamed :])
    return "".join(next(names) if axis in "QI" else axis for axis in axes)


def _is_colour(array: np.ndarray) -> bool:
    return array.ndim == 3 and array.shape[-1] in (3, 4)
