"""The training region: the whole layer, a slice, or a marked region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage import draw

from napari_redenoise._napari._layers import LayerImage
from napari_redenoise.data import LazyArray
from napari_redenoise.errors import InputError

RegionKind = Literal["layer", "slice", "region"]


def one_sample(shape: tuple[int, ...], sample: tuple[int, ...]) -> LazyArray:
    """A training region of one whole sample of a stack, without memory."""

    def read(key: tuple[int | slice, ...]) -> npt.NDArray[np.uint8]:
        numbers = tuple(part for part in key if isinstance(part, int))
        sizes = [
            len(range(*part.indices(size)))
            for part, size in zip(key, shape, strict=True)
            if isinstance(part, slice)
        ]
        return np.broadcast_to(np.uint8(numbers == sample), tuple(sizes))

    return LazyArray(shape, np.dtype(np.uint8), read)


@dataclass(frozen=True)
class Region:
    """A region that a Labels or Shapes layer marks, before its pixels are read.

    Attributes
    ----------
    image, name : str
        Names of the image and of the marking layer.
    size : (int, int)
        Rows and columns of a plane of the image.
    matrix, shift : ndarray
        Map pixels (y, x) of the image to those of the marking layer.
    labels : array-like or None
        Pixels of a Labels layer.
    outlines : tuple of ndarray
        Corners (n, 2) of the shapes of a Shapes layer, (y, x).
    is_whole : bool
        Whether the labels have the shape and the position of the image.
    """

    image: str
    name: str
    size: tuple[int, int]
    matrix: npt.NDArray[np.float64]
    shift: npt.NDArray[np.float64]
    labels: Any = None
    outlines: tuple[npt.NDArray[np.float64], ...] = ()
    is_whole: bool = False

    def pixels(self) -> Any:
        """Mask of the region, which takes too long for the viewer's thread.

        Returns
        -------
        array-like
            Nonzero inside; in the shape of a plane, for all samples, or of the whole image.

        Raises
        ------
        InputError
            When no pixel of the image is marked.
        """
        if self.is_whole:
            return self.labels
        region = self._drawn() if self.labels is None else self._painted()
        if not region.any():
            raise InputError(
                f"no pixel of '{self.image}' lies inside '{self.name}': draw or paint a region "
                "over the image, or train on the whole layer"
            )
        return region

    def _painted(self) -> npt.NDArray[np.bool_]:
        labels = np.asarray(self.labels)
        plane = np.asarray(labels.any(axis=tuple(range(labels.ndim - 2))), np.uint8)
        found = ndimage.affine_transform(
            plane, self.matrix, self.shift, output_shape=self.size, order=0
        )
        return np.asarray(found > 0)

    def _drawn(self) -> npt.NDArray[np.bool_]:
        region = np.zeros(self.size, bool)
        back = np.linalg.inv(self.matrix)
        for outline in self.outlines:
            rows, columns = ((outline - self.shift) @ back.T).T
            region[draw.polygon(rows, columns, self.size)] = True
        return region


def region_of(layer: Any, source: LayerImage, marked: Any) -> Region:
    """Read the region that a layer marks on an image layer.

    Parameters
    ----------
    layer : napari.layers.Image
    source : LayerImage
        The image layer as plain values.
    marked : napari.layers.Labels or napari.layers.Shapes
        Its pixels are matched by their world coordinates.

    Raises
    ------
    InputError
        When a Shapes layer has no area.
    """
    planes = source.planes
    size = (planes.height, planes.width)
    matrix, shift = _between(layer, marked)
    if hasattr(marked, "shape_type"):
        outlines = tuple(
            _outline(np.asarray(shape, float)[:, -2:], kind)
            for shape, kind in zip(marked.data, marked.shape_type, strict=True)
            if kind not in ("line", "path")
        )
        if not outlines:
            raise InputError(f"'{marked.name}' has no shape with an area: draw one")
        return Region(source.name, str(marked.name), size, matrix, shift, outlines=outlines)
    labels = marked.data[0] if marked.multiscale else marked.data
    same = tuple(labels.shape) == planes.shape_without_channels
    is_whole = same and labels.ndim > 2 and np.allclose(*_placed(layer, marked))
    return Region(
        source.name, str(marked.name), size, matrix, shift, labels=labels, is_whole=is_whole
    )


def _outline(corners: npt.NDArray[np.float64], kind: str) -> npt.NDArray[np.float64]:
    """Corners of a shape; points on an ellipse, which napari stores as its box."""
    if kind != "ellipse":
        return corners
    angle = np.linspace(0, 2 * np.pi, 100, endpoint=False)[:, None]
    down, across = (corners[3] - corners[0]) / 2, (corners[1] - corners[0]) / 2
    return np.asarray(corners.mean(0) + np.cos(angle) * down + np.sin(angle) * across)


def _between(layer: Any, other: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Matrix and shift that map pixels (y, x) of a layer to pixels of another."""

    def there(y: float, x: float) -> npt.NDArray[np.float64]:
        world = layer.data_to_world([0.0] * (layer.ndim - 2) + [y, x])
        missing = other.ndim - len(world)
        position = [0.0] * missing + list(world)[-other.ndim :]
        return np.asarray(other.world_to_data(position), float)[-2:]

    origin = there(0, 0)
    return np.stack([there(1, 0) - origin, there(0, 1) - origin], 1), origin


def _placed(layer: Any, other: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """World coordinates of the pixel corners of both layers, for comparison."""
    points = np.concatenate([np.zeros((1, layer.ndim)), np.eye(layer.ndim)])
    first, second = (
        np.array([one.data_to_world(point) for point in points]) for one in (layer, other)
    )
    return first, second
