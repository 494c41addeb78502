"""The content of an image file."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from napari_redenoise.io._channels import Channel
from napari_redenoise.io._ome_metadata import OmeMetadata


@dataclass(frozen=True)
class ImageFile:
    """Pixels and axes of an image file, and what the file of its result stores beside them.

    Attributes
    ----------
    array : array
        Grey levels as they are stored, without alpha channel. A dask array for OME-Zarr and large
        TIFFs, which are read when it is indexed.
    axes : str
        One letter per axis.
    metadata : dict
        ``spacing``, ``unit`` and ``finterval`` in ImageJ's terms, if known. ``spacing`` has the
        unit of a pixel; ``finterval`` is in seconds.
    resolution : tuple of (float, float), or None
        Pixels per unit along x and y.
    resolution_unit : int or None
        The ``ResolutionUnit`` of TIFF.
    white_is_zero : bool
        Whether 0 is displayed as white.
    orientation : int
        The ``Orientation`` of TIFF: how viewers rotate and flip the pixels.
    notes : tuple of str
        What a user has to know about the reading, for example planes that are missing.
    ome : OmeMetadata, or None
        Axes and channels of an OME-Zarr.
    channels : tuple of Channel
        Names, colours and windows of the channels, if known.
    """

    array: Any
    axes: str
    metadata: dict[str, Any] = field(default_factory=dict)
    resolution: tuple[float, float] | None = None
    resolution_unit: int | None = None
    white_is_zero: bool = False
    orientation: int = 1
    notes: tuple[str, ...] = ()
    ome: OmeMetadata | None = None
    channels: tuple[Channel, ...] = ()

    def without_channels(self) -> ImageFile:
        """Describe the file of a result without channels and grey levels, such as a mask."""
        ome = None if self.ome is None else self.ome.without_channels()
        axes = self.axes.replace("C", "")
        return replace(self, axes=axes, white_is_zero=False, ome=ome, channels=())
