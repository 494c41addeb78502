"""What the figures of the noise mean, in sentences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from napari_redenoise.noise._cases import case_of, lines_of
from napari_redenoise.noise._report import NoiseReport
from napari_redenoise.noise._sampling import noise_model
from napari_redenoise.noise._thresholds import (
    CLIPPED,
    FEW_HOMOGENEOUS,
    LARGE_MISFIT,
    SIGNIFICANT,
    VERY_SMOOTH,
)

FindingKind = Literal[
    "strength",
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
    """One thing that was found, in one sentence."""

    kind: FindingKind
    text: str


def describe(report: NoiseReport) -> tuple[Finding, ...]:
    """Say in plain sentences what a report holds, the most general first."""
    strength = Finding(
        "strength",
        f"The noise is {_number(report.noise_std)} grey levels RMS, at a mean level of "
        f"{_number(report.mean)}.",
    )
    case = case_of(report)
    if case == "clean":
        return (Finding("strength", "No noise was found: there is nothing to remove."),)
    if case == "unknown structure":
        unknown = Finding("structure", _unknown(report))
        processed = (finding for finding in _doubts(report) if finding.kind == "processing")
        return (strength, unknown, *_clipping(report), *processed)
    if case == "white by residual":
        doubts = (finding for finding in _doubts(report) if finding.kind != "structure")
        return strength, _by_residual(report), *_lines(report), *_clipping(report), *doubts
    return (
        strength,
        _photons(report),
        *_correlations(report),
        *_lines(report),
        *_clipping(report),
        *_doubts(report),
    )


def structure_in_words(report: NoiseReport) -> str:
    """What the network would remove that is structure it does not know; after "network would"."""
    residual = report.residual
    if residual is None or not residual.is_strong:
        return "remove structure with the noise"
    ratio = f"{residual.ratio:.2g}" if residual.ratio < 100 else "over 100"
    return f"remove {ratio} times as much as the noise"


def _unknown(report: NoiseReport) -> str:
    """Structure that the pretrained network does not know."""
    model = noise_model(report)
    noise = ""
    if model is not report.model:
        sigma = _number(float(model.std(report.mean)))
        noise = f" The noise itself is taken for {sigma} grey levels RMS at the mean level."
    return (
        f"The pretrained network would {structure_in_words(report)}: it does not know such "
        f"structure.{noise} Fine-tuned by R2R, it keeps most of it. Where you see hardly any "
        "noise, the image may be best as it is."
    )


def _by_residual(report: NoiseReport) -> Finding:
    """What the noise is taken for instead."""
    model = noise_model(report)
    sigma = _number(float(model.std(report.mean)))
    grows = f", and grows with the light ({_number(model.gain)} grey levels per photon)"
    return Finding(
        "structure",
        "Structure, or too few different grey levels, disturb this measurement. The residual of "
        "the pretrained network is white (independent from pixel to pixel), and is taken for the "
        f"noise: it is {sigma} grey levels RMS at the mean level{grows * bool(model.gain)}.",
    )


def _photons(report: NoiseReport) -> Finding:
    """What the noise depends on."""
    model = report.model
    if model.gain == 0:
        if not report.gain_is_known:
            return Finding(
                "photons",
                "Whether the noise grows with the light cannot be told: the grey levels of the "
                "image differ too little.",
            )
        return Finding(
            "photons", "Camera (read) noise alone: the noise does not depend on the light."
        )
    growth = f"the variance grows with the light ({_number(model.gain)} grey levels per photon)"
    total = float(model.variance(report.mean))
    if model.gain * (report.mean - model.offset) > 0.5 * total:
        return Finding("photons", f"Photon noise: {growth}.")
    return Finding(
        "photons",
        f"Camera (read) noise dominates, if the darkest region has no light; {growth}. If it has "
        "light, more is photon noise.",
    )


def _correlations(report: NoiseReport) -> list[Finding]:
    """Axes along which neighbours share noise, or that there are none."""
    found = report.autocorrelation
    axes = zip("yx", (found.y, found.x), found.reach, strict=True)
    said = [
        Finding("correlation", f"Correlated along {axis} (lag 1: {along[0]:.2f}, to lag {reach}).")
        for axis, along, reach in axes
        if reach
    ]
    white = Finding("correlation", "White: the noise of neighbouring pixels is independent.")
    return said or [white]


def _lines(report: NoiseReport) -> list[Finding]:
    """Offsets of whole rows and columns."""
    found = report.autocorrelation
    subtracted = lines_of([report]) != "none"
    then = " Automatic and R2R subtract them first." * subtracted
    return [
        Finding(
            "lines",
            f"{name} have offsets of their own ({share:.0%} of the noise): no blind spot "
            f"removes these.{then}",
        )
        for name, share in (("Rows", found.rows), ("Columns", found.columns))
        if share > SIGNIFICANT
    ]


def _clipping(report: NoiseReport) -> list[Finding]:
    """Ends of the scale at which pixels were cut off."""
    return [
        Finding("clipping", f"{share:.2g} % of the pixels are clipped at {_number(limit)}.")
        for share, limit in zip((100 * s for s in report.clipped), report.limits, strict=True)
        if share > 100 * CLIPPED
    ]


def _doubts(report: NoiseReport) -> list[Finding]:
    """What makes the figures less certain."""
    residual, said = report.residual, []
    if report.step > report.noise_std:
        said.append(
            Finding(
                "quantisation",
                f"Quantised: the noise spans fewer than 3 grey levels (steps of "
                f"{_number(report.step)}).",
            )
        )
    if report.misfit > LARGE_MISFIT:
        said.append(
            Finding(
                "processing",
                "The variance does not follow a straight line: the image may have been processed "
                "(gamma, sharpening, compression), or things moved.",
            )
        )
    smooth = min(report.autocorrelation.y[0], report.autocorrelation.x[0]) > VERY_SMOOTH
    if (smooth if residual is None else residual.is_strong) and report.frames == 1:
        kept = "" if residual is None else "; if it is structure, R2R keeps it"
        said.append(
            Finding(
                "structure",
                "Noise as smooth as this cannot be told from structure in one "
                f"image: if it is noise, there is probably more of it{kept}.",
            )
        )
    if report.homogeneous < FEW_HOMOGENEOUS and report.frames == 1:
        said.append(
            Finding(
                "structure",
                "Fine structure is nearly everywhere: the noise is probably less than this.",
            )
        )
    return said


def _number(value: float) -> str:
    """Three digits, and no exponent for the sizes that grey levels have."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(0, digits)}f}" if digits < 7 else f"{value:.3g}"
