"""Training on folders as in the paper, and pretraining."""

from napari_redenoise.recipes._added_noise import noise_config
from napari_redenoise.recipes._checkpoint_file import load_checkpoint, save_checkpoint
from napari_redenoise.recipes._evaluation import ImageDone, evaluate, scale_normalisation
from napari_redenoise.recipes._folder_training import EpochDone, FolderTraining
from napari_redenoise.recipes.pretraining import SIDE, Pretraining, Recipe

__all__ = [
    "SIDE",
    "EpochDone",
    "FolderTraining",
    "ImageDone",
    "Pretraining",
    "Recipe",
    "evaluate",
    "load_checkpoint",
    "noise_config",
    "save_checkpoint",
    "scale_normalisation",
]
