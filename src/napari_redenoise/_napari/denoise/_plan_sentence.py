"""The summary above the button: what the next press does."""

from __future__ import annotations

from typing import NamedTuple

from napari_redenoise._napari._layers import LayerImage
from napari_redenoise._napari._words import device_name, duration
from napari_redenoise._napari.denoise._pretrained_words import why_not_pretrained
from napari_redenoise._napari.denoise._training_region import RegionKind
from napari_redenoise._napari.denoise.panels._noise import advice_in_words
from napari_redenoise.config import ObjectiveKind, TrainedObjective
from napari_redenoise.devices import refused_devices
from napari_redenoise.model import (
    NOT_TRAINED,
    Corrections,
    Redenoiser,
    RunTime,
    TrainingPlan,
    is_fine_tuned,
)
from napari_redenoise.noise import NoiseReport, diagnose
from napari_redenoise.objectives import OBJECTIVE_NAMES

INSTANT = "Instant"
"""The button for the pretrained network without training."""

NETWORK_CHOSEN = "The chosen network denoises without training: press Denoise."
NOT_POSSIBLE = "This layer cannot be denoised: the summary says why."

ABOUT = 1.15
"""Ratio up to which a time is that of its limit."""

_REGIONS: dict[RegionKind, str] = {
    "slice": "; the network learns from the slice shown",
    "region": "; the network learns from the marked region",
}


_ALONG = {"T": "frames before and after", "Z": "planes below and above"}


class ChosenObjective(NamedTuple):
    """An objective in words, the reason for it, and what is corrected first."""

    text: str
    reason: str = ""
    corrections: Corrections = Corrections()


def summarise_prediction(source: LayerImage, denoiser: Redenoiser, network: str) -> str:
    """Summarise a run with a trained network."""
    return (
        f"{source.describe()}. Denoises with the network {network}, without training, on "
        f"{_device(denoiser)}."
    )


def summarise_training(
    source: LayerImage,
    denoiser: Redenoiser,
    objective: ChosenObjective,
    seconds: float | None,
    region: RegionKind = "layer",
    *,
    limit: int | None = None,
    steps: int | None = None,
    neighbours: str = "",
    is_left_out: bool = False,
) -> str:
    """Summarise a run that trains, unless the training is left out.

    ``seconds`` is None where the time is not known, ``limit`` where there is no time limit, and
    ``steps`` where their number is not known.
    """
    what = f"{source.describe()}{_scope(source, region)}"
    time = _time(seconds, limit, steps, _device(denoiser))
    as_it_is = f"{source.describe()}. Denoises with the pretrained network as it is, because"
    if is_left_out:
        return f"{as_it_is} {NOT_TRAINED}. {_first(objective.corrections)}{time}"
    if steps == 0 and limit is not None:
        return f"{as_it_is} fine-tuning takes longer than {duration(limit)}. {time}"
    return (
        f"{what}. {_action(source, denoiser)} on this {'stack' if source.is_stack else 'image'} "
        f"(objective: {objective.text}). {neighbours}{_first(objective.corrections)}{time}"
    )


def summarise_instant(
    source: LayerImage, denoiser: Redenoiser, time: RunTime | None
) -> tuple[str, str]:
    """What *Instant* does, as a tooltip, and the hint at it for the summary of a training.

    ``time`` is that of a training, if known.
    """
    what = "Denoises with the pretrained network, without training."
    device = _device(denoiser)
    if time is None:
        return f"{what} Runs on {device}.", f"{INSTANT} denoises without training."
    seconds = duration(source.planes.pixels * time.per_pixel)
    hint = f"{INSTANT} takes about {seconds}, without training."
    return f"{what} About {seconds} on {device}.", hint


def neighbours_in_words(source: LayerImage, plan: TrainingPlan | None) -> str:
    """Whether planes are denoised with their neighbours; empty where that is not decided."""
    if plan is None or not source.planes.context_axes:
        return ""
    if plan.config.network.neighbours:
        along = " and ".join(_ALONG[axis] for axis in source.planes.context_axes)
        return f"Each plane is denoised with two neighbours on either side ({along}). "
    if plan.no_neighbours:
        return f"Each plane is denoised without its neighbours, since {plan.no_neighbours}. "
    return ""


def _action(source: LayerImage, denoiser: Redenoiser) -> str:
    if is_fine_tuned(denoiser.config, source.channels):
        each = ", which denoises each channel by itself," if source.channels > 1 else ""
        return f"Fine-tunes the pretrained network{each}"
    reason = why_not_pretrained(denoiser.config, source.channels)
    return f"Trains a new network, because {reason}," if reason else "Trains a new network"


def _time(seconds: float | None, limit: int | None, steps: int | None, device: str) -> str:
    """Expected time, and why it exceeds its limit where it does."""
    if seconds is None:
        return f"Runs on {device}."
    about = f"About {duration(seconds)} on {device}"
    if limit is None or seconds <= ABOUT * limit:
        return f"{about}."
    fewest = f"training takes at least {steps} steps" if steps else "denoising and checking take it"
    return f"{about}, longer than the limit of {duration(limit)}, because {fewest}."


def _scope(source: LayerImage, region: RegionKind) -> str:
    """Where the network learns, unless there is one plane only."""
    return _REGIONS.get(region, "; the network learns from all" if source.is_stack else "")


def _first(corrections: Corrections) -> str:
    """The corrections of the image, in a sentence."""
    names = {"rows": "Row stripes", "columns": "Column stripes", "both": "Row and column stripes"}
    removed = [names[corrections.lines]] if corrections.lines != "none" else []
    removed += ["noise of several pixels"] if corrections.smooth_scales else []
    if not removed:
        return ""
    sentence = " and ".join(removed)
    verb = "is" if corrections.lines == "none" else "are"
    return f"{sentence[0].upper()}{sentence[1:]} {verb} removed first. "


def _device(denoiser: Redenoiser) -> str:
    """The device, and why a faster one is not used."""
    name = f"the {device_name(denoiser.device.type)}"
    refused = "; ".join(f"{one} cannot be used, {why}" for one, why in refused_devices().items())
    return f"{name} ({refused})" if refused and denoiser.device.type == "cpu" else name


def choose_objective(
    kind: ObjectiveKind,
    plan: TrainingPlan | None,
    reports: tuple[NoiseReport, ...] | None,
    *,
    fine_tuning: bool,
) -> ChosenObjective:
    """The objective of the next run, and the reason where the noise decides."""
    if kind != "auto":
        return ChosenObjective(OBJECTIVE_NAMES[kind][0])
    if plan is not None and plan.diagnosis is not None and plan.config.objective.kind != "auto":
        return _suiting(plan.config.objective.kind, plan.diagnosis.reason, plan.corrections)
    if plan is not None and plan.is_training_left_out:
        return ChosenObjective("", f"{NOT_TRAINED[0].upper()}{NOT_TRAINED[1:]}.", plan.corrections)
    if not reports:
        return ChosenObjective("chosen to suit the noise")
    advice = diagnose(reports, fine_tuning=fine_tuning)
    corrections = Corrections(advice.lines, advice.smooth_scales)
    if corrections:
        # The objective depends on the noise that remains, which the run measures.
        reason = f"{advice_in_words(reports, fine_tuning=fine_tuning)}."
        return ChosenObjective("chosen to suit the remaining noise", reason, corrections)
    return _suiting(advice.objective, advice.reason, corrections)


def _suiting(kind: TrainedObjective, reason: str, corrections: Corrections) -> ChosenObjective:
    name = OBJECTIVE_NAMES[kind][0]
    return ChosenObjective(
        f"{name}, which suits the noise", f"{name}, because {reason}.", corrections
    )
