"""The sentence above the button: what a press will do."""

from __future__ import annotations

from napari_redenoise._napari._layers import LayerImage
from napari_redenoise._napari._words import device_name, duration
from napari_redenoise._napari.denoise.panels._noise import OBJECTIVE_NAMES, advice_in_words
from napari_redenoise.config import ObjectiveKind
from napari_redenoise.devices import refused_devices
from napari_redenoise.model import Redenoiser, TrainingPlan, is_fine_tuned
from napari_redenoise.noise import NoiseReport


def applying(source: LayerImage, denoiser: Redenoiser, network: str) -> str:
    """Of a network that has been trained."""
    return (
        f"{source.describe()}. Denoised on {_device(denoiser)} by the network {network}, without "
        "training."
    )


def training(
    source: LayerImage, denoiser: Redenoiser, objective: str, seconds: float | None
) -> str:
    """Of a new network; None seconds where the time is not known."""
    learns = "Learns from these noisy pixels alone"
    if is_fine_tuned(denoiser.config, source.channels):
        learns = "Fine-tunes the pretrained network on these noisy pixels"
    time = f"Takes about {duration(seconds)}" if seconds is not None else "Runs"
    return f"{source.describe()}. {learns}, by {objective}. {time} on {_device(denoiser)}."


def _device(denoiser: Redenoiser) -> str:
    """What computes, and why what is faster does not."""
    name = device_name(denoiser.device.type)
    refused = "; ".join(f"{one} cannot be used, {why}" for one, why in refused_devices().items())
    return f"{name} ({refused})" if refused and denoiser.device.type == "cpu" else name


def objective_in_words(
    kind: ObjectiveKind,
    plan: TrainingPlan | None,
    reports: tuple[NoiseReport, ...] | None,
    *,
    fine_tuning: bool,
) -> str:
    """The objective, and why where the noise decides."""
    if kind != "auto":
        return OBJECTIVE_NAMES[kind]
    if plan is not None and plan.diagnosis is not None and plan.config.objective.kind != "auto":
        name = OBJECTIVE_NAMES[plan.config.objective.kind]
        after = "" if plan.lines == "none" else f", after a line correction ({plan.lines})"
        return f"{name}, because {plan.diagnosis.reason}{after}"
    return advice_in_words(reports, fine_tuning=fine_tuning) if reports else "what suits the noise"
