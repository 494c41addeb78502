"""What the noise of an image is, and what follows from it for the training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_redenoise.config import Lines, NoiseConfig, ObjectiveConfig
from napari_redenoise.data import Planes, measured
from napari_redenoise.errors import InputError
from napari_redenoise.model._excess import what_is_removed
from napari_redenoise.noise import (
    NoiseModel,
    NoiseReport,
    Recommendation,
    blind_spot,
    can_be_drawn,
    correlation_reach,
    drawn_from,
    estimate_noise,
    has_unknown_structure,
    is_clean,
    is_independent,
    is_known,
    lines_of,
    recommend,
    removes_more,
    structure_in_words,
    without_noise,
)

LINES_IN_WORDS: dict[Lines, str] = {
    "none": "no lines",
    "rows": "rows",
    "columns": "columns",
    "both": "rows and columns",
}

_TOO_DARK = 0.002
"""Share of the pixels that may lie below an offset by chance."""


@dataclass(frozen=True)
class ChannelStack:
    """One channel of an image as a stack of planes, NaN where nothing was measured."""

    planes: Planes
    channel: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Planes, rows, columns."""
        return len(self.planes), self.planes.height, self.planes.width

    @property
    def dtype(self) -> Any:
        """Type of a pixel."""
        return self.planes.array.dtype

    def __getitem__(self, key: tuple[int, slice, slice]) -> npt.NDArray[Any]:
        number, rows, columns = key
        sizes = self.planes.sample_shape
        sample = tuple(int(part) for part in np.unravel_index(number, sizes)) if sizes else ()
        return measured(self.planes.read(sample, rows, columns)[self.channel])


def noise_reports(planes: Planes, *, doubtful: bool = True) -> tuple[NoiseReport, ...]:
    """Measure the noise of every channel, about a second each.

    Parameters
    ----------
    planes : Planes
    doubtful : bool
        Whether to ask the shipped network, where the noise is not independent from pixel to pixel
        or its strength not known, if that is noise at all.

    Raises
    ------
    InputError
        When the image is too small, or every channel holds one value only.
    """
    found = [_report_or_error(planes, channel) for channel in range(planes.channels)]
    reports = tuple(report for report in found if isinstance(report, NoiseReport))
    if not reports:
        raise next(error for error in found if isinstance(error, InputError))
    if len(reports) < len(found):
        # An unused channel has no noise, and says nothing of the others.
        return tuple(one if isinstance(one, NoiseReport) else without_noise() for one in found)
    # One that is adapted by R2R in any case learns what is structure; there are no weights for
    # several channels.
    if not doubtful or len(reports) > 1 or recommend(reports[0]).objective == "r2r":
        return reports
    return (replace(reports[0], removed=what_is_removed(planes, reports[0])),)


def _report_or_error(planes: Planes, channel: int) -> NoiseReport | InputError:
    try:
        return estimate_noise(ChannelStack(planes, channel))
    except InputError as error:
        return error


def smoothed(planes: Planes) -> str | None:
    """What the shipped network as it is would remove of structure that it does not know, in words.

    None where it does not, or it cannot be told.
    """
    if planes.channels > 1:
        return None
    try:
        report = noise_reports(planes, doubtful=False)[0]
    except InputError:
        return None
    report = replace(report, removed=what_is_removed(planes, report))
    return structure_in_words(report) if has_unknown_structure(report) else None


_CAUTIOUS = ("r2r", "noise2self", "noise2void")
"""By how much they take for granted, the least last."""


def recommendation(reports: tuple[NoiseReport, ...], *, adapting: bool = True) -> Recommendation:
    """One for all channels: the blind spot reaches as far as the noise of any of them."""
    noisy = [report for report in reports if not is_clean(report)] or reports
    every = [recommend(report, adapting=adapting) for report in noisy]
    advice = max(every, key=lambda advice: _CAUTIOUS.index(advice.objective))
    advice = replace(advice, lines=lines_of(*reports))
    reach_y, reach_x = np.max([correlation_reach(report) for report in reports], axis=0)
    if advice.objective != "noise2void" or len(reports) == 1:
        return advice
    return replace(advice, mask_shape=blind_spot(int(reach_y), int(reach_x)))


def resolve(
    objective: ObjectiveConfig,
    planes: Planes,
    *,
    adapting: bool = False,
    without: Callable[[Lines], Planes] | None = None,
) -> ObjectiveConfig:
    """Fill in what an objective has to know of the noise of an image.

    ``auto`` becomes what is recommended (to adapt shipped weights, or to train random ones), or
    Noise2Self where the noise cannot be measured; ``r2r`` without noise takes what is measured:
    gain and variances as they are, the darkest region taken for dark, and how much of its noise
    is light by its skewness. Where that is not known, photons alone make the noise, unless pixels
    are darker than they can be then. Both say which lines have offsets of their own.

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
    reports = _reports_or_none(planes, doubtful=adapting)
    objective = _with_lines_of(objective, reports)
    lines = objective.lines
    if lines != "none" and without is not None:
        reports = _reports_or_none(without(lines), doubtful=adapting) or reports
    if objective.kind == "auto":
        advice, noise = _advised(reports, adapting=adapting)
        found = {"kind": advice.objective, "mask_shape": advice.mask_shape, "chosen": True}
    else:
        # Again, to say what is wrong with an image of which nothing could be measured.
        noise, found = _measured(reports or noise_reports(planes)), {}
    known = {"noise": noise, "from_noise": True}
    knows = not any(has_unknown_structure(report) for report in reports or ())
    return objective.model_copy(update={**found, **known}), knows


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
    return (
        _with_lines_of(objective, _reports_or_none(planes))
        if asks_for_noise(objective)
        else objective
    )


def _with_lines_of(
    objective: ObjectiveConfig, reports: tuple[NoiseReport, ...] | None
) -> ObjectiveConfig:
    """Which lines have offsets, unless that was said."""
    lines = "none" if reports is None else lines_of(*reports)
    if objective.lines != "none" or lines == "none":
        return objective
    return objective.model_copy(update={"lines": lines, "lines_found": True})


def asks_for_noise(objective: ObjectiveConfig) -> bool:
    """Whether something of an objective follows from the noise of the image."""
    return objective.kind == "auto" or (objective.kind == "r2r" and objective.noise is None)


def advise(planes: Planes, *, adapting: bool) -> tuple[Recommendation, NoiseConfig | None]:
    """What suits the noise of an image, and for R2R the noise; Noise2Self if it is not known."""
    return _advised(_reports_or_none(planes, doubtful=adapting), adapting=adapting)


def _reports_or_none(planes: Planes, *, doubtful: bool = True) -> tuple[NoiseReport, ...] | None:
    try:
        return noise_reports(planes, doubtful=doubtful)
    except InputError:
        return None


def _advised(
    reports: tuple[NoiseReport, ...] | None, *, adapting: bool
) -> tuple[Recommendation, NoiseConfig | None]:
    if reports is None:
        return Recommendation("noise2self", ("1",), "the noise cannot be measured"), None
    advice = recommendation(reports, adapting=adapting)
    return advice, _measured(reports) if advice.objective == "r2r" else None


def noise_in_words(noise: NoiseConfig) -> str:
    """Gain, offset and read noise of every channel, in one line."""
    count = max(map(len, (noise.gain, noise.offset, noise.read_noise)))
    figures = (
        values * count if len(values) == 1 else values
        for values in (noise.gain, noise.offset, noise.read_noise, noise.skewed)
    )
    return "; ".join(
        f"gain {gain:.4g}, offset {offset:.4g}, read noise {read_noise:.4g} grey levels"
        + (f", {skewed:.0%} of which is light" if skewed and read_noise else "")
        if gain
        else f"Gaussian noise of deviation {read_noise:.4g} grey levels"
        for gain, offset, read_noise, skewed in zip(*figures, strict=True)
    )


def _what_r2r_draws_from(report: NoiseReport) -> tuple[NoiseModel, float]:
    """A model, and how much of its read noise is as skewed as photon noise: docs/objectives.md.

    The darkest region is taken for dark and the skewness says what its noise is. Where it is not
    known, photons make all noise, unless pixels are so dark that photons alone cannot have made
    them: a background taken for read noise costs R2R more than the other way round.
    """
    model = drawn_from(report)
    is_measured = model is report.model and not is_known(report)
    if is_measured and removes_more(report) and not is_independent(report):
        # How the noise grows with the light rests on what is structure. The least is that of
        # rounding; R2R cannot learn from none at all.
        low, high = report.limits
        least = max(report.step / math.sqrt(12), 1e-4 * (high - low))
        return NoiseModel(0.0, model.offset, max(report.noise_std, least)), 0.0
    if model.gain == 0:
        return model, 0.0
    removed = None if model is report.model else report.removed
    dark = model.offset if removed else report.offset_range[1]
    below = removed.below if removed else report.below
    variance = float(model.variance(dark))
    if report.skewness is not None:
        photons = report.skewness.excess * model.gain * (dark - report.skewness.offset)
        skewed = photons / variance if variance > 0 else 1.0
    elif below > _TOO_DARK:
        skewed = 1.0
    else:
        return model.without_read_noise(), 0.0
    return NoiseModel(model.gain, dark, variance**0.5), min(max(skewed, 0.0), 1.0)


def _measured(reports: tuple[NoiseReport, ...]) -> NoiseConfig:
    """What R2R is to draw from."""
    models = [_what_r2r_draws_from(report) for report in reports]
    if not any(model.gain or model.read_noise for model, _ in models):
        raise InputError(
            "no noise was found in the image, and R2R learns from it: choose noise2self, or give "
            "the noise"
        )
    if not all(
        report.gain_is_known
        or is_clean(report)
        or can_be_drawn(report)
        or removes_more(report)
        or has_unknown_structure(report)
        for report in reports
    ):
        raise InputError(
            "whether the noise grows with the light cannot be told from this image, and R2R has to "
            "know: give gain, offset and read noise, or choose noise2self"
        )
    return NoiseConfig(
        gain=tuple(model.gain for model, _ in models),
        offset=tuple(model.offset for model, _ in models),
        read_noise=tuple(model.read_noise for model, _ in models),
        skewed=tuple(skewed for _, skewed in models),
    )
