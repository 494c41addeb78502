"""The work of a run in the worker's thread: arrays and events, without widgets."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Literal

import numpy as np

from napari_redenoise._napari._layers import (
    LayerImage,
    as_shown,
    make_canvas,
    paint,
)
from napari_redenoise._napari.denoise._survey import time_within
from napari_redenoise._napari.denoise._time_left import Deadline
from napari_redenoise._napari.denoise._training_region import Region
from napari_redenoise.data import LazyArray
from napari_redenoise.inference import Interrupted, TileDone
from napari_redenoise.io import cast_like
from napari_redenoise.model import (
    MIN_STEPS,
    Judgement,
    PreviewDone,
    Redenoiser,
    RunTime,
    TrainingPlan,
    Window,
    is_fine_tuned,
)
from napari_redenoise.noise import NoiseReport
from napari_redenoise.training import StepDone

LONGEST_WAIT = 0.5
"""Seconds to wait for a preview to be drawn."""

UNSEEN_PIXELS = 2**20
"""Largest image that the pretrained network denoises without a preview, which would delay it."""


@dataclass
class RunControl:
    """Requests of the viewer's thread to a run.

    Attributes
    ----------
    stop : Event
        Ends training; the network so far is used.
    cancel : Event
        Ends the run without a result.
    window : Window or None
        The visible part of the layer; replaced as a whole, never modified.
    pause : Event
        No step is made while it is set; previews still follow the view.
    shown : Event
        Set when the last preview was drawn. The run waits for it: while all processors compute,
        drawing takes several times longer and the viewer would freeze.
    events : Generator or None
        The events of the run.
    """

    stop: Event = field(default_factory=Event)
    cancel: Event = field(default_factory=Event)
    pause: Event = field(default_factory=Event)
    window: Window | None = None
    shown: Event = field(default_factory=Event)
    events: Generator[RunEvent, None, Finished | None] | None = None

    def abandon(self) -> None:
        """End training and prediction."""
        self.stop.set()
        self.cancel.set()

    def end(self) -> bool:
        """End the run between two events; returns whether it has ended.

        A worker whose signals Qt has deleted at the end of a script leaves the run there.
        """
        if self.events is None:
            return False
        try:
            self.events.close()
        except ValueError:
            # The worker computes.
            return False
        return True


@dataclass(frozen=True)
class Begun:
    """The canvas for the previews and the result exists."""

    canvas: Any


@dataclass(frozen=True)
class Trained:
    """Training has ended; the whole layer is denoised next."""


@dataclass(frozen=True)
class Finished:
    """The canvas holds the denoised image.

    ``as_source`` is the result in the dtype of its source, where that was requested and differs.
    """

    mask: Any
    provenance: dict[str, Any]
    as_source: Any = None


RunEvent = Begun | StepDone | PreviewDone | Judgement | Trained | TileDone


@dataclass(frozen=True)
class Job:
    """The input of a run: arrays and settings, without the viewer.

    Attributes
    ----------
    denoiser : Redenoiser
    source : LayerImage
        Image to train on and to denoise.
    action : {"train", "continue", "apply", "instant"}
        ``continue`` trains for ``steps`` more. ``apply`` and ``instant`` do not train: a trained
        network denoises, or the pretrained one.
    plan : TrainingPlan or None
        None makes the plan in the run.
    reports : tuple of NoiseReport or None
        Noise of the image, if known, for a plan without training.
    target : LayerImage or None
        Second shot of the scene, for Noise2Noise.
    others : tuple of LayerImage
        Further images to train on.
    region : Region, LazyArray or None
        Training region.
    steps : int
    seconds : int or None
        Time limit of training and denoising; None keeps the number of steps.
    time : RunTime or None
        Expected time of the run, if known.
    as_source : bool
        Whether integer sources give integer results.
    """

    denoiser: Redenoiser
    source: LayerImage
    action: Literal["train", "continue", "apply", "instant"] = "train"
    plan: TrainingPlan | None = None
    reports: tuple[NoiseReport, ...] | None = None
    target: LayerImage | None = None
    others: tuple[LayerImage, ...] = ()
    region: Region | LazyArray | None = None
    steps: int = 0
    seconds: int | None = None
    time: RunTime | None = None
    as_source: bool = False

    @property
    def trains(self) -> bool:
        """Whether the run trains a network."""
        return self.action in ("train", "continue")

    @property
    def has_steps(self) -> bool:
        """Whether there is a training to stop: not where the plan leaves it out."""
        planned = self.denoiser if self.plan is None else self.plan
        return self.trains and (self.steps > 0 or planned.config.training.total_steps > 0)


ACTIONS = {
    "train": "Training on",
    "continue": "Training on",
    "apply": "Denoising",
    "instant": "Denoising",
}
"""What a run does, as a title."""


def run(job: Job, control: RunControl) -> Generator[RunEvent, None, Finished | None]:
    """Train on a layer and denoise it; returns None when cancelled."""
    denoiser, source = job.denoiser, job.source
    canvas = make_canvas(source)
    yield Begun(canvas)
    if job.action == "instant":
        yield from _prepare(job, canvas, control)
    elif job.trains:
        yield from _train(job, canvas, control)
    if control.cancel.is_set() or not denoiser.session.provenance:
        # Cancelled, or stopped before the first step.
        return None
    yield Trained()
    target = None if source.colour else canvas
    outputs = denoiser.session.allocate(source.array, source.axes, denoised=target)
    yield from denoiser.predict_events(
        source.array, source.axes, outputs=outputs, should_stop=control.cancel.is_set
    )
    if control.cancel.is_set():
        return None
    if source.colour:
        canvas[...] = as_shown(outputs["denoised"], source)
    wanted = job.as_source and not source.colour and np.dtype(source.array.dtype).kind in "ui"
    rounded = cast_like(source.array, source.axes, canvas) if wanted else None
    return Finished(outputs.get("mask"), dict(denoiser.session.provenance), rounded)


def _train(
    job: Job, canvas: Any, control: RunControl
) -> Generator[StepDone | PreviewDone | Judgement, None, None]:
    denoiser, source = job.denoiser, job.source
    steps, plan = job.steps or None, job.plan
    deadline, fewest, done = Deadline(None, control.pause.is_set), 1, 0
    if job.seconds is not None and job.action == "train":
        # The trial of the speed counts, too.
        deadline = Deadline(job.seconds, control.pause.is_set)
        time = time_within(denoiser, source, job.seconds)
        steps = time.steps
        deadline.bring_forward(time.after)
        fewest = 1 if is_fine_tuned(denoiser.config, source.channels) else MIN_STEPS

    def should_stop() -> bool:
        # The limit ends a training that has begun, and never the run: there is a result.
        return control.stop.is_set() or (deadline.is_over() and done >= fewest)

    material: dict[str, Any] = {
        "target": None if job.target is None else job.target.array,
        "mask": job.region.pixels() if isinstance(job.region, Region) else job.region,
        "images": tuple(other.array for other in job.others),
    }
    if job.seconds is not None and job.action == "train":
        try:
            # The steps of a limit ask for no training where the plan leaves it out.
            plan = plan or denoiser.plan(
                source.array, source.axes, should_stop=control.stop.is_set, **material
            )
        except Interrupted:
            return
        if not plan.is_training_left_out:
            plan = plan.with_steps(steps or 0)
    what: dict[str, Any] = {
        **material,
        "steps": steps,
        "plan": plan,
        "resume": job.action == "continue",
        "view": lambda: control.window,
        "should_stop": should_stop,
        "should_pause": control.pause.is_set,
    }
    for event in denoiser.fit_events(source.array, source.axes, **what):
        if isinstance(event, StepDone):
            done += 1
        yield from _shown(event, source, canvas, control)


def _prepare(
    job: Job, canvas: Any, control: RunControl
) -> Generator[StepDone | PreviewDone | Judgement, None, None]:
    """Make the plan and the normalisation of the pretrained network; preview large images."""
    denoiser, source, should_stop = job.denoiser, job.source, control.cancel.is_set
    array, axes = source.array, source.axes
    is_large = source.planes.pixels > UNSEEN_PIXELS
    plan = None
    if job.reports is not None:
        try:
            plan = denoiser.plan(array, axes, reports=job.reports, should_stop=should_stop)
        except Interrupted:
            return
    for event in denoiser.fit_events(
        array,
        axes,
        plan=plan,
        view=(lambda: control.window) if is_large else None,
        should_stop=should_stop,
    ):
        yield from _shown(event, source, canvas, control)


def _shown(
    event: StepDone | PreviewDone | Judgement, source: LayerImage, canvas: Any, control: RunControl
) -> Generator[StepDone | PreviewDone | Judgement, None, None]:
    """Pass an event on; paint a preview before, and wait until it is drawn."""
    if not isinstance(event, PreviewDone):
        yield event
        return
    paint(source, canvas, event.window, event.denoised)
    control.shown.clear()
    yield event
    control.shown.wait(LONGEST_WAIT)
