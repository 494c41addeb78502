"""Windows of an image: a bounded number of pixels of an image of any size."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_redenoise.errors import InputError, check_grey_scale

MIN_SIDE = 16
WINDOW = 256
MAX_PIXELS = 2**20
MAX_FRAMES = 32

Floats = npt.NDArray[np.float64]
Denoiser = Callable[[Floats], npt.NDArray[np.floating]]
"""Denoises a plane (rows, columns) in grey levels; missing pixels are NaN."""


class ArrayLike(Protocol):
    """Anything with a shape, a dtype and slicing."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def __getitem__(self, key: Any, /) -> Any: ...


def as_images(given: Any) -> ArrayLike:
    """Convert tensors and nested lists to arrays; other arrays, lazy ones too, are returned."""
    try:
        has_numpy_type = hasattr(given, "shape") and np.dtype(given.dtype).itemsize > 0
    except (AttributeError, TypeError):
        has_numpy_type = False
    try:
        return given if has_numpy_type else np.asarray(given)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"the image of type {type(given).__name__} is not an array of numbers: give a numpy "
            "array whose rows all have the same length"
        ) from error


def _read(image: ArrayLike, key: Any) -> Floats:
    """Read a window as float64; masked pixels are NaN."""
    window = image[key]
    if isinstance(window, np.ma.MaskedArray):
        window = np.ma.filled(window.astype(np.float64), np.nan)
    return np.asarray(window, np.float64)


def read_planes(image: ArrayLike) -> list[Floats]:
    """Read a plane (Y, X) or windows spread over a stack (N, Y, X), as float64."""
    check_image(image, (2, 3))
    stack = len(image.shape) == 3
    count = int(image.shape[0]) if stack else 1
    keys = [(n, window) for n in range(count) for window in _windows(image.shape[-2:], MAX_PIXELS)]
    pixels = int(np.prod(image.shape))
    parts = -(-pixels // len(keys))
    planes = []
    for number in _spread(len(keys), max(1, MAX_PIXELS // parts)):
        plane, window = keys[number]
        planes.append(_read(image, (plane, *window) if stack else window))
    _check_content(planes)
    return planes


def read_pairs(image: ArrayLike, pairs: Sequence[tuple[int, int]]) -> list[Floats]:
    """Read windows (2, Y, X) of pairs of planes of a stack (N, Y, X), as float64."""
    windows = _windows(image.shape[-2:], MAX_PIXELS // 2)
    keys = [(pair, window) for pair in pairs for window in windows]
    pixels = 2 * len(pairs) * int(np.prod(image.shape[-2:])) // len(keys)
    return [
        np.stack([_read(image, (plane, *keys[number][1])) for plane in keys[number][0]])
        for number in _spread(len(keys), max(1, MAX_PIXELS // pixels))
    ]


def read_repeats(frames: ArrayLike) -> list[Floats]:
    """Read windows (N, Y, X) of repeated acquisitions, as float64."""
    check_image(frames, (3,))
    if frames.shape[0] < 2:
        raise InputError(
            "one acquisition cannot be compared with itself: give at least two repeats, or "
            "estimate from the single image"
        )
    chosen = np.linspace(0, frames.shape[0] - 1, min(frames.shape[0], MAX_FRAMES)).astype(int)
    windows = _windows(frames.shape[-2:], 2 * MAX_PIXELS // len(chosen))
    pixels = int(np.prod(frames.shape[-2:])) * len(chosen)
    most = max(1, 2 * MAX_PIXELS * len(windows) // pixels)
    planes = [
        np.stack([_read(frames, (n, *windows[number])) for n in chosen])
        for number in _spread(len(windows), most)
    ]
    _check_content(planes)
    return planes


def check_image(image: ArrayLike, dimensions: tuple[int, ...]) -> None:
    """Refuse a wrong number of axes, a type without grey levels, and planes below 16 x 16."""
    shape = tuple(image.shape)
    if len(shape) not in dimensions:
        wanted = "a plane (Y, X) or a stack of planes (N, Y, X)"
        wanted = wanted if 2 in dimensions else "repeated acquisitions (N, Y, X)"
        raise InputError(f"expected {wanted}, got shape {shape}: select one channel or reshape")
    if np.dtype(image.dtype).kind not in "uif":
        raise InputError(
            f"expected integer or floating-point pixels, got {image.dtype}: convert the image first"
        )
    if min(shape[-2:]) < MIN_SIDE:
        raise InputError(
            f"expected planes of at least {MIN_SIDE} x {MIN_SIDE} pixels, got shape "
            f"{shape}: check the axes"
        )


def _windows(shape: tuple[int, ...], most: int) -> list[tuple[slice, slice]]:
    """Cut a plane into windows of about `WINDOW` pixels a side, unless it has few pixels."""
    if shape[0] * shape[1] <= most:
        return [(slice(0, shape[0]), slice(0, shape[1]))]
    edges = [
        np.linspace(0, size, max(2, size // WINDOW + 1)).astype(int).tolist() for size in shape
    ]
    rows, columns = ([slice(*pair) for pair in itertools.pairwise(axis)] for axis in edges)
    return list(itertools.product(rows, columns))


def _spread(count: int, most: int) -> list[int]:
    """Choose at most ``most`` of ``count`` numbers, reproducibly and without a pattern."""
    if count <= most:
        return list(range(count))
    chosen = np.random.default_rng(0).choice(count, most, replace=False)
    return sorted(chosen.tolist())


def _check_content(planes: list[Floats]) -> None:
    finite = [plane[np.isfinite(plane)] for plane in planes]
    if not any(part.size for part in finite):
        raise InputError(
            "the image holds no finite pixels outside constant areas: choose another image"
        )
    low = min(part.min() for part in finite if part.size)
    if low == max(part.max() for part in finite if part.size):
        raise InputError(
            f"every pixel of the image is {low:g}: there is no noise to measure, choose another "
            "image"
        )
    # Without the extremes: a single defective pixel may hold any value.
    darkest, middle, brightest = np.percentile(np.concatenate(finite), (0.5, 50, 99.5))
    if darkest < brightest:
        check_grey_scale(abs(middle), brightest - darkest)


def square_blocks(pixels: Floats, side: int) -> Floats:
    """Reshape whole blocks of pixels (rows, columns) to (N, side * side)."""
    rows, columns = (size // side for size in pixels.shape)
    whole = pixels[: rows * side, : columns * side]
    return whole.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side**2)
