"""Numbers and devices in words."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def device_name(kind: str) -> str:
    """A device as a person knows it."""
    names = {"cpu": "the processor (CPU)", "mps": "the Apple GPU", "cuda": "the GPU"}
    return names.get(kind, kind)
