"""The tab *Noise*: findings about the noise of a layer, and plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyqtgraph
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_redenoise._napari._plots import Plot
from napari_redenoise._napari._words import WrappedLabel
from napari_redenoise.model import LINES_IN_WORDS, NOT_TRAINED
from napari_redenoise.noise import NoiseReport, describe, diagnose
from napari_redenoise.objectives import OBJECTIVE_NAMES

BLUE, ORANGE, GREY = (86, 180, 233), (230, 159, 0), (128, 128, 128)
"""Distinguishable with colour blindness, on dark and light themes."""

NO_LAYER = "Choose an image layer to measure its noise."
MEASURING = "Measuring the noise."
NOT_MEASURED = "The noise is not measured, because the layer cannot be denoised."
NOT_MEASURABLE = (
    "The noise cannot be measured, because the layer is too small or constant: choose another "
    "layer."
)


def advice_in_words(reports: tuple[NoiseReport, ...], *, fine_tuning: bool = True) -> str:
    """The recommended objective and the reason, in words."""
    advice = diagnose(reports, fine_tuning=fine_tuning)
    objective, _ = OBJECTIVE_NAMES[advice.objective]
    if advice.smooth_scales and reports[0].planes == "none":
        return f"the pretrained network as it is, since {NOT_TRAINED}"
    if advice.lines == "none":
        return f"{objective}, because {advice.reason}"
    return (
        f"{objective}, if it suits the noise that remains after line correction "
        f"({LINES_IN_WORDS[advice.lines]})"
    )


class NoisePanel(QWidget):
    """Findings in sentences, noise variance against grey level, autocorrelation of the noise."""

    def __init__(self) -> None:
        super().__init__()
        self.words = WrappedLabel()
        self.variance = Plot("grey level", "noise variance", 142)
        self.variance.setToolTip(
            "Noise variance of homogeneous regions against their grey level. Photon noise lies on "
            "a rising line: its slope is the gain, and it reaches zero at the offset."
        )
        self.correlation = Plot("lag (pixels)", "autocorrelation", 142)
        self.correlation.setToolTip(
            "Autocorrelation of the noise along x (blue) and along y (orange). White noise stays "
            "within the grey band."
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self.words, self.variance, self.correlation):
            layout.addWidget(widget)
        layout.addStretch()
        self.say(NO_LAYER)

    @property
    def is_waiting(self) -> bool:
        """Whether it says that the noise is being measured."""
        return self.words.text() == MEASURING

    def say(self, sentence: str) -> None:
        """Show a message instead of a report."""
        self.words.setText(sentence)
        for plot in (self.variance, self.correlation):
            plot.setVisible(False)

    def show_reports(self, reports: Sequence[NoiseReport], *, fine_tuning: bool = True) -> None:
        """Show the reports of all channels in words, and the plots of the first."""
        if not fine_tuning:
            # The residual is that of the pretrained network, which the run does not use.
            reports = [replace(report, residual=None) for report in reports]
        parts = []
        for number, report in enumerate(reports):
            if len(reports) > 1:
                parts.append(f"Channel {number}:")
            parts += [finding.text for finding in describe(report)]
        parts.append(f"Recommended: {advice_in_words(tuple(reports), fine_tuning=fine_tuning)}.")
        self.words.setText("\n".join(parts))
        _draw_variance(self.variance, reports[0])
        _draw_correlation(self.correlation, reports[0])


def _draw_variance(plot: Plot, report: NoiseReport) -> None:
    plot.clear()
    level = np.array([point.level for point in report.points])
    plot.setVisible(len(level) > 0)
    if not len(level):
        return
    variance = [point.variance for point in report.points]
    blocks = np.array([point.blocks for point in report.points], float)
    plot.plot(
        level,
        variance,
        pen=None,
        symbol="o",
        symbolSize=4 + 6 * np.sqrt(blocks / blocks.max()),
        symbolPen=None,
        symbolBrush=BLUE,
    )
    ends = np.array([level.min(), level.max()])
    plot.plot(ends, report.model.variance(ends), pen=pyqtgraph.mkPen(ORANGE, width=2))
    plot.setYRange(0, 1.1 * max(variance))


def _draw_correlation(plot: Plot, report: NoiseReport) -> None:
    plot.clear()
    plot.setVisible(True)
    found = report.autocorrelation
    lags = np.arange(1, len(found.x) + 1)
    band = pyqtgraph.LinearRegionItem(
        (-4 * found.error, 4 * found.error),
        orientation="horizontal",
        movable=False,
        brush=(*GREY, 70),
        pen=pyqtgraph.mkPen(None),
    )
    plot.addItem(band)
    for shift, values, colour in ((-0.2, found.x, BLUE), (0.2, found.y, ORANGE)):
        plot.addItem(
            pyqtgraph.BarGraphItem(
                x=lags + shift, height=values, width=0.38, brush=colour, pen=None
            )
        )
    reach = max(0.25, 1.2 * max(map(abs, (*found.x, *found.y))))
    plot.setYRange(-0.5 * reach, reach)
