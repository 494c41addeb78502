"""The command in napari's menu Layers > Filter."""

# No postponed annotations: napari passes the viewer by the type of the parameter.

from typing import Any

import napari.viewer

from napari_redenoise._napari._loading import DenoiseDock
from napari_redenoise._napari._words import TITLE


def denoise_selected_layer(viewer: napari.viewer.Viewer) -> None:
    """Open the dock *Denoise* and begin a run on the selected image layers.

    Where none of the selected layers can be denoised, the dock says why.
    """
    open_dock(viewer).start_selected()


def open_dock(viewer: napari.viewer.Viewer) -> Any:
    """Show the dock *Denoise*; a new one is made only where there is none.

    Returns
    -------
    DenoiseWidget
        Or a `DenoiseDock`, while torch is loaded.
    """
    window = viewer.window
    docked = window.dock_widgets.values()
    widget = next((one for one in docked if DenoiseDock.is_for(one)), None)
    if widget is None:
        widget = DenoiseDock(viewer)
        window.add_dock_widget(widget, name=TITLE)
    dock = widget.parentWidget()
    if dock is not None:
        dock.show()
        dock.raise_()
    return widget
