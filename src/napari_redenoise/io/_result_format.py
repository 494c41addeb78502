"""The format that suits the result of an image: by its size."""

from __future__ import annotations

import math
import os
from pathlib import Path

from napari_redenoise.errors import InputError
from napari_redenoise.io._images import MOST_BYTES_IN_TIFF, read_image
from napari_redenoise.io._lazy_images import MOST_BYTES_IN_MEMORY
from napari_redenoise.io._result_files import result_type

LEAST_BYTES = MOST_BYTES_IN_MEMORY
"""Smaller files are not opened: `read_image` may read all their pixels, which takes long.

Their results exceed 4 GiB only after strong compression.
"""


def exceeds_tiff(path: str | Path, axes: str | None = None, *, as_source: bool = False) -> bool:
    """Tell whether the denoised image of a file is larger than 4 GiB.

    A TIFF of this size is a BigTIFF, which ImageJ and others open slowly or not at all. The shape
    is read, but no pixels.

    Parameters
    ----------
    path : path
    axes : str, optional
        As in `read_image`.
    as_source : bool
        Whether the denoised image has the integer type of its source, else it is float32.

    Returns
    -------
    bool
        False where the file cannot be read, which its turn in a batch reports.
    """
    try:
        if not os.path.isfile(path) or os.path.getsize(path) < LEAST_BYTES:
            return False
        array = read_image(path, axes).array
    except (InputError, OSError):
        return False
    size = result_type(array, as_source=as_source).itemsize
    return math.prod(map(int, array.shape)) * size > MOST_BYTES_IN_TIFF
