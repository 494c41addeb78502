"""Reading of CZI by the library of Zeiss, pylibCZIrw."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from napari_redenoise.errors import InputError
from napari_redenoise.io._channels import RGB, Channel, czi_channels
from napari_redenoise.io._image_file import ImageFile
from napari_redenoise.io._lazy_images import whole_or_lazy
from napari_redenoise.io._series_choice import choose_series, sizes_in_words
from napari_redenoise.io._spatial_metadata import as_number
from napari_redenoise.io._units import ImagejScale, in_micrometres

_TYPES = {
    "Gray8": (np.uint8, 1),
    "Gray16": (np.uint16, 1),
    "Gray32Float": (np.float32, 1),
    "Bgr24": (np.uint8, 3),
    "Bgr48": (np.uint16, 3),
    "Bgr96Float": (np.float32, 3),
}
"""Pixel types of the library, and their samples."""

_OUTER = "VHIRBTCZ"
"""Axes beside those of the plane: views, phases, illuminations, rotations, blocks, ..."""


@dataclass(frozen=True)
class CziPixels:
    """One scene, stitched of its tiles, that is read when it is indexed.

    Attributes
    ----------
    path : Path
    scene : int or None
        None for files without scenes.
    place : tuple of int
        Left, top, width and height in the coordinates of the file.
    outer : dict of range
        Places along the other axes, by their letter in the file.
    dtype : dtype
    samples : int
        3 for colours, which are returned as red, green, blue.
    """

    path: Path
    scene: int | None
    place: tuple[int, int, int, int]
    outer: dict[str, range]
    dtype: np.dtype[Any]
    samples: int

    @property
    def axes(self) -> str:
        """One letter per axis; those of size 1 are left out."""
        return "".join(self._sizes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return tuple(self._sizes.values())

    @property
    def _sizes(self) -> dict[str, int]:
        outer = {axis: len(places) for axis, places in self.outer.items() if len(places) > 1}
        if self.samples > 1 and "C" in outer:
            # Each channel has colours: its axis is one of samples.
            outer = {"P" if axis == "C" else axis: size for axis, size in outer.items()}
        colours = {"C": self.samples} if self.samples > 1 else {}
        return {**outer, "Y": self.place[3], "X": self.place[2], **colours}

    def __getitem__(self, key: tuple[int | slice, ...]) -> npt.NDArray[Any]:
        """Read a window; the key has one int or slice per axis."""
        rest = iter(key)
        wanted = {axis: next(rest) if len(places) > 1 else 0 for axis, places in self.outer.items()}
        rows, columns, *colours = rest
        top, bottom, _ = rows.indices(self.place[3])  # type: ignore[union-attr]
        left, right, _ = columns.indices(self.place[2])  # type: ignore[union-attr]
        region = (self.place[0] + left, self.place[1] + top, right - left, bottom - top)
        numbers = [
            range(len(self.outer[axis]))[one] if isinstance(one, slice) else [one]
            for axis, one in wanted.items()
        ]
        shape = [len(one) for one in numbers]
        planes = np.empty((math.prod(shape), region[3], region[2], self.samples), self.dtype)
        with _open(self.path) as file:
            for plane, index in zip(planes, itertools.product(*numbers), strict=True):
                places = zip(self.outer.items(), index, strict=True)
                coordinates = {axis: along[number] for (axis, along), number in places}
                # The memory order of colours is blue, green, red.
                plane[:] = file.read(region, coordinates, self.scene)[..., ::-1]
        window = planes.reshape(*shape, *planes.shape[1:])
        dropped = tuple(not isinstance(one, slice) for one in wanted.values())
        found = window[tuple(0 if one else slice(None) for one in dropped)]
        return found[(..., *colours)] if colours else found[..., 0]


def read_czi(path: Path, number: int | None = None) -> ImageFile:
    """Read one scene of a CZI.

    Parameters
    ----------
    path : Path
    number : int, optional
        Of the scene, counted from 0; default the one with the most pixels.

    Returns
    -------
    ImageFile
        Pixels of more than 256 MB are read when they are indexed. Axes of size 1 are left out.

    Raises
    ------
    InputError
        When pylibCZIrw is not installed, there is no such scene, or its channels have different
        pixel types.
    """
    with _open(path) as file:
        metadata = ElementTree.fromstring(file.raw_metadata or "<none/>")
        scenes, missing = _scenes(path, file)
    names = [_name(metadata, scene.scene) for scene in scenes]
    number, notes = choose_series(
        number,
        len(scenes),
        lambda place: math.prod(scenes[place].shape),
        lambda place: f"{names[place]}, {sizes_in_words(scenes[place].shape)}",
    )
    pixels = scenes[number]
    if missing[number]:
        notes += (f"{missing[number]} of its planes are missing, and are 0",)
    array = whole_or_lazy(pixels, str(path), pixels.axes, (1,) * len(pixels.shape))
    channels = _channels(metadata, pixels)
    return ImageFile(array, pixels.axes, *_scale(metadata), notes=notes, channels=channels)


def _open(path: Path) -> Any:
    try:
        from pylibCZIrw import czi
    except ImportError as error:
        raise InputError(
            "it is a CZI of Zeiss, which needs a reader: run pip install pylibCZIrw"
        ) from error
    return czi.open_czi(str(path))


def _scenes(path: Path, file: Any) -> tuple[list[CziPixels], list[int]]:
    """All scenes in their order, and the number of planes that each lacks."""
    dtype, samples = _pixel_type(file.pixel_types)
    places: dict[int | None, Any] = dict(sorted(file.scenes_bounding_rectangle_no_pyramid.items()))
    places = places or {None: file.total_bounding_rectangle_no_pyramid}
    stored = _stored_planes(file)
    found, missing = [], []
    for scene, place in places.items():
        planes = stored.get(scene) or set().union(*stored.values())
        outer = {}
        for axis, along in zip(_OUTER, zip(*planes, strict=True), strict=True):
            outer[axis] = range(min(along), max(along) + 1)
        box = (place.x, place.y, place.w, place.h)
        found.append(CziPixels(path, scene, box, outer, np.dtype(dtype), samples))
        missing.append(math.prod(map(len, outer.values())) - len(planes))
    return found, missing


def _stored_planes(file: Any) -> dict[int | None, set[tuple[int, ...]]]:
    """Coordinates of every plane that is stored, at least in part, by scene."""
    found: dict[int | None, set[tuple[int, ...]]] = {}

    def note(_: int, block: Any) -> bool:
        places = block.coordinate.to_dict()
        plane = tuple(places.get(axis, 0) for axis in _OUTER)
        found.setdefault(places.get("S"), set()).add(plane)
        return True

    file.enumerate_subblocks(note)
    return found


def _pixel_type(types: dict[int, str]) -> tuple[Any, int]:
    """Type and samples of all channels."""
    kinds = set(types.values())
    if len(kinds) != 1 or not kinds <= {*_TYPES}:
        named = ", ".join(sorted(kinds))
        raise InputError(
            f"its channels have the pixel types {named}, which do not make one image: export them "
            "as OME-TIFF, one by one"
        )
    (kind,) = kinds
    return _TYPES[kind]


def _channels(metadata: ElementTree.Element, pixels: CziPixels) -> tuple[Channel, ...]:
    if pixels.samples > 1:
        return RGB
    return czi_channels(metadata, pixels.outer["C"])


def _name(metadata: ElementTree.Element, scene: int | None) -> str:
    found = metadata.find(f".//Dimensions/S/Scenes/Scene[@Index='{scene}']")
    return (None if found is None else found.get("Name")) or f"scene {scene or 0}"


def _scale(metadata: ElementTree.Element) -> ImagejScale:
    """The scale; the file has metres and seconds."""

    def value(path: str) -> float | None:
        return as_number(metadata.findtext(path))

    x, y, z = (value(f".//Scaling/Items/Distance[@Id='{axis}']/Value") for axis in "XYZ")
    seconds = value(".//Dimensions/T/Positions/Interval/Increment")
    resolution = (1e-6 / x, 1e-6 / y) if x and y else None
    return in_micrometres(resolution, z and round(z * 1e6, 9), seconds)
