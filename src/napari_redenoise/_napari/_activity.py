"""The bar in napari's activity dock."""

from __future__ import annotations

from napari.utils import progress


class Activity:
    """One bar, which goes back to the start where another part of the work begins."""

    def __init__(self, name: str) -> None:
        self._bar = progress(total=0, desc=name)

    def show(self, value: int, maximum: int) -> None:
        """Show how much is done of how much; of 0 when that is not known."""
        if self._bar.total != maximum:
            self._bar.total = maximum
        if value != self._bar.n:
            self._bar.update(value - self._bar.n)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()
