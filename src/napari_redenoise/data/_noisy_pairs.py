"""Pairs of noisy images of one scene, read like one image with twice the channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_redenoise.data._planes import Planes
from napari_redenoise.errors import InputError


@dataclass(frozen=True)
class _Pair:
    """Two shots of a scene; size, channels and training region are those of the first."""

    first: Planes

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
        """Sample indices of the first shots."""
        return self.first.indices()

    def neighbours(self, sample: tuple[int, ...]) -> tuple[tuple[int, ...] | None, ...]:
        """None: the other shot may be one."""
        return (None,) * len(self.first.neighbours(sample))

    def inside(
        self, sample: tuple[int, ...], rows: slice, columns: slice
    ) -> npt.NDArray[np.bool_] | None:
        """Training region of a window."""
        return self.first.inside(sample, rows, columns)


@dataclass(frozen=True)
class TwoImages(_Pair):
    """Two images of the same scene, pixel by pixel.

    Raises
    ------
    InputError
        When their shapes differ.
    """

    second: Planes

    def __post_init__(self) -> None:
        one, other = (tuple(planes.array.shape) for planes in (self.first, self.second))
        if one != other:
            raise InputError(
                f"the two images of Noise2Noise have the shapes {one} and {other}: choose a second "
                "image that shows the same scene pixel by pixel"
            )

    def read(self, sample: tuple[int, ...], rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Read a window of both images, shape (2 * channels, rows, columns)."""
        both = (self.first, self.second)
        return np.concatenate([planes.read(sample, rows, columns) for planes in both])


@dataclass(frozen=True)
class NeighbouringFrames(_Pair):
    """Pairs of consecutive frames, along the time axis or else the last other sample axis.

    Raises
    ------
    InputError
        When the image is not a stack.
    """

    def __post_init__(self) -> None:
        if max(self.first.sample_shape, default=1) < 2:
            raise InputError(
                "Noise2Noise needs two shots of one scene: give a second image, or a stack whose "
                "consecutive frames show the same scene"
            )

    @property
    def _axis(self) -> int:
        """Index of the sample axis along which frames are paired."""
        names, sizes = self.first.sample_axes, self.first.sample_shape
        if "T" in names and sizes[names.index("T")] > 1:
            return names.index("T")
        return max(number for number, size in enumerate(sizes) if size > 1)

    def indices(self) -> Iterator[tuple[int, ...]]:
        """Sample indices of all frames but the last."""
        axis, sizes = self._axis, self.first.sample_shape
        return (index for index in self.first.indices() if index[axis] + 1 < sizes[axis])

    def read(self, sample: tuple[int, ...], rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Read a window of a frame and the next, shape (2 * channels, rows, columns)."""
        frames = (sample, self._after(sample))
        return np.concatenate([self.first.read(index, rows, columns) for index in frames])

    def inside(
        self, sample: tuple[int, ...], rows: slice, columns: slice
    ) -> npt.NDArray[np.bool_] | None:
        """Training region of a window: the pixels inside in both frames."""
        one, other = (
            self.first.inside(index, rows, columns) for index in (sample, self._after(sample))
        )
        return None if one is None or other is None else one & other

    def _after(self, sample: tuple[int, ...]) -> tuple[int, ...]:
        axis = self._axis
        return (*sample[:axis], sample[axis] + 1, *sample[axis + 1 :])


Shots = Planes | TwoImages | NeighbouringFrames
"""Images of shape (shots * channels, height, width), numbered by sample indices."""
