"""Correlation of the noise between planes: of averaged, interpolated or repeated frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import fft

from napari_redenoise.noise._blocks import COARSE, FINE, SIDE
from napari_redenoise.noise._thresholds import FLAT_SHARE, SHARED_NOISE
from napari_redenoise.noise._windows import Floats

Pair = tuple[Floats, Floats]
"""The same window (rows, columns) of two planes."""


def is_noise_shared(near: Sequence[Pair], far: Sequence[Pair]) -> bool:
    """Whether noise of a plane is also in the next one.

    Parameters
    ----------
    near, far : sequence of pairs of arrays (rows, columns)
        Windows of neighbouring planes, and of planes further apart.

    Returns
    -------
    bool

    Notes
    -----
    The fine detail of flat blocks is noise. It correlates between planes that were averaged or
    interpolated. Texture and fixed patterns correlate between distant planes, too.
    """
    return _correlation(near) - max(_correlation(far), 0.0) > SHARED_NOISE


def _correlation(pairs: Sequence[Pair]) -> float:
    """Correlation of the fine detail in the flattest blocks; 0 where there are none."""
    product = power = 0.0
    for first, second in pairs:
        one, other = _blocks(first), _blocks(second)
        known = np.isfinite(one).all((1, 2)) & np.isfinite(other).all((1, 2))
        # A constant block is a gap.
        known &= (np.ptp(one, (1, 2)) > 0) & (np.ptp(other, (1, 2)) > 0)
        if not known.any():
            continue
        details = [fft.dctn(part[known], axes=(1, 2), norm="ortho") for part in (one, other)]
        coarse = sum((detail[:, COARSE] ** 2).sum(1) for detail in details)
        flat = coarse <= np.quantile(coarse, FLAT_SHARE)
        a, b = (detail[flat][:, FINE] for detail in details)
        product += float((a * b).sum())
        power += float((a**2).sum() + (b**2).sum()) / 2
    return product / power if power > 0 else 0.0


def _blocks(plane: Floats) -> Floats:
    """Blocks (N, 8, 8) of a plane."""
    rows, columns = (size // SIDE for size in plane.shape)
    cut = plane[: rows * SIDE, : columns * SIDE].reshape(rows, SIDE, columns, SIDE)
    return np.asarray(cut.swapaxes(1, 2).reshape(-1, SIDE, SIDE), np.float64)
