"""Which layers a run is about: the images of the viewer, the chosen and the selected ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from magicgui.widgets import ComboBox
from napari.layers import Image

from napari_redenoise._napari._layers import is_auxiliary
from napari_redenoise._napari._words import listed

NO_IMAGE = "Open an image, or try File > Open Sample > Redenoise."


class LayerChoice:
    """The list of image layers of the dock, which follows the selection of the viewer."""

    def __init__(self, viewer: Any, box: ComboBox) -> None:
        self._viewer, self._box = viewer, box
        self.preview: Any = None
        box.choices = self.named

    def images(self) -> list[Any]:
        """Image layers that can be chosen: no preview of a run, no map of this plugin."""
        return [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Image) and layer != self.preview and not is_auxiliary(layer)
        ]

    def named(self, _: Any = None) -> list[tuple[str, Any]]:
        """The same with their names, as entries of the list."""
        return [(layer.name, layer) for layer in self.images()]

    def selected(self) -> list[Any]:
        """The selected image layers, in the order of the layer list."""
        return [layer for layer in self.images() if layer in self._viewer.layers.selection]

    def refresh(self) -> None:
        """Update the list; the choice stays while it is listed."""
        self._box.reset_choices()

    def choose(self, wanted: Any) -> None:
        """Choose a layer, or by the selection where that is not listed."""
        images, selection = self.images(), self._viewer.layers.selection
        if wanted not in images:
            wanted = choose_layer(images, selection, self._box.value)
        self._box.value = wanted

    def choose_selected(self) -> str:
        """Choose a selected image layer; return why there is none, else an empty text."""
        images, selection = self.images(), self._viewer.layers.selection
        if not any(layer in selection for layer in images):
            return why_not(images, self._all_selected())
        self._box.value = choose_layer(images, selection, None)
        return ""

    def left_out(self) -> list[str]:
        """Selected layers that cannot be denoised, in words."""
        images = self.images()
        return [describe_layer(layer) for layer in self._all_selected() if layer not in images]

    def _all_selected(self) -> list[Any]:
        """All selected layers, in the order of the layer list: the selection has none."""
        return [one for one in self._viewer.layers if one in self._viewer.layers.selection]


def choose_layer(images: Sequence[Any], selection: Any, current: Any) -> Any:
    """The active image, else the first selected one, else the current choice, else the topmost.

    Returns None where there is no image. A current choice that is selected, too, stays.
    """
    selected = [layer for layer in images if layer in selection]
    if selection.active in selected:
        return selection.active
    if selected and current not in selected:
        return selected[0]
    if current in images:
        return current
    return images[-1] if images else None


def why_not(images: Sequence[Any], selection: Collection[Any]) -> str:
    """Why no selected layer can be denoised."""
    if not selection:
        return "No layer is selected: select an image layer." if images else NO_IMAGE
    names = listed(describe_layer(layer) for layer in selection)
    return f"{names} cannot be denoised: select an image layer."


def describe_layer(layer: Any) -> str:
    """A layer that cannot be denoised, by its name and kind."""
    kind = "a map of a result" if isinstance(layer, Image) else f"a {_kind(layer)} layer"
    return f"'{layer.name}' ({kind})"


def _kind(layer: Any) -> str:
    # napari hands layers out as proxies: only ``__class__`` is that of the layer.
    return str(layer.__class__.__name__)
