"""The plan of a run: every setting and measurement is decided before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch

from napari_redenoise.config import Config, JsonDataclass, Lines, ObjectiveConfig
from napari_redenoise.errors import InputError
from napari_redenoise.model._corrections import MAX_SMOOTHED, Corrections
from napari_redenoise.model._neighbours import Settled, settle
from napari_redenoise.model._training_images import TrainingImages
from napari_redenoise.noise import (
    Diagnosis,
    NoiseReport,
    diagnose,
    few_photons_in_words,
    noise_in_words,
    sampling_noise,
    structure_in_words,
)

LINES_IN_WORDS: dict[Lines, str] = {
    "none": "no lines",
    "rows": "rows",
    "columns": "columns",
    "both": "rows and columns",
}

NOT_TRAINED = "fine-tuning does not help against noise of several pixels"
"""Follows "because"."""

SMALLER_IN_WORDS = {
    1: "an image of half the size",
    2: "images of a half and a quarter of the size",
}


@dataclass(frozen=True)
class TrainingPlan(JsonDataclass):
    """All settings of a run, and the measurements behind them.

    Attributes
    ----------
    asked : Config
        Configuration as the user gave it.
    config : Config
        Configuration as it is run: channels, start, objective, noise and line correction are
        decided.
    reports : tuple of NoiseReport
        Noise of every channel, after the line correction. Empty where the run does not depend on
        it, or it cannot be measured.
    diagnosis : Diagnosis or None
        Diagnosis of the reports; None where the run does not depend on it.
    no_neighbours : str
        Why the neighbouring planes of a stack are not used.
    """

    asked: Config
    config: Config
    reports: tuple[NoiseReport, ...] = field(default=(), repr=False)
    diagnosis: Diagnosis | None = None
    no_neighbours: str = ""

    @property
    def lines(self) -> Lines:
        """Lines that are corrected."""
        lines = self.config.objective.lines
        return "none" if lines == "auto" else lines

    @property
    def corrections(self) -> Corrections:
        """What is subtracted first."""
        scales = self.config.objective.smooth_scales
        is_automatic = self.asked.objective.smooth_scales == "auto"
        return Corrections(self.lines, 0 if scales == "auto" else scales, is_automatic)

    @property
    def is_fine_tuning(self) -> bool:
        """Whether the run starts from pretrained weights."""
        return self.config.training.start == "pretrained"

    @property
    def is_training_left_out(self) -> bool:
        """Whether fine-tuning was asked for and would not help."""
        return self.config.training.total_steps == 0 < self.asked.training.total_steps

    @property
    def is_structure_known(self) -> bool:
        """Whether the pretrained network knows the structure of the image, if measured."""
        return self.diagnosis is None or self.diagnosis.case != "unknown structure"

    def with_steps(self, steps: int) -> TrainingPlan:
        """Change the number of training steps.

        Parameters
        ----------
        steps : int

        Returns
        -------
        TrainingPlan
        """
        changes = {"training.steps": steps}
        return replace(self, asked=self.asked.replace(changes), config=self.config.replace(changes))

    def sentences(self) -> Iterator[str]:
        """Describe the measurements and decisions.

        Yields
        ------
        str
            One line each.
        """
        if self.lines != "none":
            yield f"line correction: offsets of {LINES_IN_WORDS[self.lines]} are subtracted"
        if scales := self.corrections.smooth_scales:
            yield f"smooth noise: removed first, in {SMALLER_IN_WORDS[scales]}"
        if self.is_training_left_out:
            yield f"training: left out, since {NOT_TRAINED}"
        objective = self.config.objective
        yield from self._channel_sentence()
        if self.config.network.neighbours:
            yield f"neighbours: {self.config.network.context} planes on either side are used"
        elif self.no_neighbours:
            yield f"neighbours: not used, since {self.no_neighbours}"
        if few_photons := few_photons_in_words(self.reports):
            yield f"caution: {few_photons}"
        if self.config.training.total_steps == 0:
            if self.is_fine_tuning and not self.is_structure_known:
                worst = max(self.reports, key=lambda one: one.residual.ratio if one.residual else 0)
                yield (
                    f"caution: the pretrained network would {structure_in_words(worst)}: "
                    "it does not know such structure, so fine-tune it to keep the structure"
                )
            return
        if self.diagnosis is not None and self.asked.objective.kind == "auto":
            yield f"objective {objective.kind}: {self.diagnosis.reason}"
        if objective.noise is not None:
            yield self.noise_sentence()

    def _channel_sentence(self) -> Iterator[str]:
        """How several channels are denoised."""
        network = self.config.network
        if network.is_separate:
            yield f"channels: the network denoises each of {network.channels} by itself"
        elif network.channels > 1:
            yield "channels: denoised together, by a network from random weights"

    def noise_sentence(self) -> str:
        """Describe the noise that R2R draws.

        Returns
        -------
        str
        """
        noise = self.config.objective.noise
        return "objective r2r" if noise is None else f"objective r2r: {noise_in_words(noise)}"


def make_plan(
    asked: Config,
    images: TrainingImages,
    device: torch.device,
    should_stop: Callable[[], bool] | None = None,
    *,
    settled: Settled | None = None,
    reports: Sequence[NoiseReport] | None = None,
) -> TrainingPlan:
    """Measure the noise where a setting depends on it, and decide all settings of a run.

    The noise is measured again after a correction. ``settled`` is the result of
    `settle`, or the settings of a resumed training; with ``reports`` the image is not
    measured.

    Raises
    ------
    ConfigError
        When random weights are not trained.
    InputError
        When R2R was chosen and its noise cannot be measured.
    Interrupted
        When stopped.
    """
    settled = settled or settle(asked, images.all, device, should_stop)
    config, reason = settled.config, settled.no_neighbours
    objective, trains = config.objective, config.training.total_steps > 0
    if not objective.depends_on_noise:
        given = _given(objective, Corrections())
        config = config.replace(_settings(given))
        return TrainingPlan(asked, config, no_neighbours=reason)
    fine_tuning = config.training.start == "pretrained"
    if not reports and trains:
        reports = settled.reports
    if not reports:
        # Without training, the pretrained network may remove structure of white noise, too.
        reports = _measure(images, ask_denoiser=fine_tuning, always=fine_tuning and not trains)
    if not fine_tuning:
        reports = [replace(report, residual=None) for report in reports]
    diagnosis = diagnose(reports, fine_tuning=fine_tuning)
    lines = diagnosis.lines if trains else _lines_of_a_training(reports)
    scales = _smooth_scales(config, images, diagnosis)
    corrections = _given(objective, Corrections(lines, scales))
    if scales and _is_training_useless(asked, images, reports):
        changes = _settings(corrections) | {"training.steps": 0}
        return TrainingPlan(asked, config.replace(changes), tuple(reports), diagnosis, reason)
    if trains and corrections:
        images = images.corrected(corrections, device, should_stop)
        reports = _measure(images, ask_denoiser=fine_tuning) or reports
        diagnosis = diagnose(reports, fine_tuning=fine_tuning)
    changes = _settings(corrections)
    if trains and objective.draws_noise:
        # Without a report, the measurement raises the error again.
        changes |= {"objective.noise": sampling_noise(reports or images.noise())}
    elif trains:
        changes |= {
            f"objective.{name}": getattr(diagnosis, name) for name in ("mask_shape", "noise")
        }
        changes |= {"objective.kind": diagnosis.objective}
    return TrainingPlan(asked, config.replace(changes), tuple(reports), diagnosis, reason)


def _smooth_scales(config: Config, images: TrainingImages, diagnosis: Diagnosis) -> int:
    """Scales at which smooth noise is removed; neighbours tell it from structure."""
    is_large = any(one.height * one.width > MAX_SMOOTHED for one in images.all)
    return 0 if is_large or config.network.neighbours else diagnosis.smooth_scales


def _is_training_useless(
    asked: Config, images: TrainingImages, reports: Sequence[NoiseReport]
) -> bool:
    """Whether all is smooth noise, and no setting asks for a training."""
    is_automatic = asked.objective.kind == "auto" and asked.objective.smooth_scales == "auto"
    if not is_automatic or asked.training.steps is not None or images.images:
        return False
    noisy = [report for report in reports if not report.is_clean]
    return all(one.residual is not None and one.residual.smooth_scales for one in noisy)


def _given(objective: ObjectiveConfig, found: Corrections) -> Corrections:
    """The corrections that were asked for, or those that were found."""
    lines, scales = objective.lines, objective.smooth_scales
    return Corrections(
        found.lines if lines == "auto" else lines,
        found.smooth_scales if scales == "auto" else scales,
        scales == "auto",
    )


def _settings(corrections: Corrections) -> dict[str, object]:
    """The settings of corrections that were decided."""
    return {
        "objective.lines": corrections.lines,
        "objective.smooth_scales": corrections.smooth_scales,
    }


def _measure(
    images: TrainingImages, *, ask_denoiser: bool, always: bool = False
) -> tuple[NoiseReport, ...]:
    """Measure every channel; return nothing where the noise cannot be measured."""
    try:
        return images.noise(ask_denoiser=ask_denoiser, always=always)
    except InputError:
        return ()


def _lines_of_a_training(reports: Sequence[NoiseReport]) -> Lines:
    """Lines that a training would correct: it leaves out the residual of white noise."""
    bare = [replace(report, residual=None) for report in reports]
    measured = diagnose(bare, fine_tuning=True)
    return (measured if measured.objective == "r2r" else diagnose(reports, fine_tuning=True)).lines
