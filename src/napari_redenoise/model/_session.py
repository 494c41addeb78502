"""One training as it is watched: steps, previews of the view, pauses, and the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass

import torch

from napari_redenoise.config import Config
from napari_redenoise.data import Pool, patches
from napari_redenoise.model._material import make_objective, usable_alone
from napari_redenoise.model._previews import PreviewDone, Previews, Window
from napari_redenoise.training import StepDone, TrainingState, train

POLL_SECONDS = 0.05
"""How often a pause looks whether it is over."""


@dataclass(frozen=True)
class Controls:
    """How whoever watches a training steers it; all are asked between steps.

    Attributes
    ----------
    view : callable or None
        Says which window to preview, or None for none.
    stops : callable
        Whether the training is to end.
    pauses : callable
        Whether it is to wait.
    """

    view: Callable[[], Window | None] | None
    stops: Callable[[], bool]
    pauses: Callable[[], bool]

    @classmethod
    def of(
        cls,
        view: Callable[[], Window | None] | None,
        should_stop: Callable[[], bool] | None,
        should_pause: Callable[[], bool] | None,
    ) -> Controls:
        """Who gives no answer neither stops nor pauses."""
        return cls(view, should_stop or (lambda: False), should_pause or (lambda: False))


def steps_of(
    state: TrainingState, config: Config, pool: Pool, dtype: torch.dtype
) -> Iterator[StepDone]:
    """Train on a pool to the configured number of steps."""
    objective = make_objective(config.objective, pool.normalisation)
    training = config.training
    side = training.patch_side * objective.scale
    batches = patches(pool, side, training.patches_per_step, state.generator, objective.turns)
    return train(state, batches, usable_alone(objective), training, dtype)


class Session:
    """Steps, previews and pauses of one training, as events.

    Parameters
    ----------
    steps : iterable of StepDone
        Makes a step when the next is asked for.
    previews : Previews
    controls : Controls
    made : callable
        Told every step, and the seconds of the session without its pauses.
    rested : callable
        Told when a pause begins.
    """

    def __init__(
        self,
        steps: Iterable[StepDone],
        previews: Previews,
        controls: Controls,
        made: Callable[[StepDone, float], None],
        rested: Callable[[], None],
    ) -> None:
        self._steps, self._previews, self._controls = steps, previews, controls
        self._made, self._rested = made, rested
        self._paused = 0.0

    def events(self, step: int) -> Iterator[StepDone | PreviewDone]:
        """Go on from a step until all are made, or the controls say stop."""
        began = time.perf_counter()
        yield from self._previews.due(step)
        if (yield from self._pause(step)):
            return
        for done in self._steps:
            self._made(done, time.perf_counter() - began - self._paused)
            yield done
            if self._controls.stops():
                return
            yield from self._previews.due(done.step)
            if (yield from self._pause(done.step)):
                return

    def _pause(self, step: int) -> Generator[PreviewDone, None, bool]:
        """Follow the view for as long as training is to wait; tell whether it is to stop then."""
        if not self._controls.pauses():
            return False
        began = time.perf_counter()
        self._rested()
        while self._controls.pauses() and not self._controls.stops():
            yield from self._previews.due(step, only_changed=True)
            time.sleep(POLL_SECONDS)
        self._paused += time.perf_counter() - began
        return self._controls.stops()
