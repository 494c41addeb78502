"""The command in napari's menu Layers > Filter."""

# No postponed annotations: napari passes the viewer by the type of the parameter.

import napari.viewer


def denoise_selected_layer(viewer: napari.viewer.Viewer) -> None:
    """Open the dock *Denoise* and begin a run on the selected image layer.

    Without an image that can be denoised, the dock says what to do.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    """
    dock, widget = viewer.window.add_plugin_dock_widget("napari-redenoise", "Denoise")
    dock.show()
    dock.raise_()
    widget.start()
