"""Synthetic noisy images with their ground truth: nothing is downloaded."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_redenoise.noise import poisson_gaussian

LayerData = tuple[npt.NDArray[Any], dict[str, Any], str]

SIZE = 512
FRAMES = 10
PEAK_PHOTONS = 25.0
CAMERA = {"gain": 40.0, "offset": 100.0, "read_noise": 60.0}
PIXEL_SIZE = 0.1
"""Micrometres."""


def noisy_cells() -> list[LayerData]:
    """One fluorescence image, 512 x 512, uint16, with about 25 photons at the brightest."""
    rng = np.random.default_rng(1)
    return _layers(cells(SIZE, rng), "Noisy cells", rng)


def noisy_time_series() -> list[LayerData]:
    """Ten frames of drifting cells, each 256 x 256, uint16."""
    rng = np.random.default_rng(2)
    still = cells(SIZE // 2 + 4 * FRAMES, rng)
    frames = [
        ndimage.shift(still, (0.0, -1.5 * t), order=1)[20:-20, 20 : 20 + SIZE // 2]
        for t in range(FRAMES)
    ]
    return _layers(np.stack(frames), "Noisy time series", rng)


def cells(size: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Draw an image of nuclei, filaments and puncta through a microscope, values 0..1."""
    nuclei = _nuclei(size, rng)
    filaments = ndimage.gaussian_filter(_filaments(size, rng), 0.7)
    puncta = np.zeros((size, size))
    spots = rng.integers(0, size, (2, size // 2))
    puncta[tuple(spots)] = rng.uniform(0.3, 1.0, size // 2)
    puncta = ndimage.gaussian_filter(puncta, 1.0) * 5
    haze = ndimage.gaussian_filter(nuclei + filaments, size / 20)
    image = 0.55 * nuclei + 0.9 * filaments + 0.7 * puncta + 0.25 * haze
    sharp = ndimage.gaussian_filter(image, 1.2)
    return np.asarray(np.clip(sharp / np.percentile(sharp, 99.9), 0, 1) * 0.97 + 0.03)


def _nuclei(size: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Textured ellipses."""
    y, x = np.mgrid[:size, :size].astype(float)
    texture = ndimage.gaussian_filter(rng.normal(size=(size, size)), 3)
    texture = 1 + 0.35 * texture / texture.std()
    image = np.zeros((size, size))
    for _ in range(max(4, (size // 110) ** 2)):
        cy, cx = rng.uniform(0, size, 2)
        long, short = rng.uniform(22, 34), rng.uniform(15, 22)
        angle = rng.uniform(0, np.pi)
        u = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        v = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        inside = 1 / (1 + np.exp(8 * (np.hypot(u / long, v / short) - 1)))
        image = np.maximum(image, inside * rng.uniform(0.5, 1.0))
    return np.asarray(image * np.clip(texture, 0, None))


def _filaments(size: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Smooth random curves that cross the image."""
    image = np.zeros((size, size))
    for _ in range(size // 9):
        steps = 4 * size
        angle = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.012, steps))
        start = rng.uniform(-0.1 * size, 1.1 * size, 2)
        row = (start[0] + np.cumsum(0.4 * np.sin(angle))).astype(int)
        column = (start[1] + np.cumsum(0.4 * np.cos(angle))).astype(int)
        inside = (row >= 0) & (row < size) & (column >= 0) & (column < size)
        drawn = np.zeros_like(image)
        drawn[row[inside], column[inside]] = rng.uniform(0.4, 1.0)
        image += drawn
    return image


def _layers(clean: npt.NDArray[np.float64], name: str, rng: np.random.Generator) -> list[LayerData]:
    """The noisy image, and its ground truth hidden below it, both in grey levels."""
    photons = clean * PEAK_PHOTONS
    noisy = np.clip(np.rint(poisson_gaussian(photons, rng, **CAMERA)), 0, 65535).astype(np.uint16)
    truth = (photons * CAMERA["gain"] + CAMERA["offset"]).astype(np.float32)
    shared = {
        "scale": (1.0,) * (clean.ndim - 2) + (PIXEL_SIZE, PIXEL_SIZE),
        "units": ("pixel",) * (clean.ndim - 2) + ("micrometer", "micrometer"),
        "axis_labels": ("t", "y", "x")[3 - clean.ndim :],
    }
    limits = [float(truth.min()), float(np.percentile(noisy, 99.8))]
    return [
        (
            truth,
            {
                **shared,
                "name": f"{name}: ground truth",
                "visible": False,
                "contrast_limits": limits,
            },
            "image",
        ),
        (noisy, {**shared, "name": name, "contrast_limits": limits}, "image"),
    ]
