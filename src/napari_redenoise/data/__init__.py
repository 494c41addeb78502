"""Axes, normalisation, bad pixels, noisy pairs and patches."""

from napari_redenoise.data._array_like import as_array
from napari_redenoise.data._bad_pixels import is_missing, mask_missing
from napari_redenoise.data._bounded_reading import (
    middle_window,
    read_middle,
    representative_runs,
    representative_subset,
    spread_evenly,
)
from napari_redenoise.data._image_decoding import IMAGE_SUFFIXES
from napari_redenoise.data._image_folder import FULL_SCALE, ImageFolder, Window, list_images
from napari_redenoise.data._lazy_array import LazyArray
from napari_redenoise.data._noisy_pairs import NeighbouringFrames, Shots, TwoImages
from napari_redenoise.data._normalisation import (
    GreyScale,
    NetworkInput,
    Normalisation,
    PlaneScales,
    check_scale,
    grey_scale,
    measure,
    result_dtype,
)
from napari_redenoise.data._patches import Patches, Pool, context_of, load_pool, patches
from napari_redenoise.data._planes import SMALLEST_SIDE, ArrayLike, Planes, default_axes
from napari_redenoise.data._window_places import spread_window

__all__ = [
    "FULL_SCALE",
    "IMAGE_SUFFIXES",
    "SMALLEST_SIDE",
    "ArrayLike",
    "GreyScale",
    "ImageFolder",
    "LazyArray",
    "NeighbouringFrames",
    "NetworkInput",
    "Normalisation",
    "Patches",
    "PlaneScales",
    "Planes",
    "Pool",
    "Shots",
    "TwoImages",
    "Window",
    "as_array",
    "check_scale",
    "context_of",
    "default_axes",
    "grey_scale",
    "is_missing",
    "list_images",
    "load_pool",
    "mask_missing",
    "measure",
    "middle_window",
    "patches",
    "read_middle",
    "representative_runs",
    "representative_subset",
    "result_dtype",
    "spread_evenly",
    "spread_window",
]
