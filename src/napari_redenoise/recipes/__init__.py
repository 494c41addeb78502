"""Training on folders as in the paper, batch processing, and pretraining."""

from napari_redenoise.recipes._added_noise import noise_config
from napari_redenoise.recipes._evaluation import ImageDone, evaluate, scale_normalisation
from napari_redenoise.recipes._folder_training import EpochDone, FolderTraining
from napari_redenoise.recipes.batch import (
    BatchEvent,
    BatchFile,
    BatchRun,
    BatchSettings,
    FileDone,
    FileFailed,
    FileSkipped,
    FileStarted,
    ModelTrained,
    NoImagesError,
    OutputFormat,
    TrainingPlanned,
    find_images,
)
from napari_redenoise.recipes.pretraining import SIDE, Pretraining, Recipe

__all__ = [
    "SIDE",
    "BatchEvent",
    "BatchFile",
    "BatchRun",
    "BatchSettings",
    "EpochDone",
    "FileDone",
    "FileFailed",
    "FileSkipped",
    "FileStarted",
    "FolderTraining",
    "ImageDone",
    "ModelTrained",
    "NoImagesError",
    "OutputFormat",
    "Pretraining",
    "Recipe",
    "TrainingPlanned",
    "evaluate",
    "find_images",
    "noise_config",
    "scale_normalisation",
]
