"""Receptive fields, from the configuration alone."""

from __future__ import annotations

from napari_redenoise.config import NetworkConfig


def total_stride(config: NetworkConfig) -> int:
    """Pixels by which an input must be shifted for the output to shift with it."""
    return int(2**config.levels)


def receptive_radius(config: NetworkConfig) -> int:
    """Largest distance in pixels at which an input pixel can still change an output pixel.

    An upper bound: convolutions count in the pixels of their level, a pooling window reaches one
    pixel of its level further, and the mask and correction networks are counted where present.
    """
    reach = config.kernel_size // 2
    levels = config.levels
    encoder = reach + sum(reach * 2**level + 2**level for level in range(levels))
    bottom = reach * 2**levels
    decoder = sum(2 * reach * 2**level for level in range(1, levels))
    tail = 3 * reach
    correction = 2 if config.kind == "adarenet" else 0
    return int(encoder + bottom + decoder + tail + correction)
