"""Blocks of 8 x 8 pixels: their level, and their energy at coarse and fine detail.

Structure fades towards fine detail, white noise does not. The coarse half of a block's cosine
transform shows whether the block holds structure, the fine half how large its noise is. For white
Gaussian noise the halves are independent, so the choice of blocks does not bias the noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from napari_redenoise.errors import InputError
from napari_redenoise.noise._report import Autocorrelation
from napari_redenoise.noise._windows import Floats

SIDE = 8
PIXELS = SIDE * SIDE
_ORDER = np.add.outer(np.arange(SIDE), np.arange(SIDE))
COARSE = (_ORDER >= 1) & (_ORDER <= 4)
FINE = _ORDER >= 8

_MANY_PIXELS = 400_000
_FEW_PIXELS = 100 * 100
_MIN_BLOCKS = 4

Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Blocks:
    """Blocks of all windows, one entry each.

    Parameters
    ----------
    level, around : array
        Mean grey level of the block, and of the pixels around it, whose noise is independent.
    coarse, fine : array
        Mean square of cosine coefficients; both estimate the variance of white noise.
    darkest, brightest : array
        Share of the pixels at the lowest and at the highest level of the image.
    place : array (blocks, 3)
        Number of the window, first row, first column.
    overlap : float
        Number of blocks that hold a pixel.
    freedom : float
        Degrees of freedom of ``fine``.
    averaged : float
        Pixels behind ``level``.
    """

    level: Floats
    around: Floats
    coarse: Floats
    fine: Floats
    darkest: Floats
    brightest: Floats
    place: Indices
    overlap: float
    freedom: float = float(FINE.sum())
    averaged: float = float(PIXELS)

    def __len__(self) -> int:
        return len(self.level)


def single_image_blocks(planes: list[Floats], limits: tuple[float, float]) -> Blocks:
    """Transform all blocks that are finite and not constant."""
    step = _step(sum(plane.size for plane in planes))
    parts = []
    for number, plane in enumerate(planes):
        cut, place = _cut(plane, step)
        energy = fft.dctn(cut, axes=(1, 2), norm="ortho") ** 2
        coarse, fine = (energy[:, part].mean(1) for part in (COARSE, FINE))
        parts.append(_columns(cut, plane, coarse, fine, limits, place, number))
    return _concatenate(parts, (SIDE / step) ** 2)


def difference_blocks(pairs: list[Floats], limits: tuple[float, float]) -> Blocks:
    """Transform the differences of pairs (2, Y, X), over the square root of 2.

    What does not change between both is no structure. What moves is. A block that is the same in
    both, as of a frozen movie, has no noise to measure.
    """
    step = _step(sum(pair.size for pair in pairs))
    parts = []
    for number, pair in enumerate(pairs):
        cut, place = _cut(pair, step)
        difference = (cut[:, 0] - cut[:, 1]) / np.sqrt(2)
        changes = np.ptp(difference, axis=(1, 2)) > 0
        cut, place = cut[changes], place[changes]
        energy = fft.dctn(difference[changes], axes=(1, 2), norm="ortho") ** 2
        coarse, fine = (energy[:, part].mean(1) for part in (COARSE, FINE))
        parts.append(_columns(cut, pair.mean(0), coarse, fine, limits, place, number))
    return replace(_concatenate(parts, (SIDE / step) ** 2), averaged=2.0 * PIXELS)


def repeats_blocks(windows: list[Floats], limits: tuple[float, float]) -> Blocks:
    """Measure the variance over repeated acquisitions in blocks, without structure: coarse is 0."""
    frames, parts = windows[0].shape[0], []
    for number, window in enumerate(windows):
        cut, place = _cut(window, SIDE)
        # A flickering lamp changes whole frames; that is no pixel noise.
        whole = cut.mean((0, 2, 3)) if len(cut) else np.zeros(frames)
        steady = cut - (whole - whole.mean())[:, None, None]
        variance = steady.var(1, ddof=1).mean((1, 2))
        parts.append(_columns(cut, window.mean(0), 0 * variance, variance, limits, place, number))
    freedom, averaged = float((frames - 1) * PIXELS), float(frames * PIXELS)
    return replace(_concatenate(parts, 1.0), freedom=freedom, averaged=averaged)


def expected_share(autocorrelation: Autocorrelation, chosen: Mask) -> float:
    """Expected energy of noise of variance 1 in some coefficients; 1 for white noise.

    The correlation is the product of that along y and that along x.
    """
    y, x = (_spectrum(along) for along in (autocorrelation.y, autocorrelation.x))
    return float(np.outer(y, x)[chosen].mean())


def _spectrum(coefficients: tuple[float, ...]) -> Floats:
    """Expected energy of the cosine coefficients along one axis."""
    distance = np.abs(np.subtract.outer(np.arange(SIDE), np.arange(SIDE)))
    row = np.zeros(SIDE)
    row[0] = 1.0
    known = min(SIDE - 1, len(coefficients))
    row[1 : 1 + known] = coefficients[:known]
    transform = fft.dct(np.eye(SIDE), axis=0, norm="ortho")
    energy = np.einsum("vi,ij,vj->v", transform, row[distance], transform)
    return np.asarray(np.maximum(energy, 0.005))


def _step(pixels: int) -> int:
    """Blocks overlap in small images, where every one counts."""
    if pixels > _MANY_PIXELS:
        return SIDE
    return SIDE // 2 if pixels > _FEW_PIXELS else SIDE // 4


def _cut(window: Floats, step: int) -> tuple[Floats, Indices]:
    """Cut (..., Y, X) into blocks (N, ..., 8, 8), finite and not constant; first pixels (N, 2)."""
    view = np.lib.stride_tricks.sliding_window_view(window, (SIDE, SIDE), axis=(-2, -1))
    view = np.moveaxis(view[..., ::step, ::step, :, :], (-4, -3), (0, 1))
    inner = tuple(range(2, view.ndim))
    keep = np.isfinite(view).all(inner) & (np.ptp(view, axis=inner) > 0)
    return view[keep], np.argwhere(keep) * step


def _columns(
    cut: Floats,
    plane: Floats,
    coarse: Floats,
    fine: Floats,
    limits: tuple[float, float],
    place: Indices,
    number: int,
) -> tuple[npt.NDArray[Any], ...]:
    """Entries of `Blocks` for the blocks of one window."""
    inner = tuple(range(1, cut.ndim))
    shares = [(cut == limit).mean(inner) for limit in limits]
    where = np.column_stack([np.full(len(place), number), place])
    return cut.mean(inner), _surroundings(plane, place), coarse, fine, *shares, where


def _surroundings(plane: Floats, place: Indices) -> Floats:
    """Mean of the 24 x 24 pixels around blocks without the blocks themselves."""
    finite = np.isfinite(plane)
    filled = np.where(finite, plane, 0.0)
    sums, counts = (
        [_box_sum(array, side) for side in (3 * SIDE, SIDE)] for array in (filled, finite * 1.0)
    )
    centre = tuple((place + SIDE // 2).T)
    total = (sums[0] - sums[1])[centre]
    return np.asarray(total / np.maximum((counts[0] - counts[1])[centre], 1.0))


def _box_sum(plane: Floats, side: int) -> Floats:
    """Sum over a square; the square of a block that begins at p has its centre at p + 4."""
    return np.asarray(ndimage.uniform_filter(plane, side, mode="constant") * float(side**2))


def _concatenate(parts: list[tuple[npt.NDArray[Any], ...]], overlap: float) -> Blocks:
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    if len(columns[0]) < _MIN_BLOCKS:
        raise InputError(
            f"almost every {SIDE} x {SIDE} block of the image holds pixels that are not finite, "
            "or one value only: fill them, or choose another image"
        )
    level, around, coarse, fine, darkest, brightest, place = columns
    return Blocks(level, around, coarse, fine, darkest, brightest, place, overlap)
