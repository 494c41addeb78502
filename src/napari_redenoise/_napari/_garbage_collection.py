"""No pauses for a full garbage collection while something runs.

With torch and napari loaded it takes a third of a second, in whatever thread it comes, and the
viewer stands still. It passes over frozen objects.
"""

from __future__ import annotations

import gc

_busy: set[object] = set()


def begin(who: object) -> None:
    """Freeze what there is, until everyone who began has ended."""
    _busy.add(who)
    gc.freeze()


def end(who: object) -> None:
    """Let collections be full again, if nobody else is busy."""
    _busy.discard(who)
    if not _busy:
        gc.unfreeze()
