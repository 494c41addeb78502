"""Batch processing: many image files are denoised, each with its own or with one training."""

from napari_redenoise.recipes.batch._events import (
    BatchEvent,
    FileDone,
    FileFailed,
    FileSkipped,
    FileStarted,
    ModelTrained,
    TrainingPlanned,
)
from napari_redenoise.recipes.batch._files import BatchFile, NoImagesError, find_images
from napari_redenoise.recipes.batch._run import BatchRun
from napari_redenoise.recipes.batch._settings import BatchSettings, OutputFormat

__all__ = [
    "BatchEvent",
    "BatchFile",
    "BatchRun",
    "BatchSettings",
    "FileDone",
    "FileFailed",
    "FileSkipped",
    "FileStarted",
    "ModelTrained",
    "NoImagesError",
    "OutputFormat",
    "TrainingPlanned",
    "find_images",
]
