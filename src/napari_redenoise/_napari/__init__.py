"""The widgets: the only place that imports napari, Qt, magicgui and superqt."""

from napari_redenoise._napari._menu import denoise_selected_layer
from napari_redenoise._napari.denoise._dock import DenoiseWidget
from napari_redenoise._napari.equivariance._dock import EquivarianceWidget

__all__ = ["DenoiseWidget", "EquivarianceWidget", "denoise_selected_layer"]
