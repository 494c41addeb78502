"""A training run as events: steps, previews, pauses, and the judgement."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import torch

import napari_redenoise
from napari_redenoise.data import Pool, load_pool, patches
from napari_redenoise.devices import training_dtype
from napari_redenoise.inference import Interrupted, interruptible
from napari_redenoise.model._judge import Judge
from napari_redenoise.model._judgement import Judgement
from napari_redenoise.model._plan import TrainingPlan
from napari_redenoise.model._pretrained import pretrained_network
from napari_redenoise.model._previews import (
    FIRST_STEP,
    MIN_SECONDS,
    PREVIEW_SHARE,
    PreviewDone,
    Window,
)
from napari_redenoise.model._session import Session
from napari_redenoise.model._snapshots import Snapshot
from napari_redenoise.model._training_images import (
    TrainingImages,
    compare_usable,
    make_objective,
    normalise_noise,
)
from napari_redenoise.training import StepDone, TrainingState, train

POLL_SECONDS = 0.05
"""Interval at which a pause checks the controls."""

TrainingEvent = StepDone | PreviewDone | Judgement
"""Event of a training."""


def never() -> bool:
    """Neither stop nor pause."""
    return False


@dataclass(frozen=True)
class Controls:
    """Callbacks of the caller, called between steps; ``view`` returns the window to preview."""

    view: Callable[[], Window | None] | None
    should_stop: Callable[[], bool]
    should_pause: Callable[[], bool]


class TrainingRun:
    """Trains the network of a session, as events.

    ``decide`` returns the plan before the first step, but after the first preview. The pool is used
    without corrections.
    """

    def __init__(
        self,
        session: Session,
        images: TrainingImages,
        pool: Pool,
        state: TrainingState,
        controls: Controls,
        decide: Callable[[], TrainingPlan],
    ) -> None:
        self._session, self._images, self._pool = session, images, pool
        self._state, self._controls, self._decide = state, controls, decide
        plan = session.trained_plan()
        training = plan.config.training
        # Predictions are float32. Which precision is fastest takes a trial on some devices.
        is_trained = training.total_steps > 0
        wanted = training.precision if is_trained else "float32"
        self._dtype = training_dtype(session.device, wanted)
        self._is_fine_tuning = plan.is_fine_tuning
        self._seconds_before = session.provenance.get("seconds", 0.0)
        self._began, self._paused, self._next_preview = 0.0, 0.0, 0.0
        self._previewed: Window | None = None

    def events(self) -> Generator[TrainingEvent, None, None]:
        """Train until all steps are done or the controls stop it; then judge."""
        session, state, should_stop = self._session, self._state, self._controls.should_stop
        if should_stop():
            return
        if self._is_fine_tuning and state.step == 0:
            session.provenance = self._provenance(None, 0.0)
        session.is_training = True
        try:
            yield from self._steps_and_previews()
        finally:
            session.is_training = False
            self._keep_last()
            if state.step == state.schedule_start:
                session.judge = None
        if not should_stop():
            judgement = session.apply_judgement(should_stop)
            if judgement is not None:
                yield judgement

    def _steps_and_previews(self) -> Iterator[StepDone | PreviewDone]:
        self._began = time.perf_counter()
        yield from self._preview()
        if (yield from self._pause()):
            return
        for done in self._steps():
            self._record(done)
            yield done
            if self._controls.should_stop():
                return
            yield from self._preview()
            if (yield from self._pause()):
                return

    def _preview(self, *, only_changed: bool = False) -> Iterator[PreviewDone]:
        """Yield a preview if the view has changed, or enough time has passed."""
        network, step, controls = self._state.average, self._state.step, self._controls
        is_first_step_shown = self._is_fine_tuning or self._state.schedule_start
        if controls.view is None or (step < FIRST_STEP and not is_first_step_shown):
            return
        window, began = controls.view(), time.perf_counter()
        is_early = only_changed or began < self._next_preview
        if window is None or (window == self._previewed and is_early):
            return
        planes, should_stop = self._images.planes, controls.should_stop
        try:
            with interruptible(network, should_stop):
                preview = self._session.preview_with(network, planes, window, step, should_stop)
        except Interrupted:
            if not should_stop():
                raise
            return
        now = time.perf_counter()
        self._previewed = window
        self._next_preview = now + max((now - began) / PREVIEW_SHARE, MIN_SECONDS)
        yield preview

    def _pause(self) -> Generator[PreviewDone, None, bool]:
        """Preview a changed view during a pause; return whether to stop."""
        controls = self._controls
        if not controls.should_pause():
            return False
        began = time.perf_counter()
        self._keep_last()
        while controls.should_pause() and not controls.should_stop():
            yield from self._preview(only_changed=True)
            time.sleep(POLL_SECONDS)
        self._paused += time.perf_counter() - began
        return controls.should_stop()

    def _steps(self) -> Iterator[StepDone]:
        """Decide the plan, correct the images, hold out pixels, and train."""
        session, state = self._session, self._state
        try:
            plan = session.plan = self._decide()
            pool = self._correct(plan)
        except Interrupted:
            return
        if self._is_fine_tuning and state.step == 0:
            if self._controls.should_stop():
                return
            session.provenance = self._provenance(None, 0.0)
            if plan.config.training.total_steps == 0:
                return
            session.history.keep(self._snapshot())
        if self._is_fine_tuning:
            session.judge = self._judge(plan, pool)
            pool = session.judge.pool
        yield from self._train(plan, pool)

    def _correct(self, plan: TrainingPlan) -> Pool:
        if not plan.corrections or plan.config.training.total_steps == 0:
            return self._pool
        should_stop, objective = self._controls.should_stop, plan.config.objective
        whole = objective.needs_target
        images = self._images.corrected(
            plan.corrections, self._session.device, should_stop, whole=whole
        )
        generator, normalisation = self._state.generator, self._pool.normalisation
        shots = images.shots(objective)
        return load_pool(shots, generator, normalisation, should_stop=should_stop)

    def _judge(self, plan: TrainingPlan, pool: Pool) -> Judge:
        config, noise = plan.config, plan.config.objective.noise
        # The residual of unknown structure is not the noise, whose model is needed then.
        patch_noise = None
        if noise is not None and not plan.is_structure_known:
            patch_noise = normalise_noise(noise, pool.normalisation)
        channels, seed = config.network.channels, config.training.seed
        judge = Judge(pool, channels, seed, self._dtype, patch_noise)
        network = pretrained_network(config.network).to(self._session.device)
        judge.begin(network.requires_grad_(False), self._controls.should_stop)
        return judge

    def _train(self, plan: TrainingPlan, pool: Pool) -> Iterator[StepDone]:
        training, state = plan.config.training, self._state
        objective = make_objective(plan.config.objective, pool.normalisation)
        side = training.patch_side * objective.scale
        count = training.patches_per_step
        batches = patches(pool, side, count, state.generator, objective.symmetries)
        return train(state, batches, compare_usable(objective), training, self._dtype)

    def _record(self, step: StepDone) -> None:
        """Update the provenance, and keep a snapshot if it is due."""
        session = self._session
        seconds = time.perf_counter() - self._began - self._paused
        session.provenance = self._provenance(step, self._seconds_before + seconds)
        if session.history.is_due(step.step):
            session.history.keep(self._snapshot())

    def _keep_last(self) -> None:
        if self._state.step > self._state.schedule_start:
            self._session.history.keep_last(self._snapshot())

    def _snapshot(self) -> Snapshot:
        return Snapshot.of(self._state.average, self._state.losses, self._session.provenance)

    def _provenance(self, step: StepDone | None, seconds: float) -> dict[str, Any]:
        plan, planes = self._session.trained_plan(), self._images.planes
        return {
            "version": napari_redenoise.__version__,
            "asked": plan.asked.model_dump(mode="json"),
            "config": plan.config.model_dump(mode="json"),
            "axes": planes.axes,
            "shape": [int(size) for size in planes.array.shape],
            "region": planes.region is not None,
            "images": 1 + len(self._images.images),
            "steps": step.step if step else 0,
            "loss": step.loss if step else None,
            "batch_size": step.patches if step else None,
            "seconds": round(seconds, 2),
            "device": str(self._session.device),
            "precision": str(self._dtype).removeprefix("torch."),
            "torch": torch.__version__,
        }
