"""An objective, filled in by the diagnosis of the noise of an image."""

from __future__ import annotations

from collections.abc import Callable

from napari_redenoise.config import Lines, NoiseConfig, ObjectiveConfig
from napari_redenoise.data import Planes
from napari_redenoise.errors import InputError
from napari_redenoise.model._noise_reports import noise_reports
from napari_redenoise.noise import (
    Diagnosis,
    NoiseReport,
    diagnose,
    sampling_noise,
    structure_in_words,
)

LINES_IN_WORDS: dict[Lines, str] = {
    "none": "no lines",
    "rows": "rows",
    "columns": "columns",
    "both": "rows and columns",
}


def smoothed(planes: Planes) -> str | None:
    """What the pretrained network as it is would remove of structure that it does not know.

    In words; None where it does not, or it cannot be told.
    """
    reports = _reports(planes, always=True)
    if diagnose(reports, fine_tuning=True).case != "unknown structure":
        return None
    return structure_in_words(reports[0])


def resolve(
    objective: ObjectiveConfig,
    planes: Planes,
    *,
    adapting: bool = False,
    without: Callable[[Lines], Planes] | None = None,
) -> ObjectiveConfig:
    """Fill in what an objective has to know of the noise of an image.

    ``auto`` becomes what is diagnosed (to fine-tune pretrained weights, or to train random ones);
    ``r2r`` without noise takes what is measured: see `sampling_noise`. Both say which lines have
    offsets of their own.

    Parameters
    ----------
    objective : ObjectiveConfig
    planes : Planes
    adapting : bool
    without : callable, optional
        Gives the image without the offsets of such lines, whose noise is then measured again: with
        them it seems correlated, stronger, and often not to follow the light.

    Raises
    ------
    InputError
        When R2R is to draw from noise and there is none, or photons cannot be told from it.
    """
    return resolved(objective, planes, adapting=adapting, without=without)[0]


def resolved(
    objective: ObjectiveConfig,
    planes: Planes,
    *,
    adapting: bool = False,
    without: Callable[[Lines], Planes] | None = None,
) -> tuple[ObjectiveConfig, bool]:
    """As `resolve`, and whether the pretrained network knows the structure of the image."""
    objective = forgotten(objective)
    if not asks_for_noise(objective):
        return objective, True
    reports = _reports(planes, ask_denoiser=adapting)
    found = diagnose(reports, fine_tuning=adapting)
    objective = _with_lines(objective, found)
    if objective.lines != "none" and without is not None:
        reports = _reports(without(objective.lines), ask_denoiser=adapting) or reports
        found = diagnose(reports, fine_tuning=adapting)
    changes: dict[str, object] = {"from_noise": True}
    if objective.kind == "auto":
        changes |= {"kind": found.objective, "mask_shape": found.mask_shape, "noise": found.noise}
        changes |= {"chosen": True}
    else:
        # Measured again to say what is wrong with an image of which nothing could be measured.
        changes |= {"noise": sampling_noise(reports or noise_reports(planes))}
    return objective.model_copy(update=changes), found.case != "unknown structure"


def forgotten(objective: ObjectiveConfig) -> ObjectiveConfig:
    """The objective without what followed from the noise of an image, which may be another's."""
    if objective.lines_found:
        objective = objective.model_copy(update={"lines": "none", "lines_found": False})
    if not objective.from_noise:
        return objective
    asked = objective.kind == "r2r" and not objective.chosen
    nothing = {"noise": None, "mask_shape": ("1",), "from_noise": False, "chosen": False}
    return objective.model_copy(update={**nothing, "kind": "r2r" if asked else "auto"})


def with_lines(objective: ObjectiveConfig, planes: Planes) -> ObjectiveConfig:
    """The objective, of which nothing but the lines is to be used: those of this image."""
    objective = forgotten(objective)
    if not asks_for_noise(objective):
        return objective
    return _with_lines(objective, diagnose(_reports(planes), fine_tuning=True))


def _with_lines(objective: ObjectiveConfig, found: Diagnosis) -> ObjectiveConfig:
    """Which lines have offsets, unless that was said."""
    if objective.lines != "none" or found.lines == "none":
        return objective
    return objective.model_copy(update={"lines": found.lines, "lines_found": True})


def asks_for_noise(objective: ObjectiveConfig) -> bool:
    """Whether something of an objective follows from the noise of the image."""
    return objective.kind == "auto" or (objective.kind == "r2r" and objective.noise is None)


def advise(planes: Planes, *, adapting: bool) -> tuple[Diagnosis, NoiseConfig | None]:
    """What suits the noise of an image, and for R2R the noise; Noise2Self if it is not known."""
    found = diagnose(_reports(planes, ask_denoiser=adapting), fine_tuning=adapting)
    return found, found.noise


def _reports(
    planes: Planes, *, ask_denoiser: bool = True, always: bool = False
) -> tuple[NoiseReport, ...]:
    """Of every channel; none where the noise cannot be measured."""
    try:
        return noise_reports(planes, ask_denoiser=ask_denoiser, always=always)
    except InputError:
        return ()
