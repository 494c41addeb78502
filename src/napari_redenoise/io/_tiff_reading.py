"""Reading of TIFF, with ImageJ's, OME and other metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tifffile

from napari_redenoise.io._image_file import ImageFile
from napari_redenoise.io._tiff_channels import tiff_channels
from napari_redenoise.io._tiff_colours import check_colours, plain_pixels
from napari_redenoise.io._tiff_planes import read_planes
from napari_redenoise.io._tiff_scale import tiff_scale
from napari_redenoise.io._tiff_series import open_tiff

_HEADERS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_tiff(path: Path) -> bool:
    """Whether the content of a file is that of a TIFF or BigTIFF."""
    with path.open("rb") as file:
        return file.read(4) in _HEADERS


def read_tiff(path: Path, number: int | None = None, companion: Path | None = None) -> ImageFile:
    """Read one series of a TIFF.

    Parameters
    ----------
    path : Path
    number : int, optional
        Of the series, counted from 0; default the one with the most pixels.
    companion : Path, optional
        File of its OME metadata, if the TIFF does not name it.

    Raises
    ------
    InputError
        When there is no such series, its planes are cut off, or its colours are not RGB.
    """
    with open_tiff(path, companion) as opened:
        number, others = opened.choose(number)
        series = opened.series[number]
        check_colours(series.keyframe)
        array, missing = read_planes(opened.file, series)
        array, axes, left_out = plain_pixels(
            array, series.axes, series.keyframe, has_lookup=opened.described.is_imagej
        )
        of = len(opened.series)
        scale = tiff_scale(opened.described, series.keyframe, number, of)
        count = array.shape[axes.index("C")] if "C" in axes else 1
        notes = (*others, *opened.notes, *([missing] if missing else ()), *left_out)
        notes += _calibration(scale.metadata)
        return ImageFile(
            array,
            axes,
            *scale,
            white_is_zero=series.keyframe.photometric == tifffile.PHOTOMETRIC.MINISWHITE,
            orientation=_orientation(series.keyframe),
            notes=notes,
            channels=tiff_channels(opened.described, series, number, of, axes, count),
        )


def _calibration(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Say that ImageJ displays other numbers than the stored grey levels."""
    offset, factor = metadata.get("c0", 0), metadata.get("c1", 1)
    if (offset, factor) == (0, 1):
        return ()
    return (
        f"its calibration of grey levels, {offset} + {factor} × level, is left out: the result has "
        "the stored levels",
    )


def _orientation(page: Any) -> int:
    """The tag `Orientation`; 1, that of the stored pixels, if it is not valid."""
    found = page.tags.valueof("Orientation", default=1)
    return int(found) if found in range(1, 9) else 1
