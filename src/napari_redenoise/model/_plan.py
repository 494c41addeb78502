"""What a run will do: found and decided once, before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from napari_redenoise.config import Config, Lines, ObjectiveConfig, Start
from napari_redenoise.errors import InputError
from napari_redenoise.model._pretrained import resolve_start
from napari_redenoise.model._training_images import TrainingImages
from napari_redenoise.noise import (
    Diagnosis,
    NoiseReport,
    diagnose,
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


@dataclass(frozen=True)
class TrainingPlan:
    """What a run does, with nothing left open, and what that rests on.

    Attributes
    ----------
    asked : Config
        As the user asked for it.
    config : Config
        As it is run: channels, start, objective, noise and line correction are settled.
    reports : tuple of NoiseReport
        The noise of every channel, after the line correction; empty where the run does not depend
        on it, or it cannot be measured.
    diagnosis : Diagnosis or None
        What the reports mean; None where the run does not depend on it.
    """

    asked: Config
    config: Config
    reports: tuple[NoiseReport, ...] = field(default=(), repr=False)
    diagnosis: Diagnosis | None = None

    @property
    def lines(self) -> Lines:
        """Which lines are corrected."""
        lines = self.config.objective.lines
        return "none" if lines == "auto" else lines

    @property
    def is_fine_tuning(self) -> bool:
        """Whether the run begins with pretrained weights."""
        return self.config.training.start == "pretrained"

    @property
    def knows_structure(self) -> bool:
        """Whether the pretrained network knows the structure of the image, as far as was found."""
        return self.diagnosis is None or self.diagnosis.case != "unknown structure"

    def with_steps(self, steps: int) -> TrainingPlan:
        """The same run of so many steps.

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
        """What was found and decided.

        Yields
        ------
        str
            A line each.
        """
        if self.lines != "none":
            yield f"line correction: offsets of {LINES_IN_WORDS[self.lines]} are subtracted"
        objective = self.config.objective
        if self.config.training.total_steps == 0:
            if self.is_fine_tuning and not self.knows_structure:
                yield (
                    f"caution: the pretrained network would {structure_in_words(self.reports[0])}: "
                    "it does not know such structure, so fine-tune it to keep the structure"
                )
            return
        if self.diagnosis is not None and self.asked.objective.kind == "auto":
            yield f"objective {objective.kind}: {self.diagnosis.reason}"
        if objective.noise is not None:
            yield self.noise_sentence()

    def noise_sentence(self) -> str:
        """What R2R draws from.

        Returns
        -------
        str
        """
        noise = self.config.objective.noise
        return "objective r2r" if noise is None else f"objective r2r: {noise_in_words(noise)}"

    def as_json(self) -> dict[str, Any]:
        """Plain values; `from_json` makes the same plan of them.

        Returns
        -------
        dict
        """
        return {
            "asked": self.asked.model_dump(mode="json"),
            "config": self.config.model_dump(mode="json"),
            "reports": [report.as_json() for report in self.reports],
            "diagnosis": None if self.diagnosis is None else self.diagnosis.as_json(),
        }

    @classmethod
    def of_file(cls, config: Config, values: dict[str, Any] | None) -> TrainingPlan:
        """The plan of a model file; one of its configuration alone where it holds none.

        Parameters
        ----------
        config : Config
        values : dict or None
            Of `as_json`.

        Returns
        -------
        TrainingPlan

        Raises
        ------
        ConfigError, KeyError, TypeError, ValueError
            When the values are no plan.
        """
        return cls(config, config) if values is None else cls.from_json(values)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TrainingPlan:
        """Make the plan that `as_json` wrote.

        Parameters
        ----------
        values : dict

        Returns
        -------
        TrainingPlan

        Raises
        ------
        ConfigError, KeyError, TypeError, ValueError
            When the values are no plan.
        """
        diagnosis = values["diagnosis"]
        return cls(
            Config(**values["asked"]),
            Config(**values["config"]),
            tuple(NoiseReport.from_json(report) for report in values["reports"]),
            None if diagnosis is None else Diagnosis.from_json(diagnosis),
        )


def make_plan(
    asked: Config,
    material: TrainingImages,
    device: torch.device,
    should_stop: Callable[[], bool] | None = None,
    *,
    steps: int | None = None,
    start: Start | None = None,
    reports: Sequence[NoiseReport] | None = None,
) -> TrainingPlan:
    """Find and decide what a run does.

    Measures the noise where something depends on it: once, and once more after a line correction.

    Parameters
    ----------
    asked : Config
    material : TrainingImages
        What is trained on.
    device : torch.device
        Where line offsets are found.
    should_stop : callable, optional
        Leaves the line correction.
    steps : int, optional
        The last step, in place of what was asked for.
    start : {"pretrained", "random"}, optional
        What a training that is resumed began with.
    reports : sequence of NoiseReport, optional
        What is known of the noise.

    Raises
    ------
    ConfigError
        When random weights would be left as they are.
    InputError
        When R2R was asked for, and the noise that it learns from cannot be told.
    Interrupted
        When stopped.
    """
    if steps is not None:
        asked = asked.replace({"training.steps": steps})
    channels = {"network.channels": material.planes.channels}
    if start is None:
        config = resolve_start(asked.replace(channels))
    else:
        config = asked.replace({**channels, "training.start": start})
    if not config.objective.depends_on_noise:
        lines = "none" if config.objective.lines == "auto" else config.objective.lines
        return TrainingPlan(asked, config.replace({"objective.lines": lines}))
    learns, ask_denoiser = config.training.total_steps > 0, config.training.start == "pretrained"
    # What is predicted with pretrained weights as they are is not kept by any training.
    always = ask_denoiser and not learns
    reports = tuple(reports or _reports(material, ask_denoiser=ask_denoiser, always=always))
    if not ask_denoiser:
        reports = tuple(replace(report, residual=None) for report in reports)
    found = diagnose(reports, fine_tuning=ask_denoiser)
    lines = found.lines if config.objective.lines == "auto" else config.objective.lines
    if learns and lines != "none":
        material = material.corrected(lines, device, should_stop)
        reports = _reports(material, ask_denoiser=ask_denoiser) or reports
        found = diagnose(reports, fine_tuning=ask_denoiser)
    changes: dict[str, object] = {"lines": lines}
    if learns:
        # Measured again to say what is wrong with an image of which nothing could be measured.
        changes |= _objective(config.objective, found, lambda: reports or material.noise())
    settled = config.replace({f"objective.{name}": value for name, value in changes.items()})
    return TrainingPlan(asked, settled, reports, found)


def _reports(
    material: TrainingImages, *, ask_denoiser: bool, always: bool = False
) -> tuple[NoiseReport, ...]:
    """Of every channel; none where the noise cannot be measured."""
    try:
        return material.noise(ask_denoiser=ask_denoiser, always=always)
    except InputError:
        return ()


def _objective(
    objective: ObjectiveConfig,
    found: Diagnosis,
    reports: Callable[[], tuple[NoiseReport, ...]],
) -> dict[str, object]:
    """Fields of the objective that follow from the noise."""
    if objective.kind == "r2r":
        return {"noise": sampling_noise(reports())}
    return {"kind": found.objective, "mask_shape": found.mask_shape, "noise": found.noise}
