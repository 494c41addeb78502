"""Image files as layers and as thumbnails, read in threads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_redenoise._napari._layers import METADATA_KEY, percentiles
from napari_redenoise.data import Planes
from napari_redenoise.io import ImageFile, read_image, round_to_integers, unit_symbol

THUMBNAIL = 72
"""Pixels; largest side."""

_MOST_READ = 2048
"""Pixels; largest side of the window that a thumbnail shows."""


@dataclass(frozen=True)
class FileLayer:
    """Pixels and keyword arguments of a layer."""

    data: Any
    keywords: dict[str, Any]


def read_pair(noisy: Path, denoised: Path) -> tuple[FileLayer, FileLayer]:
    """Read an image and its result as layers with the same contrast limits.

    Raises
    ------
    InputError
        When a file cannot be read.
    """
    source, result = read_image(noisy), read_image(denoised)
    below = _layer(source, noisy.stem, source.array)
    pixels = result.array
    if below.keywords["rgb"]:
        # napari shows colours in floating point outside 0..1 wrongly.
        pixels = round_to_integers(np.asarray(pixels), source.array.dtype)
    above = _layer(result, f"{noisy.stem} denoised", pixels)
    keywords = {**above.keywords, "metadata": {METADATA_KEY: {"content": "denoised image"}}}
    if "contrast_limits" in below.keywords:
        keywords["contrast_limits"] = below.keywords["contrast_limits"]
    return below, FileLayer(above.data, keywords)


def _layer(image: ImageFile, name: str, pixels: Any) -> FileLayer:
    shape = tuple(pixels.shape)
    colour = image.axes.endswith("YXC") and shape[-1] == 3 and _is_integer(image)
    axes = image.axes[:-1] if colour else image.axes
    keywords = {
        "name": name,
        "rgb": colour,
        "axis_labels": [axis.lower() for axis in axes],
        **_spatial(image, axes),
    }
    if not colour:
        keywords["contrast_limits"] = percentiles(pixels, 0.1, 99.9)
    return FileLayer(pixels, keywords)


def _is_integer(image: ImageFile) -> bool:
    return np.dtype(image.array.dtype).kind in "ui"


def _spatial(image: ImageFile, axes: str) -> dict[str, Any]:
    """Scale and units, where the file gives a unit of length."""
    unit = unit_symbol(image.metadata.get("unit"))
    if unit not in ("nm", "µm", "mm", "cm", "m") or image.resolution is None:
        return {}
    across, down = (1 / part if part else 1.0 for part in image.resolution)
    sizes = {"X": across, "Y": down, "Z": image.metadata.get("spacing")}
    scale = [float(sizes.get(axis) or 1) for axis in axes]
    return {"scale": scale, "units": [unit if axis in "ZYX" else "pixel" for axis in axes]}


def read_thumbnail(path: Path) -> npt.NDArray[np.uint8]:
    """Read the middle plane of an image, at most `THUMBNAIL` pixels wide and high.

    Returns
    -------
    array of shape (rows, columns, 3)

    Raises
    ------
    InputError
        When the file cannot be read.
    """
    image = read_image(path)
    planes = Planes(image.array, image.axes)
    sample = tuple(size // 2 for size in planes.sample_shape)
    window = planes.read(sample, _middle(planes.height), _middle(planes.width))
    step = -(-max(window.shape[1:]) // THUMBNAIL)
    small = window[:, ::step, ::step].astype(np.float64)
    colours = small if len(small) == 3 and image.axes.endswith("YXC") else small.mean(0)[None]
    low, high = percentiles(colours.ravel()[None], 1, 99)
    shown = np.nan_to_num(np.clip((colours - low) / (high - low), 0, 1) * 255)
    return np.ascontiguousarray(
        np.broadcast_to(shown, (3, *shown.shape[1:])).transpose(1, 2, 0), np.uint8
    )


def _middle(size: int) -> slice:
    start = max(0, (size - _MOST_READ) // 2)
    return slice(start, start + min(size, _MOST_READ))
