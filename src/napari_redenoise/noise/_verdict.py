"""What the figures mean, in sentences, and which training suits the noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal

import numpy as np

from napari_redenoise.config import Lines
from napari_redenoise.noise._model import NoiseModel, NoiseReport

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

_SIGNIFICANT = 0.05
_ERRORS = 4.0
_CLIPPED = 0.0005
_LARGE_MISFIT = 0.12
_FEW_HOMOGENEOUS = 0.05

_MORE = 1.1
"""What else than the noise a network removes: real noise is 0.94 to 1.02 (docs/benchmarks.md)."""

_VERY_SMOOTH = 0.5

_SMOOTH = 0.3
"""What neighbours share of noise that may be stronger than it was measured."""

_INDEPENDENT = 0.05
"""What neighbours may share of what a network removes: on real white noise -0.06 to 0.05."""

_HOMOGENEOUS = 0.3
"""Share of homogeneous places from which on these tell the noise, if the network removes more."""

_NEXT_ONLY = 0.4
"""Correlation at lag 2 over that at lag 1, up to which a network tells smooth noise: blurred by
more than a pixel it is 0.5 and more, and taken for structure."""

_LEFT = 1.25
"""Deviation of the noise over that of what is removed, at most: 0.82 was removed of BPAE_R's."""

_FLAT = 0.5
"""Growth of the variance over its mean that is as good as none."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found, in one sentence."""

    kind: FindingKind
    text: str


@dataclass(frozen=True)
class Recommendation:
    """How to train on an image with this noise.

    Parameters
    ----------
    objective : {"noise2self", "noise2void", "r2r"}
        Name of the objective.
    mask_shape : tuple of str
        Drawing of the blind spot: rows of 0 and 1, odd sizes, the pixel itself in the centre.
    reason : str
    lines : {"none", "rows", "columns", "both"}
        Which lines have offsets of their own, to be subtracted before anything is learned.

    Notes
    -----
    R2R is recommended to adapt a network that knows images already, where the noise is known. From
    random weights it learns more slowly than Noise2Self; but a network that is shown pictures as
    they are forgets with blind spots how to use the pixel itself (docs/warm-start.md). With
    offsets of lines the recommendation is a first one: without them the noise is another.
    """

    objective: Literal["noise2self", "noise2void", "r2r"]
    mask_shape: tuple[str, ...]
    reason: str
    lines: Lines = "none"


def describe(report: NoiseReport) -> tuple[Finding, ...]:
    """Say in plain sentences what a report holds, the most general first."""
    strength = Finding(
        "strength",
        f"The noise is {_number(report.noise_std)} grey levels RMS, at a mean level of "
        f"{_number(report.mean)}.",
    )
    if is_clean(report):
        return (Finding("strength", "No noise was found: there is nothing to remove."),)
    if has_unknown_structure(report):
        unknown = Finding(
            "structure",
            f"The shipped network would remove {times_in_words(report)} as much: structure "
            "that it does not know. Adapted by R2R, it keeps most of that. Where you see hardly "
            "any noise, the image may be best as it is.",
        )
        processed = (finding for finding in _doubts(report) if finding.kind == "processing")
        return (strength, unknown, *_clipping(report), *processed)
    if _is_told_by_network(report):
        return (
            strength,
            _told_by_network(report),
            *_lines(report),
            *_clipping(report),
            *(finding for finding in _doubts(report) if finding.kind != "structure"),
        )
    return (
        strength,
        _photons(report),
        *_correlations(report),
        *_lines(report),
        *_clipping(report),
        *_doubts(report),
    )


def recommend(report: NoiseReport, *, adapting: bool = True) -> Recommendation:
    """Choose the objective and the blind spot for an image with this noise.

    Parameters
    ----------
    report : NoiseReport
    adapting : bool
        Whether the training begins with weights that know images, or with random ones.

    Notes
    -----
    A blind spot of one pixel rests on noise that is independent from pixel to pixel. Where it is
    not, the blind spot has to reach as far as the correlation does (Broaddus et al., "Removing
    Structured Noise with Self-Supervised Blind-Spot Networks", ISBI 2020).
    """
    if adapting and has_unknown_structure(report):
        reason = "the shipped network does not know such structure"
        return Recommendation("r2r", ("1",), reason)
    if is_clean(report):
        return Recommendation("noise2self", ("1",), "no noise was found")
    lines = lines_of(report)
    reach = reach_y, reach_x = correlation_reach(report)
    if reach == (0, 0) or (adapting and is_independent(report)):
        reason = "the noise is independent from pixel to pixel"
        if lines != "none":
            reason += " but for offsets of lines"
        if adapting and can_be_drawn(report):
            reason += " and its strength is known"
            return Recommendation("r2r", ("1",), reason, lines)
        return Recommendation("noise2self", ("1",), reason, lines)
    shape = blind_spot(*reach)
    if reach_y and reach_x:
        where = f"along y to lag {reach_y} and along x to lag {reach_x}"
    else:
        where = f"along {'y' if reach_y else 'x'} to lag {max(reach)}"
    reason = f"the noise is correlated {where}, so the neighbours in the blind spot are hidden too"
    return Recommendation("noise2void", shape, reason, lines)


def is_known(report: NoiseReport) -> bool:
    """Whether the model of the noise can be drawn from."""
    is_noisy = bool(report.model.gain or report.model.read_noise)
    return report.gain_is_known and is_noisy and report.misfit <= _LARGE_MISFIT


def is_independent(report: NoiseReport) -> bool:
    """Whether what the shipped network removes shows that the noise is white.

    Structure as fine as pixels seems to be correlated noise where it is looked for in homogeneous
    places. A network tells both apart, unless the noise is smooth.
    """
    removed = report.removed
    if removed is None or removed.noise is None or max(removed.correlation) > _INDEPENDENT:
        return False
    if removes_more(report) and not _FEW_HOMOGENEOUS <= report.homogeneous <= _HOMOGENEOUS:
        # Enough such places tell the noise; where there are none, structure was measured with it,
        # and it is not more than that.
        return False
    least = max(_SIGNIFICANT, _ERRORS * report.autocorrelation.error)
    return all(
        along[0] <= least or along[1] <= _NEXT_ONLY * along[0]
        for along in correlation_without_lines(report)
    )


def can_be_drawn(report: NoiseReport) -> bool:
    """Whether there is a model of white noise to draw from: `drawn_from`."""
    return is_known(report) or is_independent(report) or _is_flat(report)


def _is_told_by_network(report: NoiseReport) -> bool:
    """Whether the noise is rather what the shipped network removes than what was measured."""
    is_trusted = is_known(report) and correlation_reach(report) == (0, 0)
    return not is_trusted and is_independent(report)


def _is_flat(report: NoiseReport) -> bool:
    """Whether noise of unknown growth may be taken for Gaussian of one strength.

    What the network removes holds structure, but does not grow with the light.
    """
    removed = report.removed
    return (
        removed is not None
        and removed.noise is not None
        and report.model.gain == 0
        and report.noise_std > 0
        and abs(removed.growth) < _FLAT
    )


def drawn_from(report: NoiseReport) -> NoiseModel:
    """The model of the noise, or where that is not known of what the shipped network removes.

    Notes
    -----
    A network leaves some of the noise, so what it removes is the least. If more was measured, that
    is taken, up to a quarter more; not where structure is nearly everywhere, which was then
    measured with it.
    """
    removed = report.removed
    if removed is None or removed.noise is None or not _is_told_by_network(report):
        return report.model
    found = removed.noise
    least = float(found.std(report.mean))
    if report.homogeneous < _FEW_HOMOGENEOUS or not least:
        return found
    more = float(np.clip(report.model.std(report.mean) / least, 1.0, _LEFT))
    return NoiseModel(more**2 * found.gain, found.offset, more * found.read_noise)


def lines_of(*reports: NoiseReport) -> Lines:
    """Which lines have offsets of their own, in any of several channels.

    Where the steps between grey levels are all the noise, a slope looks like that as well, and so
    may structure.
    """
    known = [
        r
        for r in reports
        if not is_clean(r) and not has_unknown_structure(r) and r.step <= r.noise_std
    ]
    rows, columns = (
        any(share(report.autocorrelation) > _SIGNIFICANT for report in known)
        for share in (attrgetter("rows"), attrgetter("columns"))
    )
    if rows and columns:
        return "both"
    return "rows" if rows else "columns" if columns else "none"


def correlation_reach(report: NoiseReport) -> tuple[int, int]:
    """Lags along y and x up to which the noise is correlated without a gap.

    What a whole line has in common is correlated at every lag alike; it is left out.
    """
    least = max(_SIGNIFICANT, _ERRORS * report.autocorrelation.error)
    reach_y, reach_x = (
        next((lag for lag, value in enumerate(along) if abs(value) < least), len(along))
        for along in correlation_without_lines(report)
    )
    return reach_y, reach_x


def correlation_without_lines(
    report: NoiseReport,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Correlation at lags 1, 2, ... along y and x, without what whole lines have in common."""
    found = report.autocorrelation
    return _without_lines(found.y, found.columns), _without_lines(found.x, found.rows)


def _without_lines(along: tuple[float, ...], share: float) -> tuple[float, ...]:
    """Correlation along an axis, without that of lines along it; their share of the deviation."""
    common = float(np.median(along[len(along) // 2 :])) if share > _SIGNIFICANT else 0.0
    # Not what would be left of noise that fades towards the last lags.
    if not 0 < common < 1 or common > 1.5 * abs(along[0]):
        return along
    return tuple((value - common) / (1 - common) for value in along)


def blind_spot(reach_y: int, reach_x: int) -> tuple[str, ...]:
    """Draw the ellipse that reaches so many pixels up and down, left and right."""
    y, x = np.mgrid[-reach_y : reach_y + 1, -reach_x : reach_x + 1]
    inside = (y / (reach_y + 0.5)) ** 2 + (x / (reach_x + 0.5)) ** 2 <= 1
    return tuple("".join("1" if pixel else "0" for pixel in row) for row in inside)


def is_clean(report: NoiseReport) -> bool:
    """Whether there is no more than the rounding of the arithmetic."""
    return report.noise_std <= 1e-9 * max(abs(limit) for limit in report.limits)


def has_unknown_structure(report: NoiseReport) -> bool:
    """Whether a network that denoises would take away more than the noise.

    Then it does not know such structure. Of noise that is smooth the network rightly removes more
    than was measured. What is independent from pixel to pixel is no structure.
    """
    correlation = max(report.autocorrelation.y[0], report.autocorrelation.x[0])
    return removes_more(report) and correlation < _SMOOTH and not is_independent(report)


def removes_more(report: NoiseReport) -> bool:
    """Whether the network would take away more than the noise that was measured."""
    return report.removed is not None and report.removed.times > _MORE


def times_in_words(report: NoiseReport) -> str:
    """How many times the noise the network would remove."""
    times = report.removed.times if report.removed else 0.0
    return f"{times:.2g} times" if 0 < times < 100 else "over 100 times"


def _told_by_network(report: NoiseReport) -> Finding:
    """What the noise is taken for instead."""
    model = drawn_from(report)
    strength = _number(float(model.std(report.mean)))
    grows = f", and grows with the light ({_number(model.gain)} grey levels per photon)"
    return Finding(
        "structure",
        "Structure, or too few different grey levels, disturb this measurement. What the shipped "
        "network removes is white (independent from pixel to pixel), and is taken for the noise: "
        f"it is {strength} grey levels RMS at the mean level{grows * bool(model.gain)}.",
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
    axes = zip("yx", (found.y, found.x), correlation_reach(report), strict=True)
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
    subtracted = lines_of(report) != "none"
    then = " Automatic and R2R subtract them first." * subtracted
    return [
        Finding(
            "lines",
            f"{name} have offsets of their own ({share:.0%} of the noise): no blind spot "
            f"removes these.{then}",
        )
        for name, share in (("Rows", found.rows), ("Columns", found.columns))
        if share > _SIGNIFICANT
    ]


def _clipping(report: NoiseReport) -> list[Finding]:
    """Ends of the scale at which pixels were cut off."""
    return [
        Finding("clipping", f"{share:.2g} % of the pixels are clipped at {_number(limit)}.")
        for share, limit in zip((100 * s for s in report.clipped), report.limits, strict=True)
        if share > 100 * _CLIPPED
    ]


def _doubts(report: NoiseReport) -> list[Finding]:
    """What makes the figures less certain."""
    said = []
    if report.step > report.noise_std:
        said.append(
            Finding(
                "quantisation",
                f"Quantised: the noise spans fewer than 3 grey levels (steps of "
                f"{_number(report.step)}).",
            )
        )
    if report.misfit > _LARGE_MISFIT:
        said.append(
            Finding(
                "processing",
                "The variance does not follow a straight line: the image may have been processed "
                "(gamma, sharpening, compression), or things moved.",
            )
        )
    smooth = min(report.autocorrelation.y[0], report.autocorrelation.x[0]) > _VERY_SMOOTH
    if (smooth if report.removed is None else removes_more(report)) and report.frames == 1:
        kept = "" if report.removed is None else "; if it is structure, R2R keeps it"
        said.append(
            Finding(
                "structure",
                "Noise as smooth as this cannot be told from structure in one "
                f"image: if it is noise, there is probably more of it{kept}.",
            )
        )
    if report.homogeneous < _FEW_HOMOGENEOUS and report.frames == 1:
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
