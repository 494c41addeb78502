"""Pretraining on synthetic noise over clean scenes."""

from napari_redenoise.recipes.pretraining._cameras import Camera, draw_camera, record_scenes
from napari_redenoise.recipes.pretraining._photographs import LICENCES
from napari_redenoise.recipes.pretraining._recipe import SIDE
from napari_redenoise.recipes.pretraining._scenes import STRUCTURES, draw_scene
from napari_redenoise.recipes.pretraining._training import Pretraining, Recipe

__all__ = [
    "LICENCES",
    "SIDE",
    "STRUCTURES",
    "Camera",
    "Pretraining",
    "Recipe",
    "draw_camera",
    "draw_scene",
    "record_scenes",
]
