"""Training as a generator of events, which can be stopped and resumed."""

from napari_redenoise.training._loop import (
    FINE_TUNING_RATE,
    LEARNING_RATES,
    StepDone,
    TrainingState,
    continue_training,
    ema_decay,
    learning_rate_factor,
    start,
    train,
    with_branches,
)
from napari_redenoise.training._step import UNRECORDED_STEPS

__all__ = [
    "FINE_TUNING_RATE",
    "LEARNING_RATES",
    "UNRECORDED_STEPS",
    "StepDone",
    "TrainingState",
    "continue_training",
    "ema_decay",
    "learning_rate_factor",
    "start",
    "train",
    "with_branches",
]
