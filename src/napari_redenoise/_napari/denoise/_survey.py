"""What is measured of an image before a run, without widgets: noise, plan and expected time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import torch

from napari_redenoise._napari._layers import LayerImage, check_colours
from napari_redenoise.data import load_pool
from napari_redenoise.errors import RedenoiseError
from napari_redenoise.model import (
    MIN_STEPS,
    PREVIEW_SHARE,
    Redenoiser,
    RunTime,
    TrainingImages,
    TrainingPlan,
    estimate_run,
    is_fine_tuned,
    measure_noise,
    steps_within,
)
from napari_redenoise.noise import NoiseReport

WINDOW_PIXELS, WINDOW_PASSES = 512**2, 2
"""Quality checks: pixels of the window that is denoised again, and how often."""

CHECKED_PIXELS, CHECK_SECONDS = 2**25, 5e-7
"""Quality checks: most pixels that are read, and the seconds that one takes on a laptop."""


def time_within(denoiser: Redenoiser, source: LayerImage, seconds: float) -> RunTime:
    """Expected time of a run within a limit.

    There are no steps where the fewest take too long and the pretrained network denoises without.
    From random weights there are the fewest, even beyond the limit.
    """
    config, array, axes, device = denoiser.config, source.array, source.axes, denoiser.device
    steps = steps_within(config, array, axes, device, seconds)
    time = estimate_run(config.replace({"training.steps": steps}), array, axes, device)
    most = int((seconds - time.after) / (time.per_step * (1 + PREVIEW_SHARE)))
    time = replace(time, steps=min(steps, max(MIN_STEPS, most)))
    is_too_long = time.seconds > seconds and is_fine_tuned(config, source.channels)
    return replace(time, steps=0) if is_too_long else time


@dataclass(frozen=True)
class Survey:
    """Measurements of an image before a run.

    The expected ``seconds`` of a run with previews and quality checks, noise ``reports`` of all
    channels, the ``plan``, and the expected ``time``, within the time limit if there is one. Each
    is None where it failed: the run reports the error. ``refusal`` says why a run would refuse the
    pixels; it is empty where it would not.
    """

    seconds: float | None
    reports: tuple[NoiseReport, ...] | None
    plan: TrainingPlan | None = None
    time: RunTime | None = None
    refusal: str = ""


def survey(
    denoiser: Redenoiser,
    source: LayerImage,
    target: LayerImage | None,
    reports: tuple[NoiseReport, ...] | None,
    limit: int | None = None,
) -> Survey:
    """Measure the noise, unless it is known, and the speed of the machine; make the plan.

    A temporary thread does it, whose OpenMP threads end with it. Two threads of a process with
    OpenMP teams compute about a quarter slower.
    """
    with ThreadPoolExecutor(1) as executor:

        def call(function: Callable[..., Any], *given: Any) -> Any:
            return executor.submit(function, *given).result()

        known = reports or call(_reports, source)
        refusal = call(_refusal, denoiser, source, target, known)
        if refusal:
            return Survey(None, known, refusal=refusal)
        plan = call(_plan, denoiser, source, target, known)
        seconds, time = call(_seconds, denoiser, source, limit, plan)
        return Survey(seconds, known, plan, time)


def _reports(source: LayerImage) -> tuple[NoiseReport, ...] | None:
    try:
        return measure_noise(source.array, source.axes)
    except RedenoiseError:
        return None


def _refusal(
    denoiser: Redenoiser,
    source: LayerImage,
    target: LayerImage | None,
    reports: tuple[NoiseReport, ...] | None,
) -> str:
    """Why a run would refuse the pixels, which only a failed measurement of the noise suggests."""
    other = None if target is None else target.array
    try:
        check_colours(source)
        if reports is None:
            images = TrainingImages.of(source.array, source.axes, other)
            load_pool(images.shots(denoiser.config.objective), torch.Generator())
    except RedenoiseError as error:
        return str(error)
    return ""


def _plan(
    denoiser: Redenoiser,
    source: LayerImage,
    target: LayerImage | None,
    reports: tuple[NoiseReport, ...] | None,
) -> TrainingPlan | None:
    other = None if target is None else target.array
    try:
        return denoiser.plan(source.array, source.axes, target=other, reports=reports)
    except RedenoiseError:
        return None


def _seconds(
    denoiser: Redenoiser, source: LayerImage, limit: int | None, plan: TrainingPlan | None
) -> tuple[float | None, RunTime | None]:
    """Seconds of a run with previews and quality checks, and its parts."""
    config, device = denoiser.config, denoiser.device
    try:
        if limit is None:
            time = estimate_run(config, source.array, source.axes, device)
        else:
            time = time_within(denoiser, source, limit)
        if plan is not None and plan.is_training_left_out:
            time = replace(time, steps=0)
        seconds = time.seconds
    except (RedenoiseError, RuntimeError):
        return None, None
    return seconds * (1 + PREVIEW_SHARE) + _checking(source, time), time


def _checking(source: LayerImage, time: RunTime) -> float:
    """Seconds of the quality checks, which follow a run."""
    pixels = source.planes.pixels
    window = WINDOW_PASSES * min(WINDOW_PIXELS, pixels) * time.per_pixel
    return window + CHECK_SECONDS * min(CHECKED_PIXELS, pixels)
