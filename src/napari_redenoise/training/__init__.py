"""Training as a generator of events, over a state that can be stopped and resumed."""

from napari_redenoise.training._loop import (
    ADAPTATION_RATE,
    LEARNING_RATES,
    R2R_RATE,
    StepDone,
    TrainingState,
    averaging,
    go_on,
    rate_factor,
    start,
    train,
    usual_rate,
)

__all__ = [
    "ADAPTATION_RATE",
    "LEARNING_RATES",
    "R2R_RATE",
    "StepDone",
    "TrainingState",
    "averaging",
    "go_on",
    "rate_factor",
    "start",
    "train",
    "usual_rate",
]
