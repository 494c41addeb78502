"""Avoid the pauses of full garbage collections during a run.

With torch and napari loaded, one takes a third of a second in any thread, and the viewer freezes.
Frozen objects are not collected.
"""

from __future__ import annotations

import gc

_busy: set[object] = set()


def begin(owner: object) -> None:
    """Freeze all objects until every owner has ended."""
    _busy.add(owner)
    gc.freeze()


def end(owner: object) -> None:
    """Allow full collections again, unless another owner is busy."""
    _busy.discard(owner)
    if not _busy:
        gc.unfreeze()
