"""The bar in napari's activity dock."""

from __future__ import annotations

from collections.abc import Iterator

from napari.utils import progress
from qtpy.QtGui import QMovie
from qtpy.QtWidgets import QApplication, QLabel

SLOW, USUAL = 4, 100
"""Speeds of an animation, in per cent."""

_bars: set[Activity] = set()


class Activity:
    """One bar, which goes back to the start where another part of the work begins.

    While there are bars, napari plays an animation beside the button that opens the dock. Each of
    its pictures has the whole window drawn again, its canvas too: where no graphics card draws,
    that takes a third of the processor from the training. Meanwhile it is played in slow motion.
    """

    def __init__(self, name: str) -> None:
        self._bar = progress(total=0, desc=name)
        _bars.add(self)
        _play(SLOW)

    def show(self, value: int, maximum: int) -> None:
        """Show how much is done of how much; of 0 when that is not known."""
        if self._bar.total != maximum:
            self._bar.total = maximum
        if value != self._bar.n:
            self._bar.update(value - self._bar.n)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()
        _bars.discard(self)
        if not _bars:
            _play(USUAL)


def _play(speed: int) -> None:
    for movie in _animations():
        movie.setSpeed(speed)


def _animations() -> Iterator[QMovie]:
    """All animations in labels of all windows."""
    for window in QApplication.topLevelWidgets():
        for label in window.findChildren(QLabel):
            movie = label.movie()
            if movie is not None:
                yield movie
