"""The gain of random filters for correlated input, which sets the initial scale of weights.

References
----------
K. He, X. Zhang, S. Ren, J. Sun, "Delving Deep into Rectifiers", ICCV 2015 (independent taps).
Y. Cho, L. Saul, "Kernel Methods for Deep Learning", NeurIPS 2009 (moments behind a ReLU).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from napari_redenoise.nn.layers._basis import filter_basis
from napari_redenoise.nn.layers._group import Group

_LAYERS = 20
_PERIOD = 64


@lru_cache(maxsize=64)
def correlation_gain(kernel_size: int, group: Group) -> float:
    """Second moment that a layer inside a ReLU network passes, relative to white noise.

    Parameters
    ----------
    kernel_size : int
    group : Group

    Returns
    -------
    float

    Notes
    -----
    He et al. assume independent taps, for which correlations of the input do not matter. Taps of a
    damped basis are correlated if the group has rotations that do not preserve the grid (C3, C8,
    ...). Features after a ReLU are correlated, too. With kernel 5 and C8 a layer passes twice the
    energy of its filters, and twenty layers a million times. The autocorrelation of the features is
    computed through twenty layers of infinite width with white noise as input. The result is the
    geometric mean of their gains. It is 1 if all rotations preserve the grid.
    """
    spectrum = _power_spectrum(kernel_size, group)
    features = np.zeros_like(spectrum)
    features[0, 0] = 1.0
    for _ in range(_LAYERS):
        features = _behind_relu(np.fft.ifft2(np.fft.fft2(features) * spectrum).real)
    return float(features[0, 0] ** (1 / _LAYERS))


def _power_spectrum(kernel_size: int, group: Group) -> npt.NDArray[np.float64]:
    """Mean power spectrum of initial filters, normalised to mean 1."""
    basis, damping = filter_basis(kernel_size, group)
    power = np.zeros((_PERIOD, _PERIOD))
    for functions in basis * damping:
        transformed = np.fft.fft2(functions, s=power.shape, axes=(0, 1))
        power += (np.abs(transformed) ** 2).sum(-1)
    return np.asarray(power / power.mean())


def _behind_relu(covariance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``2 E[relu(a) relu(b)]`` for jointly normal a, b; the factor keeps the second moment."""
    variance = covariance[0, 0]
    correlation = np.clip(covariance / variance, -1.0, 1.0)
    angle = np.arccos(correlation)
    moment = np.sin(angle) + (np.pi - angle) * correlation
    return np.asarray(variance / np.pi * moment)
