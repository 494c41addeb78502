"""Blocks of 8 x 8 pixels: their level, and their energy at coarse and fine detail.

Structure of an image fades towards fine detail, white noise does not. The coarse half of a
block's cosine transform tells whether it holds structure, the fine half how strong its noise is;
for white Gaussian noise the two are independent, so choosing blocks by the one does not bias the
other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from napari_redenoise.errors import InputError
from napari_redenoise.noise._report import Autocorrelation
from napari_redenoise.noise._windows import Plane

SIDE = 8
PIXELS = SIDE * SIDE
_ORDER = np.add.outer(np.arange(SIDE), np.arange(SIDE))
COARSE = (_ORDER >= 1) & (_ORDER <= 4)
FINE = _ORDER >= 8

_MANY_PIXELS = 400_000
_FEW_PIXELS = 100 * 100
_LEAST_BLOCKS = 4

Values = npt.NDArray[np.float64]
Chosen = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Blocks:
    """Blocks of all windows, one entry each.

    Parameters
    ----------
    level, around : array
        Mean grey level of the block, and of the pixels around it, whose noise is not the block's.
    coarse, fine : array
        Mean square of the coefficients of the cosine transform; both estimate the variance of
        white noise.
    darkest, brightest : array
        Share of the pixels at the lowest and at the highest level of the image.
    place : array (blocks, 3)
        Number of the window, first row, first column.
    overlap : float
        How many blocks a pixel is in.
    freedom : float
        Independent numbers behind ``fine``.
    averaged : float
        Pixels behind ``level``.
    """

    level: Values
    around: Values
    coarse: Values
    fine: Values
    darkest: Values
    brightest: Values
    place: npt.NDArray[np.intp]
    overlap: float
    freedom: float = float(FINE.sum())
    averaged: float = float(PIXELS)

    def __len__(self) -> int:
        return len(self.level)


def single_image_blocks(planes: list[Plane], limits: tuple[float, float]) -> Blocks:
    """Transform all blocks whose pixels are finite and not all the same.

    Raises
    ------
    InputError
        When too few are left.
    """
    step = _step(sum(plane.size for plane in planes))
    parts = [_transform(plane, number, step, limits) for number, plane in enumerate(planes)]
    return _join(parts, (SIDE / step) ** 2)


def repeats_blocks(windows: list[Plane], limits: tuple[float, float]) -> Blocks:
    """Variance over repeated acquisitions, averaged in blocks: no structure is left in it.

    ``coarse`` is 0: every block is as good as another.

    Raises
    ------
    InputError
        When too few blocks are finite.
    """
    frames = windows[0].shape[0]
    parts = []
    for number, window in enumerate(windows):
        cut = _cut(window, SIDE)
        keep = np.isfinite(cut).all((2, 3, 4)) & (np.ptp(cut, axis=(2, 3, 4)) > 0)
        place = np.argwhere(keep) * SIDE
        cut = cut[keep]
        # A lamp that flickers moves whole frames; that is no noise of the pixels.
        whole = cut.mean((0, 2, 3)) if len(cut) else np.zeros(frames)
        steady = cut - (whole - whole.mean())[:, None, None]
        variance = steady.var(1, ddof=1).mean((1, 2))
        around = _around(window.mean(0), place)
        shares = [(cut == limit).mean((1, 2, 3)) for limit in limits]
        where = np.column_stack([np.full(len(place), number), place])
        parts.append((cut.mean((1, 2, 3)), around, 0 * variance, variance, *shares, where))
    freedom = float((frames - 1) * PIXELS)
    return _join(parts, 1.0, freedom, float(frames * PIXELS))


def expected_share(autocorrelation: Autocorrelation, chosen: Chosen) -> float:
    """Energy that correlated noise of variance 1 has in chosen coefficients, 1 if it is white.

    The correlation is taken as the product of the one along y and the one along x.
    """
    along_y, along_x = (
        _spectrum(coefficients) for coefficients in (autocorrelation.y, autocorrelation.x)
    )
    return float(np.outer(along_y, along_x)[chosen].mean())


def _spectrum(coefficients: tuple[float, ...]) -> Values:
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


def _cut(window: Plane, step: int) -> Plane:
    """View (rows of blocks, columns of blocks, ..., 8, 8) of a window (..., Y, X)."""
    view = np.lib.stride_tricks.sliding_window_view(window, (SIDE, SIDE), axis=(-2, -1))
    return np.asarray(np.moveaxis(view[..., ::step, ::step, :, :], (-4, -3), (0, 1)))


def _transform(
    plane: Plane, number: int, step: int, limits: tuple[float, float]
) -> tuple[npt.NDArray[Any], ...]:
    cut = _cut(plane, step)
    keep = np.isfinite(cut).all((2, 3)) & (np.ptp(cut, axis=(2, 3)) > 0)
    place = np.argwhere(keep) * step
    cut = cut[keep]
    energy = fft.dctn(cut, axes=(1, 2), norm="ortho") ** 2
    shares = [(cut == limit).mean((1, 2)) for limit in limits]
    where = np.column_stack([np.full(len(place), number), place])
    fine, coarse = (energy[:, part].mean(1) for part in (FINE, COARSE))
    return cut.mean((1, 2)), _around(plane, place), coarse, fine, *shares, where


def _around(plane: Plane, place: npt.NDArray[np.intp]) -> Values:
    """Mean of the 24 x 24 pixels around blocks without the blocks themselves."""
    finite = np.isfinite(plane)
    filled = np.where(finite, plane, 0.0)
    sums, counts = (
        [_box_sum(array, side) for side in (3 * SIDE, SIDE)] for array in (filled, finite * 1.0)
    )
    centre = tuple((place + SIDE // 2).T)
    total = (sums[0] - sums[1])[centre]
    return np.asarray(total / np.maximum((counts[0] - counts[1])[centre], 1.0))


def _box_sum(plane: Plane, side: int) -> Plane:
    """Sum over a square; a block that begins at p has its square around p + 4."""
    return np.asarray(ndimage.uniform_filter(plane, side, mode="constant") * float(side**2))


def _join(
    parts: list[tuple[npt.NDArray[Any], ...]],
    overlap: float,
    freedom: float = float(FINE.sum()),
    averaged: float = float(PIXELS),
) -> Blocks:
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    if len(columns[0]) < _LEAST_BLOCKS:
        raise InputError(
            f"almost every {SIDE} x {SIDE} block of the image holds pixels that are not finite, "
            "or one value only: fill them, or choose another image"
        )
    level, around, coarse, fine, darkest, brightest, place = columns
    return Blocks(
        level, around, coarse, fine, darkest, brightest, place, overlap, freedom, averaged
    )
