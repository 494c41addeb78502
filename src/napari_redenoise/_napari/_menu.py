"""What the entry in napari's menu does."""

# Without postponed annotations: napari finds out from the type that the viewer is wanted.

import napari.viewer


def denoise_selected_layer(viewer: napari.viewer.Viewer) -> None:
    """Open the dock *Denoise* and begin a run on the selected image layer.

    Without an image that can be denoised, the dock says what to do.
    """
    dock, widget = viewer.window.add_plugin_dock_widget("napari-redenoise", "Denoise")
    dock.show()
    dock.raise_()
    widget.start()
