"""Photographs of scikit-image whose licence allows training.

All are CC0 or in the public domain, according to ``skimage.data`` (version 0.26). Photographs
without a clear licence, test patterns, and photographs smaller than a scene are excluded.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt
import skimage.io
from scipy import ndimage

from napari_redenoise.recipes.pretraining._scenes import Scene

LICENCES = {
    "astronaut.png": "public domain, NASA",
    "brick.png": "CC0, CC0Textures Bricks25",
    "camera.png": "CC0, Lav Varshney",
    "cell.png": "CC0, scikit-image",
    "chelsea.png": "CC0, Stefan van der Walt",
    "clock_motion.png": "public domain, Stefan van der Walt",
    "coffee.png": "CC0, Rachel Michetti",
    "grass.png": "CC0, CC0Textures Grass001",
    "gravel.png": "CC0, CC0Textures Gravel04",
    "hubble_deep_field.jpg": "public domain, NASA",
    "retina.jpg": "CC0, Häggström",
    "rocket.jpg": "public domain, SpaceX",
}


@cache
def photograph_planes() -> tuple[npt.NDArray[np.float32], ...]:
    """All photographs as grey planes from 0 to 1, one per colour."""
    found = []
    for name in LICENCES:
        photograph = skimage.io.imread(str(files("skimage") / "data" / name)) / 255.0
        channels = photograph[..., None] if photograph.ndim == 2 else photograph[..., :3]
        found += [np.asarray(plane, np.float32) for plane in np.moveaxis(channels, -1, 0)]
    return tuple(found)


def crop_photograph(side: int, rng: np.random.Generator) -> Scene:
    """Crop a photograph at random; bin and blur it, change its gamma, and invert some."""
    plane = photograph_planes()[int(rng.integers(len(photograph_planes())))]
    binning = int(min(rng.integers(1, 4), min(plane.shape) // side))
    binning = max(binning, 1)
    height, width = (min(side * binning, size) for size in plane.shape)
    top = int(rng.integers(plane.shape[0] - height + 1))
    left = int(rng.integers(plane.shape[1] - width + 1))
    part = plane[top : top + height, left : left + width].astype(np.float64)
    rows, columns = height // binning, width // binning
    part = part[: rows * binning, : columns * binning]
    part = part.reshape(rows, binning, columns, binning).mean((1, 3))
    if rng.random() < 0.3:
        part = 1 - part
    part = ndimage.gaussian_filter(part, rng.uniform(0.4, 2.0)) ** rng.uniform(0.5, 2.5)
    part -= part.min()
    bright = max(float(np.percentile(part, 99.8)), 1e-6)
    return np.asarray(part / bright, np.float32)
