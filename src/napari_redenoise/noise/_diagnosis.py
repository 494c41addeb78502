"""What the noise means for a training: the objective, its blind spot, and what R2R draws from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from napari_redenoise.config import Lines, NoiseConfig
from napari_redenoise.noise._cases import Case, case_of, lines_of
from napari_redenoise.noise._json import Stored
from napari_redenoise.noise._report import NoiseReport
from napari_redenoise.noise._sampling import sampling_noise

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
class Diagnosis(Stored):
    """What the noise of an image is, and how to train on it.

    Parameters
    ----------
    case : str
        "clean", "white" (and of known variance), "white by residual" (of the denoiser),
        "unknown structure", "not measurable" or "correlated"; of several channels the last of
        these that one of them is.
    objective : {"noise2self", "noise2void", "r2r"}
    mask_shape : tuple of str
        Drawing of the blind spot: rows of 0 and 1, odd sizes, the pixel itself in the centre.
    lines : {"none", "rows", "columns", "both"}
        Which lines have offsets of their own, to be corrected before anything is learned. With
        them the diagnosis is a first one: without them the noise is another.
    noise : NoiseConfig or None
        What R2R draws from; None for the other objectives.
    reason : str
        Follows "because".

    Notes
    -----
    R2R is chosen to fine-tune a network that knows images already, where the noise is known. From
    random weights it learns more slowly than Noise2Self; but a network that is shown images as they
    are forgets with blind spots how to use the pixel itself (docs/fine-tuning.md).
    """

    case: Case
    objective: Literal["noise2self", "noise2void", "r2r"]
    mask_shape: tuple[str, ...]
    lines: Lines
    noise: NoiseConfig | None
    reason: str


def diagnose(reports: Sequence[NoiseReport], *, fine_tuning: bool) -> Diagnosis:
    """Decide what the noise of an image is, and how to train on it.

    Parameters
    ----------
    reports : sequence of NoiseReport
        Of every channel; none where the noise cannot be measured.
    fine_tuning : bool
        Whether the training begins with pretrained weights, or with random ones, for which it does
        not matter what a denoiser made of the image.

    Returns
    -------
    Diagnosis

    Notes
    -----
    A blind spot of one pixel rests on white noise. Where it is correlated, the blind spot has to
    reach as far (Broaddus et al., "Removing Structured Noise with Self-Supervised Blind-Spot
    Networks", ISBI 2020).
    """
    if not reports:
        reason = "the noise cannot be measured"
        return Diagnosis("not measurable", "noise2self", ("1",), "none", None, reason)
    if not fine_tuning:
        reports = [replace(report, residual=None) for report in reports]
    noisy = [report for report in reports if not report.is_clean] or reports
    case = max(map(case_of, noisy), key=_ORDER.index)
    lines = lines_of(reports)
    if case == "correlated":
        return _hidden(noisy, lines)
    reason = _REASONS[case] if fine_tuning or case == "clean" else _WHITE
    reason += "; line offsets are subtracted first" * (lines != "none")
    if fine_tuning and case in ("white", "white by residual", "unknown structure"):
        return Diagnosis(case, "r2r", ("1",), lines, sampling_noise(reports), reason)
    return Diagnosis(case, "noise2self", ("1",), lines, None, reason)


def _hidden(reports: Sequence[NoiseReport], lines: Lines) -> Diagnosis:
    """Noise2Void, whose blind spot hides as much as the noise of any channel is correlated."""
    reach_y, reach_x = np.max([report.autocorrelation.reach for report in reports], axis=0).tolist()
    if reach_y and reach_x:
        where = f"along y to lag {reach_y} and along x to lag {reach_x}"
    else:
        where = f"along {'y' if reach_y else 'x'} to lag {max(reach_y, reach_x)}"
    reason = f"the noise is correlated {where}, so the neighbours in the blind spot are hidden too"
    shape = _blind_spot(reach_y, reach_x)
    return Diagnosis("correlated", "noise2void", shape, lines, None, reason)


def _blind_spot(reach_y: int, reach_x: int) -> tuple[str, ...]:
    """Draw the ellipse that reaches so many pixels up and down, left and right."""
    y, x = np.mgrid[-reach_y : reach_y + 1, -reach_x : reach_x + 1]
    inside = (y / (reach_y + 0.5)) ** 2 + (x / (reach_x + 0.5)) ** 2 <= 1
    return tuple("".join("1" if pixel else "0" for pixel in row) for row in inside)
