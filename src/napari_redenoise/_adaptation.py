"""The course of an adaptation: tested on held-out pixels, with a way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari_redenoise._guard import TESTS, Comparison, Guard
from napari_redenoise._snapshots import Snapshot, Snapshots
from napari_redenoise.nn import DenoisingNetwork


class Adaptation:
    """Tests the averaged network a few times, and remembers the last state that was not worse.

    Parameters
    ----------
    guard : Guard
    steps : int
        Of the whole training.
    snapshots : Snapshots
        Of the training; the remembered state is always among them.
    beginning : Snapshot
        What the training begins with.
    """

    def __init__(self, guard: Guard, steps: int, snapshots: Snapshots, beginning: Snapshot) -> None:
        self._guard, self._snapshots = guard, snapshots
        self._due = {round(steps * number / TESTS) for number in range(1, TESTS + 1)} - {0}
        self.good = beginning
        self.comparisons: list[Comparison] = []
        snapshots.pin(beginning)

    def look(
        self,
        network: DenoisingNetwork,
        step: int,
        snapshot: Callable[[], Snapshot],
        should_stop: Callable[[], bool],
    ) -> None:
        """Test the network where a test is due."""
        if step not in self._due:
            return
        comparison = self._guard.compare(network, step, should_stop)
        if comparison is None:
            return
        self.comparisons.append(comparison)
        if not comparison.is_worse:
            self.good = snapshot()
            self._snapshots.pin(self.good)

    @property
    def has_harmed(self) -> bool:
        """Whether the last test found the network worse than it was at the beginning."""
        return bool(self.comparisons) and self.comparisons[-1].is_worse

    def describe(self) -> list[dict[str, Any]]:
        """All tests, as JSON has them."""
        return [comparison.describe() for comparison in self.comparisons]
