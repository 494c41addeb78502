"""What a report means: the one place where it is decided."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Literal

from napari_redenoise.config import Lines
from napari_redenoise.noise._report import NoiseReport, ResidualNoise
from napari_redenoise.noise._thresholds import (
    LARGE_MISFIT,
    NEXT_ONLY,
    SIGNIFICANT,
    SMOOTH,
    STRUCTURED_RESIDUAL,
    WHITE_RESIDUAL,
)

Case = Literal[
    "clean", "white", "white by residual", "unknown structure", "not measurable", "correlated"
]
"""From what can be relied on most to what least."""


def case_of(report: NoiseReport) -> Case:
    """Decide what the noise of a channel is.

    Notes
    -----
    "unknown structure": the residual holds structure, which the denoiser does not know. "clean":
    no more than rounding. "white": so it was measured, and its variance is known. "white by
    residual": so the residual says, where structure or few grey levels disturb the measurement.
    "correlated": a blind spot has to reach as far. "not measurable": white, but of a variance that
    is not known.
    """
    if _has_unknown_structure(report):
        return "unknown structure"
    if report.is_clean:
        return "clean"
    is_white = report.autocorrelation.reach == (0, 0)
    if is_white and is_model_known(report):
        return "white"
    if _has_white_residual(report):
        return "white by residual"
    if not is_white:
        return "correlated"
    return "not measurable"


def is_model_known(report: NoiseReport) -> bool:
    """Whether noise can be drawn from the model as it was measured."""
    is_noisy = bool(report.model.gain or report.model.read_noise)
    return report.gain_is_known and is_noisy and report.misfit <= LARGE_MISFIT


def lines_of(reports: Iterable[NoiseReport]) -> Lines:
    """Which lines have offsets of their own, in any of several channels.

    Where the steps between grey levels are all the noise, a slope looks like that as well, and so
    may structure.
    """
    known = [
        report.autocorrelation
        for report in reports
        if report.step <= report.noise_std and case_of(report) not in ("clean", "unknown structure")
    ]
    rows, columns = (
        any(share(found) > SIGNIFICANT for found in known)
        for share in (attrgetter("rows"), attrgetter("columns"))
    )
    if rows and columns:
        return "both"
    return "rows" if rows else "columns" if columns else "none"


def _fitted(report: NoiseReport) -> ResidualNoise | None:
    """The noise by the residual, where there was enough of it to fit a line to."""
    residual = report.residual
    return residual if residual is not None and residual.noise is not None else None


def _has_white_residual(report: NoiseReport) -> bool:
    """Whether the residual shows that the noise is white.

    Structure as fine as pixels seems to be correlated noise where it is looked for in homogeneous
    places. A denoiser tells both apart, unless the noise is smooth.
    """
    residual = _fitted(report)
    if residual is None or max(residual.correlation) > WHITE_RESIDUAL:
        return False
    found = report.autocorrelation
    return all(
        along[0] <= found.least or along[1] <= NEXT_ONLY * along[0]
        for along in found.without_lines()
    )


def _has_unknown_structure(report: NoiseReport) -> bool:
    """Whether the residual holds structure, so that the denoiser does not know it.

    The residual of smooth noise is rightly more than was measured. A white one is no structure.
    """
    if report.residual is None or _has_white_residual(report):
        return False
    is_smooth = max(report.autocorrelation.y[0], report.autocorrelation.x[0]) >= SMOOTH
    return not is_smooth and (report.residual.is_strong or _is_more_correlated(report))


def _is_more_correlated(report: NoiseReport) -> bool:
    """Whether the residual is more correlated than the noise.

    Where structure is everywhere, places that look calm tell too much noise, but they do tell its
    correlation; unless line offsets are in both.
    """
    residual = _fitted(report)
    if residual is None or report.autocorrelation.has_line_offsets:
        return False
    both = zip(residual.correlation, report.autocorrelation.without_lines(), strict=True)
    return any(own - along[0] > STRUCTURED_RESIDUAL for own, along in both)
