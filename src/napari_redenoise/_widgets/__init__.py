"""The widgets: the only place that imports napari, Qt, magicgui and superqt."""

from napari_redenoise._widgets._denoise import DenoiseWidget

__all__ = ["DenoiseWidget"]
