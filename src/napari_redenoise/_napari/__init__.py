"""The widgets: the only place that imports napari, Qt, magicgui and superqt.

Importing this package loads no torch: its widgets are imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_redenoise._napari._loading import DenoiseDock, EquivarianceDock
from napari_redenoise._napari._menu import denoise_selected_layer

if TYPE_CHECKING:
    from napari_redenoise._napari.denoise._dock import DenoiseWidget
    from napari_redenoise._napari.equivariance._dock import EquivarianceWidget

__all__ = [
    "DenoiseDock",
    "DenoiseWidget",
    "EquivarianceDock",
    "EquivarianceWidget",
    "denoise_selected_layer",
]

_LAZY = {"DenoiseWidget": "denoise", "EquivarianceWidget": "equivariance"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}._dock"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
