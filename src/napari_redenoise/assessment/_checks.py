"""The quality checks: name, mark, value, meaning and advice of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from napari_redenoise.assessment._residual import ResidualStatistics
from napari_redenoise.assessment._resolution import FINEST, Resolution
from napari_redenoise.assessment._stack import StackStatistics
from napari_redenoise.assessment._support import PixelSize
from napari_redenoise.assessment._thresholds import (
    ALTERNATING,
    CONTRAST,
    CORRELATED,
    EXCESS,
    FLICKER,
    LARGE_ERROR,
    LITTLE,
    LOCAL_SHIFT,
    REMOVED,
    SHARE,
    SHARE_LEFT,
    SHIFT,
    SMEARED,
    UNCHANGED,
    UNSUPPORTED,
)
from napari_redenoise.noise import NoiseReport, describe, diagnose, noise_model

NEIGHBOURS = "Smearing between planes"
"""Name of the check that needs a denoiser of single planes."""

Mark = Literal["good", "caution", "bad", "unknown"]

_DOUBTFUL = ("processing", "structure")
"""Findings that make the noise estimate of an image unreliable."""


_NO_GAIN = "this image does not show whether its noise grows with the signal"


@dataclass(frozen=True)
class QualityCheck:
    """One quality check of a denoised image.

    Attributes
    ----------
    name : str
        Short title.
    mark : {"good", "caution", "bad", "unknown"}
    value : float or None
        None where it cannot be measured.
    figure : str
        The value with its unit, in words.
    meaning : str
        What the value shows, and what it does not show.
    advice : str
        What to do; empty when the mark is good.
    """

    name: str
    mark: Mark
    value: float | None
    figure: str
    meaning: str
    advice: str = ""


_NOTHING = "there are no pixels to compare, or they have a single grey level"


def residual_checks(residual: ResidualStatistics, report: NoiseReport) -> tuple[QualityCheck, ...]:
    """Checks of the residual of one channel, always in the same order."""
    return (
        _brightness(residual),
        _structure(residual, report),
        _noise_removed(residual, report),
        _change(residual, report),
        _contrast(residual, report),
    )


def _brightness(residual: ResidualStatistics) -> QualityCheck:
    shift, local = residual.shift, residual.local_shift
    name = "Mean brightness"
    meaning = (
        "Shift of the mean grey level, in per cent of the range of the noisy image (0.1 to 99.9 "
        "percentile). Removing noise does not shift it. An unchanged mean does not show that "
        "every structure has kept its brightness."
    )
    if math.isnan(shift):
        return _unknown(name, meaning, _NOTHING)
    global_mark = _graded(max(abs(shift) - 2 * residual.shift_error, 0.0), SHIFT)
    local_mark = "good" if math.isnan(local) else _graded(local, LOCAL_SHIFT)
    mark = max(global_mark, local_mark, key=("good", "caution", "bad").index)
    # Adding zero removes the sign of a negative zero.
    figure = f"{round(shift, 2) + 0.0:+.2f} % of the grey-level range"
    if not math.isnan(local):
        figure += f", {local:.2f} % locally"
    advice = "Measure intensities in the noisy image, and train longer or with another objective."
    return _check(name, mark, shift, figure, meaning, advice)


def _structure(residual: ResidualStatistics, report: NoiseReport) -> QualityCheck:
    name = "Structure in the residual"
    meaning = (
        "Autocorrelation of the residual at lags of 1 and 2 pixels, minus that of the noise. A "
        "larger value means that fine structure was removed with the noise. Invented structure "
        "does not show here."
    )
    pairs = list(zip(residual.correlation, residual.noise_correlation, strict=True))
    if math.isnan(residual.correlation_error) or math.isnan(pairs[0][0]):
        return _unknown(
            name, meaning, "the residual is zero, or no noise was found to compare with"
        )
    excess = max(own - max(noise, 0.0) for own, noise in pairs)
    # Noise has no such negative correlation: it shows how far structure disturbed the noise
    # estimate.
    least = max(EXCESS[0], 3 * residual.correlation_error, *(-noise for _, noise in pairs))
    mark = _graded(excess, (least, max(EXCESS[1], 2 * least)))
    figure = f"autocorrelation {round(excess, 3) + 0.0:+.3f} relative to the noise"
    advice = "Look for outlines in the residual, and train longer or with a larger network."
    # Structure that looks like correlated noise has to remain.
    stayed = any(noise > CORRELATED and own < REMOVED * noise for own, noise in pairs)
    found = diagnose([report], fine_tuning=True)
    if found.smooth_scales:
        advice = "Smooth noise went with the finest detail: compare with the raw image if you can."
    elif mark == "good" and stayed and found.case != "unknown structure":
        mark, figure = "caution", f"{figure}; correlated noise remains"
        advice = "Train with the objective auto, whose blind spot covers the correlated pixels."
    # A pattern such as a colour mosaic: its lags cancel in the mean.
    if mark == "good" and residual.alternation >= ALTERNATING:
        mark, figure = "caution", f"{figure}; it alternates in sign from pixel to pixel"
        advice = "Look for a pattern in the residual, as of a colour (Bayer) mosaic."
    return _check(name, mark, excess, figure, meaning, advice)


def _noise_removed(residual: ResidualStatistics, report: NoiseReport) -> QualityCheck:
    name = "Noise removed"
    meaning = (
        "Mean square of the residual, in per cent of the expected noise variance. A value near "
        "100 % is right, but does not show that only noise was removed."
    )
    share, error = residual.share, 2 * residual.share_error
    doubt = _doubt(residual, report)
    if doubt:
        return _unknown(name, meaning, doubt, share)
    figure = f"{100 * share:.0f} % of the expected noise variance (± {100 * error:.0f} %)"
    if share + error < SHARE_LEFT:
        advice = "Noise remains: train longer, or choose another objective."
        return QualityCheck(name, "caution", share, figure, meaning, advice)
    advice = "More than noise was removed: look for structure in the residual."
    return _check(name, _graded(max(share - error, 0.0), SHARE), share, figure, meaning, advice)


def _doubt(residual: ResidualStatistics, report: NoiseReport) -> str:
    """Why the noise removed cannot be judged, or an empty string."""
    if report.is_clean:
        return "no noise was found in the noisy image"
    if math.isnan(residual.share):
        return "nearly all pixels are clipped or missing"
    if not report.is_gain_known:
        return _NO_GAIN
    if any(finding.kind in _DOUBTFUL for finding in describe(report)):
        return "the noise cannot be separated from fine structure or processing"
    if 2 * residual.share_error > LARGE_ERROR * max(residual.share, SHARE_LEFT):
        return "the noise estimate is too uncertain"
    return ""


def _change(residual: ResidualStatistics, report: NoiseReport) -> QualityCheck:
    name = "Change of the image"
    meaning = (
        "Whether the image was changed at all. A nearly unchanged image passes most other checks, "
        "since nothing of the specimen is lost. Pixels far beyond all their neighbours are taken "
        "for hot pixels, as are bright spots that are smaller than a pixel."
    )
    share = residual.share
    if math.isnan(share):
        return _unknown(name, meaning, "no noise was found to compare the change with")
    if share < UNCHANGED:
        figure = f"nearly the same as the noisy image ({100 * share:.1f} % of the noise removed)"
        advice = "Train longer, or check that the result belongs to this image."
        return QualityCheck(name, "bad", share, figure, meaning, advice)
    figure = "differs from the noisy image"
    if residual.outliers:
        share_of_hot = f"{100 * residual.outlier_share:.2g} %"
        figure += f"; {residual.outliers} pixels were taken for hot pixels ({share_of_hot})"
    return QualityCheck(name, "good", share, figure, meaning)


def _contrast(residual: ResidualStatistics, report: NoiseReport) -> QualityCheck:
    name = "Bright regions and edges"
    meaning = (
        "Mean square of the residual over the expected noise variance, in the brightest or most "
        "structured tenth of the image, relative to the darker or smoother half. Above 1, more "
        "than noise was removed there, or the noise there is larger than estimated."
    )
    ratio = residual.contrast
    if noise_model(report) is report.model and not report.is_gain_known:
        return _unknown(name, meaning, _NO_GAIN)
    if math.isnan(ratio) or residual.share < LITTLE:
        return _unknown(name, meaning, "too little noise was removed, or the image is too small")
    advice = "Compare edges and bright spots with the noisy image: they may be blurred or dimmed."
    figure = f"{ratio:.2f} times the residual elsewhere"
    return _check(name, _graded(ratio, CONTRAST), ratio, figure, meaning, advice)


def stack_checks(stack: StackStatistics) -> tuple[QualityCheck, ...]:
    """Checks of one channel of a stack: from plane to plane, and of its neighbours."""
    return _between_planes(stack), _smeared(stack)


def _between_planes(stack: StackStatistics) -> QualityCheck:
    name = "Residual between planes"
    meaning = (
        "How much the mean grey level of the residual varies between planes, in per cent of the "
        "range of the noisy image, and the autocorrelation of the residual between neighbouring "
        "planes. Noise of one plane says nothing about that of the next, so more means flicker, "
        "or structure that was removed in all planes."
    )
    flicker, correlation = stack.flicker, stack.correlation
    if math.isnan(flicker) or math.isnan(correlation):
        return _unknown(name, meaning, _NOTHING)
    least = max(EXCESS[0], 3 * stack.correlation_error)
    marks = (_graded(flicker, FLICKER), _graded(correlation, (least, max(EXCESS[1], 2 * least))))
    mark = max(marks, key=("good", "caution", "bad").index)
    figure = (
        f"mean varies by {flicker:.2f} % of the grey-level range, autocorrelation along "
        f"{stack.axis} {round(correlation, 3) + 0.0:+.3f}"
    )
    advice = "Measure intensities in the noisy image, and look for outlines in the residual."
    return _check(name, mark, flicker, figure, meaning, advice)


def _smeared(stack: StackStatistics) -> QualityCheck:
    name = NEIGHBOURS
    meaning = (
        "Share of the pixels of a window of a plane (256 x 256, at another place in every plane) "
        "where the residual has a local mean beyond noise that it does not have when the plane is "
        "denoised alone: brightness of neighbouring planes was drawn into it, or its own lost, as "
        "where objects move or blink."
    )
    share = stack.smeared
    if math.isnan(share):
        return _unknown(name, meaning, "no plane was denoised alone")
    figure = f"{100 * share:.2g} % of the pixels of a window smeared"
    figure += f", at most in plane {stack.plane} along {stack.axis}" * (share > SMEARED[0])
    advice = "Denoise without neighbours, and compare both in this plane."
    return _check(name, _graded(share, SMEARED), share, figure, meaning, advice)


def resolution_check(
    found: Sequence[Resolution | str], pixel_size: PixelSize | None = None
) -> QualityCheck:
    """The check of the supported resolution, for the channel where it is coarsest.

    Parameters
    ----------
    found : sequence of Resolution or str
        Of every channel, or the reason why there is none.
    pixel_size : (float, str), optional
        Side of a pixel and its unit.
    """
    name = "Supported resolution"
    meaning = (
        "Finest scale (period of a grating, in pixels) at which the result correlates by at least "
        "0.7 with the noise-free image, estimated by photon thinning in the middle of the image. "
        "Finer detail may be invented, however sharp it looks. Coarser detail is right in "
        "general, which proves no single structure."
    )
    known = [(part.supported, n) for n, part in enumerate(found) if isinstance(part, Resolution)]
    channel = max(known)[1] if known else 0
    resolution = found[channel]
    if isinstance(resolution, str):
        advice = "Compare fine detail with a second shot of the same scene."
        return _unknown(name, meaning, resolution, advice=advice)
    figure, limit = _supported_in_words(resolution, pixel_size), resolution.supported
    contrast = resolution.unsupported_contrast
    mark: Mark = "good" if contrast <= UNSUPPORTED else "caution"
    figure += f"; {100 * contrast:.0f} % of the contrast of the result is finer" * (mark != "good")
    figure += f" (channel {channel})" * (len(found) > 1)
    advice = "Do not interpret such detail: Result > Unsupported detail shows where it is."
    value = None if math.isinf(limit) else limit
    return QualityCheck(name, mark, value, figure, meaning, advice if mark != "good" else "")


def _supported_in_words(resolution: Resolution, pixel_size: PixelSize | None) -> str:
    limit = resolution.supported
    if math.isinf(limit):
        coarsest = in_pixels(resolution.bands[0].coarse, pixel_size)
        return f"the photons support no detail finer than {coarsest}"
    if limit <= FINEST:
        return "the photons support all detail down to the pixels"
    scale = in_pixels(limit, pixel_size)
    return f"the photons do not support detail finer than {scale}"


def in_pixels(scale: float, pixel_size: PixelSize | None) -> str:
    """A scale in pixels, and in the unit of the pixel size where it is known.

    Parameters
    ----------
    scale : float
        Pixels.
    pixel_size : (float, str) or None
        Side of a pixel and its unit.
    """
    if pixel_size is None:
        return f"{scale:.1f} px"
    size, unit = pixel_size
    return f"{scale:.1f} px ({scale * size:.2g} {unit})"


def _graded(value: float, bars: tuple[float, float]) -> Mark:
    return "good" if value <= bars[0] else "caution" if value <= bars[1] else "bad"


def _check(
    name: str, mark: Mark, value: float, figure: str, meaning: str, advice: str
) -> QualityCheck:
    """A check with its advice, unless the mark is good."""
    return QualityCheck(name, mark, value, figure, meaning, "" if mark == "good" else advice)


def _unknown(
    name: str,
    meaning: str,
    reason: str,
    value: float = math.nan,
    advice: str = "Check the residual by eye.",
) -> QualityCheck:
    known = None if math.isnan(value) else value
    return QualityCheck(name, "unknown", known, f"not checked, because {reason}", meaning, advice)
