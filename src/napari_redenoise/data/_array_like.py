"""Conversion of array-like images to arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse

from napari_redenoise.errors import InputError

if TYPE_CHECKING:
    from napari_redenoise.data._planes import ArrayLike


def as_array(given: Any, masked: float = np.nan) -> ArrayLike:
    """Convert an array-like image to an array; lazy arrays (dask, zarr) stay lazy.

    Tensors, data frames, sparse matrices and nested lists become numpy arrays. Tensors on the CPU
    are not copied. Masked arrays lose their mask.

    Parameters
    ----------
    given : array-like, torch.Tensor, data frame or nested sequence
        Never modified.
    masked : float
        Value of masked pixels. NaN converts integers up to 16 bits and floats up to 32 bits to
        float32, other numbers to float64.

    Raises
    ------
    InputError
        When the image is not a regular array of numbers, or the length of an axis is unknown.
    """
    try:
        array = _converted(given)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"the image of type {type(given).__name__} is not an array of numbers: give a numpy "
            "array whose rows all have the same length"
        ) from error
    if isinstance(array, np.ma.MaskedArray):
        array = _without_mask(array, masked)
    if array.shape == ():
        raise InputError(
            f"an object of type {type(given).__name__} is not an image: give an array "
            "(napari_redenoise.io.read_image reads one from a file)"
        )
    if any(np.isnan(size) for size in array.shape):
        raise InputError(
            f"the image has an axis of unknown length (shape {tuple(array.shape)}): call its "
            "compute_chunk_sizes() first"
        )
    return array  # type: ignore[no-any-return]


def _converted(given: Any) -> Any:
    if isinstance(given, torch.Tensor):
        return _of_tensor(given)
    if sparse.issparse(given):
        return given.toarray()
    # Not np.asarray, which forgets the masks of the arrays in a list.
    return given if _is_array(given) else np.ma.asarray(given)


def _is_array(given: Any) -> bool:
    """Whether an object has a shape, indexing, and a numpy dtype."""
    if not all(hasattr(given, name) for name in ("shape", "dtype", "__getitem__")):
        return False
    try:
        np.dtype(given.dtype)
    except TypeError:
        return False
    return True


def _of_tensor(tensor: torch.Tensor) -> npt.NDArray[Any]:
    tensor = tensor.detach().to_dense() if tensor.layout != torch.strided else tensor
    try:
        array: npt.NDArray[Any] = tensor.numpy(force=True)
    except TypeError:
        # numpy has no bfloat16.
        array = tensor.float().numpy(force=True)
    return array


def _without_mask(array: Any, masked: float) -> npt.NDArray[Any]:
    kind, size = array.dtype.kind, array.dtype.itemsize
    if np.isnan(masked) and kind in "uif":
        single = size <= 2 or (kind == "f" and size <= 4)
        array = array.astype(np.float32 if single else np.float64)
    elif np.isnan(masked):
        return np.asarray(array.data)
    filled: npt.NDArray[Any] = array.filled(masked)
    return filled
