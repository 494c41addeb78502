"""Plots in the dock: how they all behave, and the loss curve."""

from __future__ import annotations

import numpy as np
import pyqtgraph
from qtpy.QtWidgets import QSizePolicy

SMOOTHING = 0.1
"""Weight of a new value in the moving average."""

SETTLED = 10
"""Steps after which losses are on the scale that is shown."""


_ROOM = (4, 7, 2, 6)
"""Pixels left, above, right and below: texts of axes reach so far out of what is laid out."""


class Plot(pyqtgraph.PlotWidget):
    """A plot to be looked at: no menu, nothing to drag, as wide as the dock happens to be."""

    def __init__(self, bottom: str, left: str, height: int) -> None:
        super().__init__(background=None)
        self.setMenuEnabled(False)
        self.setMouseEnabled(False, False)
        self.hideButtons()
        self.getPlotItem().layout.setContentsMargins(*_ROOM)
        self.setFixedHeight(height)
        # What it would like to have is wider than the rest of the dock needs.
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        for side, text in (("bottom", bottom), ("left", left)):
            self.getAxis(side).enableAutoSIPrefix(False)
            self.setLabel(side, text)

    def set_colour(self, colour: str) -> None:
        """Draw axes and their texts in a colour."""
        for side in ("bottom", "left"):
            axis = self.getAxis(side)
            axis.setPen(colour)
            axis.setTextPen(colour)


class LossPlot(Plot):
    """Loss at hidden noisy pixels against the step: every value, and their moving average."""

    def __init__(self) -> None:
        super().__init__("step", "loss", 180)
        self.setToolTip(
            "Error of the prediction at hidden noisy pixels, in units of the image's variance. "
            "It falls and then flattens out; it does not reach zero, because the noise of the "
            "hidden pixels cannot be predicted."
        )
        self._steps: list[int] = []
        self._losses: list[float] = []
        self._averages: list[float] = []
        self._raw = self.plot(pen=pyqtgraph.mkPen((128, 128, 128, 110), width=1))
        self._smooth = self.plot(pen=pyqtgraph.mkPen((0, 122, 204), width=2))

    def clear_losses(self) -> None:
        """Start again."""
        self._steps, self._losses, self._averages = [], [], []
        self.redraw()

    def truncate(self, step: int) -> None:
        """Forget what came after a step: the training goes on from there."""
        kept = sum(one <= step for one in self._steps)
        self._steps, self._losses = self._steps[:kept], self._losses[:kept]
        self._averages = self._averages[:kept]
        self.redraw()

    def append(self, step: int, loss: float) -> None:
        """Add a value, drawn at the next `redraw`."""
        self._steps.append(step)
        self._losses.append(loss)
        before = self._averages[-1] if step > SETTLED and self._averages else loss
        self._averages.append(before + SMOOTHING * (loss - before))

    def redraw(self) -> None:
        """Draw what was added."""
        self._raw.setData(np.asarray(self._steps), np.asarray(self._losses))
        self._smooth.setData(np.asarray(self._steps), np.asarray(self._averages))
        settled = self._losses[SETTLED:] or self._losses
        if settled:
            # The first steps are far off the scale of what is of interest.
            self.setYRange(0, 1.5 * float(np.median(settled)))

    @property
    def values(self) -> tuple[float, ...]:
        """Losses so far."""
        return tuple(self._losses)
