"""The models trained in this session, by layer."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from napari_redenoise.errors import OutputError
from napari_redenoise.io import model_beside, write_under_free_name
from napari_redenoise.model import Redenoiser

logger = logging.getLogger(__name__)

MOST_MODELS = 4
"""A model takes tens of megabytes: the oldest is dropped first."""


class Remembered(NamedTuple):
    """A model, and the name of the layer on which it was trained."""

    name: str
    model: Redenoiser


_models: dict[Hashable, Remembered] = {}

_used: WeakValueDictionary[Hashable, Redenoiser] = WeakValueDictionary()
"""Trained models that denoised a layer without training on it, as long as its result is kept."""


def remember(layer: Any, model: Redenoiser) -> None:
    """Keep the latest model of a layer."""
    _models.pop(layer.unique_id, None)
    _models[layer.unique_id] = Remembered(str(layer.name), model)
    while len(_models) > MOST_MODELS:
        del _models[next(iter(_models))]


def keep_model(model: Redenoiser, image: Path) -> None:
    """Save a model beside its image, after the viewer was closed."""
    if not model.session.provenance.get("steps"):
        return
    try:
        kept = write_under_free_name(model_beside(image), model.save)
    except OutputError as error:
        logger.warning("the trained model could not be saved: %s", error)
    else:
        logger.warning("the viewer was closed during a run: %s holds the trained model", kept)


def recall(layer: Any) -> Redenoiser | None:
    """Return the latest model of a layer, or None."""
    found = _models.get(layer.unique_id)
    return None if found is None else found.model


def note_use(layer: Any, model: Redenoiser) -> None:
    """Note that a trained model has denoised a layer."""
    _used[layer.unique_id] = model


def models_for(layer: Any, layers: Iterable[Any]) -> list[tuple[str, Redenoiser]]:
    """Labels and models: of a layer, the one that denoised it, and those of other layers."""
    trained = {model: f"trained on '{one.name}'" for one in layers if (model := recall(one))}
    own, used = recall(layer), _used.get(layer.unique_id)
    first = [model for model in (own, used) if model is not None]
    labels = {**dict.fromkeys(first, f"used on '{layer.name}'"), **trained}
    return [(label, model) for model, label in labels.items()]


def remembered() -> tuple[Remembered, ...]:
    """All kept models of this session, newest first."""
    return tuple(reversed(_models.values()))
