"""The progress bar in napari's activity dock."""

from __future__ import annotations

from napari.utils import progress


class Activity:
    """A progress bar that restarts with each part of the work."""

    def __init__(self, name: str) -> None:
        self._bar = progress(total=0, desc=name)

    def show(self, value: int, maximum: int) -> None:
        """Show the progress; ``maximum`` is 0 where it is not known."""
        if self._bar.total != maximum:
            self._bar.total = maximum
        if value != self._bar.n:
            self._bar.update(value - self._bar.n)

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()
