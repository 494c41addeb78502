"""Axes, normalisation, pairs of shots and patches."""

from napari_redenoise.data._axes import SMALLEST_SIDE, ArrayLike, Planes, default_axes
from napari_redenoise.data._folder import FULL_SCALE, PictureFolder
from napari_redenoise.data._given import as_array
from napari_redenoise.data._measured import is_missing, measured
from napari_redenoise.data._normalisation import (
    Normalisation,
    Shown,
    check_scale,
    measure,
    result_dtype,
)
from napari_redenoise.data._pairs import NeighbouringFrames, Shots, TwoImages
from napari_redenoise.data._part import middle_window, some_pixels
from napari_redenoise.data._pool import Patches, Pool, load_pool, patches

__all__ = [
    "FULL_SCALE",
    "SMALLEST_SIDE",
    "ArrayLike",
    "NeighbouringFrames",
    "Normalisation",
    "Patches",
    "PictureFolder",
    "Planes",
    "Pool",
    "Shots",
    "Shown",
    "TwoImages",
    "as_array",
    "check_scale",
    "default_axes",
    "is_missing",
    "load_pool",
    "measure",
    "measured",
    "middle_window",
    "patches",
    "result_dtype",
    "some_pixels",
]
