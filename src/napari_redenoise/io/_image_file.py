"""The content of an image file."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from napari_redenoise.io._ome_metadata import OmeMetadata


@dataclass(frozen=True)
class ImageFile:
    """Pixels and axes of an image file, and its scale and units.

    Attributes
    ----------
    array : array
        Numpy, or a dask array that is read when it is indexed: OME-Zarr, and large TIFFs.
    axes : str
        One letter per axis.
    metadata : dict
        ``spacing``, ``unit`` and ``finterval`` in ImageJ's terms, if known.
    resolution : tuple of (float, float), or None
        Pixels per unit along x and y.
    resolution_unit : int or None
        The ``ResolutionUnit`` of TIFF.
    notes : tuple of str
        What a user has to know about the reading.
    ome : OmeMetadata, or None
        Axes and channels of an OME-Zarr.
    """

    array: Any
    axes: str
    metadata: dict[str, Any] = field(default_factory=dict)
    resolution: tuple[float, float] | None = None
    resolution_unit: int | None = None
    notes: tuple[str, ...] = ()
    ome: OmeMetadata | None = None

    def without_channels(self) -> ImageFile:
        """Describe the file of a result without channels, such as a mask; without pixels."""
        ome = None if self.ome is None else self.ome.without_channels()
        return replace(self, array=None, axes=self.axes.replace("C", ""), ome=ome)
