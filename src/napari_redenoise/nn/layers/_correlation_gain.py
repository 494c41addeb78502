"""How much signal a random filter passes: what the initial scale of the weights rests on.

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
    """Second moment that a layer inside a ReLU network passes, over what it passes of white noise.

    Notes
    -----
    He et al. rely on independent taps, through which the correlations of the input do not matter.
    Taps of a damped basis are correlated wherever the group holds turns that the grid does not
    (C3, C8, ...), and so are features behind a ReLU: in a kernel of 5 with C8 a layer passes
    twice as much as the energy of its filters says, and twenty layers a million times. Here the
    autocorrelation of the features is followed through twenty layers of infinite width, fed with
    white noise; the result is the geometric mean of what they pass. Where every turn maps the
    grid onto itself it is 1.
    """
    spectrum = _power_spectrum(kernel_size, group)
    features = np.zeros_like(spectrum)
    features[0, 0] = 1.0
    for _ in range(_LAYERS):
        features = _behind_relu(np.fft.ifft2(np.fft.fft2(features) * spectrum).real)
    return float(features[0, 0] ** (1 / _LAYERS))


def _power_spectrum(kernel_size: int, group: Group) -> npt.NDArray[np.float64]:
    """Mean power spectrum of the filters that the initialisation draws, of mean 1."""
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
