"""The checks: what a figure is called, which mark it gets, what it means, what to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from napari_redenoise.assessment._residual import ResidualStatistics
from napari_redenoise.assessment._resolution import FINEST, Resolution
from napari_redenoise.assessment._support import PixelSize
from napari_redenoise.assessment._thresholds import (
    CONTRAST,
    CORRELATED,
    EXCESS,
    LARGE_ERROR,
    LITTLE,
    LOCAL_SHIFT,
    REMOVED,
    SHARE,
    SHARE_LEFT,
    SHIFT,
    UNCHANGED,
    UNSUPPORTED,
)
from napari_redenoise.noise import NoiseReport, describe, diagnose

Mark = Literal["good", "caution", "bad", "unknown"]

_DOUBTFUL = ("processing", "structure")
"""Findings that say that the noise of this image is not known well."""


@dataclass(frozen=True)
class QualityCheck:
    """One figure and what follows from it.

    Attributes
    ----------
    name : str
        Short title.
    mark : {"good", "caution", "bad", "unknown"}
    value : float or None
        None where it could not be measured.
    figure : str
        The value in words, with its unit.
    meaning : str
        One sentence: what the number is, and what it is not.
    advice : str
        One sentence: what to do; empty when the mark is good.
    """

    name: str
    mark: Mark
    value: float | None
    figure: str
    meaning: str
    advice: str = ""


def residual_checks(residual: ResidualStatistics, report: NoiseReport) -> tuple[QualityCheck, ...]:
    """All checks of one channel, always the same ones in the same order."""
    return (
        _brightness(residual),
        _structure(residual, report),
        _amount(residual, report),
        _change(residual, report),
        _contrast(residual),
    )


def _brightness(residual: ResidualStatistics) -> QualityCheck:
    shift, local = residual.shift, residual.local_shift
    name = "Mean brightness"
    meaning = (
        "How far the mean grey level moved, in per cent of the noisy image's range (0.1 to 99.9 "
        "percentile): noise alone does not move it, but a mean that was kept does not show that "
        "every structure has kept its brightness."
    )
    if math.isnan(shift):
        return _unknown(name, meaning, "the noisy image has one grey level only")
    global_mark = _graded(max(abs(shift) - 2 * residual.shift_error, 0.0), SHIFT)
    local_mark = "good" if math.isnan(local) else _graded(local, LOCAL_SHIFT)
    mark = max(global_mark, local_mark, key=("good", "caution", "bad").index)
    # Plus zero, or what rounds to nothing would keep a sign.
    figure = f"{round(shift, 2) + 0.0:+.2f} % of the grey-level range"
    if not math.isnan(local):
        figure += f", {local:.2f} % locally"
    advice = "Measure intensities in the noisy image, and train longer or with another objective."
    return _check(name, mark, shift, figure, meaning, advice)


def _structure(residual: ResidualStatistics, report: NoiseReport) -> QualityCheck:
    name = "Structure in what was removed"
    meaning = (
        "How much more neighbouring pixels of what was removed have in common than those of the "
        "noise (correlation at 1 and 2 pixels): more means that fine structure went with the "
        "noise, but structure that was invented does not show here."
    )
    pairs = list(zip(residual.correlation, residual.noise_correlation, strict=True))
    if math.isnan(residual.correlation_error) or math.isnan(pairs[0][0]):
        return _unknown(name, meaning, "nothing was removed, or no noise was found to compare with")
    excess = max(own - max(noise, 0.0) for own, noise in pairs)
    # Noise has no negative correlation of this size: it shows how far structure disturbed the
    # measurement of the noise.
    least = max(EXCESS[0], 3 * residual.correlation_error, *(-noise for _, noise in pairs))
    mark = _graded(excess, (least, max(EXCESS[1], 2 * least)))
    figure = f"correlation {round(excess, 3) + 0.0:+.3f} against that of the noise"
    advice = "Look for outlines in the difference of both images, and train longer or larger."
    # Where structure seems to be correlated noise, it stayed as it should.
    stayed = any(noise > CORRELATED and own < REMOVED * noise for own, noise in pairs)
    case = diagnose([report], fine_tuning=True).case
    if mark == "good" and stayed and case != "unknown structure":
        mark, figure = "caution", f"{figure}; the correlated part of the noise stayed"
        advice = "Train with the objective auto, which hides as much as the noise is correlated."
    return _check(name, mark, excess, figure, meaning, advice)


def _amount(residual: ResidualStatistics, report: NoiseReport) -> QualityCheck:
    name = "Amount removed"
    meaning = (
        "Mean square of what was removed over the variance that the noise of this image should "
        "have: near 100 % the amount is right, which does not show that the right thing was "
        "removed."
    )
    share, error = residual.share, 2 * residual.share_error
    doubt = _doubt(residual, report)
    if doubt:
        return _unknown(name, meaning, doubt, share)
    figure = f"{100 * share:.0f} % of the noise expected (± {100 * error:.0f} %)"
    if share + error < SHARE_LEFT:
        advice = "Noise was left: train longer, or choose another objective."
        return QualityCheck(name, "caution", share, figure, meaning, advice)
    advice = "More than noise was removed: look for the specimen in the difference of both images."
    return _check(name, _graded(max(share - error, 0.0), SHARE), share, figure, meaning, advice)


def _doubt(residual: ResidualStatistics, report: NoiseReport) -> str:
    """Why the amount of noise cannot be judged, or nothing."""
    if report.is_clean:
        return "no noise was found in the noisy image"
    if math.isnan(residual.share):
        return "nearly all pixels are clipped or missing"
    if not report.gain_is_known:
        return "whether the noise grows with the light cannot be told from this image"
    if any(finding.kind in _DOUBTFUL for finding in describe(report)):
        return "the noise of this image cannot be told from its fine structure or processing"
    if 2 * residual.share_error > LARGE_ERROR * max(residual.share, SHARE_LEFT):
        return "the noise of this image is not known well enough"
    return ""


def _change(residual: ResidualStatistics, report: NoiseReport) -> QualityCheck:
    name = "Change of the image"
    meaning = (
        "Whether anything was done at all: an image that was hardly changed passes most other "
        "checks, since nothing of the specimen was lost."
    )
    share = residual.share
    if math.isnan(share):
        return _unknown(name, meaning, "no noise was found to compare the change with")
    if share < UNCHANGED:
        figure = f"nearly the same as the noisy image ({100 * share:.1f} % of the noise removed)"
        advice = "Train longer, or check that the result belongs to this image."
        return QualityCheck(name, "bad", share, figure, meaning, advice)
    return QualityCheck(name, "good", share, "differs from the noisy image", meaning)


def _contrast(residual: ResidualStatistics) -> QualityCheck:
    name = "Bright places and edges"
    meaning = (
        "Mean square of what was removed, in units of the noise expected, in the brightest or most "
        "structured tenth of the image over the other half: above 1 something else than noise was "
        "removed there, or the noise there is stronger than measured."
    )
    ratio = residual.contrast
    if math.isnan(ratio) or residual.share < LITTLE:
        return _unknown(name, meaning, "too little was removed, or the image is too small")
    advice = "Compare edges and bright spots with the noisy image: they may be blurred or dimmed."
    figure = f"{ratio:.2f} times as much as elsewhere"
    return _check(name, _graded(ratio, CONTRAST), ratio, figure, meaning, advice)


def resolution_check(
    found: Sequence[Resolution | str], pixel_size: PixelSize | None = None
) -> QualityCheck:
    """The check of the supported resolution: of several channels the coarsest, which it names.

    Parameters
    ----------
    found : sequence of Resolution or str
        Of every channel, or why it cannot be told.
    pixel_size : (float, str), optional
        Side of a pixel and its unit.
    """
    name = "Supported resolution"
    meaning = (
        "The scale (pixels from one line of a grating to the next) down to which the result has a "
        "correlation of at least 0.7 with the image without noise, estimated by photon thinning "
        "in the middle of the image: finer detail in the result may be invented, however sharp it "
        "looks; coarser detail is right in general, which does not prove a single one."
    )
    known = [(part.supported, n) for n, part in enumerate(found) if isinstance(part, Resolution)]
    channel = max(known)[1] if known else 0
    resolution = found[channel]
    if isinstance(resolution, str):
        advice = "Compare fine detail with another shot of the same scene."
        return _unknown(name, meaning, resolution, advice=advice)
    figure, limit = _supported_in_words(resolution, pixel_size), resolution.supported
    contrast = resolution.unsupported_contrast
    mark: Mark = "good" if contrast <= UNSUPPORTED else "caution"
    figure += f"; {100 * contrast:.0f} % of the contrast of the result is finer" * (mark != "good")
    figure += f" (channel {channel})" * (len(found) > 1)
    advice = (
        "Do not interpret such details: the layer Unsupported detail, of the tab Result, shows "
        "where they are."
    )
    value = None if math.isinf(limit) else limit
    return QualityCheck(name, mark, value, figure, meaning, advice if mark != "good" else "")


def _supported_in_words(resolution: Resolution, pixel_size: PixelSize | None) -> str:
    limit = resolution.supported
    if math.isinf(limit):
        coarsest = in_pixels(resolution.bands[0].coarse, pixel_size)
        return f"no detail of up to {coarsest} is supported by the photons here"
    if limit <= FINEST:
        return "all detail down to the pixels is supported by the photons here"
    scale = in_pixels(limit, pixel_size)
    return f"details finer than {scale} are not supported by the photons here"


def in_pixels(scale: float, pixel_size: PixelSize | None) -> str:
    """A scale in pixels, and in units where the size of a pixel is known."""
    if pixel_size is None:
        return f"{scale:.1f} px"
    size, unit = pixel_size
    return f"{scale:.1f} px ({scale * size:.2g} {unit})"


def _graded(value: float, bars: tuple[float, float]) -> Mark:
    return "good" if value <= bars[0] else "caution" if value <= bars[1] else "bad"


def _check(
    name: str, mark: Mark, value: float, figure: str, meaning: str, advice: str
) -> QualityCheck:
    """A check whose advice is for other marks than good."""
    return QualityCheck(name, mark, value, figure, meaning, "" if mark == "good" else advice)


def _unknown(
    name: str,
    meaning: str,
    reason: str,
    value: float = math.nan,
    advice: str = "Judge this by eye, in the difference of both images.",
) -> QualityCheck:
    known = None if math.isnan(value) else value
    return QualityCheck(name, "unknown", known, f"cannot be told: {reason}", meaning, advice)
