"""Prediction of images of any size, tile by tile."""

from napari_redenoise.inference._interruption import Interrupted, interruptible
from napari_redenoise.inference._predict import (
    Draws,
    TileDone,
    normalised_context,
    predict,
    predict_tile,
)
from napari_redenoise.inference._tiles import Span, Tile, spans, tile_sizes, tiles

__all__ = [
    "Draws",
    "Interrupted",
    "Span",
    "Tile",
    "TileDone",
    "interruptible",
    "normalised_context",
    "predict",
    "predict_tile",
    "spans",
    "tile_sizes",
    "tiles",
]
