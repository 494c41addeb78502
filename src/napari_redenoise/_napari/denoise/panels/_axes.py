"""The control that shows and corrects the axes of a layer."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Literal

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_redenoise._napari._eliding_box import ElidingBox
from napari_redenoise._napari._layers import axes_in_words, has_named_axes, possible_axes
from napari_redenoise.io import axes_of_file

AxesOrigin = Literal["chosen", "labels", "file", "guess"]

ORIGINS: dict[AxesOrigin, str] = {
    "chosen": "A&xes (as you chose)",
    "labels": "A&xes (from the labels of the layer)",
    "file": "A&xes (from the file)",
    "guess": "A&xes (a guess)",
}

CHECK_AXES = "Check the axes: they are a guess."

_chosen: dict[Hashable, str] = {}
"""Axes that users chose, by layer identifier and number of axes, as long as napari runs."""

_of_files: dict[Hashable, str | None] = {}
"""Axes that files name, by layer identifier and shape; None where they name none."""


def known_axes(layer: Any) -> str | None:
    """Axes that the user chose for a layer, else those of its file, else None.

    Axis labels of the layer count more than the file: a program or a reader set them.
    """
    if _shape_of(layer) in _chosen:
        return _chosen[_shape_of(layer)]
    return None if has_named_axes(layer) else _of_files.get(_of_file(layer))


def origin_of_axes(layer: Any) -> AxesOrigin:
    """Where the axes of a layer come from."""
    if _shape_of(layer) in _chosen:
        return "chosen"
    if has_named_axes(layer):
        return "labels"
    return "guess" if known_axes(layer) is None else "file"


def axes_file(layer: Any) -> str | None:
    """The file whose axes are asked for; None where they are known, or there is no file."""
    if layer.rgb or layer.ndim < 3 or has_named_axes(layer) or _of_file(layer) in _of_files:
        return None
    path = _original(layer).source.path
    return None if path is None else str(path)


def read_file_axes(layer: Any, path: str) -> Callable[[], None]:
    """Make the function that reads the axes of a layer's file, for another thread."""
    key = _of_file(layer)
    shape = key[1:]

    def read() -> None:
        found = None
        try:
            found = axes_of_file(path, shape)
        finally:
            # After an error, too, which would come again.
            _of_files[key] = found

    return read


def _original(layer: Any) -> Any:
    """The layer that a layer was duplicated from, else itself."""
    while layer.source.parent is not None and (parent := layer.source.parent()) is not None:
        layer = parent
    return layer


def _of_file(layer: Any) -> tuple[Any, ...]:
    data = layer.data[0] if layer.multiscale else layer.data
    return (layer.unique_id, *map(int, data.shape))


def _shape_of(layer: Any) -> tuple[Any, int]:
    return layer.unique_id, int(layer.ndim)


class AxesChoice(QWidget):
    """A list of the possible axes of a layer, hidden where there is no choice."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.choice = ElidingBox()
        self.choice.setToolTip(
            "The axes of the layer. The network learns from all time points, slices and images, "
            "and denoises them one by one; one network learns from all channels. The choice is "
            "remembered for this layer."
        )
        self.label = QLabel()
        self.label.setBuddy(self.choice)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.label)
        layout.addWidget(self.choice)
        self._layer: Any = None
        self.choice.currentIndexChanged.connect(self._on_change)

    def show_axes(self, layer: Any, axes: str) -> None:
        """List the possible axes of a layer, and where the chosen ones come from."""
        self._layer = layer
        offered = () if layer.rgb else possible_axes(len(axes))
        readings = dict.fromkeys((axes, *offered))
        self.choice.offer((axes_in_words(reading), reading) for reading in readings)
        self.label.setText(ORIGINS[origin_of_axes(layer)])
        self.setVisible(len(offered) > 1)

    def show_none(self) -> None:
        """Hide the list, without a layer or where its axes are unknown."""
        self._layer = None
        self.setVisible(False)

    def _on_change(self, _: int) -> None:
        if self._layer is not None:
            _chosen[_shape_of(self._layer)] = self.choice.currentData()
            self.changed.emit()
