"""The warm start: what the shipped weights were trained on, and how."""

from napari_redenoise._pretrain._cameras import Camera, camera, shoot
from napari_redenoise._pretrain._pictures import LICENCES
from napari_redenoise._pretrain._recipe import SIDE
from napari_redenoise._pretrain._scenes import STRUCTURES, scene
from napari_redenoise._pretrain._training import Pretraining, Recipe

__all__ = [
    "LICENCES",
    "SIDE",
    "STRUCTURES",
    "Camera",
    "Pretraining",
    "Recipe",
    "camera",
    "scene",
    "shoot",
]
