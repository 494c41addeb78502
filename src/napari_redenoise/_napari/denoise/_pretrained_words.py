"""Why a run cannot begin with pretrained weights, in words."""

from __future__ import annotations

from napari_redenoise.config import Config
from napari_redenoise.model import is_fine_tuned

PRETRAINED_GROUP = Config().network.group


def why_not_pretrained(config: Config, channels: int) -> str:
    """Why a run that would begin with pretrained weights does not; empty where it does.

    It is also empty where random weights were chosen, and follows "because".
    """
    if config.training.start != "pretrained" or is_fine_tuned(config, channels):
        return ""
    network = config.network
    if network.kind != "standard" and network.group != PRETRAINED_GROUP:
        return f"there is no pretrained network with symmetry {network.group}"
    if channels > 1 and network.channel_mode == "together":
        return "no pretrained network denoises channels together"
    return ""
