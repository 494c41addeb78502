"""Tiles as pure integers: where each is read, cropped and written."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace

from napari_redenoise.config import NetworkConfig, TilingConfig
from napari_redenoise.errors import ConfigError
from napari_redenoise.nn import padding, receptive_radius, total_stride


@dataclass(frozen=True)
class Span:
    """One axis of a tile.

    ``read`` is in pixels of the image and may reach beyond it, see `spans`. ``crop`` is in pixels
    of the tile, ``write`` in pixels of the image.
    """

    read: tuple[int, int]
    crop: slice
    write: slice


@dataclass(frozen=True)
class Tile:
    """Rows and columns in which a tile is read, cropped and written."""

    rows: Span
    columns: Span


def spans(size: int, tile: int, halo: int, stride: int) -> list[Span]:
    """Divide one axis into tiles whose predictions agree with that of the whole image.

    The axis is padded symmetrically to a multiple of ``stride``, as in the networks. Coordinates
    of ``read`` are negative in the padding before the image. Every tile starts at a multiple of
    the stride of the padded axis. The pixels that a tile writes are at least ``halo`` pixels from
    its inner edges.

    Parameters
    ----------
    size, tile, halo, stride : int
        Pixels.

    Raises
    ------
    ConfigError
        When a tile is not larger than its two halos.
    """
    before, after = padding(size, stride)
    padded = before + size + after
    if padded <= tile:
        return [Span((-before, padded - before), slice(before, before + size), slice(0, size))]
    halo = -(-halo // stride) * stride
    core = (tile - 2 * halo) // stride * stride
    if core <= 0:
        raise ConfigError(
            f"a tile of {tile} pixels leaves no room between its halos of {halo} pixels: "
            f"choose tiles of at least {2 * halo + stride} pixels"
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
    """Tile, halo, and smallest possible tile.

    Returns
    -------
    tile, halo, smallest : int
        Pixels.
    """
    stride = total_stride(network)
    halo = receptive_radius(network) if tiling.halo is None else tiling.halo
    halo = -(-halo // stride) * stride
    return tiling.tile, halo, 2 * halo + stride


def tiles(height: int, width: int, tile: int, halo: int, stride: int) -> list[Tile]:
    """Divide a plane into tiles, row by row.

    Parameters
    ----------
    height, width, tile, halo, stride : int
        Pixels.

    Raises
    ------
    ConfigError
        When a tile is not larger than its two halos.
    """
    axes = (spans(size, tile, halo, stride) for size in (height, width))
    return [Tile(rows, columns) for rows, columns in itertools.product(*axes)]


def within(layout: Iterable[Tile], rows: slice, columns: slice) -> list[Tile]:
    """Select the tiles that write into a window, cropped to it.

    Parameters
    ----------
    layout : iterable of Tile
        Tiles of the whole plane, so that the window has the pixels of its prediction.
    rows, columns : slice
        Pixels of the image, without a step.
    """
    cropped = (Tile(_cropped(one.rows, rows), _cropped(one.columns, columns)) for one in layout)
    return [one for one in cropped if not _is_empty(one.rows) and not _is_empty(one.columns)]


def _cropped(span: Span, window: slice) -> Span:
    start, stop = max(span.write.start, window.start), min(span.write.stop, window.stop)
    offset = span.crop.start - span.write.start
    return replace(span, crop=slice(start + offset, stop + offset), write=slice(start, stop))


def _is_empty(span: Span) -> bool:
    return bool(span.write.start >= span.write.stop)
