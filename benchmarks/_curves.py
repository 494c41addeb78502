"""Errors of equivariance against the mesh: convolutions, networks, pooling and upsampling."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from _continuum import (
    SUPPORT,
    Chain,
    WaveImage,
    chain_of,
    errors_at_points,
    fine_layer,
    last_slope,
    relative,
    upsampling_errors,
)
from torch import Tensor, nn
from torch.nn import functional

from napari_redenoise.nn import CyclicGroup, Group, GroupConv2d, LiftingConv2d, ProjectionConv2d

C4, C8 = CyclicGroup(4), CyclicGroup(8)
EIGHTH, QUARTER = 1, 2
"""Elements of C8: rotations by 45 and by 90 degrees."""
QUARTER_OF_C4 = 1

FEATURES = (LiftingConv2d, GroupConv2d, GroupConv2d)
NETWORK = (LiftingConv2d, GroupConv2d, ProjectionConv2d)
OFFSET = 12.0
"""Makes an image positive, as photon counts are."""


@dataclass(frozen=True)
class Curve:
    """Relative errors by mesh, and the largest single error in units of ``steepest * mesh``."""

    meshes: tuple[float, ...]
    errors: tuple[float, ...]
    largest: float = float("nan")

    @property
    def order(self) -> float:
        """Measured exponent of the mesh, over the finest ones."""
        return last_slope(self.meshes, self.errors)


@dataclass(frozen=True)
class Spread:
    """Curves of the same network with weights of several seeds."""

    curves: tuple[Curve, ...]

    @property
    def median(self) -> Curve:
        """Median error on every mesh."""
        errors = np.median([curve.errors for curve in self.curves], axis=0)
        return Curve(self.curves[0].meshes, tuple(map(float, errors)))

    @property
    def coarsest(self) -> list[float]:
        """Errors on the coarsest mesh, one per seed."""
        return [curve.errors[0] for curve in self.curves]


@dataclass(frozen=True)
class Scene:
    """An image and the points at which networks are asked about it."""

    image: WaveImage
    centres: np.ndarray

    @classmethod
    def random(cls, points: int, offset: float = 0.0, seed: int = 0) -> Scene:
        """The same image for every number of points."""
        rng = np.random.default_rng(seed)
        return cls(WaveImage.random(rng, offset=offset), rng.uniform(0, 1, (points, 2)))

    def curve(
        self,
        chains: Iterable[tuple[float, Chain]],
        group: Group,
        element: int,
        outputs: str = "regular",
    ) -> Curve:
        """Errors of one chain per mesh."""
        found = []
        for mesh, chain in chains:
            pair = errors_at_points(
                chain, chain.size, self.image, self.centres, mesh, group, element, outputs
            )
            # Images have an offset, which would make every error look small.
            found.append((mesh, relative(*pair, centred=outputs == "trivial")))
        return Curve(*(tuple(column) for column in zip(*found, strict=True)))


def convolution_of_fixed_size(
    scene: Scene,
    window: str,
    pixels_per_support: Sequence[int],
    element: int = EIGHTH,
    group: Group = C8,
) -> Curve:
    """One lifting convolution, its filter sampled on finer and finer meshes."""
    chains = _fine_chains([LiftingConv2d], window, pixels_per_support, group)
    return scene.curve(chains, group, element)


def network_of_fixed_size(
    scene: Scene,
    window: str,
    pixels_per_support: Sequence[int],
    element: int = EIGHTH,
    pool_after: int | None = None,
    group: Group = C8,
) -> Curve:
    """Three convolutions with ReLU between them, filters of fixed physical size."""
    chains = _fine_chains(FEATURES, window, pixels_per_support, group, pool_after)
    return scene.curve(chains, group, element)


def _fine_chains(
    kinds: Sequence[type],
    window: str,
    pixels_per_support: Sequence[int],
    group: Group,
    pool_after: int | None = None,
) -> Iterable[tuple[float, Chain]]:
    for pixels in pixels_per_support:
        mesh = SUPPORT / pixels
        layers = [
            # Beyond the pooling, pixels are twice as large.
            fine_layer(
                layer, window, mesh * (2 if pool_after and number >= pool_after else 1), number
            )
            for number, layer in enumerate(chain_of(kinds, group, 2))
        ]
        yield mesh, Chain(layers, pool_after)


def features_of_fixed_pixels(
    scene: Scene,
    meshes: Sequence[float],
    kinds: Sequence[type] = FEATURES,
    kernel_size: int = 3,
    element: int = EIGHTH,
    group: Group = C8,
) -> Curve:
    """Feature maps of the networks' own layers, filters of as many pixels on every mesh."""
    chain = Chain(chain_of(kinds, group, 8, kernel_size))
    return scene.curve(((mesh, chain) for mesh in meshes), group, element)


def pictures_of_fixed_pixels(
    scene: Scene,
    meshes: Sequence[float],
    kind: str,
    element: int,
    kernel_size: int = 3,
    seed: int = 0,
) -> Curve:
    """Image in, image out: networks of three layers, filters of as many pixels on every mesh.

    ``kind``: ``standard``, ``C4`` or ``C8``; ``element``: of C8; ``seed``: of the weights.
    """
    groups = {"C4": C4, "C8": C8}
    if kind in groups:
        layers = chain_of(NETWORK, groups[kind], 8, kernel_size, seed)
    else:
        layers = _standard_layers(kernel_size, seed)
    chain = Chain(layers)
    return scene.curve(((mesh, chain) for mesh in meshes), C8, element, "trivial")


def _standard_layers(kernel_size: int, seed: int) -> list[nn.Conv2d]:
    generator = torch.Generator().manual_seed(seed)
    layers = []
    for inputs, outputs in ((1, 32), (32, 32), (32, 1)):
        layer = nn.utils.skip_init(nn.Conv2d, inputs, outputs, kernel_size, dtype=torch.float64)
        nn.init.kaiming_normal_(layer.weight, generator=generator)
        nn.init.zeros_(layer.bias)
        layers.append(layer.requires_grad_(False))
    return layers


RESAMPLING: dict[str, tuple[Callable[[Tensor], Tensor] | None, int]] = {
    "max pooling, block around the centre": (partial(functional.max_pool2d, kernel_size=2), 2),
    "max pooling, odd size": (partial(functional.max_pool2d, kernel_size=2), 3),
    "stride 2": (lambda x: x[..., ::2, ::2], 2),
    "average pooling, block around the centre": (partial(functional.avg_pool2d, kernel_size=2), 2),
    "nearest upsampling": (None, 0),
}
"""Operators, each with the pixels around a point of which it makes one."""


def resampling(scene: Scene, name: str, meshes: Sequence[float], element: int) -> Curve:
    """One pooling or upsampling; the mesh is that of its input."""
    operator, size = RESAMPLING[name]
    errors, largest = [], 0.0
    for mesh in meshes:
        if operator is None:
            matrix = C8.coordinate_maps[element]
            pair = upsampling_errors(scene.image, scene.centres[:16], mesh, matrix)
        else:
            pair = errors_at_points(
                operator, size, scene.image, scene.centres, mesh, C8, element, "trivial"
            )
        errors.append(relative(*pair))
        largest = max(largest, float(pair[0].abs().max()) / mesh)
    return Curve(tuple(meshes), tuple(errors), largest / scene.image.steepest())
