"""Events of a batch."""

from __future__ import annotations

from dataclasses import dataclass, field

from napari_redenoise.model import Event, TrainingPlan
from napari_redenoise.recipes.batch._files import BatchFile
from napari_redenoise.recipes.batch._manifest import Record


@dataclass(frozen=True)
class FileSkipped:
    """The results of an image are up to date; ``record`` is their record in the manifest."""

    file: BatchFile
    record: Record = field(repr=False)


@dataclass(frozen=True)
class FileStarted:
    """An image is processed next: ``number`` of ``count`` that are not up to date."""

    file: BatchFile
    number: int
    count: int


@dataclass(frozen=True)
class TrainingPlanned:
    """A training follows.

    Attributes
    ----------
    plan : TrainingPlan
    file : BatchFile or None
        None for the training of a shared model.
    """

    plan: TrainingPlan = field(repr=False)
    file: BatchFile | None = None


@dataclass(frozen=True)
class ModelTrained:
    """The shared model is trained and saved; ``record`` is its record in the manifest."""

    record: Record = field(repr=False)


@dataclass(frozen=True)
class FileDone:
    """The results of an image are written; ``record`` is its record in the manifest."""

    file: BatchFile
    record: Record = field(repr=False)


@dataclass(frozen=True)
class FileFailed:
    """An image is not denoised, for a reason in words."""

    file: BatchFile
    reason: str


BatchEvent = (
    Event | FileSkipped | FileStarted | TrainingPlanned | ModelTrained | FileDone | FileFailed
)
"""Event of a batch; those of training and prediction are of the file that was started last."""
