"""Weights of one network for another that sees more or fewer neighbouring planes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from napari_redenoise.config import NetworkConfig
from napari_redenoise.nn.networks._adarenet import build_network


def with_context(
    weights: Mapping[str, Tensor], before: NetworkConfig, network: NetworkConfig
) -> dict[str, Tensor]:
    """Weights for a network that is the same but for its neighbouring planes.

    Every layer that sees the image has the plane first and the neighbours last. Inputs that are
    new count nothing; what a network makes of a plane without neighbours stays the same.
    Neighbours are known by their distance.

    Parameters
    ----------
    weights : mapping
        ``state_dict`` of the other network.
    before : NetworkConfig
        Of the other network.
    network : NetworkConfig

    Returns
    -------
    dict
    """
    wanted = build_network(network, torch.Generator(), torch.float32).state_dict()
    old, new = _inputs(before), _inputs(network)
    return {name: _fitted(weights[name], like, old, new) for name, like in wanted.items()}


def _inputs(network: NetworkConfig) -> list[tuple[str, int, int]]:
    """Names of all that a network is shown, in its order."""
    reach = network.neighbours // 2
    steps = [step for step in range(-reach, reach + 1) if step]
    levels = [("level", step, c) for step in (0, *steps) for c in range(network.channels)]
    return levels + [("mark", step, 0) for step in steps]


def _fitted(
    value: Tensor, like: Tensor, old: list[tuple[str, int, int]], new: list[tuple[str, int, int]]
) -> Tensor:
    """Weights of a layer by the names of its last inputs; feature maps come before these."""
    if value.shape == like.shape:
        return value
    maps = value.shape[1] - len(old)
    fitted = torch.zeros_like(like)
    fitted[:, :maps] = value[:, :maps]
    for place, name in enumerate(new):
        if name in old:
            fitted[:, maps + place] = value[:, maps + old.index(name)]
    return fitted
