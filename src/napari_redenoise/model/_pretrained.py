"""Pretrained weights of the package."""

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

MAX_CONTEXT = 2
"""Neighbours on either side by default."""

FOLDER = Path(str(files("napari_redenoise"))) / "weights"


def resolve_start(config: Config) -> Config:
    """Change the start to random for a network without pretrained weights.

    Raises
    ------
    ConfigError
        When random weights are not trained.
    """
    if config.training.start == "pretrained" and not has_pretrained_weights(config.network):
        config = config.replace({"training.start": "random"})
    if config.training.total_steps == 0 and config.training.start == "random":
        raise ConfigError(
            "0 steps leave random weights: train for some, or choose a network that has pretrained "
            "weights"
        )
    return config


def _for_channels(config: Config, channels: int) -> Config:
    """Decide how channels are denoised: separately where that network has pretrained weights."""
    config = config.replace({"network.channels": channels})
    if channels == 1 or config.network.channel_mode != "auto":
        return config
    separate = config.replace({"network.channel_mode": "separate"})
    starts = config.training.start == "pretrained" and has_pretrained_weights(separate.network)
    return separate if starts else config.replace({"network.channel_mode": "together"})


def for_image(config: Config, planes: Planes) -> Config:
    """Decide what depends on the shape of an image: channels, neighbours, and the start.

    Channels are denoised separately if the network has pretrained weights, else together.
    Neighbours are used if the network has pretrained weights for them, or begins at random.

    Raises
    ------
    ConfigError
        When random weights are not trained.
    """
    config = _for_channels(config, planes.channels)
    if config.network.context != "auto":
        return resolve_start(config)
    seeing = config.replace({"network.context": MAX_CONTEXT})
    alone = config.replace({"network.context": 0})
    is_stack = planes.context_axes and config.objective.sees_neighbours
    if not is_stack or config.network.variant != "default":
        return resolve_start(alone)
    has_weights = has_pretrained_weights(seeing.network)
    if resolve_start(alone).training.start == "pretrained" and not has_weights:
        return resolve_start(alone)
    return resolve_start(seeing)


def is_fine_tuned(config: Config, channels: int = 1) -> bool:
    """Whether a run on images of some channels starts from pretrained weights."""
    network = _for_channels(config, channels).network
    return config.training.start == "pretrained" and has_pretrained_weights(network)


def weights_file(network: NetworkConfig) -> Path:
    """Path of the weights of a network: its own, or those of the AdaReNet with this branch."""
    suffix = "-stack" if network.neighbours else ""
    own = FOLDER / f"{network.kind}-{network.group}{suffix}.safetensors"
    return own if own.is_file() else FOLDER / f"adarenet-{network.group}{suffix}.safetensors"


def has_pretrained_weights(network: NetworkConfig) -> bool:
    """Whether the package has weights for exactly this network."""
    path = weights_file(network)
    if not path.is_file():
        return False
    stored = _read(path)[0]
    one = network.of_one_channel if network.is_separate or network.channels == 1 else network
    same = one.model_copy(update={"context": stored.context, "kind": stored.kind})
    return stored.kind in ("adarenet", network.kind) and same == stored


def pretrained_weights(network: NetworkConfig) -> dict[str, Tensor]:
    """Load pretrained weights and filter bases, float32.

    The branches of AdaReNet are trained to denoise by themselves, too: they are the weights of
    single-branch networks. Every channel is denoised with those of one.
    """
    if network.is_separate:
        weights = pretrained_weights(network.of_one_channel)
        return {f"network.{name}": value for name, value in weights.items()}
    stored, weights = _read(weights_file(network))
    if stored.neighbours != network.neighbours:
        wanted = stored.model_copy(update={"context": network.context})
        weights = with_context(weights, stored, wanted)
    if stored.kind == network.kind:
        return weights
    prefix = f"{network.kind}_branch."
    return {
        name.replace(prefix, "branch.", 1): value
        for name, value in weights.items()
        if name.startswith(prefix)
    }


def pretrained_network(network: NetworkConfig) -> DenoisingNetwork:
    """Build a network with its pretrained weights."""
    pretrained = build_network(network, torch.Generator(), torch.float32)
    pretrained.load_state_dict(pretrained_weights(network))
    return pretrained


@lru_cache(maxsize=2)
def pretrained_denoiser(device: torch.device) -> DenoisingNetwork:
    """The default network with its pretrained weights, in evaluation mode."""
    return pretrained_network(Config().network).to(device).eval().requires_grad_(False)


@cache
def _read(path: Path) -> tuple[NetworkConfig, dict[str, Tensor]]:
    """Read the network configuration and the weights of a file."""
    file = load_model(path)
    return file.config.network, file.network.state_dict()
