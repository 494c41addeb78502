"""Weights that come with the package, to begin with."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

from torch import Tensor

from napari_redenoise.config import Config, NetworkConfig
from napari_redenoise.errors import ConfigError
from napari_redenoise.io import load_model

FOLDER = Path(str(files("napari_redenoise"))) / "weights"


def resolve_start(config: Config) -> Config:
    """A warm start only for a network that has shipped weights; random ones for others.

    Raises
    ------
    ConfigError
        When random weights would be left as they are.
    """
    if config.training.start == "warm" and config.network not in _shipped(FOLDER):
        config = config.changed(**{"training.start": "scratch"})
    if config.training.total_steps == 0 and config.training.start == "scratch":
        raise ConfigError(
            "0 steps leave random weights: train for some, or choose a network that has a warm "
            "start"
        )
    return config


def warm_weights(network: NetworkConfig) -> dict[str, Tensor]:
    """Weights and filter bases for a network that has a warm start, float32."""
    return _shipped(FOLDER)[network]


@cache
def _shipped(folder: Path) -> dict[NetworkConfig, dict[str, Tensor]]:
    """Weights of all files by the network they are for."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        network, config, _, _ = load_model(path)
        found[config.network] = network.state_dict()
    return found
