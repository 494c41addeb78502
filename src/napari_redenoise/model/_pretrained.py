"""Weights that come with the package, to begin with."""

from __future__ import annotations

from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

from napari_redenoise.config import Config, NetworkConfig
from napari_redenoise.data import Planes
from napari_redenoise.errors import ConfigError
from napari_redenoise.io import load_model
from napari_redenoise.nn import DenoisingNetwork, build_network, with_context

PAIRED = ("noise2noise", "neighbor2neighbor")
"""Objectives whose target may be a neighbour."""

MOST_CONTEXT = 2
"""Neighbours on either side that are seen by default."""

FOLDER = Path(str(files("napari_redenoise"))) / "weights"


def resolve_start(config: Config) -> Config:
    """Pretrained weights only for a network that has such; random ones for others.

    Raises
    ------
    ConfigError
        When random weights would be left as they are.
    """
    if config.training.start == "pretrained" and not has_pretrained_weights(config.network):
        config = config.replace({"training.start": "random"})
    if config.training.total_steps == 0 and config.training.start == "random":
        raise ConfigError(
            "0 steps leave random weights: train for some, or choose a network that has pretrained "
            "weights"
        )
    return config


def for_image(config: Config, planes: Planes) -> Config:
    """Settle what follows from the shape of an image: channels, neighbours, pretrained or not.

    Raises
    ------
    ConfigError
        As `resolve_start`.
    """
    config = config.replace({"network.channels": planes.channels})
    if config.network.context == "auto":
        sees = planes.context_axes and config.objective.kind not in PAIRED
        sees = sees and config.network.variant == "default"
        config = config.replace({"network.context": MOST_CONTEXT if sees else 0})
    return resolve_start(config)


def is_fine_tuned(config: Config, channels: int = 1) -> bool:
    """Whether a run on images of so many channels begins with pretrained weights."""
    network = config.replace({"network.channels": channels}).network
    return config.training.start == "pretrained" and has_pretrained_weights(network)


def weights_file(network: NetworkConfig) -> Path:
    """Where the weights of a network would be: its own, or those of the AdaReNet it is part of."""
    seen = "-stack" if network.neighbours else ""
    own = FOLDER / f"{network.kind}-{network.group}{seen}.safetensors"
    return own if own.is_file() else FOLDER / f"adarenet-{network.group}{seen}.safetensors"


def has_pretrained_weights(network: NetworkConfig) -> bool:
    """Whether weights for exactly this network come with the package."""
    path = weights_file(network)
    if not path.is_file():
        return False
    held = _read(path)[0]
    asked = {"context": held.context, "kind": held.kind}
    return held.kind in ("adarenet", network.kind) and network.model_copy(update=asked) == held


def pretrained_weights(network: NetworkConfig) -> dict[str, Tensor]:
    """Weights and filter bases for a network that has a warm start, float32.

    AdaReNet's branches were trained to denoise by themselves, too: they are the weights of the
    networks that have one branch only.
    """
    held, weights = _read(weights_file(network))
    if held.neighbours != network.neighbours:
        weights = with_context(weights, held, held.model_copy(update={"context": network.context}))
    if held.kind == network.kind:
        return weights
    prefix = f"{network.kind}_branch."
    return {
        name.replace(prefix, "branch.", 1): value
        for name, value in weights.items()
        if name.startswith(prefix)
    }


def pretrained_network(network: NetworkConfig) -> DenoisingNetwork:
    """A network with the weights that come with the package for it, to use as it is."""
    warm = build_network(network, torch.Generator(), torch.float32)
    warm.load_state_dict(pretrained_weights(network))
    return warm


@lru_cache(maxsize=2)
def pretrained_denoiser(device: torch.device) -> DenoisingNetwork:
    """The default network as it comes with the package, to ask what it takes for noise."""
    return pretrained_network(Config().network).to(device).eval().requires_grad_(False)


@cache
def _read(path: Path) -> tuple[NetworkConfig, dict[str, Tensor]]:
    """Which network a file is for, and its weights."""
    file = load_model(path)
    return file.config.network, file.network.state_dict()
