"""What is as fine as pixels and repeats, or is drawn into an image: gratings and labels.

Optics do not blur it, so it is added to scenes that are blurred already.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from skimage.draw import line

from napari_redenoise.recipes.pretraining._scenes import Scene, smooth_field

GRATED = 0.12
"""Share of scenes with a grating or lattice: fringes of structured illumination, crystals."""

LABELLED = 0.06
"""Share of scenes with characters and a bar, in strokes of one or two pixels."""

_STROKES = (
    ((0, 0), (0, 1)),
    ((0, 0), (1, 0)),
    ((0, 1), (1, 1)),
    ((1, 0), (1, 1)),
    ((1, 0), (2, 0)),
    ((1, 1), (2, 1)),
    ((2, 0), (2, 1)),
    ((0, 0), (1, 1)),
    ((1, 1), (2, 0)),
)
"""Strokes of characters, between points of a grid of three rows and two columns."""


def with_patterns(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene, in some cases with a grating and a label."""
    if rng.random() < GRATED:
        scene = _grated(scene, rng)
    if rng.random() < LABELLED:
        scene = _labelled(scene, rng)
    return scene


def _grated(scene: Scene, rng: np.random.Generator) -> Scene:
    """Modulate a scene by one to three gratings, in some cases only in places."""
    side = len(scene)
    first = rng.uniform(0, np.pi) if rng.random() < 0.6 else rng.choice((0.0, np.pi / 2))
    count = int(rng.choice((1, 2, 3), p=(0.6, 0.25, 0.15)))
    between = np.pi / 2 if count == 2 else np.pi / 3
    period = float(np.exp(rng.uniform(np.log(2.0), np.log(20.0))))
    if rng.random() < 0.3:
        period = max(2.0, round(period))
    sharpness = float(np.exp(rng.uniform(0, 4))) if rng.random() < 0.5 else 0.0
    waves = [_wave(side, first + n * between, period, sharpness, rng) for n in range(count)]
    together = np.prod(waves, 0) if rng.random() < 0.3 else np.mean(waves, 0)
    pattern = (together - together.min()) / max(float(np.ptp(together)), 1e-9)
    depth = np.full((side, side), rng.uniform(0.1, 1.0))
    if rng.random() < 0.4:
        depth *= smooth_field(side, rng, rng.uniform(side / 12, side / 3))
    # Where a scene is dark its product has no pattern: crystals are on a bright ground.
    ground = rng.uniform(0.2, 1.0) if rng.random() < 0.6 else 0.0
    share = 1 - ground * (rng.random() < 0.5)
    return np.asarray((share * scene + ground) * (1 - depth * (1 - pattern)), np.float32)


def _wave(
    side: int, angle: float, period: float, sharpness: float, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """A sinusoid from -1 to 1, or, the sharper, stripes with edges."""
    rows, columns = np.mgrid[:side, :side]
    along = rows * np.sin(angle) + columns * np.cos(angle)
    wave = np.sin(2 * np.pi * along / period + rng.uniform(0, 2 * np.pi))
    return np.asarray(np.tanh(sharpness * wave) if sharpness else wave)


def _labelled(scene: Scene, rng: np.random.Generator) -> Scene:
    """Draw lines of characters and a bar into a scene, brighter or darker than what is there."""
    scene = scene.copy()
    side = len(scene)
    grey = rng.uniform(0.7, 2.0) if rng.random() < 0.8 else 0.0
    height = int(rng.integers(5, 16))
    width, stroke = max(3, round(height * rng.uniform(0.4, 0.7))), int(rng.integers(1, 3))
    for _ in range(int(rng.integers(1, 6))):
        top, left = int(rng.integers(side - height)), int(rng.integers(side // 2))
        for start in range(left, side - width, width + stroke + 1)[: int(rng.integers(3, 30))]:
            for number in rng.choice(len(_STROKES), int(rng.integers(2, 7)), replace=False):
                (y0, x0), (y1, x1) = _STROKES[number]
                rows, columns = line(
                    top + y0 * (height - 1) // 2,
                    start + x0 * (width - 1),
                    top + y1 * (height - 1) // 2,
                    start + x1 * (width - 1),
                )
                for shift in range(stroke):
                    scene[rows, np.minimum(columns + shift, side - 1)] = grey
    if rng.random() < 0.5:
        top, left = int(rng.integers(side - 4)), int(rng.integers(side // 2))
        scene[top : top + int(rng.integers(1, 5)), left : left + int(rng.integers(8, 80))] = grey
    return scene
