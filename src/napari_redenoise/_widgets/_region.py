"""Where to train: the whole layer, the slice that is shown, other layers too, or a region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_redenoise._layers import LayerImage
from napari_redenoise.data import Planes
from napari_redenoise.errors import InputError

WhereKind = Literal["layer", "slice", "selected", "region"]


@dataclass(frozen=True)
class OneSample:
    """A region that holds one sample of a stack, whole; it takes no memory."""

    shape: tuple[int, ...]
    sample: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel."""
        return np.dtype(np.uint8)

    def __getitem__(self, key: tuple[int | slice, ...]) -> npt.NDArray[np.uint8]:
        numbers = tuple(part for part in key if isinstance(part, int))
        sizes = [
            len(range(*part.indices(size)))
            for part, size in zip(key, self.shape, strict=True)
            if isinstance(part, slice)
        ]
        inside = np.uint8(numbers == self.sample)
        return np.broadcast_to(inside, tuple(sizes))


def region_of(layer: Any, source: LayerImage, marked: Any) -> Any:
    """Pixels of an image layer that a Labels or Shapes layer marks, nonzero inside.

    Parameters
    ----------
    layer : napari.layers.Image
    source : LayerImage
        The same layer as plain values.
    marked : napari.layers.Labels or napari.layers.Shapes
        Where it lies does not matter: pixels are found by their place in the world.

    Returns
    -------
    array
        Of the shape of a plane, for all samples alike; or labels that have the shape of the image
        as they are.

    Raises
    ------
    InputError
        When nothing of the image is marked.
    """
    planes = Planes(source.array, source.axes)
    if hasattr(marked, "to_masks"):
        labels, corner = _drawn(marked)
    else:
        same = tuple(marked.data.shape) == planes.shape_without_channels
        if same and marked.ndim > 2 and np.allclose(*_placed(layer, marked)):
            return marked.data
        labels, corner = np.asarray(marked.data), np.zeros(2)
        labels = np.asarray(labels.any(axis=tuple(range(labels.ndim - 2))))
    matrix, shift = _between(layer, marked)
    region = ndimage.affine_transform(
        labels.astype(np.uint8),
        matrix,
        shift - corner,
        output_shape=(planes.height, planes.width),
        order=0,
    )
    if not region.any():
        raise InputError(
            f"nothing of '{source.name}' lies inside '{marked.name}': draw or paint a region over "
            "the image, or train on the whole layer"
        )
    return region > 0


def _drawn(shapes: Any) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """All shapes of all slices filled, in a frame around them, and the corner of the frame."""
    if not len(shapes.data):
        raise InputError(f"'{shapes.name}' holds no shape: draw one over the image")
    vertices = np.concatenate([np.asarray(shape)[:, -2:] for shape in shapes.data])
    corner = np.floor(vertices.min(0)) - 1
    size = np.ceil(vertices.max(0) - corner).astype(int) + 2
    leading = np.concatenate([np.asarray(shape)[:, :-2] for shape in shapes.data])
    depth = tuple(int(most) + 1 for most in leading.max(0)) if leading.shape[1] else ()
    masks = shapes.to_masks(mask_shape=(*depth, *(corner + size).astype(int).clip(1)))
    filled = masks.any(axis=tuple(range(masks.ndim - 2)))
    low = np.maximum(corner, 0).astype(int)
    return filled[low[0] :, low[1] :], low.astype(float)


def _between(layer: Any, other: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Matrix and shift that bring pixels (y, x) of a layer to pixels of another."""

    def there(y: float, x: float) -> npt.NDArray[np.float64]:
        world = layer.data_to_world([0.0] * (layer.ndim - 2) + [y, x])
        missing = other.ndim - len(world)
        position = [0.0] * missing + list(world)[-other.ndim :]
        return np.asarray(other.world_to_data(position), float)[-2:]

    origin = there(0, 0)
    return np.stack([there(1, 0) - origin, there(0, 1) - origin], 1), origin


def _placed(layer: Any, other: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Where both layers have the corners of their pixels, for comparison."""
    points = np.concatenate([np.zeros((1, layer.ndim)), np.eye(layer.ndim)])
    first, second = (
        np.array([one.data_to_world(point) for point in points]) for one in (layer, other)
    )
    return first, second
