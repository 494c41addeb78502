"""Describe a noise report in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from napari_redenoise.noise._diagnosis import lines_with_offsets, noise_case, noise_model
from napari_redenoise.noise._report import NoiseReport
from napari_redenoise.noise._thresholds import (
    CLIPPED,
    FEW_HOMOGENEOUS,
    LARGE_MISFIT,
    SIGNIFICANT,
    VERY_SMOOTH,
)

FindingKind = Literal[
    "sigma",
    "photons",
    "correlation",
    "lines",
    "clipping",
    "quantisation",
    "processing",
    "structure",
]


@dataclass(frozen=True)
class Finding:
    """One finding in one sentence."""

    kind: FindingKind
    text: str


def describe(report: NoiseReport) -> tuple[Finding, ...]:
    """Describe a report in plain sentences, the most general first."""
    case = noise_case(report)
    if case == "clean":
        return (Finding("sigma", "No noise was found: there is nothing to remove."),)
    sigma = f"The noise is {_number(report.noise_std)} grey levels RMS, at a mean level of"
    findings = [Finding("sigma", f"{sigma} {_number(report.mean)}.")]
    lines, clipping, doubts = _lines(report), _clipping(report), list(_doubts(report))
    if case == "unknown structure":
        findings += [Finding("structure", _unknown_structure(report)), *clipping]
        return *findings, *(doubt for doubt in doubts if doubt.kind == "processing")
    if case == "white by residual":
        findings += [Finding("structure", _white_residual(report)), *lines, *clipping]
        return *findings, *(doubt for doubt in doubts if doubt.kind != "structure")
    findings += [Finding("photons", _photons(report)), *_correlations(report)]
    findings += [*_smooth_noise(report), *_planes(report)]
    return *findings, *lines, *clipping, *doubts


def few_photons_in_words(reports: Iterable[NoiseReport]) -> str:
    """What so few photons do to the result, and the remedy; empty where there are enough."""
    sides = [report.binning for report in reports]
    if not any(side > 1 for side in sides):
        return ""
    return (
        "so few pixels count a photon that faint areas come out too dark: sum frames, or bin "
        f"{max(sides)} x {max(sides)} pixels"
    )


def structure_in_words(report: NoiseReport) -> str:
    """What the network would do to structure that it does not know; follows "network would"."""
    residual = report.residual
    if residual is None or not residual.is_strong:
        return "remove structure with the noise"
    ratio = f"{residual.ratio:.2g}" if residual.ratio < 100 else "over 100"
    return f"remove {ratio} times as much as the noise"


def _unknown_structure(report: NoiseReport) -> str:
    model = noise_model(report)
    noise = ""
    if model is not report.model:
        sigma = _number(float(model.std(report.mean)))
        noise = f" The noise itself is estimated at {sigma} grey levels RMS at the mean level."
    return (
        f"The pretrained network would {structure_in_words(report)}: it does not know such "
        f"structure.{noise} Fine-tuning by R2R keeps most of the structure. If you see hardly any "
        "noise, keep the image as it is."
    )


def _white_residual(report: NoiseReport) -> str:
    model = noise_model(report)
    sigma = _number(float(model.std(report.mean)))
    grows = f"; its variance grows with the signal ({_number(model.gain)} grey levels per photon)"
    return (
        "Structure, or too few grey levels, disturb this measurement. The residual of the "
        "pretrained network is white (independent from pixel to pixel), so it is the noise: "
        f"{sigma} grey levels RMS at the mean level{grows * bool(model.gain)}."
    )


def _photons(report: NoiseReport) -> str:
    """Describe how the noise depends on the signal."""
    model = report.model
    if model.gain == 0:
        if not report.is_gain_known:
            return (
                "Whether the noise grows with the signal cannot be measured: the grey levels of "
                "the image differ too little."
            )
        return "Camera (read) noise alone: the noise does not depend on the signal."
    growth = f"the variance grows with the signal ({_number(model.gain)} grey levels per photon)"
    total = float(model.variance(report.mean))
    if model.gain * (report.mean - model.offset) > 0.5 * total:
        return f"Photon noise: {growth}."
    return (
        f"Camera (read) noise dominates if the darkest region holds no signal; {growth}. Otherwise "
        "there is more photon noise."
    )


def _correlations(report: NoiseReport) -> list[Finding]:
    noise = report.autocorrelation
    axes = zip("yx", (noise.y, noise.x), noise.reach, strict=True)
    correlated = [
        Finding("correlation", f"Correlated along {axis} (lag 1: {along[0]:.2f}, to lag {reach}).")
        for axis, along, reach in axes
        if reach
    ]
    white = Finding("correlation", "White: the noise of neighbouring pixels is independent.")
    return correlated or [white]


def _smooth_noise(report: NoiseReport) -> Iterator[Finding]:
    """Noise that is removed at coarser scales."""
    if report.residual is not None and report.residual.smooth_scales:
        yield Finding(
            "correlation",
            "The grains of the noise are several pixels wide, and the pretrained network would "
            "keep them as structure. Automatic removes them first, in a smaller image"
            f"{', unless neighbouring planes are used' * (report.planes != 'none')}.",
        )


def _planes(report: NoiseReport) -> Iterator[Finding]:
    """What neighbouring planes mean for the training."""
    if report.planes == "shared":
        yield Finding(
            "correlation",
            "Neighbouring planes share noise (averaged, interpolated or repeated planes), so each "
            "is denoised alone: denoise the raw planes if you have them.",
        )
    elif report.planes == "alike":
        yield Finding(
            "correlation",
            "The two planes share noise or fine texture, which two planes do not tell apart, so "
            "each is denoised alone: give a third plane if you have one.",
        )
    elif report.planes == "independent" and any(report.autocorrelation.reach):
        yield Finding(
            "correlation",
            "The noise of neighbouring planes is independent, and blind spots hide one plane only: "
            "so the correlation costs less with neighbours. Leave them on automatic.",
        )


def _lines(report: NoiseReport) -> list[Finding]:
    noise = report.autocorrelation
    is_corrected = lines_with_offsets([report]) != "none"
    then = " Automatic and R2R subtract them first." * is_corrected
    return [
        Finding(
            "lines",
            f"{name} have a regular pattern ({share:.0%} of the noise), as of fringes. If it is "
            "structure, it may be lost; if not, choose the line correction by hand."
            if name.lower() in noise.patterned
            else f"{name} have offsets of their own ({share:.0%} of the noise): no blind spot "
            f"removes these.{then}",
        )
        for name, share in (("Rows", noise.rows), ("Columns", noise.columns))
        if share > SIGNIFICANT
    ]


def _clipping(report: NoiseReport) -> list[Finding]:
    return [
        Finding("clipping", f"{100 * share:.2g} % of the pixels are clipped at {_number(limit)}.")
        for share, limit in zip(report.clipped, report.limits, strict=True)
        if share > CLIPPED
    ]


def _doubts(report: NoiseReport) -> Iterator[Finding]:
    """Describe what makes the numbers less certain."""
    if report.step > report.noise_std:
        steps = f"(steps of {_number(report.step)})"
        text = f"Quantised: the noise spans fewer than 3 grey levels {steps}."
        yield Finding("quantisation", text)
    if report.misfit > LARGE_MISFIT:
        yield Finding(
            "processing",
            "The variance does not follow a straight line: the image was probably processed "
            "(gamma, sharpening, compression), or things moved.",
        )
    if report.frames > 1:
        return
    residual = report.residual
    is_smooth = min(report.autocorrelation.y[0], report.autocorrelation.x[0]) > VERY_SMOOTH
    if is_smooth if residual is None else residual.is_strong:
        kept = "" if residual is None else "; if it is structure, R2R keeps it"
        yield Finding(
            "structure",
            "Such smooth noise cannot be told from structure in one image: if it is noise, there "
            f"is probably more of it{kept}.",
        )
    if report.homogeneous < FEW_HOMOGENEOUS:
        yield Finding(
            "structure",
            "Fine structure is nearly everywhere: the noise is probably less than this.",
        )


def _number(value: float) -> str:
    """Format three digits, without an exponent for the sizes of grey levels."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(0, digits)}f}" if digits < 7 else f"{value:.3g}"
