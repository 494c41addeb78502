"""Image files: reading with their axes and scale, writing without losing them."""

from __future__ import annotations

import itertools
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import skimage.io
import tifffile

from napari_redenoise.data import ArrayLike, default_axes
from napari_redenoise.errors import InputError, OutputError
from napari_redenoise.io._files import refuse_existing, whole_file

TIFF_SUFFIXES = (".tif", ".tiff")
# Offsets have 32 bits; some are left for what is not pixels.
MOST_BYTES_IN_TIFF = 2**32 - 2**25

# What the decoders raise for damaged files and for those of other kinds.
_UNREADABLE = (
    tifffile.TiffFileError,
    OSError,
    ValueError,
    LookupError,
    RuntimeError,
    SyntaxError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True)
class ImageFile:
    """An image as read: pixels, axes, and what a TIFF said of scale and units."""

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
        Instead of what the file says, for example ``"TYX"``.

    Raises
    ------
    InputError
        When the file is missing or is no image.
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
                # Transparency is no measurement: it would only be refused as constant.
                image = ImageFile(array[..., :3], "YXC")
            else:
                image = ImageFile(array, default_axes(array.ndim))
    except _UNREADABLE as error:
        raise InputError(f"{path} cannot be read as an image ({error})") from error
    if axes is None:
        return image
    return ImageFile(
        image.array, axes.upper(), image.metadata, image.resolution, image.resolution_unit
    )


def write_tiff(
    path: str | Path, array: ArrayLike, like: ImageFile, *, overwrite: bool = False
) -> Path:
    """Write a result as TIFF with the axes, scale and units of its source.

    The file appears under its name only when it is complete.

    Parameters
    ----------
    path : path
    array : array-like
        Of any kind that `result_array` makes; one plane of it is in memory at a time.
    like : ImageFile
        The source; a result without its channels, such as a mask, is recognised.
    overwrite : bool

    Notes
    -----
    Up to 4 GiB this is an ImageJ hyperstack where that holds dtype and axes; what is larger, or of
    another kind, is a TIFF (then a BigTIFF) that names its axes, as tifffile writes it.

    Raises
    ------
    OutputError
        When the file exists and ``overwrite`` is not set, or is no TIFF by its name.
    """
    path = Path(path)
    check_output(path, overwrite=overwrite)
    dtype = np.dtype(array.dtype)
    axes = like.axes if len(array.shape) == len(like.axes) else like.axes.replace("C", "")
    colour = axes.endswith("YXC") and array.shape[-1] in (3, 4)
    metadata: dict[str, Any] = {
        key: like.metadata[key] for key in ("spacing", "unit", "finterval") if key in like.metadata
    }
    big = math.prod(array.shape) * dtype.itemsize > MOST_BYTES_IN_TIFF
    options: dict[str, Any] = {"photometric": "rgb" if colour else "minisblack", "bigtiff": big}
    imagej = dtype in (np.uint8, np.uint16, np.float32) and set(axes) <= set("TZCYX")
    order = list(range(len(axes)))
    if imagej and not colour and not big:
        # ImageJ's TIFF has a fixed order of axes and is what Fiji reads scale and axes from.
        options["imagej"] = True
        if "unit" in metadata:
            metadata["unit"] = _java_escaped(metadata["unit"])
        kept = [axis for axis in "TZCYX" if axis in axes]
        order = [axes.index(axis) for axis in kept]
        axes = "".join(kept)
    else:
        axes = axes.replace("C", "S") if colour else axes
    if like.resolution is not None:
        options["resolution"] = like.resolution
        if like.resolution_unit is not None:
            options["resolutionunit"] = like.resolution_unit
    options |= {"shape": tuple(array.shape[axis] for axis in order), "dtype": dtype}
    pages = _pages(array, order, 3 if colour else 2)
    with whole_file(path) as partial:
        tifffile.imwrite(partial, pages, metadata={"axes": axes, **metadata}, **options)
    return path


def check_output(path: str | Path, *, overwrite: bool = False) -> None:
    """Refuse a name under which a result must not or cannot be written.

    Raises
    ------
    OutputError
        When the file exists and ``overwrite`` is not set, or is no TIFF by its name.
    """
    path = Path(path)
    if path.suffix.lower() not in TIFF_SUFFIXES:
        raise OutputError(f"expected a name ending in .tif for the result, got {path.name}")
    refuse_existing(path, overwrite=overwrite)


def _pages(array: ArrayLike, order: list[int], depth: int) -> Iterator[npt.NDArray[Any]]:
    """Pages of a file with the axes of an array in another order, the last ``depth`` in a page."""
    outer, inner = order[:-depth], order[-depth:]
    turned = [sorted(inner).index(axis) for axis in inner]
    for index in itertools.product(*(range(array.shape[axis]) for axis in outer)):
        place = dict(zip(outer, index, strict=True))
        key = tuple(place.get(axis, slice(None)) for axis in range(len(order)))
        yield np.asarray(array[key]).transpose(turned)


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
        if isinstance(page, tifffile.TiffPage) and "XResolution" in page.tags:
            x, y = (page.tags[name].value for name in ("XResolution", "YResolution"))
            if 0 not in (*x, *y):
                resolution = (x[0] / x[1], y[0] / y[1])
            if "ResolutionUnit" in page.tags:
                unit = int(page.tags["ResolutionUnit"].value)
    return ImageFile(array, axes, dict(metadata), resolution, unit)


def _without_alpha(array: np.ndarray, axes: str, page: Any) -> np.ndarray:
    """Colours alone: transparency is no measurement."""
    if page.photometric != tifffile.PHOTOMETRIC.RGB or "C" not in axes:
        return array
    return array[(*[slice(None)] * axes.index("C"), slice(3))]


def _ome_scale(xml: str) -> tuple[dict[str, Any], tuple[float, float] | None, int]:
    """Metadata, resolution and its unit of the first image of an OME-XML, in ImageJ's terms."""
    images = tifffile.xml2dict(xml)["OME"]["Image"]
    pixels = (images[0] if isinstance(images, list) else images)["Pixels"]
    metadata = {
        "spacing": pixels.get("PhysicalSizeZ"),
        "unit": pixels.get("PhysicalSizeXUnit", "µm" if "PhysicalSizeX" in pixels else None),
        "finterval": pixels.get("TimeIncrement"),
    }
    sizes = [pixels.get("PhysicalSizeX"), pixels.get("PhysicalSizeY")]
    resolution = (1 / sizes[0], 1 / sizes[1]) if all(sizes) else None
    known = {key: value for key, value in metadata.items() if value is not None}
    return known, resolution, int(tifffile.RESUNIT.NONE)


def _java_escaped(text: str) -> str:
    """ASCII as ImageJ reads it."""
    return "".join(letter if letter.isascii() else f"\\u{ord(letter):04X}" for letter in str(text))


def _known_axes(axes: str, ndim: int) -> str:
    """Axes as a TIFF names them, with samples of colour as channels and no axis unnamed."""
    if not {"Y", "X"} <= set(axes):
        return default_axes(ndim)
    for samples, channels in (("YXS", "YXC"), ("SYX", "CYX")):
        if axes.endswith(samples) and "C" not in axes:
            axes = axes.replace(samples, channels)
    # What tifffile does not know it calls Q or I, more than once if need be.
    unnamed = sum(axis in "QI" for axis in axes)
    free = [letter for letter in "PRSTZ" if letter not in axes]
    names = iter(free[len(free) - unnamed :])
    return "".join(next(names) if axis in "QI" else axis for axis in axes)


def _is_colour(array: np.ndarray) -> bool:
    return array.ndim == 3 and array.shape[-1] in (3, 4)
