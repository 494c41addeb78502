"""Docks that open at once: torch is loaded in the background, and the widget takes the place.

Importing this module loads neither torch nor the widgets.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtWidgets import QDockWidget, QPushButton, QVBoxLayout, QWidget

from napari_redenoise._napari._background_task import Task
from napari_redenoise._napari._words import WrappedLabel

if TYPE_CHECKING:
    import napari.viewer

LOADING = "Loading torch, which computes the networks. This takes a few seconds, once per session."
WAITING = "Loading torch. Denoising starts as soon as it is loaded."
FAILED = "torch cannot be loaded ({}). Install it again, then restart napari."

_COMPUTING = ("napari_redenoise.assessment", "napari_redenoise.recipes")
"""What computes, without a widget: it can be imported in a thread."""

_ASKED_BY_NAPARI = ("native", "reset_choices")
"""Attributes that napari looks for in every widget, which are no reason to wait."""


class LoadingDock(QWidget):
    """Stands in a dock until torch is loaded; then its widget takes the place.

    Where the widget is loaded already, the call makes the widget itself.
    """

    _widget = ("", "")
    """Module and name of the class of the widget."""

    def __new__(cls, viewer: napari.viewer.Viewer) -> Any:
        """Make the widget itself where it is loaded."""
        return cls._load()(viewer) if cls.is_loaded() else super().__new__(cls)

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._loaded: Any = None
        self.status = WrappedLabel(LOADING)
        # No moving bar: its frames would be drawn at the cost of the loading.
        self._has_failed = False
        layout = QVBoxLayout(self)
        layout.addWidget(self.status)
        layout.addStretch(1)
        self._task = Task(import_computing, errored=self._on_error, finished=self._on_end)

    def __getattr__(self, name: str) -> Any:
        """Have the widget answer a script, which waits until torch is loaded."""
        if name.startswith("_") or name in _ASKED_BY_NAPARI:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._replaced(), name)

    @classmethod
    def is_loaded(cls) -> bool:
        """Whether the widget can be made without a wait."""
        return cls._widget[0] in sys.modules

    @classmethod
    def is_for(cls, docked: object) -> bool:
        """Whether something in a dock is the widget, or stands for it."""
        return isinstance(docked, cls) or (cls.is_loaded() and isinstance(docked, cls._load()))

    @classmethod
    def _load(cls) -> Any:
        """Import the class of the widget."""
        module, name = cls._widget
        return getattr(import_module(module), name)

    def _on_error(self, error: Exception) -> None:
        self._has_failed = True
        if isalive(self):
            self.status.setText(FAILED.format(error))

    def _on_end(self) -> None:
        """Give the place to the widget, unless the dock was closed or loading has failed."""
        is_docked = isalive(self) and isinstance(self.parentWidget(), QDockWidget)
        if is_docked and not self._has_failed:
            self._replaced()

    def _replaced(self) -> Any:
        """The widget, which is made and takes the place in the dock at the first call."""
        if self._loaded is None:
            self._loaded = self._load()(self._viewer)
            dock = self.parentWidget() if isalive(self) else None
            if isinstance(dock, QDockWidget):
                dock.setWidget(self._loaded)
                self.deleteLater()
            self._begin(self._loaded)
        return self._loaded

    def _begin(self, widget: Any) -> None:
        """Do what was asked for meanwhile."""


class DenoiseDock(LoadingDock):
    """The dock *Denoise*: its button can be pressed while torch is loaded."""

    _widget = ("napari_redenoise._napari.denoise._dock", "DenoiseWidget")

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._press = QPushButton("&Denoise")
        self._press.clicked.connect(self.start_selected)
        layout = self.layout()
        if isinstance(layout, QVBoxLayout):
            layout.insertWidget(0, self._press)
        self._should_start = False

    def start_selected(self) -> None:
        """Begin a run on the selected image layers as soon as torch is loaded."""
        self._should_start = True
        self._press.setEnabled(False)
        self.status.setText(WAITING)

    def _on_error(self, error: Exception) -> None:
        super()._on_error(error)
        if isalive(self):
            self._press.setEnabled(False)

    def _begin(self, widget: Any) -> None:
        if self._should_start:
            widget.start_selected()


class EquivarianceDock(LoadingDock):
    """The dock *Equivariance*."""

    _widget = ("napari_redenoise._napari.equivariance._dock", "EquivarianceWidget")


def import_computing() -> None:
    """Import torch and what computes with it."""
    for name in _COMPUTING:
        import_module(name)
