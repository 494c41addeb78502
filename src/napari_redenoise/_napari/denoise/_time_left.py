"""Time left of a run, and its time limit."""

from __future__ import annotations

import time
from collections.abc import Callable

from napari_redenoise.model import PREVIEW_SHARE, RunTime
from napari_redenoise.training import StepDone

PRIOR_STEPS = 10
"""Steps by which the estimate before the run counts."""


class TimeLeft:
    """Estimates the time left of a training and what follows it, from the mean of all steps.

    Single steps vary with the load of the machine: an estimate from the last one would jump.

    Parameters
    ----------
    expected : RunTime or None
        Estimate before the run, if known.
    """

    def __init__(self, expected: RunTime | None) -> None:
        self._after = 0.0 if expected is None else expected.after
        self._spent = 0.0 if expected is None else PRIOR_STEPS * expected.per_step
        self._steps = 0 if expected is None else PRIOR_STEPS
        self._first: float | None = None

    def add(self, step: StepDone) -> None:
        """Add a step. The first one also prepares kernels and memory, and does not count."""
        if self._first is None:
            self._first = step.seconds
            return
        self._spent += step.seconds
        self._steps += 1

    def seconds(self, step: StepDone) -> float:
        """Seconds from a step to the end of the run."""
        mean = self._spent / self._steps if self._steps else step.seconds
        return (step.steps - step.step) * mean * (1 + PREVIEW_SHARE) + self._after


class Deadline:
    """Whether the time of a training is over; pauses do not count.

    Parameters
    ----------
    seconds : float or None
        None never ends.
    is_paused : callable
    """

    def __init__(self, seconds: float | None, is_paused: Callable[[], bool]) -> None:
        self._left, self._is_paused = seconds, is_paused
        self._last = time.monotonic()

    def bring_forward(self, seconds: float) -> None:
        """Keep some seconds for what follows the training."""
        if self._left is not None:
            self._left -= seconds

    def is_over(self) -> bool:
        """Whether the time is over; polled between steps and during pauses."""
        now = time.monotonic()
        if self._left is not None and not self._is_paused():
            self._left -= now - self._last
        self._last = now
        return self._left is not None and self._left <= 0
