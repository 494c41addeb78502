"""Procedural microscopy: clean scenes of filaments, puncta, organelles, membranes and others.

A scene is a non-negative float32 image (side, side) with a maximum of about 1, drawn from a
`numpy.random.Generator`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

Scene = npt.NDArray[np.float32]
Drawing = Callable[[int, np.random.Generator], npt.NDArray[np.float64]]


def draw_scene(side: int, rng: np.random.Generator) -> Scene:
    """Draw one to three kinds of structure on a smooth background, blurred by random optics.

    Parameters
    ----------
    side : int
        Pixels.
    rng : numpy.random.Generator

    Returns
    -------
    array of shape (side, side), float32
    """
    names = list(STRUCTURES)
    light: npt.NDArray[np.float64] = np.zeros((side, side))
    for _ in range(int(rng.choice((1, 2, 3), p=(0.5, 0.35, 0.15)))):
        drawn = STRUCTURES[names[int(rng.integers(len(names)))]](side, rng)
        # Scaled by the maximum, a few bright spots leave the rest dark, as in real images.
        bright = drawn.max() if rng.random() < 0.5 else np.percentile(drawn, 99.5)
        light += rng.uniform(0.2, 1.0) * drawn / (bright if bright > 0 else max(drawn.max(), 1e-9))
    if rng.random() < 0.4:
        light *= 1 - rng.uniform(0, 0.8) * smooth_field(side, rng, side / 4)
    if rng.random() < 0.3:
        light *= _cells(side, rng)
    light = through_optics(light, rng).astype(np.float64)
    if rng.random() < 0.6:
        light += rng.uniform(0, 0.5) * light.max() * smooth_field(side, rng, side / 3)
    light -= light.min()
    bright = np.percentile(light, 99.8)
    return np.asarray(light / (bright if bright > 0 else max(light.max(), 1e-9)), np.float32)


def through_optics(light: npt.NDArray[np.float64], rng: np.random.Generator) -> Scene:
    """Blur with a random point-spread function: a sharp core, often with an out-of-focus halo.

    One in five keeps details of one pixel, as electron microscopes and binned cameras do.
    """
    width = float(np.exp(rng.uniform(np.log(0.5), np.log(3.0))))
    if rng.random() < 0.2:
        return np.asarray(ndimage.gaussian_filter(light, rng.uniform(0.0, 0.5)), np.float32)
    sharp = ndimage.gaussian_filter(light, width)
    if rng.random() < 0.5:
        share = rng.uniform(0.1, 0.6)
        sharp = (1 - share) * sharp + share * ndimage.gaussian_filter(
            light, width * rng.uniform(2.5, 8)
        )
    return np.asarray(sharp, np.float32)


def filaments(side: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Smoothly bending lines: microtubules, actin; some in bundles, some bright."""
    count = int(rng.integers(8, 120))
    lengths = rng.integers(side // 4, 3 * side, count)
    bend = float(np.exp(rng.uniform(np.log(0.002), np.log(0.06))))
    spread = float(rng.choice((0.2, 1.0, np.pi)))
    light = _lines(side, rng, lengths, spread, bend, 0.5)
    if rng.random() < 0.3:
        light = ndimage.gaussian_filter(light, rng.uniform(1.0, 2.5))
    return light


def fibres(side: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Many nearly parallel lines at the resolution limit: stress fibres, muscle."""
    count = int(np.exp(rng.uniform(np.log(60), np.log(600))))
    lengths = rng.integers(side // 8, 2 * side, count)
    bend = float(np.exp(rng.uniform(np.log(0.0005), np.log(0.01))))
    light = _lines(side, rng, lengths, rng.uniform(0.02, 0.3), bend, rng.uniform(0.2, 1.2))
    if rng.random() < 0.5:
        light += rng.uniform(0, 1) * light.mean()
    return light


def organelles(side: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Short thick rods, filled or hollow: mitochondria, bacteria, vesicles."""
    count = int(np.exp(rng.uniform(np.log(10), np.log(400))))
    longest = int(np.exp(rng.uniform(np.log(3), np.log(50))))
    lengths = rng.integers(1, longest + 1, count)
    bend = float(np.exp(rng.uniform(np.log(0.005), np.log(0.1))))
    light = _lines(side, rng, lengths, np.pi, bend, 0.3, is_clustered=rng.random() < 0.5)
    width = float(np.exp(rng.uniform(np.log(1.0), np.log(4.0))))
    light = ndimage.gaussian_filter(light, width) * width
    # Saturates, so that crossing points of a line are not brighter.
    filled = 1 - np.exp(-light * rng.uniform(3, 12))
    if rng.random() < 0.4:
        return np.asarray(filled * np.exp(-light * rng.uniform(2, 10)))
    return np.asarray(filled)


def puncta(side: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Spots of uneven brightness, scattered or in clusters: vesicles, receptors, beads."""
    count = int(np.exp(rng.uniform(np.log(20), np.log(side**2 / 5))))
    places = rng.uniform(0, side, (count, 2))
    if rng.random() < 0.5:
        centres = rng.uniform(0, side, (max(2, count // 40), 2))
        chosen = centres[rng.integers(len(centres), size=count)]
        places = chosen + rng.normal(0, rng.uniform(3, 20), (count, 2))
    light: npt.NDArray[np.float64] = np.zeros((side, side))
    _splat(light, places[:, 0], places[:, 1], rng.lognormal(0, rng.uniform(0.2, 1.2), count))
    if rng.random() < 0.4:
        light = ndimage.gaussian_filter(light, rng.uniform(1.0, 4.0))
    return light


def nuclei(side: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Deformed discs with a texture inside: nuclei, cells, droplets."""
    light: npt.NDArray[np.float64] = np.zeros((side, side))
    radius = float(np.exp(rng.uniform(np.log(side / 40), np.log(side / 5))))
    rows, columns = np.mgrid[:side, :side]
    texture = rng.uniform(0, 0.9) * smooth_field(side, rng, rng.uniform(1.0, radius / 2 + 1))
    for _ in range(int(rng.integers(2, 4 + int(0.5 * (side / radius) ** 2 / np.pi)))):
        y, x = rng.uniform(0, side, 2)
        top, bottom = (int(np.clip(v, 0, side)) for v in (y - 2 * radius, y + 2 * radius + 1))
        left, right = (int(np.clip(v, 0, side)) for v in (x - 2 * radius, x + 2 * radius + 1))
        window = (slice(top, bottom), slice(left, right))
        dy, dx = rows[window] - y, columns[window] - x
        angle = np.arctan2(dy, dx)
        edge = radius * rng.uniform(0.6, 1.2) * np.ones_like(angle)
        for waves in (2, 3, 4, 5):
            edge *= 1 + rng.normal(0, 0.2 / waves) * np.cos(waves * angle + rng.uniform(0, 6.3))
        inside = 1 / (1 + np.exp(np.clip((np.hypot(dy, dx) - edge) / 0.7, -30, 30)))
        filled = 1 - texture[window]
        if rng.random() < 0.2:
            filled = filled * np.exp(-(((np.hypot(dy, dx) - edge) / 3) ** 2))
        light[window] = np.maximum(light[window], rng.uniform(0.3, 1) * inside * filled)
    return light


def membranes(side: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Walls between cells of a random tessellation: epithelia, plant tissue, EM of neurites."""
    count = int(np.exp(rng.uniform(np.log(8), np.log(400))))
    points = rng.uniform(-0.1, 1.1, (count, 2)) * side
    places = np.moveaxis(np.mgrid[:side, :side].astype(float), 0, -1)
    amplitude = rng.uniform(0, 12)
    for axis in (0, 1):
        places[..., axis] += amplitude * (2 * smooth_field(side, rng, rng.uniform(6, 30)) - 1)
    distances, nearest = cKDTree(points).query(places.reshape(-1, 2), k=2)
    gap = (distances[:, 1] - distances[:, 0]).reshape(side, side)
    walls = np.exp(-((gap / rng.uniform(1.0, 4.0)) ** 2))
    filling = rng.uniform(0, 0.6) * rng.uniform(0, 1, count)[nearest[:, 0]].reshape(side, side)
    light = walls + filling * (1 - walls)
    return np.asarray(1.0 - light / light.max() if rng.random() < 0.3 else light)


def tissue(side: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Overlapping flat ellipses of all sizes, some with a dark rim: EM, tissue, edges."""
    light = np.full((side, side), rng.uniform(0, 1))
    smallest = rng.uniform(1.5, 4)
    radii = smallest * (1 - rng.uniform(0, 1, int(rng.integers(100, 800)))) ** -0.8
    rim = rng.uniform(0.3, 1.0) * (rng.random() < 0.5)
    grain = rng.uniform(0, 0.4) * smooth_field(side, rng, rng.uniform(0.6, 2))
    for radius in np.sort(np.minimum(radii, side / 4))[::-1]:
        window, depth, _ = _ellipse(side, radius, int(2 * radius) + 2, 0.5, rng)
        inside = np.clip(depth + 0.5, 0, 1)
        grey = rng.uniform(0, 1) * (1 - rim * (depth < 1.2))
        light[window] = (1 - inside) * light[window] + inside * grey
    return np.asarray(light * (1 - grain))


def neuropil(side: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Thin dark membranes, vesicles, mitochondria and grain, densely packed: EM of tissue."""
    grey = np.full((side, side), rng.uniform(0.6, 1.0))
    places = np.moveaxis(np.mgrid[:side, :side].astype(float), 0, -1)
    for width, amplitude in ((rng.uniform(12, 40), rng.uniform(0, 25)), (4, rng.uniform(0, 4))):
        for axis in (0, 1):
            places[..., axis] += amplitude * (2 * smooth_field(side, rng, width) - 1)
    # Small cells between large ones: points are denser in places.
    count = int(np.exp(rng.uniform(np.log(15), np.log(500))))
    points = rng.uniform(-0.2, 1.2, (count, 2)) * side
    centres = rng.uniform(0, side, (4, 2))
    near = centres[rng.integers(4, size=count // 2)] + rng.normal(0, side / 12, (count // 2, 2))
    points = np.concatenate((points, near))
    distances, nearest = cKDTree(points).query(places.reshape(-1, 2), k=2)
    gap = (distances[:, 1] - distances[:, 0]).reshape(side, side)
    cells = rng.uniform(-1, 1, len(points))[nearest[:, 0]].reshape(side, side)
    grey += rng.uniform(0, 0.2) * cells
    uneven = texture(side, rng)
    grey -= rng.uniform(0, 0.4) * uneven / max(float(np.ptp(uneven)), 1e-9)
    for _ in range(int(np.exp(rng.uniform(np.log(3), np.log(200))))):
        _organelle(grey, rng)
    depth = rng.uniform(0.3, 1.0) * (0.6 + 0.8 * smooth_field(side, rng, rng.uniform(2, 10)))
    grey *= 1 - np.clip(depth, 0, 1) * np.exp(-((gap / rng.uniform(0.7, 3.5)) ** 2))
    grain = rng.normal(size=(side, side))
    grain = ndimage.gaussian_filter(grain, rng.uniform(0.5, 1.5))
    grey += rng.uniform(0, 0.12) * grain / grain.std()
    return np.asarray(np.maximum(grey, 0))


def _organelle(grey: npt.NDArray[np.float64], rng: np.random.Generator) -> None:
    """Draw a vesicle, a ring, or a dark striped mitochondrion into an image."""
    side = len(grey)
    radius = float(np.exp(rng.uniform(np.log(1.5), np.log(16.0))))
    window, depth, along = _ellipse(side, radius, int(1.6 * radius) + 3, 0.45, rng)
    inside = np.clip(depth + 0.5, 0, 1)
    filled = np.full_like(depth, rng.uniform(0.2, 1.0))
    if radius > 5 and rng.random() < 0.6:
        filled = filled * (1 - rng.uniform(0, 0.7) * np.sin(along / rng.uniform(0.6, 1.5)) ** 4)
    rim = rng.uniform(0.2, 1.0) * np.exp(-((depth / rng.uniform(0.7, 1.5)) ** 2))
    grey[window] = (1 - inside) * grey[window] + inside * filled
    grey[window] *= 1 - rim


def _ellipse(
    side: int, radius: float, reach: int, flattest: float, rng: np.random.Generator
) -> tuple[tuple[slice, slice], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """A random ellipse: its window, the depth of pixels inside it, and positions along its axis.

    Its orientation is random; ``flattest`` is the smallest ratio of its axes.
    """
    y, x = rng.uniform(0, side, 2)
    window = (
        slice(max(0, int(y) - reach), min(side, int(y) + reach + 1)),
        slice(max(0, int(x) - reach), min(side, int(x) + reach + 1)),
    )
    rows, columns = np.mgrid[window]
    dy, dx = rows - y, columns - x
    angle, flat = rng.uniform(0, np.pi), rng.uniform(flattest, 1)
    along = dy * np.sin(angle) + dx * np.cos(angle)
    across = (dx * np.sin(angle) - dy * np.cos(angle)) / flat
    return window, radius - np.hypot(along, across), along


def texture(side: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Noise with a power-law spectrum, cut off at random: cytoplasm, tissue, chromatin, fur."""
    rows, columns = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij")
    angle = rng.uniform(0, np.pi)
    stretch = float(np.exp(rng.uniform(0, 1.8))) if rng.random() < 0.4 else 1.0
    frequency = np.hypot(
        (rows * np.sin(angle) + columns * np.cos(angle)) * stretch,
        (columns * np.sin(angle) - rows * np.cos(angle)) / stretch,
    )
    slope, finest = rng.uniform(0.8, 2.5), rng.uniform(0.05, 0.35)
    spectrum = (frequency + 1.0 / side) ** -slope * np.exp(-((frequency / finest) ** 2))
    values = np.fft.ifft2(spectrum * np.fft.fft2(rng.normal(size=(side, side)))).real
    values = (values - values.mean()) / values.std()
    if rng.random() < 0.5:
        return np.asarray(np.maximum(values - rng.uniform(-0.5, 1.0), 0) ** rng.uniform(0.5, 2))
    return np.asarray(values - values.min())


def _cells(side: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Blobs of value 1 with soft edges on a background of 0."""
    values = smooth_field(side, rng, rng.uniform(side / 10, side / 3))
    level = np.quantile(values, rng.uniform(0.2, 0.8))
    steepness = rng.uniform(10, 80)
    return np.asarray(1 / (1 + np.exp(np.clip((level - values) * steepness, -30, 30))))


def _lines(
    side: int,
    rng: np.random.Generator,
    lengths: npt.NDArray[np.int64],
    spread: float,
    bend: float,
    unevenness: float,
    *,
    is_clustered: bool = False,
) -> npt.NDArray[np.float64]:
    """Curved lines of given lengths, one point per pixel of length.

    ``spread`` is the standard deviation of their directions about a common one, which changes
    slowly over the scene. ``bend`` is that of the angle per pixel, ``unevenness`` that of the
    logarithm of the intensity.
    """
    count, longest = len(lengths), int(lengths.max())
    curvature = ndimage.gaussian_filter1d(rng.normal(0, bend * 8, (count, longest)), 8, axis=1)
    start = rng.uniform(-0.2, 1.2, (2, count)) * side
    if is_clustered:
        centres = rng.uniform(0, side, (2, max(2, count // 30)))
        chosen = centres[:, rng.integers(centres.shape[1], size=count)]
        start = chosen + rng.normal(0, rng.uniform(8, 40), (2, count))
    main = rng.uniform(0, 2 * np.pi) + rng.normal(0, 0.5) * start[0] / side
    angle = (main + rng.normal(0, spread, count))[:, None] + np.cumsum(curvature, 1)
    places = start[:, :, None] + np.cumsum((np.sin(angle), np.cos(angle)), 2)
    there = np.arange(longest) < lengths[:, None]
    brightness = np.broadcast_to(rng.lognormal(0, unevenness, count)[:, None], there.shape)
    light: npt.NDArray[np.float64] = np.zeros((side, side))
    _splat(light, places[0][there], places[1][there], brightness[there])
    return light


def smooth_field(side: int, rng: np.random.Generator, width: float) -> npt.NDArray[np.float64]:
    """Blurred noise from 0 to 1."""
    values = ndimage.gaussian_filter(rng.normal(size=(side, side)), width, mode="wrap")
    span = float(np.ptp(values))
    return np.asarray((values - values.min()) / (span if span > 0 else 1.0))


def _splat(
    light: npt.NDArray[np.float64],
    rows: npt.NDArray[np.float64],
    columns: npt.NDArray[np.float64],
    weight: float | npt.NDArray[np.float64],
) -> None:
    """Add points to their four nearest pixels, with bilinear weights."""
    side = len(light)
    weight = np.broadcast_to(weight, rows.shape)
    inside = (rows >= 0) & (rows < side - 1) & (columns >= 0) & (columns < side - 1)
    rows, columns, weight = rows[inside], columns[inside], weight[inside]
    top, left = rows.astype(int), columns.astype(int)
    down, right = rows - top, columns - left
    for y, share_y in ((0, 1 - down), (1, down)):
        for x, share_x in ((0, 1 - right), (1, right)):
            where = (top + y) * side + left + x
            added = np.bincount(where, weight * share_y * share_x, side * side)
            light += added.reshape(side, side)


STRUCTURES: dict[str, Drawing] = {
    "filaments": filaments,
    "fibres": fibres,
    "puncta": puncta,
    "organelles": organelles,
    "nuclei": nuclei,
    "membranes": membranes,
    "tissue": tissue,
    "neuropil": neuropil,
    "texture": texture,
}
