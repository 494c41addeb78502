"""Pictures inside the scikit-image wheel whose licence allows training on them.

Their statements were read one by one in ``skimage.data`` (version 0.26): CC0 or public domain. Left
out is what says nothing, or only that no restriction is known, what shows a test pattern, and what
is smaller than a scene.
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
    """Every picture as grey planes in 0..1; colours are planes of their own."""
    found = []
    for name in LICENCES:
        picture = skimage.io.imread(str(files("skimage") / "data" / name)) / 255.0
        channels = picture[..., None] if picture.ndim == 2 else picture[..., :3]
        found += [np.asarray(plane, np.float32) for plane in np.moveaxis(channels, -1, 0)]
    return tuple(found)


def crop_photograph(side: int, rng: np.random.Generator) -> Scene:
    """A part of a picture, binned, with another gamma, slightly blurred, sometimes inverted."""
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
