"""Recognition of denoised images that this package wrote."""

from __future__ import annotations

from pathlib import Path

import tifffile
import zarr

from napari_redenoise.io._ome_zarr_writing import PROVENANCE
from napari_redenoise.io._tiff_reading import is_tiff
from napari_redenoise.io._unreadable import UNREADABLE
from napari_redenoise.io._zarr_source import is_zarr_folder

SOFTWARE = "napari-redenoise"
"""Software tag of the TIFF of a denoised image."""


def is_own_result(path: str | Path) -> bool:
    """Whether a file is a denoised image of this package.

    Parameters
    ----------
    path : path
        TIFFs say so in their Software tag, OME-Zarrs by a provenance.

    Returns
    -------
    bool
        False for files that are missing, of another format, or damaged.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return is_zarr_folder(path) and bool(zarr.open(path, mode="r").attrs.get(PROVENANCE))
        if not path.is_file() or not is_tiff(path):
            return False
        with tifffile.TiffFile(path) as file:
            return str(file.pages.first.software).startswith(SOFTWARE)
    except UNREADABLE:
        return False
