"""Pixel size, units and frame interval in the metadata of a TIFF."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tifffile

from napari_redenoise.io._spatial_metadata import as_number, per_unit
from napari_redenoise.io._units import SECOND, ImagejScale, conversion, in_one_unit
from napari_redenoise.io._unreadable import UNREADABLE

_NO_UNIT = int(tifffile.RESUNIT.NONE)
_LENGTHS = {int(tifffile.RESUNIT.INCH): "in", int(tifffile.RESUNIT.CENTIMETER): "cm"}


def tiff_scale(file: tifffile.TiffFile, page: Any, number: int, of: int) -> ImagejScale:
    """Read the scale of a series.

    Parameters
    ----------
    file : tifffile.TiffFile
    page : tifffile.TiffPage
        The first of a series.
    number, of : int
        Number of that series, counted from 0, and how many there are.

    Returns
    -------
    ImagejScale
        Without what the file does not tell, or tells in damaged metadata.
    """
    readers: tuple[Callable[[], ImagejScale | None], ...] = (
        lambda: _ome_scale(file, page, number, of),
        lambda: _lsm_scale(file),
        lambda: _stk_scale(file),
        lambda: _imagej_scale(file, page),
        lambda: _shaped_scale(file, page, number, of),
        lambda: _tag_scale(page),
    )
    for read in readers:
        try:
            found = read()
        except UNREADABLE:
            continue
        if found is not None:
            return found
    return ImagejScale({})


def ome_images(xml: str) -> list[Mapping[str, Any]]:
    """Return the `Pixels` of the images in an OME-XML; none if it is damaged."""
    try:
        images = tifffile.xml2dict(xml)["OME"]["Image"]
        return [image["Pixels"] for image in (images if isinstance(images, list) else [images])]
    except UNREADABLE:
        return []


def ome_number(file: tifffile.TiffFile, page: Any, number: int, of: int) -> int | None:
    """Number of the image of a series in the OME metadata of its file, if there is one.

    Parameters
    ----------
    file, page, number, of
        As of `tiff_scale`.
    """
    images = ome_images(file.ome_metadata or "")
    if len(images) == of:
        return number
    size = (page.imagewidth, page.imagelength)
    fitting = [
        place
        for place, pixels in enumerate(images)
        if (pixels.get("SizeX"), pixels.get("SizeY")) == size
    ]
    return fitting[0] if len(fitting) == 1 else None


def _ome_scale(file: tifffile.TiffFile, page: Any, number: int, of: int) -> ImagejScale | None:
    found = ome_number(file, page, number, of)
    if found is None:
        return None
    pixels = ome_images(file.ome_metadata or "")[found]
    sizes = {axis: pixels.get(f"PhysicalSize{axis}") for axis in "XYZ"}
    units = {axis: str(pixels.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "XYZ"}
    if sizes["Y"] is None:
        # Several programs give one size of square pixels.
        sizes["Y"], units["Y"] = sizes["X"], units["X"]
    metadata = {
        "unit": None if sizes["X"] is None else units["X"],
        "spacing": sizes["Z"],
        "finterval": pixels.get("TimeIncrement"),
    }
    known = {key: value for key, value in metadata.items() if value is not None}
    units["T"] = str(pixels.get("TimeIncrementUnit", SECOND))
    resolution = None
    if sizes["X"] is not None or sizes["Y"] is not None:
        resolution = (_inverse(sizes["X"]), _inverse(sizes["Y"]))
    return ImagejScale(*in_one_unit(known, resolution, units), _NO_UNIT)


def _lsm_scale(file: tifffile.TiffFile) -> ImagejScale | None:
    found = file.lsm_metadata
    if not found:
        return None
    # Zeiss stores metres and seconds.
    x, y, z = (float(f"{found[f'VoxelSize{axis}'] * 1e6:.12g}") for axis in "XYZ")
    metadata = {"unit": "µm", "spacing": z, "finterval": float(found.get("TimeIntervall", 0))}
    known = {key: value for key, value in metadata.items() if value}
    return ImagejScale(known, (_inverse(x), _inverse(y)), _NO_UNIT)


def _stk_scale(file: tifffile.TiffFile) -> ImagejScale | None:
    found = file.stk_metadata
    if not found or not found.get("XCalibration"):
        return None
    metadata: dict[str, Any] = {"unit": str(found.get("CalibrationUnits") or "pixel")}
    distances = np.unique(found.get("ZDistance", 0))
    if distances.size == 1 and distances[0]:
        metadata["spacing"] = float(distances[0])
    resolution = (_inverse(found["XCalibration"]), _inverse(found.get("YCalibration")))
    return ImagejScale(metadata, resolution, _NO_UNIT)


def _imagej_scale(file: tifffile.TiffFile, page: Any) -> ImagejScale | None:
    metadata = file.imagej_metadata
    if metadata is None:
        return None
    named = {"Y": "yunit", "Z": "zunit", "T": "tunit"}
    units = {axis: str(metadata[name]) for axis, name in named.items() if name in metadata}
    _, resolution, unit = _tag_scale(page)
    return ImagejScale(*in_one_unit(metadata, resolution, units), unit)


def _shaped_scale(file: tifffile.TiffFile, page: Any, number: int, of: int) -> ImagejScale | None:
    """Scale of a series that tifffile wrote."""
    found = file.shaped_metadata
    if not found:
        return None
    _, resolution, unit = _tag_scale(page)
    metadata = dict(found[number if len(found) == of else 0])
    length = _LENGTHS.get(unit) if unit else None
    factor = None if length is None else conversion(metadata.get("unit"), length)
    if resolution is None or factor is None:
        return ImagejScale(metadata, resolution, unit)
    # The tags have a unit of their own.
    across, down = (float(f"{factor * one:.12g}") for one in resolution)
    return ImagejScale(metadata, (across, down), _NO_UNIT)


def _tag_scale(page: Any) -> ImagejScale:
    x, y, known = (
        page.tags.valueof(name) for name in ("XResolution", "YResolution", "ResolutionUnit")
    )
    across, down = per_unit(x), per_unit(y)
    resolution = None if across is None or down is None else (across, down)
    return ImagejScale({}, resolution, None if known is None else int(as_number(known) or 0))


def _inverse(size: Any) -> float:
    """Pixels per unit; NaN if the size is not a number, infinite if it is 0."""
    number = as_number(size)
    if number is None:
        return math.nan
    return 1 / number if number else math.inf
