"""Adding layers without a change to what the user has selected."""

from __future__ import annotations

from typing import Any


def add_image(viewer: Any, data: Any, keywords: dict[str, Any]) -> Any:
    """Add an image layer and leave the selection as it is: the user may be at work in it."""
    selection = viewer.layers.selection
    active, selected = selection.active, list(selection)
    layer = viewer.add_image(data, **keywords)
    if active is not None:
        selection.active = active
    else:
        # Several layers, or none: there is no active one among them.
        selection.clear()
        selection.update(selected)
    return layer
