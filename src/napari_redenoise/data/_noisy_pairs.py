"""Pairs of noisy images of one scene, read like one image with twice the channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_redenoise.data._planes import Planes
from napari_redenoise.errors import InputError


class Shots(Protocol):
    """Images of shape (shots * channels, height, width), numbered by sample indices.

    ``inside`` is the training region (rows, columns) of a window, or None for all of it.
    """

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    @property
    def channels(self) -> int: ...

    def indices(self) -> Iterator[tuple[int, ...]]: ...

    def read(self, sample: tuple[int, ...], rows: slice, columns: slice) -> npt.NDArray[Any]: ...

    def neighbours(self, sample: tuple[int, ...]) -> tuple[tuple[int, ...] | None, ...]: ...

    def inside(
        self, sample: tuple[int, ...], rows: slice, columns: slice
    ) -> npt.NDArray[np.bool_] | None: ...


@dataclass(frozen=True)
class TwoImages:
    """Two images of the same scene, pixel by pixel.

    Raises
    ------
    InputError
        When their shapes differ.
    """

    first: Planes
    second: Planes

    def __post_init__(self) -> None:
        one, other = (tuple(planes.array.shape) for planes in (self.first, self.second))
        if one != other:
            raise InputError(
                f"the two images of Noise2Noise have the shapes {one} and {other}: choose a second "
                "image that shows the same scene pixel by pixel"
            )

    @property
    def height(self) -> int:
        """Rows of a plane."""
        return self.first.height

    @property
    def width(self) -> int:
        """Columns of a plane."""
        return self.first.width

    @property
    def channels(self) -> int:
        """Channels of one shot."""
        return self.first.channels

    def indices(self) -> Iterator[tuple[int, ...]]:
        """Every sample index."""
        return self.first.indices()

    def neighbours(self, sample: tuple[int, ...]) -> tuple[tuple[int, ...] | None, ...]:
        """None: the other shot may be one."""
        return (None,) * len(self.first.neighbours(sample))

    def read(self, sample: tuple[int, ...], rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Read a window of both images, shape (2 * channels, rows, columns)."""
        return np.concatenate(
            [planes.read(sample, rows, columns) for planes in (self.first, self.second)]
        )

    def inside(
        self, sample: tuple[int, ...], rows: slice, columns: slice
    ) -> npt.NDArray[np.bool_] | None:
        """Training region of a window, taken from the first image."""
        return self.first.inside(sample, rows, columns)


@dataclass(frozen=True)
class NeighbouringFrames:
    """Pairs of consecutive frames, along the time axis or else the last other sample axis.

    Raises
    ------
    InputError
        When the image is not a stack.
    """

    stack: Planes

    def __post_init__(self) -> None:
        if max(self.stack.sample_shape, default=1) < 2:
            raise InputError(
                "Noise2Noise needs two shots of one scene: give a second image, or a stack whose "
                "consecutive frames show the same scene"
            )

    @property
    def _axis(self) -> int:
        """Index of the sample axis along which frames are paired."""
        names = [axis for axis in self.stack.axes if axis not in "CYX"]
        sizes = self.stack.sample_shape
        if "T" in names and sizes[names.index("T")] > 1:
            return names.index("T")
        return max(number for number, size in enumerate(sizes) if size > 1)

    @property
    def height(self) -> int:
        """Rows of a plane."""
        return self.stack.height

    @property
    def width(self) -> int:
        """Columns of a plane."""
        return self.stack.width

    @property
    def channels(self) -> int:
        """Channels of one frame."""
        return self.stack.channels

    def indices(self) -> Iterator[tuple[int, ...]]:
        """Sample indices of all frames but the last."""
        axis, sizes = self._axis, self.stack.sample_shape
        return (index for index in self.stack.indices() if index[axis] + 1 < sizes[axis])

    def neighbours(self, sample: tuple[int, ...]) -> tuple[tuple[int, ...] | None, ...]:
        """None: the frame after this one is its target."""
        return (None,) * len(self.stack.neighbours(sample))

    def read(self, sample: tuple[int, ...], rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Read a window of a frame and the next, shape (2 * channels, rows, columns)."""
        frames = (sample, self._after(sample))
        return np.concatenate([self.stack.read(index, rows, columns) for index in frames])

    def inside(
        self, sample: tuple[int, ...], rows: slice, columns: slice
    ) -> npt.NDArray[np.bool_] | None:
        """Training region of a window: the pixels inside in both frames."""
        one, other = (
            self.stack.inside(index, rows, columns) for index in (sample, self._after(sample))
        )
        return None if one is None or other is None else one & other

    def _after(self, sample: tuple[int, ...]) -> tuple[int, ...]:
        axis = self._axis
        return (*sample[:axis], sample[axis] + 1, *sample[axis + 1 :])
