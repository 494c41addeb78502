"""Temporary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from napari_redenoise.config import Lines, NoiseConfig
from napari_redenoise.errors import InputError
from napari_redenoise.noise._diagnosis import (
    Recommendation,
    blind_spot,
    can_be_drawn,
    correlation_reach,
    drawn_from,
    has_unknown_structure,
    is_clean,
    is_independent,
    is_known,
    lines_of,
    recommend,
    removes_more,
)
from napari_redenoise.noise._report import NoiseModel, NoiseReport

_TOO_DARK = 0.002
_CAUTIOUS = ("r2r", "noise2self", "noise2void")


@dataclass(frozen=True)
class Diagnosis:
    case: str
    objective: str
    mask_shape: tuple[str, ...]
    lines: Lines
    noise: NoiseConfig | None
    reason: str

    def as_json(self) -> dict[str, Any]:
        noise = None if self.noise is None else self.noise.model_dump(mode="json")
        return {**asdict(self), "noise": noise}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Diagnosis:
        noise = None if values["noise"] is None else NoiseConfig(**values["noise"])
        return cls(**{**values, "noise": noise, "mask_shape": tuple(values["mask_shape"])})


def diagnose(reports: Sequence[NoiseReport], *, fine_tuning: bool = True) -> Diagnosis:
    if not reports:
        return Diagnosis(
            "not measurable", "noise2self", ("1",), "none", None, "the noise cannot be measured"
        )
    advice = recommendation(tuple(reports), adapting=fine_tuning)
    case = "unknown structure" if any(map(has_unknown_structure, reports)) else "white"
    noise = sampling_noise(tuple(reports)) if advice.objective == "r2r" else None
    return Diagnosis(case, advice.objective, advice.mask_shape, advice.lines, noise, advice.reason)


def recommendation(reports: tuple[NoiseReport, ...], *, adapting: bool = True) -> Recommendation:
    noisy = [report for report in reports if not is_clean(report)] or reports
    every = [recommend(report, adapting=adapting) for report in noisy]
    advice = max(every, key=lambda advice: _CAUTIOUS.index(advice.objective))
    advice = replace(advice, lines=lines_of(*reports))
    reach_y, reach_x = np.max([correlation_reach(report) for report in reports], axis=0)
    if advice.objective != "noise2void" or len(reports) == 1:
        return advice
    return replace(advice, mask_shape=blind_spot(int(reach_y), int(reach_x)))


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
    """A model, and how much of its read noise is as skewed as photon noise: docs/noise.md.

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


def sampling_noise(reports: tuple[NoiseReport, ...]) -> NoiseConfig:
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
