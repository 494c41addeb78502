"""Correlation of the noise between planes: of averaged, interpolated or repeated frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import fft

from napari_redenoise.noise._blocks import COARSE, FINE, SIDE
from napari_redenoise.noise._thresholds import FLAT_SHARE, REPEATED, SHARED_BY_TWO, SHARED_NOISE
from napari_redenoise.noise._windows import Floats, square_blocks

Run = tuple[Floats, ...]
"""The same window (rows, columns) of successive planes."""


def is_noise_shared(runs: Sequence[Run]) -> bool:
    """Whether noise of a plane is also in the next one.

    Parameters
    ----------
    runs : sequence of tuples of arrays (rows, columns)
        Windows of three successive planes each, or of two where there are no more.

    Notes
    -----
    Two successive differences of planes with independent noise share one plane: their correlation
    is -1/2. That of averaged, interpolated or repeated planes is larger, 0 for running means.
    Still texture and fixed patterns are in no difference. The fine detail of flat blocks is
    measured, which moving structure changes little. Equal planes, as of a frozen movie, have no
    difference and weigh nothing in a correlation: their share is counted. Two planes have one
    difference: their own fine detail is compared, in which texture counts, too.
    """
    if any(len(run) > 2 for run in runs):
        differences = [_details(run, np.diff(_spectra(run), axis=0)) for run in runs]
        same = np.concatenate([difference.ravel() for difference in differences]) == 0
        is_repeated = same.size > 0 and float(same.mean()) > REPEATED
        return is_repeated or _correlation(differences) > SHARED_NOISE
    return _correlation([_details(run, _spectra(run)) for run in runs]) > SHARED_BY_TWO


def _correlation(pairs: Sequence[Floats]) -> float:
    """Correlation of two sets of coefficients each; that of equal planes is 1."""
    product = power = 0.0
    for one, other in pairs:
        product += float((one * other).sum())
        power += float((one**2).sum() + (other**2).sum()) / 2
    if power > 0:
        return product / power
    return 1.0 if any(pair.size for pair in pairs) else -1.0


def _details(run: Run, spectra: Floats) -> Floats:
    """Fine coefficients (2, N) of the flattest blocks of a run; none without such blocks."""
    known = np.all([_known(plane) for plane in run], axis=0)
    if not known.any():
        return np.zeros((2, 0))
    coarse = (_spectra(run)[:, known][..., COARSE] ** 2).sum((0, 2))
    flat = coarse <= np.quantile(coarse, FLAT_SHARE)
    return np.asarray(spectra[:, known][:, flat][..., FINE].reshape(2, -1))


def _known(plane: Floats) -> Floats:
    """Whether blocks are whole; a constant one is a gap."""
    blocks = square_blocks(plane, SIDE)
    return np.asarray(np.isfinite(blocks).all(1) & (np.ptp(blocks, 1) > 0))


def _spectra(run: Run) -> Floats:
    """Coefficients (planes, blocks, 8, 8)."""
    blocks = np.nan_to_num(np.stack([square_blocks(plane, SIDE) for plane in run]))
    blocks = blocks.reshape(*blocks.shape[:2], SIDE, SIDE)
    return np.asarray(fft.dctn(blocks, axes=(2, 3), norm="ortho"))
