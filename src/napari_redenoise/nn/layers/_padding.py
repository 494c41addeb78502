"""Symmetric reflection padding, shared by networks and tiles."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def padding(size: int, multiple: int) -> tuple[int, int]:
    """Padding before and after an axis up to a multiple of a size.

    Even sizes are padded symmetrically. Otherwise a rotation of the image would shift it relative
    to the pooling grid, and the network would not be equivariant.

    Parameters
    ----------
    size, multiple : int

    Returns
    -------
    before, after : int
        Pixels.
    """
    total = -size % multiple
    return total // 2, total - total // 2


def reflect_indices(start: int, stop: int, size: int) -> npt.NDArray[np.int64]:
    """Indices ``start..stop`` of an axis that is padded by reflection about its end pixels.

    Parameters
    ----------
    start, stop, size : int

    Returns
    -------
    array of int
    """
    index = np.arange(start, stop)
    if size == 1:
        return np.zeros_like(index)
    period = 2 * (size - 1)
    index = index % period
    return np.asarray(np.minimum(index, period - index))


def pad_to_multiple(x: Tensor, multiple: int) -> tuple[Tensor, tuple[slice, slice]]:
    """Pad the last two axes by reflection to a multiple of a size.

    Parameters
    ----------
    x : Tensor
    multiple : int

    Returns
    -------
    padded : Tensor
    crop : tuple of slice
        Rows and columns of the input in the result.
    """
    slices = []
    for axis in (-2, -1):
        size = x.shape[axis]
        before, after = padding(size, multiple)
        if before or after:
            index = reflect_indices(-before, size + after, size)
            x = x.index_select(axis, torch.from_numpy(index).to(x.device))
        slices.append(slice(before, before + size))
    return x, (slices[0], slices[1])
