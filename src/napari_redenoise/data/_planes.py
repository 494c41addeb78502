"""An array seen as planes: which axes are the plane, the channels, and the samples.

An axes string has one letter per axis: ``Y`` and ``X`` once each, at most one ``C`` for channels.
Other letters (``T``, ``Z``, ...) are sample axes, whose entries are
separate images of the same kind.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from napari_redenoise.data._array_like import as_array
from napari_redenoise.errors import InputError

SMALLEST_SIDE = 16
MOST_CHANNELS = 16


class ArrayLike(Protocol):
    """Anything with a shape, a dtype and slicing: numpy, dask, zarr, xarray."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def __getitem__(self, key: Any, /) -> Any: ...


def default_axes(ndim: int) -> str:
    """Default axes of an array; the last two are the plane.

    Raises
    ------
    InputError
        For arrays with fewer than 2 or more than 5 axes.
    """
    if not 2 <= ndim <= 5:
        raise InputError(
            f"expected an image of 2 to 5 axes, got {ndim}: choose another layer or slice it"
        )
    return "STZYX"[5 - ndim :]


@dataclass(frozen=True)
class Planes:
    """An array seen as numbered images of shape (channels, height, width).

    Pixels are read by `read` only, so the array may be larger than memory.

    Parameters
    ----------
    array : array-like
        Or anything that `as_array` accepts.
    axes : str
        For example ``"YX"``, ``"TYX"``, ``"ZCYX"`` or ``"YXC"``.
    region : array-like of bool or integers, optional
        The training region: nonzero is inside. Its shape is that of the image without channels,
        or of the plane (Y, X) for all samples. Default everywhere.
    context : int
        Neighbours on either side that the network receives, along T, Z, or both.

    Raises
    ------
    InputError
        When array and axes do not fit, the array holds no image, or the region does not fit it.
    """

    array: ArrayLike
    axes: str
    region: ArrayLike | None = None
    context: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "array", as_array(self.array))
        if self.region is not None:
            object.__setattr__(self, "region", as_array(self.region, masked=0))
        shape, axes = tuple(self.array.shape), self.axes
        if not isinstance(axes, str):
            raise InputError(f"the axes are {axes!r}: give a text such as 'TYX', a letter per axis")
        if len(axes) != len(shape):
            raise InputError(
                f"the axes {axes!r} name {len(axes)} axes but the image has shape {shape}: "
                "give one letter per axis"
            )
        if len(set(axes)) != len(axes) or not {"Y", "X"} <= set(axes):
            raise InputError(f"the axes {axes!r} need Y and X, and each letter once")
        dtype = np.dtype(self.array.dtype)
        if dtype.kind not in "uif":
            raise InputError(
                f"expected integer or floating-point pixels, got {dtype}: convert the image first"
            )
        if 0 in shape:
            raise InputError(f"the image of shape {shape} holds no pixels: choose another image")
        if min(self.height, self.width) < SMALLEST_SIDE:
            raise InputError(
                f"expected a plane of at least {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels, got "
                f"{self.height} x {self.width} ({axes}, shape {shape}): check the axes"
            )
        if self.channels > MOST_CHANNELS:
            raise InputError(
                f"expected at most {MOST_CHANNELS} channels, got {self.channels} (axes {axes}, "
                f"shape {shape}): name that axis T or Z if it is time or depth"
            )
        self._check_region()

    def _check_region(self) -> None:
        if self.region is None:
            return
        shape, dtype = tuple(self.region.shape), np.dtype(self.region.dtype)
        if dtype.kind not in "bui":
            raise InputError(
                f"expected a region of bool or integers, got {dtype}: compare it with a threshold "
                "first"
            )
        plane = (self.height, self.width)
        if shape not in (self.shape_without_channels, plane):
            expected = " or ".join(map(str, dict.fromkeys((self.shape_without_channels, plane))))
            raise InputError(
                f"expected a region of shape {expected}, got {shape}: draw it on this image"
            )

    def size(self, axis: str) -> int:
        """Length of an axis; 1 where there is none of this name."""
        return int(self.array.shape[self.axes.index(axis)]) if axis in self.axes else 1

    @property
    def height(self) -> int:
        """Rows of a plane."""
        return self.size("Y")

    @property
    def width(self) -> int:
        """Columns of a plane."""
        return self.size("X")

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.size("C")

    @property
    def sample_axes(self) -> str:
        """Sample axes, in their order."""
        return "".join(axis for axis in self.axes if axis not in "CYX")

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Sizes of the sample axes, in their order."""
        return tuple(
            int(size)
            for size, axis in zip(self.array.shape, self.axes, strict=True)
            if axis not in "CYX"
        )

    def __len__(self) -> int:
        return int(np.prod(self.sample_shape, dtype=np.int64))

    @property
    def pixels(self) -> int:
        """Pixels of all planes; channels are not counted."""
        return self.height * self.width * len(self)

    def indices(self) -> Iterator[tuple[int, ...]]:
        """Every sample index, last axis fastest."""
        return itertools.product(*(range(size) for size in self.sample_shape))

    def with_context(self, context: int) -> Self:
        """Return the same planes with another number of neighbours on either side."""
        return self if context == self.context else replace(self, context=context)

    @property
    def context_axes(self) -> str:
        """Axes along which planes have neighbours: T, Z, TZ whatever their order, or none."""
        return "".join(axis for axis in "TZ" if self.size(axis) > 1)

    @property
    def planes_between_neighbours(self) -> int:
        """Largest number of planes from one to its next along T or Z, in their order."""
        places = map(self.sample_axes.index, self.context_axes)
        return max((math.prod(self.sample_shape[place + 1 :]) for place in places), default=1)

    def neighbours(self, sample: tuple[int, ...]) -> tuple[tuple[int, ...] | None, ...]:
        """Return the neighbouring samples in order; None where there is none.

        Along one axis these are ``context`` before and as many after. Along two axes the nearest
        ones of the second lie between those of the first, as in T, Z, Z, T.
        """
        along = [self.sample_axes.index(axis) for axis in self.context_axes]
        if not self.context or not along:
            return (None,) * (2 * self.context)
        if len(along) == 1:
            steps = [(along[0], step) for step in range(-self.context, self.context + 1) if step]
        else:
            nearest = [*along, *reversed(along)] if self.context > 1 else along[:1] * 2
            signs = [-1] * self.context + [1] * self.context
            steps = list(zip(nearest, signs, strict=True))
        return tuple(self._beside(sample, *step) for step in steps)

    def _beside(self, sample: tuple[int, ...], axis: int, step: int) -> tuple[int, ...] | None:
        place = sample[axis] + step
        if not 0 <= place < self.sample_shape[axis]:
            return None
        return (*sample[:axis], place, *sample[axis + 1 :])

    def read(self, sample: tuple[int, ...], rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Read a window, shape (channels, rows, columns), in the array's own dtype.

        Masked pixels are NaN.
        """
        window = self.array[_key(self.axes, sample, rows, columns)]
        # Dask arrays may hold masked chunks, whose mask np.asarray would drop.
        window = window.compute() if hasattr(window, "compute") else window
        window = np.asarray(as_array(np.asanyarray(window)))
        return _to_plane(self.axes, window)

    def inside(
        self, sample: tuple[int, ...], rows: slice, columns: slice
    ) -> npt.NDArray[np.bool_] | None:
        """Training region of a window (rows, columns); None without a region."""
        if self.region is None:
            return None
        if tuple(self.region.shape) != self.shape_without_channels:
            return np.asarray(self.region[rows, columns]).astype(bool)
        axes = self.axes_without_channels
        window = np.asarray(self.region[_key(axes, sample, rows, columns)])
        return np.asarray(_to_plane(axes, window)[0], bool)

    def write(
        self,
        target: Any,
        sample: tuple[int, ...],
        rows: slice,
        columns: slice,
        plane: npt.NDArray[Any],
        *,
        channels: bool = True,
    ) -> None:
        """Write a window (channels, rows, columns) into an array of the image's shape.

        With ``channels=False`` the target lacks the channel axis, as a mask does.
        """
        axes = self.axes if channels else self.axes_without_channels
        target[_key(axes, sample, rows, columns)] = _from_plane(axes, plane)

    @property
    def axes_without_channels(self) -> str:
        """Axes of a result without channels, such as the mask."""
        return self.axes.replace("C", "")

    @property
    def shape_without_channels(self) -> tuple[int, ...]:
        """Shape of a result without channels."""
        sizes = zip(self.array.shape, self.axes, strict=True)
        return tuple(int(size) for size, axis in sizes if axis != "C")


def _key(axes: str, sample: tuple[int, ...], rows: slice, columns: slice) -> tuple[Any, ...]:
    """Index of a window of one sample."""
    plane = {"Y": rows, "X": columns, "C": slice(None)}
    rest = iter(sample)
    return tuple(plane[axis] if axis in plane else next(rest) for axis in axes)


def _to_plane(axes: str, window: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Reorder the axes of a window to (channels, Y, X)."""
    order = [axis for axis in axes if axis in "CYX"]
    if "C" not in order:
        window, order = window[None], ["C", *order]
    return window.transpose([order.index(axis) for axis in "CYX"])


def _from_plane(axes: str, plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Undo `_to_plane`."""
    order = [axis for axis in axes if axis in "CYX"]
    if "C" not in order:
        plane = plane[0]
    names = "CYX" if "C" in order else "YX"
    return plane.transpose([names.index(axis) for axis in order])
