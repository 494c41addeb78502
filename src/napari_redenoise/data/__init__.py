"""Axes, normalisation, pairs of shots and patches."""

from napari_redenoise.data._axes import SMALLEST_SIDE, ArrayLike, Planes, default_axes
from napari_redenoise.data._folder import FULL_SCALE, PictureFolder
from napari_redenoise.data._given import as_array
from napari_redenoise.data._pairs import NeighbouringFrames, Shots, TwoImages
from napari_redenoise.data._part import middle_window, some_pixels
from napari_redenoise.data._pool import (
    Normalisation,
    Pool,
    check_scale,
    load_pool,
    measure,
    patches,
)

__all__ = [
    "FULL_SCALE",
    "SMALLEST_SIDE",
    "ArrayLike",
    "NeighbouringFrames",
    "Normalisation",
    "PictureFolder",
    "Planes",
    "Pool",
    "Shots",
    "TwoImages",
    "as_array",
    "check_scale",
    "default_axes",
    "load_pool",
    "measure",
    "middle_window",
    "patches",
    "some_pixels",
]
