"""Images and filters known at every point, sampled on meshes as fine as one likes.

How an error of equivariance is measured without interpolating anything: around one and the same
point ``q`` the image is sampled on a straight grid and on a grid rotated by ``g``. The second is
what a network sees around that point when the *image* is rotated. A network looks at both and
says what is at ``q``; an equivariant one says the same, its orientations permuted by ``g``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_redenoise.nn import Group, GroupConv2d, LiftingConv2d, ProjectionConv2d
from napari_redenoise.nn.testing import Representation, transform

SUPPORT = 1 / 8
"""Radius of a filter of fixed physical size; the image's shortest wavelength is twice that."""

TERMS = 5
"""Frequencies per axis of a filter of fixed physical size: those of a 5 x 5 filter."""


@dataclass(frozen=True)
class WaveImage:
    """A sum of plane waves ``offset + sum_w amplitude_w cos(k_w . p + phase_w)``: band-limited."""

    waves: np.ndarray
    amplitudes: np.ndarray
    phases: np.ndarray
    offset: float = 0.0

    @classmethod
    def random(cls, rng: np.random.Generator, count: int = 24, offset: float = 0.0) -> WaveImage:
        """Waves of random directions, no shorter than two supports; variance about 1."""
        length = np.sqrt(rng.uniform(0, 1, count)) * np.pi / SUPPORT
        angle = rng.uniform(0, 2 * np.pi, count)
        waves = np.stack([length * np.cos(angle), length * np.sin(angle)], -1)
        amplitudes = rng.normal(0, np.sqrt(2 / count), count)
        return cls(waves, amplitudes, rng.uniform(0, 2 * np.pi, count), offset)

    def patches(
        self, centres: np.ndarray, size: int, mesh: float, matrix: np.ndarray | None = None
    ) -> Tensor:
        """Sample ``size x size`` pixels around every centre, on a grid rotated by a matrix.

        Returns (centres, 1, size, size), float64.
        """
        offsets = (np.arange(size) - (size - 1) / 2) * mesh
        rotated = self.waves @ (np.eye(2) if matrix is None else matrix)
        across, down = (np.exp(1j * np.outer(rotated[:, axis], offsets)) for axis in (0, 1))
        middle = self.amplitudes * np.exp(1j * (centres @ self.waves.T + self.phases))
        values = np.einsum("cw,wy,wx->cyx", middle, down, across, optimize=True).real
        return torch.from_numpy(np.ascontiguousarray(values + self.offset))[:, None]

    def steepest(self, count: int = 400) -> float:
        """Largest length of the gradient, over a dense grid of the unit square."""
        axis = np.linspace(0, 1, count)
        points = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
        slopes = -self.amplitudes * np.sin(points @ self.waves.T + self.phases)
        return float(np.linalg.norm(slopes @ self.waves, axis=1).max())


WINDOWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "(1 − r²)⁰": lambda square: np.where(square < 1, 1.0, 0.0),
    "(1 − r²)¹": lambda square: np.maximum(1 - square, 0),
    "(1 − r²)²": lambda square: np.maximum(1 - square, 0) ** 2,
    # F-Conv's soft disc for filters of 5 pixels and more; it is still 1 at the square's edges.
    "soft disc, cut to a square": lambda square: np.exp(-np.maximum(square - 1, 0) / 0.2),
}


def predicted_order(power: int) -> float:
    """Order of a lattice sum of a smooth function times ``(1 - r^2)^power``.

    The Fourier transform of the window, a Bessel function ``J_{power+1}(k) / k^(power+1)``, falls
    like ``k^-(power + 3/2)``; by Poisson's formula a sum over a lattice of mesh h errs by its
    values at multiples of ``2 pi / h``.
    """
    return power + 1.5


def fine_basis(pixels: int, group: Group, window: str, mesh: float) -> Tensor:
    """Windowed Fourier atoms of fixed physical size on ``pixels x pixels``, times ``mesh^2``.

    Shape (len(group), atoms, pixels^2): a sum over pixels is a quadrature of the integral.
    """
    axis = np.linspace(-1.0, 1.0, pixels)
    xy = np.stack(np.meshgrid(axis, axis))
    frequency = np.fft.fftfreq(TERMS, 1 / TERMS) * np.pi * (TERMS - 1) / TERMS
    rotated = np.einsum("gij,jyx->giyx", group.coordinate_maps, xy)
    phase = np.einsum("kan,gayx->gknyx", _pairs(frequency), rotated)
    atoms = np.concatenate([np.cos(phase), np.sin(phase)], 1)[:, :, 0]
    values = atoms * WINDOWS[window]((xy**2).sum(0)) * mesh**2
    return torch.from_numpy(values.reshape(len(group), -1, pixels**2))


def _pairs(frequency: np.ndarray) -> np.ndarray:
    pairs = np.stack(np.meshgrid(frequency, frequency, indexing="ij"), -1).reshape(-1, 2)
    return pairs[:, :, None]


Conv = LiftingConv2d | GroupConv2d | ProjectionConv2d


def fine_layer(layer: Conv, window: str, mesh: float, seed: int) -> Conv:
    """Give a layer continuous filters of fixed physical size, sampled on a mesh.

    The layer's own arrangement of filters over the group stays; a seed stands for the same
    continuous filters on every mesh.
    """
    pixels = 2 * round(SUPPORT / mesh) + 1
    layer.kernel_size = pixels
    layer.basis = fine_basis(pixels, layer.group, window, mesh)
    generator = torch.Generator().manual_seed(seed)
    shape = (*layer.weight.shape[:3], layer.basis.shape[1])
    weight = torch.randn(shape, generator=generator, dtype=torch.float64)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    layer.bias = nn.Parameter(torch.zeros_like(layer.bias, dtype=torch.float64), False)
    return layer


@dataclass(frozen=True)
class Chain:
    """Convolutions without padding, ReLU between them; says what is at a patch's middle.

    ``pool_after``: number of layers after which 2 x 2 pixels are pooled, or None.
    """

    layers: Sequence[nn.Module]
    pool_after: int | None = None

    @property
    def size(self) -> int:
        """Pixels of the patch that gives one output pixel."""
        size = 1
        for number in reversed(range(len(self.layers))):
            size = 2 * size if number + 1 == self.pool_after else size
            size += _filters(self.layers[number])[0].shape[-1] - 1
        return size

    def __call__(self, x: Tensor) -> Tensor:
        """(B, channels, size, size) to (B, channels, 1, 1)."""
        for number, layer in enumerate(self.layers):
            x = functional.conv2d(functional.relu(x) if number else x, *_filters(layer))
            x = functional.max_pool2d(x, 2) if number + 1 == self.pool_after else x
        return x


def _filters(layer: nn.Module) -> tuple[Tensor, Tensor | None]:
    if isinstance(layer, nn.Conv2d):
        return layer.weight, layer.bias
    return layer.filters(), layer.expanded_bias()


def errors_at_points(
    function: Callable[[Tensor], Tensor],
    size: int,
    image: WaveImage,
    centres: np.ndarray,
    mesh: float,
    group: Group,
    element: int,
    outputs: Representation = "regular",
) -> tuple[Tensor, Tensor]:
    """``f(R x) - R f(x)`` and ``R f(x)`` at points, each (points, channels, 1, 1)."""
    with torch.no_grad():
        straight = function(image.patches(centres, size, mesh))
        rotated = function(image.patches(centres, size, mesh, group.coordinate_maps[element]))
    # A single pixel is rotated by permuting its orientations.
    expected = transform(straight, group, element, outputs)
    return rotated - expected, expected


def relative(error: Tensor, expected: Tensor, *, centred: bool = False) -> float:
    """``||f(R x) - R f(x)||_2 / ||f(x)||_2``; centred: ``f(x)`` less its mean below the line."""
    scale = expected - expected.mean() if centred else expected
    return float(error.norm() / scale.norm())


def upsampling_errors(
    image: WaveImage, centres: np.ndarray, mesh: float, matrix: np.ndarray, size: int = 16
) -> tuple[Tensor, Tensor]:
    """Nearest upsampling of the rotated image against the rotated upsampled image.

    An upsampled image is a function of the plane, constant on every coarse pixel, and is
    looked up at the rotated positions of the fine pixels.
    """
    straight, rotated = (
        functional.interpolate(image.patches(centres, size, mesh, m), scale_factor=2.0)[:, 0]
        for m in (None, matrix)
    )
    offsets = np.arange(2 * size) - size + 0.5
    x, y = np.meshgrid(offsets, offsets)
    inside = np.hypot(x, y) < size - 1
    columns, rows = np.floor(np.round(matrix @ np.stack([x[inside], y[inside]]), 9)).astype(int)
    expected = straight[:, rows + size, columns + size]
    return rotated[:, inside] - expected, expected


def slope(meshes: Sequence[float], errors: Sequence[float]) -> float:
    """Exponent p of ``error ~ mesh^p``: least squares on log-log axes."""
    return float(np.polyfit(np.log(meshes), np.log(errors), 1)[0])


def last_slope(meshes: Sequence[float], errors: Sequence[float], decades: float = 0.5) -> float:
    """Slope over the finest meshes, where the leading term has won."""
    kept = [
        pair for pair in zip(meshes, errors, strict=True) if pair[0] < min(meshes) * 10**decades
    ]
    return slope(*zip(*kept, strict=True))


def chain_of(
    kinds: Sequence[type], group: Group, fields: int, kernel_size: int = 3, seed: int = 0
) -> list[Conv]:
    """Layers that follow one another: one channel in, ``fields`` between, one channel out."""
    generator = torch.Generator().manual_seed(seed)
    inputs = [1, *itertools.repeat(fields, len(kinds) - 1)]
    return [
        kind(group, given, 1 if kind is ProjectionConv2d else fields, kernel_size, generator)
        .double()
        .requires_grad_(False)
        for kind, given in zip(kinds, inputs, strict=True)
    ]
