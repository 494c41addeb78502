"""Tiles as pure integers: where each is read, cropped and written."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from napari_redenoise.config import NetworkConfig, TilingConfig
from napari_redenoise.errors import ConfigError
from napari_redenoise.nn import padding, receptive_radius, total_stride


@dataclass(frozen=True)
class Span:
    """One axis of a tile.

    ``read`` is in pixels of the padded axis (it may reach beyond the image, see `spans`),
    ``crop`` in pixels of what was read, ``write`` in pixels of the image.
    """

    read: tuple[int, int]
    crop: slice
    write: slice


@dataclass(frozen=True)
class Tile:
    """Where a tile is read, cropped and written: rows and columns."""

    rows: Span
    columns: Span


def spans(size: int, tile: int, halo: int, stride: int) -> list[Span]:
    """Cut one axis into tiles that agree with the whole.

    The axis is thought to be padded symmetrically to a multiple of ``stride``, as the networks
    do it, and coordinates of ``read`` are those of the image: negative before it. Every tile
    starts at a multiple of the stride of the padded axis, and the cut between two tiles is at
    least ``halo`` away from their inner edges.

    Raises
    ------
    ConfigError
        When a tile has no room left between its halos.
    """
    before, after = padding(size, stride)
    padded = before + size + after
    if padded <= tile:
        return [Span((-before, padded - before), slice(before, before + size), slice(0, size))]
    halo = -(-halo // stride) * stride
    core = (tile - 2 * halo) // stride * stride
    if core <= 0:
        raise ConfigError(
            f"a tile of {tile} pixels leaves no room for its halo of {halo} on both sides: "
            f"make tiles of at least {2 * halo + stride} pixels"
        )
    found = []
    for start in range(0, padded, core):
        stop = min(start + core, padded)
        first, last = max(start - halo, 0), min(stop + halo, padded)
        low, high = max(start, before), min(stop, before + size)
        if low < high:
            found.append(
                Span(
                    (first - before, last - before),
                    slice(low - first, high - first),
                    slice(low - before, high - before),
                )
            )
    return found


def tile_sizes(network: NetworkConfig, tiling: TilingConfig) -> tuple[int, int, int]:
    """Tile, halo, and the smallest tile that has room for its halos, in pixels."""
    stride = total_stride(network)
    halo = receptive_radius(network) if tiling.halo is None else tiling.halo
    halo = -(-halo // stride) * stride
    return tiling.tile, halo, 2 * halo + stride


def tiles(height: int, width: int, tile: int, halo: int, stride: int) -> list[Tile]:
    """Cut a plane into tiles, row by row."""
    axes = (spans(size, tile, halo, stride) for size in (height, width))
    return [Tile(rows, columns) for rows, columns in itertools.product(*axes)]
