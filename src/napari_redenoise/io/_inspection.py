"""What files of images and models hold, as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from PIL import Image

from napari_redenoise.io._bioio_reading import microscope_kind
from napari_redenoise.io._image_file import ImageFile
from napari_redenoise.io._images import read_image
from napari_redenoise.io._model_inspection import SUFFIX, inspect_model
from napari_redenoise.io._ome_companion import first_tiff, is_companion
from napari_redenoise.io._ome_zarr_writing import PROVENANCE
from napari_redenoise.io._spatial_metadata import as_number
from napari_redenoise.io._tiff_reading import is_tiff
from napari_redenoise.io._tiff_series import open_tiff
from napari_redenoise.io._zarr_source import ZarrSource

_TIFF_KINDS = {"ome": "OME-TIFF", "imagej": "ImageJ TIFF", "lsm": "LSM", "stk": "STK"}
_RESOLUTION_UNITS = {2: "inch", 3: "cm"}


def inspect_file(path: str | Path, series: int | None = None) -> dict[str, Any]:
    """Describe a model or an image.

    Parameters
    ----------
    path : path or str
        A model file, or whatever `read_image` reads.
    series : int, optional
        As in `read_image`.

    Returns
    -------
    dict
        Plain values that JSON can hold; ``kind`` is ``"model"`` or ``"image"``. Without what the
        file does not say.

    Raises
    ------
    InputError, ModelFileError
        When the file cannot be read.
    """
    path = Path(path)
    if path.suffix.lower() == SUFFIX and path.is_file():
        return inspect_model(path)
    image = read_image(path, series=series)
    source = ZarrSource.find(path)
    details = _zarr_details(source) if source is not None else _file_details(path)
    described = {
        "kind": "image",
        "file": str(path) if source is None else source.name,
        **details,
        "series_read": details.get("series_read") if series is None else series,
        "axes": image.axes,
        "shape": list(map(int, image.array.shape)),
        "dtype": str(np.dtype(image.array.dtype)),
        "channels": [one.name for one in image.channels if one.name],
        "pixel_size": _pixel_size(image),
        "displayed_inverted": image.white_is_zero or None,
        "orientation": image.orientation if image.orientation != 1 else None,
        "notes": list(image.notes),
    }
    return {name: value for name, value in described.items() if value not in (None, {}, [])}


def _file_details(path: Path) -> dict[str, Any]:
    size = {"bytes": path.stat().st_size}
    if is_tiff(path):
        return {**size, **_tiff_details(path)}
    if is_companion(path):
        return {**size, **_tiff_details(first_tiff(path), path)}
    kind = microscope_kind(path)
    if kind is not None:
        return {**size, "format": kind[0]}
    with Image.open(path) as image:
        return {**size, "format": image.format, "mode": image.mode}


def _tiff_details(path: Path, companion: Path | None = None) -> dict[str, Any]:
    """Series and compression of a TIFF."""
    with open_tiff(path, companion) as opened:
        number, _ = opened.choose(None)
        page = opened.series[number].keyframe
        kind = next((known for name, known in _TIFF_KINDS.items() if _is(opened, name)), "TIFF")
        return {
            "format": kind,
            "is_bigtiff": opened.file.is_bigtiff or None,
            "compression": tifffile.COMPRESSION(page.compression).name.lower(),
            "tile": [page.tilelength, page.tilewidth] if page.is_tiled else None,
            "series_read": number,
            "series": [
                {
                    "number": index,
                    "axes": one.axes,
                    "shape": list(one.shape),
                    "dtype": str(one.dtype),
                    "levels": len(one.levels),
                }
                for index, one in enumerate(opened.series)
            ],
        }


def _is(opened: Any, kind: str) -> bool:
    return bool(getattr(opened.described, f"is_{kind}"))


def _zarr_details(source: ZarrSource) -> dict[str, Any]:
    """Levels, chunks and provenance of an OME-Zarr."""
    node = source.open()
    attributes: dict[str, Any] = dict(node.attrs)
    ome = attributes.get("ome", attributes)
    levels = _levels(node, ome)
    first = levels[0] if levels else None
    return {
        "format": f"OME-Zarr {_version(ome)}".strip(),
        "levels": [list(map(int, level.shape)) for level in levels],
        "chunks": None if first is None else list(map(int, first.chunks)),
        "shards": None if first is None or not first.shards else list(map(int, first.shards)),
        "compression": None if first is None else _compression(first),
        "provenance": attributes.get(PROVENANCE),
    }


def _levels(node: Any, ome: Mapping[str, Any]) -> list[zarr.Array[Any]]:
    if isinstance(node, zarr.Array):
        return [node]
    multiscales = ome.get("multiscales") or [{}]
    found = [node.get(str(one["path"])) for one in multiscales[0].get("datasets", ())]
    return [level for level in found if isinstance(level, zarr.Array)]


def _version(ome: Mapping[str, Any]) -> str:
    multiscales = ome.get("multiscales") or [{}]
    return str(ome.get("version") or multiscales[0].get("version") or "")


def _compression(array: zarr.Array[Any]) -> str | None:
    names = [type(one).__name__.removesuffix("Codec").lower() for one in array.compressors]
    return ", ".join(names) or "none"


def _pixel_size(image: ImageFile) -> dict[str, dict[str, Any]]:
    """Size of a pixel along each axis whose size is known, with its unit."""
    if image.ome is not None:
        known = (axis for axis in image.ome.axes if axis.unit or axis.scale != 1)
        return {axis.letter: {"size": axis.scale, "unit": axis.unit} for axis in known}
    unit = image.metadata.get("unit") or _RESOLUTION_UNITS.get(image.resolution_unit or 0)
    resolution = dict(zip("XY", image.resolution or (), strict=False))
    sizes = {axis: (1 / number, unit) for axis, number in resolution.items() if number}
    for axis, name, its_unit in (("Z", "spacing", unit), ("T", "finterval", "s")):
        size = as_number(image.metadata.get(name))
        if axis in image.axes and size is not None:
            sizes[axis] = (size, its_unit)
    return {
        axis: {"size": size, "unit": its_unit}
        for axis, (size, its_unit) in sizes.items()
        if 0 < size < math.inf
    }
