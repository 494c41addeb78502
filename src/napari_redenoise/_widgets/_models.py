"""The models trained in this session, by the layer on which they were trained."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

from napari_redenoise._denoiser import Redenoiser

MOST_MODELS = 4
"""A model holds tens of megabytes: the oldest goes first."""


class Remembered(NamedTuple):
    """A model, and what the layer was called on which it was trained."""

    name: str
    model: Redenoiser


_models: dict[Hashable, Remembered] = {}


def remember(layer: Any, model: Redenoiser) -> None:
    """Keep the model that was trained last on a layer."""
    _models.pop(layer.unique_id, None)
    _models[layer.unique_id] = Remembered(str(layer.name), model)
    while len(_models) > MOST_MODELS:
        del _models[next(iter(_models))]


def recall(layer: Any) -> Redenoiser | None:
    """Find the model that was trained last on a layer."""
    found = _models.get(layer.unique_id)
    return None if found is None else found.model


def remembered() -> tuple[Remembered, ...]:
    """All models of this session that are still kept, the newest first."""
    return tuple(reversed(_models.values()))
