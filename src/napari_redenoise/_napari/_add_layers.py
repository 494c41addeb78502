"""Add layers without changing the selection."""

from __future__ import annotations

from typing import Any


def add_image(viewer: Any, data: Any, keywords: dict[str, Any]) -> Any:
    """Add an image layer and keep the selection: the user may be working in it."""
    selection = viewer.layers.selection
    active, selected = selection.active, list(selection)
    layer = viewer.add_image(data, **keywords)
    if active is not None:
        selection.active = active
    else:
        # No layer is active where several or none are selected.
        selection.clear()
        selection.update(selected)
    return layer
