"""Filters as finite Fourier series, rotated without interpolation (F-Conv).

References
----------
Q. Xie, Q. Zhao, Z. Xu, D. Meng, "Fourier Series Expansion Based Filter Parametrization for
Equivariant Convolutions", TPAMI 2022.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from napari_redenoise.errors import ConfigError
from napari_redenoise.nn.layers._group import Group

_SMALLEST_EIGENVALUE = 1e-4
_UNDAMPED_VARIATION = 0.04


def fourier_atoms(kernel_size: int, group: Group) -> npt.NDArray[np.float64]:
    """Evaluate the windowed cosines and sines on the grid rotated by every element.

    Parameters
    ----------
    kernel_size : int
    group : Group

    Returns
    -------
    array of shape (len(group), kernel_size, kernel_size, atoms), float64
        ``2 * kernel_size**2`` atoms; size 1 gives a constant, for size 2 see `_ring_atoms`.

    Raises
    ------
    ConfigError
        When ``kernel_size`` is below 1.

    Notes
    -----
    Kernels of even size have no centre pixel: their grid is centred between four pixels. Rotations
    by 90 degrees and flips map it onto itself.
    """
    p = kernel_size
    if p < 1:
        raise ConfigError(f"a kernel of {p} pixels does not exist: give 1, 2, 3, ...")
    axis = np.linspace(-1.0, 1.0, p) if p > 1 else np.zeros(1)
    x, y = np.meshgrid(axis, axis)
    window = np.exp(-np.maximum(x**2 + y**2 - 1, 0) / (0.2 if p > 4 else 2.0))
    xy = np.einsum("gij,jyx->giyx", group.coordinate_maps, np.stack([x, y]))
    if p == 2:
        return _ring_atoms(xy)
    frequency = np.arange(p, dtype=np.float64)
    frequency[frequency > p / 2] -= p
    ab = np.stack(np.meshgrid(frequency, frequency, indexing="ij"), -1).reshape(-1, 2)
    phase = np.pi * (p - 1) / p * np.einsum("ai,giyx->gyxa", ab, xy)
    return np.asarray(np.concatenate([np.cos(phase), np.sin(phase)], -1) * window[..., None])


def _ring_atoms(xy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Angular waves on the ring of the four pixels of a 2 x 2 kernel.

    Plane waves of this size lose two thirds of their energy when rotated by 45 degrees. The
    constant and the first angular wave rotate exactly by any angle. The second wave may vanish on
    all four pixels and is damped. Different amplitudes keep the decomposition from mixing waves.

    Parameters
    ----------
    xy : array of shape (elements, 2, 2, 2)
        Rotated coordinates, x before y.
    """
    angle = np.arctan2(xy[:, 1], xy[:, 0])
    waves = [np.ones_like(angle)]
    for frequency in (1, 2):
        wave = [np.cos(frequency * angle), np.sin(frequency * angle)]
        waves += [part / 2**frequency for part in wave]
    return np.stack(waves, -1)


def damping(basis: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Weight per basis function: 1 if it rotates well on the grid, small if not.

    ``1 / max(cv, 0.04) / 25``, where ``cv`` is the variation over the group of a function's sum
    and energy.

    Parameters
    ----------
    basis : array of shape (len(group), kernel_size, kernel_size, functions)

    Returns
    -------
    array of shape (functions,)
    """
    pixels = basis.shape[1] * basis.shape[2]
    squared_sum = basis.sum((1, 2)) ** 2
    energy = (basis**2).sum((1, 2))
    spread = squared_sum.std(0) + pixels * energy.std(0)
    variation = spread / (squared_sum + pixels * energy).mean(0)
    return np.asarray(_UNDAMPED_VARIATION / np.maximum(variation, _UNDAMPED_VARIATION))


@lru_cache(maxsize=64)
def filter_basis(
    kernel_size: int, group: Group
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Orthogonal filter basis of a group, multiplied by its damping.

    The decomposition is unique only up to a rotation within equal singular values. Coefficients
    depend on the basis, so it must be stored with them.

    Parameters
    ----------
    kernel_size : int
    group : Group

    Returns
    -------
    basis : array of shape (len(group), kernel_size, kernel_size, functions), float64, read-only
        Every function under every group element.
    damping : array of shape (functions,)
    """
    atoms = fourier_atoms(kernel_size, group)
    stacked = atoms.reshape(-1, atoms.shape[-1])
    left, singular, _ = np.linalg.svd(stacked, full_matrices=False)
    basis = left[:, singular**2 > _SMALLEST_EIGENVALUE].reshape(*atoms.shape[:-1], -1)
    weight = damping(basis)
    basis = _make_exact(basis * weight, group)
    basis.setflags(write=False)
    weight.setflags(write=False)
    return basis, weight


def _make_exact(basis: npt.NDArray[np.float64], group: Group) -> npt.NDArray[np.float64]:
    """Derive grid-preserving elements by permuting pixels, which makes equivariance exact."""
    exact = np.empty_like(basis)
    done = np.zeros(len(group), dtype=bool)
    for seed in range(len(group)):
        if done[seed]:
            continue
        for element in group.exact_elements:
            target = group.product[element, seed]
            exact[target] = act_on_pixels(basis[seed], group, element)
            done[target] = True
    return exact


def act_on_pixels(
    pixels: npt.NDArray[np.float64], group: Group, element: int
) -> npt.NDArray[np.float64]:
    """Apply a grid-preserving element to the first two axes of an array."""
    if group.is_reflection(element):
        pixels = np.flip(pixels, 1)
    return np.rot90(pixels, group.quarter_turns(element), (0, 1))
