"""The widgets: the only place that imports napari, Qt, magicgui and superqt."""

from napari_redenoise._widgets._command import denoise_selected_layer
from napari_redenoise._widgets._denoise import DenoiseWidget
from napari_redenoise._widgets._equivariance import EquivarianceWidget

__all__ = ["DenoiseWidget", "EquivarianceWidget", "denoise_selected_layer"]
