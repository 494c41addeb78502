"""The model: plan, training, hold-out test, prediction, snapshots and files."""

from napari_redenoise.inference import TileDone
from napari_redenoise.model._corrections import Corrections
from napari_redenoise.model._denoise import denoise, measure_noise
from napari_redenoise.model._export import (
    ExportFormat,
    check_export,
    export_cautions,
    export_denoiser,
    export_format,
)
from napari_redenoise.model._judgement import Judgement, judgement_in_words
from napari_redenoise.model._noise_reports import channel_stack, noise_reports
from napari_redenoise.model._plan import LINES_IN_WORDS, NOT_TRAINED, TrainingPlan
from napari_redenoise.model._prediction import Result
from napari_redenoise.model._pretrained import is_fine_tuned, resolve_start
from napari_redenoise.model._previews import PREVIEW_SHARE, PreviewDone, Window
from napari_redenoise.model._redenoiser import Redenoiser
from napari_redenoise.model._reproduce import RunAsCode
from napari_redenoise.model._run import TrainingEvent
from napari_redenoise.model._session import Session
from napari_redenoise.model._snapshots import Snapshot
from napari_redenoise.model._timing import (
    MIN_STEPS,
    RunTime,
    estimate_run,
    steps_within,
)
from napari_redenoise.model._training_images import (
    TrainingImages,
    compare_usable,
    make_draws,
    make_objective,
    normalise_noise,
    should_recorrupt,
)
from napari_redenoise.training import StepDone

Event = StepDone | PreviewDone | Judgement | TileDone
"""Event of training or prediction."""

__all__ = [
    "LINES_IN_WORDS",
    "MIN_STEPS",
    "NOT_TRAINED",
    "PREVIEW_SHARE",
    "Corrections",
    "Event",
    "ExportFormat",
    "Judgement",
    "PreviewDone",
    "Redenoiser",
    "Result",
    "RunAsCode",
    "RunTime",
    "Session",
    "Snapshot",
    "StepDone",
    "TileDone",
    "TrainingEvent",
    "TrainingImages",
    "TrainingPlan",
    "Window",
    "channel_stack",
    "check_export",
    "compare_usable",
    "denoise",
    "estimate_run",
    "export_cautions",
    "export_denoiser",
    "export_format",
    "is_fine_tuned",
    "judgement_in_words",
    "make_draws",
    "make_objective",
    "measure_noise",
    "noise_reports",
    "normalise_noise",
    "resolve_start",
    "should_recorrupt",
    "steps_within",
]
