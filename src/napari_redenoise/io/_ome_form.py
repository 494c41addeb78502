"""Order of the axes and metadata of a result in an OME-Zarr."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt
import zarr

from napari_redenoise.errors import OutputError
from napari_redenoise.io._channels import Channel
from napari_redenoise.io._image_file import ImageFile
from napari_redenoise.io._ome_metadata import OmeMetadata, ome_axis
from napari_redenoise.io._spatial_metadata import scale_of
from napari_redenoise.io._units import SECOND

# The specification demands time, channel or another axis, space.
_RANK = {"T": 0, "Z": 2, "Y": 3, "X": 4}
_OTHERS = 1
_CENTIMETRE = 3


@dataclass(frozen=True)
class OmeForm:
    """The form of a result in an OME-Zarr.

    Attributes
    ----------
    letters : str
        Axes of the result in memory.
    order : tuple of int
        Axes of the result in the order of the file.
    shape : tuple of int
        In the order of the file.
    metadata : OmeMetadata
        In the order of the file.
    channels : tuple of Channel
        Those that the metadata does not describe.
    lost_metadata : tuple of str
        Descriptions of the metadata that cannot be written.
    """

    letters: str
    order: tuple[int, ...]
    shape: tuple[int, ...]
    metadata: OmeMetadata
    channels: tuple[Channel, ...] = ()
    lost_metadata: tuple[str, ...] = ()

    def write(self, target: zarr.Array[Any], key: tuple[Any, ...], values: Any) -> None:
        """Write a window of the result, whose key is in the order in memory."""
        kept = [axis for axis, one in enumerate(key) if isinstance(one, slice)]
        permutation = [kept.index(axis) for axis in self.order if axis in kept]
        place = tuple(key[axis] for axis in self.order)
        target[place] = values.transpose(permutation)

    def read(self, array: Any) -> npt.NDArray[Any]:
        """Give the axes of an array in the file the order in memory."""
        found: npt.NDArray[Any] = array.transpose(
            [self.order.index(axis) for axis in range(len(self.order))]
        )
        return found


def ome_form(shape: Sequence[int], like: ImageFile) -> OmeForm:
    """Decide how a result is stored.

    Parameters
    ----------
    shape : sequence of int
    like : ImageFile
        The source. The result may lack its channels.

    Raises
    ------
    OutputError
        When OME-Zarr cannot hold such axes.
    """
    letters = like.axes if len(shape) == len(like.axes) else like.axes.replace("C", "")
    lost: tuple[str, ...] = ()
    order = tuple(sorted(range(len(letters)), key=lambda axis: _RANK.get(letters[axis], _OTHERS)))
    if like.ome is not None and like.ome.letters == like.axes:
        metadata = like.ome
    else:
        metadata, lost = _of_imagej(like)
        _check_axes(letters)
    if letters != like.axes:
        metadata = metadata.without_channels()
    metadata = replace(metadata, axes=tuple(_axis(metadata, letters[axis]) for axis in order))
    count = shape[letters.index("C")] if "C" in letters else 1
    listed = (metadata.omero or {}).get("channels")
    # Damaged ones, too, which would hide the image from viewers.
    if not isinstance(listed, list) or len(listed) != count or not like.channels:
        metadata = replace(metadata, omero=None)
    channels = like.channels if metadata.omero is None and len(like.channels) == count else ()
    return OmeForm(letters, order, tuple(shape[axis] for axis in order), metadata, channels, lost)


def _axis(metadata: OmeMetadata, letter: str) -> Any:
    return next(axis for axis in metadata.axes if axis.letter == letter)


def _check_axes(letters: str) -> None:
    others = [letter for letter in letters if letter not in _RANK]
    if len(others) > 1:
        raise OutputError(
            "OME-Zarr holds one axis beside T, Z, Y and X, and the image has "
            f"{' and '.join(others)}: give other axes, or a name that ends in .tif"
        )


def _of_imagej(like: ImageFile) -> tuple[OmeMetadata, tuple[str, ...]]:
    """Metadata of a source whose scale is in ImageJ's terms."""
    scale = scale_of(like.metadata, like.resolution, like.resolution_unit)
    unit = scale.metadata.get("unit")
    sizes: dict[str, float | None] = {
        "Z": scale.metadata.get("spacing"),
        "T": scale.metadata.get("finterval"),
    }
    if scale.resolution is not None and unit is not None:
        # Without a unit it is that of a printer.
        sizes |= {
            axis: lines / pixels
            for axis, (pixels, lines) in zip("XY", scale.resolution, strict=True)
        }
    axes, lost = [], list(scale.lost_metadata)
    lost += ["the display of 0 as white"] if like.white_is_zero else []
    lost += ["the orientation"] if like.orientation != 1 else []
    if unit is None and scale.resolution is not None and scale.unit == _CENTIMETRE:
        lost.append("the resolution in pixels per cm")
    for letter in like.axes:
        axis, more = ome_axis(letter, sizes.get(letter), SECOND if letter == "T" else unit)
        axes.append(axis)
        lost += more
    return OmeMetadata(tuple(axes)), tuple(dict.fromkeys(lost))
