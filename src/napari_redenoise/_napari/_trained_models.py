"""The models trained in this session, by the layer on which they were trained."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from pathlib import Path
from typing import Any, NamedTuple

from napari_redenoise.errors import OutputError
from napari_redenoise.io import write_under_free_name
from napari_redenoise.model import Redenoiser

logger = logging.getLogger(__name__)

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


def keep_model(model: Redenoiser, image: Path) -> None:
    """Write what was learned beside an image: there is no viewer any more to show it in."""
    if not model.session.provenance.get("steps"):
        return
    try:
        kept = write_under_free_name(
            image.with_name(f"{image.stem}.redenoise.safetensors"), model.save
        )
    except OutputError as error:
        logger.warning("what was learned is lost: %s", error)
    else:
        logger.warning("the viewer was closed during a run: %s holds what was learned", kept)


def recall(layer: Any) -> Redenoiser | None:
    """Find the model that was trained last on a layer."""
    found = _models.get(layer.unique_id)
    return None if found is None else found.model


def remembered() -> tuple[Remembered, ...]:
    """All models of this session that are still kept, the newest first."""
    return tuple(reversed(_models.values()))
