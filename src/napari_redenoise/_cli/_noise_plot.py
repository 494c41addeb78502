"""Plots of noise variance against grey level, and of the autocorrelation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from napari_redenoise.io import write_atomically
from napari_redenoise.noise import NoiseReport

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#777777"


def draw(path: Path, reports: Sequence[NoiseReport], *, overwrite: bool = False) -> None:
    """Write one row of two plots per report."""
    figure = Figure(figsize=(9.0, 3.6 * len(reports)), layout="constrained", dpi=150)
    rows = figure.subplots(len(reports), 2, squeeze=False)
    for number, (report, (left, right)) in enumerate(zip(reports, rows, strict=True)):
        draw_variance(left, report)
        draw_autocorrelation(right, report)
        if len(reports) > 1:
            left.set_title(f"channel {number}")
    with write_atomically(path, overwrite=overwrite) as partial:
        figure.savefig(partial)


def draw_variance(axes: Any, report: NoiseReport) -> None:
    """Draw noise variances, their fit, the offset, and clipping limits."""
    model = report.model
    if not report.points:
        # A constant channel.
        axes.set_axis_off()
        return
    level = np.array([point.level for point in report.points])
    blocks = np.array([point.blocks for point in report.points], float)
    size = 10 + 60 * np.sqrt(blocks / blocks.max())
    axes.scatter(
        level,
        [point.variance for point in report.points],
        s=size,
        color=BLUE,
        alpha=0.6,
        linewidths=0,
        label="image (area: number of blocks)",
    )
    ends = np.array([min(model.offset, level.min()), level.max()])
    text = f"{model.gain:.3g} (level − {model.offset:.4g}) + {model.read_noise:.3g}²"
    axes.plot(ends, model.variance(ends), color=ORANGE, label=text)
    low, high = report.offset_range
    axes.axvline(model.offset, color=GREY, linestyle=":", linewidth=1, label="offset")
    if low > level.min() - np.ptp(level):
        axes.axvspan(low, high, color=GREY, alpha=0.15, linewidth=0, label="offsets that fit")
    ends_cut = [limit for share, limit in zip(report.clipped, report.limits, strict=True) if share]
    for number, limit in enumerate(ends_cut):
        if abs(limit - level.mean()) < 2 * np.ptp(level):
            label = None if number else "clipped"
            axes.axvline(limit, color=ORANGE, linestyle="--", linewidth=1, label=label)
    axes.set_xlabel("grey level")
    axes.set_ylabel("noise variance (grey levels²)")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8, frameon=False)


def draw_autocorrelation(axes: Any, report: NoiseReport) -> None:
    """Draw the autocorrelation along both axes, and the band of white noise."""
    found = report.autocorrelation
    lags = np.arange(1, len(found.x) + 1)
    axes.axhspan(-4 * found.error, 4 * found.error, color=GREY, alpha=0.25, label="white noise")
    axes.bar(lags - 0.2, found.x, 0.38, color=BLUE, label="along x")
    axes.bar(lags + 0.2, found.y, 0.38, color=ORANGE, label="along y")
    axes.axhline(0, color="black", linewidth=0.8)
    reach = max(0.25, 1.2 * max(map(abs, (*found.x, *found.y))))
    axes.set_ylim(-0.5 * reach, reach)
    axes.set_xticks(lags)
    axes.set_xlabel("lag (pixels)")
    axes.set_ylabel("autocorrelation of the noise")
    axes.legend(fontsize=8, frameon=False)
