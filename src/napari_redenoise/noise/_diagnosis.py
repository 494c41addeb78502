"""What a noise report means: the case, the noise model, and how to train."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from napari_redenoise.config import JsonDataclass, Lines, NoiseConfig
from napari_redenoise.errors import InputError
from napari_redenoise.noise._report import NoiseModel, NoiseReport, ResidualNoise
from napari_redenoise.noise._thresholds import (
    LARGE_MISFIT,
    NEXT_ONLY,
    PATTERN,
    SIGNIFICANT,
    SMOOTH,
    STRUCTURED_RESIDUAL,
    TOO_DARK,
    WHITE_RESIDUAL,
)

Case = Literal[
    "clean", "white", "white by residual", "unknown structure", "not measurable", "correlated"
]
"""Ordered: the last case of several channels decides."""

_ORDER = get_args(Case)

_WHITE = "the noise is independent from pixel to pixel"

_REASONS: dict[Case, str] = {
    "clean": "no noise was found",
    "white": f"{_WHITE} and its variance is known",
    "white by residual": "the residual of the pretrained network is independent from pixel to "
    "pixel, so it is the noise",
    "unknown structure": "the pretrained network does not know such structure",
    "not measurable": f"{_WHITE}, but its variance is not known",
}


@dataclass(frozen=True)
class Diagnosis(JsonDataclass):
    """What the noise of an image is, and how to train on it.

    Parameters
    ----------
    case : str
        "clean", "white" (with known variance), "white by residual" (of the denoiser),
        "unknown structure", "not measurable" or "correlated". For several channels the last of
        these that occurs.
    objective : {"noise2self", "noise2void", "r2r"}
    mask_shape : tuple of str
        Blind spot: rows of 0 and 1 with odd sizes, the pixel itself in the centre.
    lines : {"none", "rows", "columns", "both"}
        Lines that have offsets, which are corrected before the training. The noise differs without
        them, so it is measured again then.
    noise : NoiseConfig or None
        Noise model that R2R draws from; None for the other objectives.
    reason : str
        Follows "because".
    smooth_scales : int
        Coarser scales whose noise is removed before the training. The noise differs without it, so
        it is measured again then.

    Notes
    -----
    R2R is chosen to fine-tune pretrained weights where the noise is known. From random weights it
    learns more slowly than Noise2Self. With blind spots, a pretrained network forgets how to use
    the pixel itself (docs/fine-tuning.md).
    """

    case: Case
    objective: Literal["noise2self", "noise2void", "r2r"]
    mask_shape: tuple[str, ...]
    lines: Lines
    noise: NoiseConfig | None
    reason: str
    smooth_scales: int = 0


def diagnose(reports: Sequence[NoiseReport], *, fine_tuning: bool) -> Diagnosis:
    """Decide what the noise of an image is, and how to train on it.

    Parameters
    ----------
    reports : sequence of NoiseReport
        One per channel; empty where the noise cannot be measured.
    fine_tuning : bool
        Whether the training starts from pretrained weights. For random weights the residual of the
        pretrained network does not matter.

    Notes
    -----
    A blind spot of one pixel assumes white noise. For correlated noise the blind spot covers the
    correlation length (Broaddus et al., "Removing Structured Noise with Self-Supervised Blind-Spot
    Networks", ISBI 2020).
    """
    if not reports:
        reason = "the noise cannot be measured"
        return Diagnosis("not measurable", "noise2self", ("1",), "none", None, reason)
    if not fine_tuning:
        reports = [replace(report, residual=None) for report in reports]
    noisy = [report for report in reports if not report.is_clean] or reports
    case = max(map(noise_case, noisy), key=_ORDER.index)
    lines = lines_with_offsets(reports)
    if case == "correlated":
        found = _correlated_diagnosis(noisy, lines)
        return replace(found, smooth_scales=max(map(_smooth_scales, noisy)))
    reason = _REASONS[case] if fine_tuning or case == "clean" else _WHITE
    reason += "; line offsets are subtracted first" * (lines != "none")
    if fine_tuning and case in ("white", "white by residual", "unknown structure"):
        return Diagnosis(case, "r2r", ("1",), lines, sampling_noise(reports), reason)
    return Diagnosis(case, "noise2self", ("1",), lines, None, reason)


def _correlated_diagnosis(reports: Sequence[NoiseReport], lines: Lines) -> Diagnosis:
    """Noise2Void with a blind spot that covers the correlation length of every channel."""
    reach_y, reach_x = np.max([report.autocorrelation.reach for report in reports], axis=0).tolist()
    where = " and ".join(
        f"along {axis} to lag {reach}" for axis, reach in (("y", reach_y), ("x", reach_x)) if reach
    )
    reason = f"the noise is correlated {where}, so the neighbours in the blind spot are hidden too"
    shape = blind_spot(reach_y, reach_x)
    return Diagnosis("correlated", "noise2void", shape, lines, None, reason)


def blind_spot(reach_y: int, reach_x: int) -> tuple[str, ...]:
    """Draw the ellipse with these half axes in pixels, the centre not counted."""
    y, x = np.mgrid[-reach_y : reach_y + 1, -reach_x : reach_x + 1]
    inside = (y / (reach_y + 0.5)) ** 2 + (x / (reach_x + 0.5)) ** 2 <= 1
    return tuple("".join("1" if pixel else "0" for pixel in row) for row in inside)


def noise_case(report: NoiseReport) -> Case:
    """Classify the noise of a channel.

    Notes
    -----
    "unknown structure": the residual holds structure, which the denoiser does not know. "clean":
    only rounding. "white": measured so, with known variance. "white by residual": the residual is
    white, where structure or few grey levels disturb the measurement. "correlated": the blind spot
    has to cover the correlation. "not measurable": white, but with unknown variance.
    """
    if _has_unknown_structure(report):
        return "unknown structure"
    if report.is_clean:
        return "clean"
    is_white = report.autocorrelation.reach == (0, 0)
    is_noisy = bool(report.model.gain or report.model.read_noise)
    if is_white and report.is_gain_known and is_noisy and report.misfit <= LARGE_MISFIT:
        return "white"
    if _has_white_residual(report):
        return "white by residual"
    return "not measurable" if is_white else "correlated"


def _smooth_scales(report: NoiseReport) -> int:
    """Coarser scales at which the denoiser leaves noise."""
    return 0 if report.residual is None else report.residual.smooth_scales


def lines_with_offsets(reports: Iterable[NoiseReport]) -> Lines:
    """Tell which lines have offsets in any of several channels.

    Where quantisation makes all of the noise, a slope looks like offsets, and so may structure. A
    regular pattern is structure, such as fringes.
    """
    measured = [
        report.autocorrelation
        for report in reports
        if report.step <= report.noise_std
        and noise_case(report) not in ("clean", "unknown structure")
    ]
    rows, columns = (
        any(getattr(one, name) > SIGNIFICANT and name not in one.patterned for one in measured)
        for name in ("rows", "columns")
    )
    if rows and columns:
        return "both"
    return "rows" if rows else "columns" if columns else "none"


def _fitted_residual(report: NoiseReport) -> ResidualNoise | None:
    """The residual, where it was large enough to fit a line."""
    residual = report.residual
    return residual if residual is not None and residual.noise is not None else None


def _has_white_residual(report: NoiseReport) -> bool:
    """Whether the residual shows white noise: a denoiser tells noise from fine structure.

    It does not if the noise is smooth.
    """
    residual = _fitted_residual(report)
    if residual is None or max(residual.correlation) > WHITE_RESIDUAL or _has_pattern(report):
        return False
    noise = report.autocorrelation
    return all(
        along[0] <= noise.least or along[1] <= NEXT_ONLY * along[0]
        for along in noise.without_lines()
    )


def _has_unknown_structure(report: NoiseReport) -> bool:
    """Whether the residual holds structure, which the denoiser then does not know."""
    if report.residual is None or _has_white_residual(report):
        return False
    if _has_pattern(report):
        return True
    # The residual of smooth noise is rightly larger than the measured noise.
    is_smooth = max(report.autocorrelation.y[0], report.autocorrelation.x[0]) >= SMOOTH
    return not is_smooth and (report.residual.is_strong or _is_more_correlated(report))


def _has_pattern(report: NoiseReport) -> bool:
    """Whether the residual repeats; what is left of an image without noise may always do so."""
    residual = report.residual
    return residual is not None and residual.pattern > PATTERN and not report.is_clean


def _is_more_correlated(report: NoiseReport) -> bool:
    """Whether the residual is more correlated than the noise.

    Where structure is everywhere, flat blocks overestimate the noise but not its correlation,
    unless line offsets are in both.
    """
    residual = _fitted_residual(report)
    if residual is None or report.autocorrelation.has_line_offsets:
        return False
    both = zip(residual.correlation, report.autocorrelation.without_lines(), strict=True)
    return any(own - along[0] > STRUCTURED_RESIDUAL for own, along in both)


def noise_model(report: NoiseReport) -> NoiseModel:
    """Choose the noise model: the measured one, or the residual's where that is more reliable.

    Notes
    -----
    A residual that holds structure is taken only if it is smaller than the measured noise: its fit
    leaves out blocks with structure.
    """
    residual = _fitted_residual(report)
    if residual is None or residual.noise is None:
        return report.model
    case = noise_case(report)
    is_smaller = float(residual.noise.std(report.mean)) < report.noise_std
    if case == "white by residual" or (case == "unknown structure" and is_smaller):
        return residual.noise
    return report.model


def sampling_noise(reports: Sequence[NoiseReport]) -> NoiseConfig:
    """Choose the noise that R2R draws from.

    Parameters
    ----------
    reports : sequence of NoiseReport
        One per channel.

    Raises
    ------
    InputError
        When there is no noise, or it is unknown whether the noise depends on the signal.
    """
    models = [_sampling_model(report) for report in reports]
    if not any(model.gain or model.read_noise for model, _ in models):
        raise InputError(
            "no noise was found in the image, and R2R needs it: choose noise2self, or give the "
            "noise"
        )
    if not all(map(_is_growth_known, reports)):
        raise InputError(
            "whether the noise grows with the signal cannot be measured in this image, and R2R "
            "needs it: give gain, offset and read noise, or choose noise2self"
        )
    return NoiseConfig(
        gain=tuple(model.gain for model, _ in models),
        offset=tuple(model.offset for model, _ in models),
        read_noise=tuple(model.read_noise for model, _ in models),
        skewed=tuple(skewed for _, skewed in models),
    )


def noise_in_words(noise: NoiseConfig) -> str:
    """Gain, offset and read noise of every channel, in one line."""
    parameters = (noise.gain, noise.offset, noise.read_noise, noise.skewed)
    count = max(map(len, parameters[:3]))
    channels = (values * count if len(values) == 1 else values for values in parameters)
    return "; ".join(
        f"gain {gain:.4g}, offset {offset:.4g}, read noise {read_noise:.4g} grey levels"
        + (f", {skewed:.0%} of it skewed like photons" if skewed and read_noise else "")
        if gain
        else f"Gaussian noise of standard deviation {read_noise:.4g} grey levels"
        for gain, offset, read_noise, skewed in zip(*channels, strict=True)
    )


def _sampling_model(report: NoiseReport) -> tuple[NoiseModel, float]:
    """A model, and the share of its read noise that is skewed like photon noise.

    Without skewness, photons make all of the noise unless pixels are too dark for that: to take a
    background for read noise costs R2R more than the reverse (docs/objectives.md).
    """
    model = noise_model(report)
    if model.gain == 0:
        least = 0.0 if noise_case(report) == "clean" else _rounding_noise(report)
        return replace(model, read_noise=model.read_noise or least), 0.0
    is_measured = model is report.model
    dark = report.offset_range[1] if is_measured else model.offset
    variance = float(model.variance(dark))
    residual = None if is_measured else report.residual
    below = report.below if residual is None else residual.below
    if report.skewness is not None:
        photons = report.skewness.excess * model.gain * (dark - report.skewness.offset)
        skewed = photons / variance if variance > 0 else 1.0
    elif below > TOO_DARK:
        skewed = 1.0
    else:
        return model.without_read_noise(), 0.0
    return NoiseModel(model.gain, dark, variance**0.5), min(max(skewed, 0.0), 1.0)


def _rounding_noise(report: NoiseReport) -> float:
    """The smallest noise standard deviation for R2R, which cannot learn from none."""
    low, high = report.limits
    return max(report.step / math.sqrt(12), 1e-4 * (high - low))


def _is_growth_known(report: NoiseReport) -> bool:
    """Whether it is known, or does not matter, how the noise depends on the signal."""
    if report.is_gain_known or noise_case(report) not in ("correlated", "not measurable"):
        return True
    # It may be structure, which R2R keeps.
    return report.residual is not None and report.residual.is_strong
