"""The models trained in this session, by the layer on which they were trained."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from napari_redenoise._denoiser import Redenoiser

MOST_MODELS = 4
"""A model holds tens of megabytes: the oldest goes first."""

_models: dict[Hashable, Redenoiser] = {}


def remember(layer: Any, model: Redenoiser) -> None:
    """Keep the model that was trained last on a layer."""
    _models.pop(layer.unique_id, None)
    _models[layer.unique_id] = model
    while len(_models) > MOST_MODELS:
        del _models[next(iter(_models))]


def recall(layer: Any) -> Redenoiser | None:
    """Find the model that was trained last on a layer."""
    return _models.get(layer.unique_id)
