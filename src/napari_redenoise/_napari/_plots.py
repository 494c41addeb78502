"""Plots of the dock: common behaviour, and the loss curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyqtgraph
from qtpy.QtWidgets import QSizePolicy

SMOOTHING = 0.1
"""Weight of a new loss in the moving average."""

SETTLED = 10
"""First steps, which do not determine the scale of the plot."""

_ROOM = (4, 7, 2, 6)
"""Margins left, above, right and below, in pixels: axis labels extend beyond the layout."""


class Plot(pyqtgraph.PlotWidget):
    """A static plot: no menu, no dragging, as wide as the dock."""

    def __init__(self, bottom: str, left: str, height: int) -> None:
        super().__init__(background=None)
        self.setMenuEnabled(False)
        self.setMouseEnabled(False, False)
        self.hideButtons()
        self.getPlotItem().layout.setContentsMargins(*_ROOM)
        self.setFixedHeight(height)
        # Its preferred width is larger than the rest of the dock needs.
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        for side, text in (("bottom", bottom), ("left", left)):
            self.getAxis(side).enableAutoSIPrefix(False)
            self.setLabel(side, text)

    def set_colour(self, colour: str) -> None:
        """Set the colour of the axes and their labels."""
        for side in ("bottom", "left"):
            axis = self.getAxis(side)
            axis.setPen(colour)
            axis.setTextPen(colour)


class LossPlot(Plot):
    """Training loss against the step: every value, and their moving average."""

    def __init__(self) -> None:
        super().__init__("step", "loss", 180)
        self.setToolTip(
            "Squared error between prediction and noisy target, in units of the image variance. "
            "It falls and then levels off above zero, because noise cannot be predicted."
        )
        self._steps: list[int] = []
        self._losses: list[float] = []
        self._averages: list[float] = []
        self._raw = self.plot(pen=pyqtgraph.mkPen((128, 128, 128, 110), width=1))
        self._smooth = self.plot(pen=pyqtgraph.mkPen((0, 122, 204), width=2))

    def clear_losses(self) -> None:
        """Remove all losses."""
        self._steps, self._losses, self._averages = [], [], []
        self.redraw()

    def show_losses(self, losses: Sequence[tuple[int, float]]) -> None:
        """Show the steps and losses of another training."""
        self.clear_losses()
        for step, loss in losses:
            self.append(step, loss)
        self.redraw()

    def truncate(self, step: int) -> None:
        """Remove the losses after a step, from which training continues."""
        kept = sum(one <= step for one in self._steps)
        self._steps, self._losses = self._steps[:kept], self._losses[:kept]
        self._averages = self._averages[:kept]
        self.redraw()

    def append(self, step: int, loss: float) -> None:
        """Add a loss, which the next `redraw` shows."""
        self._steps.append(step)
        self._losses.append(loss)
        before = self._averages[-1] if step > SETTLED and self._averages else loss
        self._averages.append(before + SMOOTHING * (loss - before))

    def redraw(self) -> None:
        """Draw all losses."""
        self._raw.setData(np.asarray(self._steps), np.asarray(self._losses))
        self._smooth.setData(np.asarray(self._steps), np.asarray(self._averages))
        settled = self._losses[SETTLED:]
        if settled:
            # The first losses are far larger than the others.
            self.setYRange(0, 1.5 * float(np.median(settled)))
        elif self._losses:
            self.setYRange(0, max(self._losses))

    @property
    def losses(self) -> tuple[tuple[int, float], ...]:
        """Steps and losses so far."""
        return tuple(zip(self._steps, self._losses, strict=True))
