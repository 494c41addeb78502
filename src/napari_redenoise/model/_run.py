"""One training as it is watched: steps, previews of the view, pauses, and the judgement."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import torch

import napari_redenoise
from napari_redenoise.data import Pool, load_pool, patches
from napari_redenoise.devices import training_dtype
from napari_redenoise.inference import Interrupted
from napari_redenoise.model._judge import Judge
from napari_redenoise.model._judgement import Judgement
from napari_redenoise.model._plan import TrainingPlan
from napari_redenoise.model._pretrained import pretrained_network
from napari_redenoise.model._previews import FIRST_STEP, PreviewDone, Previews, Window
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
"""How often a pause looks whether it is over."""

TrainingEvent = StepDone | PreviewDone | Judgement
"""What a training tells."""

Planned = Callable[[Callable[[], bool]], TrainingPlan]


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


class TrainingRun:
    """Trains what a session holds, as events.

    Parameters
    ----------
    session : Session
        Its plan, if not the one given, says how training begins.
    material : TrainingImages
    pool : Pool
        What is trained on where no line offsets are corrected.
    state : TrainingState
    controls : Controls
    plan : callable
        Gives the plan when the first step is due: there is something to see before.
    """

    def __init__(
        self,
        session: Session,
        material: TrainingImages,
        pool: Pool,
        state: TrainingState,
        controls: Controls,
        plan: Planned,
    ) -> None:
        self._session, self._training_images, self._pool = session, material, pool
        self._state, self._controls, self._plan = state, controls, plan
        config = session.trained_plan().config
        self._dtype = training_dtype(session.device, config.training.precision)
        self._is_fine_tuning = session.trained_plan().is_fine_tuning
        self._before = session.provenance.get("seconds", 0.0)
        self._began, self._paused = 0.0, 0.0

    def events(self) -> Generator[TrainingEvent, None, None]:
        """Train until all steps are made, or the controls say stop; then judge."""
        session, state, stops = self._session, self._state, self._controls.stops
        if stops():
            return
        if self._is_fine_tuning and state.step == 0:
            session.provenance = self._provenance(None, 0.0)
        session.is_training = True
        try:
            yield from self._watched()
        finally:
            session.is_training = False
            self._rest()
            if state.step == state.began:
                session.judge = None
        if not stops():
            judgement = session.apply_judgement(stops)
            if judgement is not None:
                yield judgement

    def _watched(self) -> Iterator[StepDone | PreviewDone]:
        previews, controls, state = self._previews(), self._controls, self._state
        self._began = time.perf_counter()
        yield from previews.due(state.step)
        if (yield from self._pause(previews)):
            return
        for done in self._steps():
            self._made(done)
            yield done
            if controls.stops():
                return
            yield from previews.due(done.step)
            if (yield from self._pause(previews)):
                return

    def _previews(self) -> Previews:
        network, stops = self._state.average, self._controls.stops

        def denoise(window: Window, step: int) -> PreviewDone:
            planes = self._training_images.planes
            return self._session.preview_with(network, planes, window, step, stops)

        shows_at_once = self._is_fine_tuning or self._state.began
        first = 0 if shows_at_once else FIRST_STEP
        return Previews(network, denoise, self._controls.view, stops, first=first)

    def _pause(self, previews: Previews) -> Generator[PreviewDone, None, bool]:
        """Follow the view for as long as training is to wait; tell whether it is to stop then."""
        controls = self._controls
        if not controls.pauses():
            return False
        began = time.perf_counter()
        self._rest()
        while controls.pauses() and not controls.stops():
            yield from previews.due(self._state.step, only_changed=True)
            time.sleep(POLL_SECONDS)
        self._paused += time.perf_counter() - began
        return controls.stops()

    def _steps(self) -> Iterator[StepDone]:
        """Settle the plan, and train."""
        session, state = self._session, self._state
        try:
            plan = session.plan = self._plan(self._controls.stops)
            pool = self._corrected(plan)
        except Interrupted:
            return
        if self._is_fine_tuning and state.step == 0:
            if self._controls.stops():
                return
            session.provenance = self._provenance(None, 0.0)
            if plan.config.training.total_steps == 0:
                return
            session.history.keep(self._snapshot())
        if self._is_fine_tuning:
            session.judge = self._judge(plan, pool)
            pool = session.judge.pool
        yield from self._train(plan, pool)

    def _corrected(self, plan: TrainingPlan) -> Pool:
        """What is trained on, after the line correction."""
        if plan.lines == "none" or plan.config.training.total_steps == 0:
            return self._pool
        stops, objective = self._controls.stops, plan.config.objective
        whole = objective.kind == "noise2noise"
        material = self._training_images.corrected(
            plan.lines, self._session.device, stops, whole=whole
        )
        shots = material.shots(objective)
        generator, normalisation = self._state.generator, self._pool.normalisation
        return load_pool(shots, generator, normalisation, should_stop=stops)

    def _judge(self, plan: TrainingPlan, pool: Pool) -> Judge:
        """What compares the fine-tuned network with the pretrained one."""
        config, noise = plan.config, plan.config.objective.noise
        # Structure that the pretrained network takes for noise would be judged as noise.
        known = plan.knows_structure or noise is None
        judge = Judge(
            pool,
            config.network.channels,
            config.training.seed,
            self._dtype,
            None if known or noise is None else normalise_noise(noise, pool.normalisation),
        )
        network = pretrained_network(config.network).to(self._session.device)
        judge.begin(network.requires_grad_(False), self._controls.stops)
        return judge

    def _train(self, plan: TrainingPlan, pool: Pool) -> Iterator[StepDone]:
        training, state = plan.config.training, self._state
        objective = make_objective(plan.config.objective, pool.normalisation)
        side = training.patch_side * objective.scale
        count = training.patches_per_step
        batches = patches(pool, side, count, state.generator, objective.symmetries)
        return train(state, batches, compare_usable(objective), training, self._dtype)

    def _made(self, step: StepDone) -> None:
        session = self._session
        seconds = time.perf_counter() - self._began - self._paused
        session.provenance = self._provenance(step, self._before + seconds)
        if session.history.is_due(step.step):
            session.history.keep(self._snapshot())

    def _rest(self) -> None:
        if self._state.step > self._state.began:
            self._session.history.rest(self._snapshot())

    def _snapshot(self) -> Snapshot:
        return Snapshot.of(self._state.average, self._state.losses, self._session.provenance)

    def _provenance(self, step: StepDone | None, seconds: float) -> dict[str, Any]:
        plan, planes = self._session.trained_plan(), self._training_images.planes
        return {
            "version": napari_redenoise.__version__,
            "asked": plan.asked.model_dump(mode="json"),
            "config": plan.config.model_dump(mode="json"),
            "axes": planes.axes,
            "shape": [int(size) for size in planes.array.shape],
            "region": planes.region is not None,
            "images": 1 + len(self._training_images.images),
            "steps": step.step if step else 0,
            "loss": step.loss if step else None,
            "batch_size": step.patches if step else None,
            "seconds": round(seconds, 2),
            "device": str(self._session.device),
            "precision": str(self._dtype).removeprefix("torch."),
            "torch": torch.__version__,
        }
