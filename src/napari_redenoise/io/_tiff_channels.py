"""Channels in the metadata of a TIFF."""

from __future__ import annotations

from typing import Any

import tifffile

from napari_redenoise.io._channels import (
    RGB,
    Channel,
    imagej_channels,
    lsm_channels,
    ome_channels,
)
from napari_redenoise.io._tiff_scale import ome_number
from napari_redenoise.io._unreadable import UNREADABLE


def tiff_channels(
    file: tifffile.TiffFile, series: Any, number: int, of: int, axes: str, count: int
) -> tuple[Channel, ...]:
    """Read names, colours and windows of the channels of a series.

    Parameters
    ----------
    file : tifffile.TiffFile
    series : tifffile.TiffPageSeries
    number, of : int
        Number of that series, counted from 0, and how many there are.
    axes : str
        Of the image.
    count : int
        Its channels; 1 without a channel axis.

    Returns
    -------
    tuple of Channel
        As many as the image has, or none.
    """
    if "C" in axes and "C" not in series.axes:
        # The samples of a pixel.
        return RGB if count == len(RGB) else ()
    try:
        if file.is_ome:
            place = ome_number(file, series.keyframe, number, of)
            found = () if place is None else ome_channels(file.ome_metadata or "", place)
        elif file.is_lsm:
            found = lsm_channels(file.lsm_metadata or {})
        else:
            found = imagej_channels(file.imagej_metadata or {}, count)
    except UNREADABLE:
        return ()
    return found if len(found) == count else ()
