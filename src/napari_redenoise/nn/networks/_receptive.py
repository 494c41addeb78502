"""Stride and receptive field of a network configuration."""

from __future__ import annotations

from napari_redenoise.config import NetworkConfig


def total_stride(config: NetworkConfig) -> int:
    """Total stride of a network: the smallest shift of the input that shifts the output.

    Parameters
    ----------
    config : NetworkConfig

    Returns
    -------
    int
        Pixels.
    """
    return int(2**config.levels)


def receptive_radius(config: NetworkConfig) -> int:
    """Upper bound of the distance at which an input pixel affects an output pixel.

    Convolutions reach in pixels of their level, and a pooling window one pixel of its level
    further. The correction network counts if present.

    Parameters
    ----------
    config : NetworkConfig

    Returns
    -------
    int
        Pixels.
    """
    reach = config.kernel_size // 2
    levels = config.levels
    encoder = reach + sum(reach * 2**level + 2**level for level in range(levels))
    bottom = reach * 2**levels
    decoder = sum(2 * reach * 2**level for level in range(1, levels))
    tail = 3 * reach
    correction = 2 if config.kind == "adarenet" else 0
    return int(encoder + bottom + decoder + tail + correction)
