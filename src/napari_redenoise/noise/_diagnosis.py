"""What the figures of the noise mean: which training suits it, and what R2R draws from."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Literal

import numpy as np

from napari_redenoise.config import Lines
from napari_redenoise.noise._report import NoiseModel, NoiseReport

SIGNIFICANT = 0.05
_ERRORS = 4.0
LARGE_MISFIT = 0.12
FEW_HOMOGENEOUS = 0.05

_MORE = 1.1
"""What else than the noise a network removes: real noise is 0.94 to 1.02 (docs/benchmarks.md)."""


_SMOOTH = 0.3
"""What neighbours share of noise that may be stronger than it was measured."""

_INDEPENDENT = 0.05
"""What neighbours may share of what a network removes: on real white noise -0.06 to 0.05."""

_HOMOGENEOUS = 0.3
"""Share of homogeneous places from which on these tell the noise, if the network removes more."""

_STRUCTURE = 0.03
"""What neighbours share of what a network removes, beyond what they share of the noise, that is
structure."""

_NEXT_ONLY = 0.4
"""Correlation at lag 2 over that at lag 1, up to which a network tells smooth noise: blurred by
more than a pixel it is 0.5 and more, and taken for structure."""

_LEFT = 1.25
"""Deviation of the noise over that of what is removed, at most: 0.82 was removed of BPAE_R's."""

_FLAT = 0.5
"""Growth of the variance over its mean that is as good as none."""


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
    they are forgets with blind spots how to use the pixel itself (docs/fine-tuning.md). With
    offsets of lines the recommendation is a first one: without them the noise is another.
    """

    objective: Literal["noise2self", "noise2void", "r2r"]
    mask_shape: tuple[str, ...]
    reason: str
    lines: Lines = "none"


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
    return report.gain_is_known and is_noisy and report.misfit <= LARGE_MISFIT


def is_independent(report: NoiseReport) -> bool:
    """Whether what the shipped network removes shows that the noise is white.

    Structure as fine as pixels seems to be correlated noise where it is looked for in homogeneous
    places. A network tells both apart, unless the noise is smooth.
    """
    removed = report.removed
    if removed is None or removed.noise is None or max(removed.correlation) > _INDEPENDENT:
        return False
    if removes_more(report) and not FEW_HOMOGENEOUS <= report.homogeneous <= _HOMOGENEOUS:
        # Enough such places tell the noise; where there are none, structure was measured with it,
        # and it is not more than that.
        return False
    least = max(SIGNIFICANT, _ERRORS * report.autocorrelation.error)
    return all(
        along[0] <= least or along[1] <= _NEXT_ONLY * along[0]
        for along in correlation_without_lines(report)
    )


def can_be_drawn(report: NoiseReport) -> bool:
    """Whether there is a model of white noise to draw from: `drawn_from`."""
    return is_known(report) or is_independent(report) or _is_flat(report)


def is_told_by_network(report: NoiseReport) -> bool:
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
    if removed is None or removed.noise is None:
        return report.model
    found = removed.noise
    least = float(found.std(report.mean))
    if has_unknown_structure(report) and least < report.noise_std:
        return found
    if not is_told_by_network(report):
        return report.model
    if report.homogeneous < FEW_HOMOGENEOUS or not least:
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
        any(share(report.autocorrelation) > SIGNIFICANT for report in known)
        for share in (attrgetter("rows"), attrgetter("columns"))
    )
    if rows and columns:
        return "both"
    return "rows" if rows else "columns" if columns else "none"


def correlation_reach(report: NoiseReport) -> tuple[int, int]:
    """Lags along y and x up to which the noise is correlated without a gap.

    What a whole line has in common is correlated at every lag alike; it is left out.
    """
    least = max(SIGNIFICANT, _ERRORS * report.autocorrelation.error)
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
    common = float(np.median(along[len(along) // 2 :])) if share > SIGNIFICANT else 0.0
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
    more = removes_more(report) or _shares_more(report)
    return more and correlation < _SMOOTH and not is_independent(report)


def _shares_more(report: NoiseReport) -> bool:
    """Whether neighbours share more of what the network takes away than of the noise.

    Where structure is everywhere, places that look calm tell too much noise, but they do tell what
    neighbours share of it; unless offsets of lines are shared, too.
    """
    found = report.autocorrelation
    if report.removed is None or report.removed.noise is None:
        return False
    if max(found.rows, found.columns) > SIGNIFICANT:
        return False
    measured = correlation_without_lines(report)
    both = zip(report.removed.correlation, measured, strict=True)
    return any(removed - along[0] > _STRUCTURE for removed, along in both)


def removes_more(report: NoiseReport) -> bool:
    """Whether the network would take away more than the noise that was measured."""
    return report.removed is not None and report.removed.times > _MORE
