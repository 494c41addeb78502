"""Make the pictures of the widgets in docs/images, on the synthetic sample.

Needs a display; without a screen: ``xvfb-run -a -s "-screen 0 1600x1000x24" python
docs/make_screenshot.py``.
"""

import time
from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication

# Loaded before the docks open, which hold the widgets at once then.
from napari_redenoise._napari import DenoiseWidget as DenoiseWidget
from napari_redenoise._napari import EquivarianceWidget as EquivarianceWidget

IMAGES = Path(__file__).parent / "images"


def main() -> None:
    """Open the sample, press the buttons, wait, and take pictures."""
    viewer = napari.Viewer()
    viewer.window.resize(1366, 768)
    viewer.open_sample("napari-redenoise", "noisy_cells")
    viewer.layers.remove("Noisy cells: ground truth")
    _, widget = viewer.window.add_plugin_dock_widget("napari-redenoise", "Denoise")
    wait_until(lambda: not widget.is_measuring)
    take(viewer, "noise")
    widget.button.click()
    wait_until(lambda: widget.run is None)
    wait_until(lambda: widget.quality.report is not None)
    widget.result.grid.click()
    take(viewer, "denoise")
    widget.open_tab(widget.quality)
    take(viewer, "quality")
    widget.result.grid.click()
    widget.open_tab(widget.training)
    widget.training.slider.setValue(1)
    wait_until(lambda: any("at step" in layer.name for layer in viewer.layers))
    take(viewer, "snapshots")
    noisy = viewer.layers["Noisy cells"]
    for layer in list(viewer.layers):
        if layer.name != noisy.name:
            viewer.layers.remove(layer)
    viewer.layers.selection.active = noisy
    viewer.window.remove_dock_widget("all")
    _, widget = viewer.window.add_plugin_dock_widget("napari-redenoise", "Equivariance")
    widget.button.click()
    wait_until(lambda: not widget.is_running)
    viewer.layers.move(viewer.layers.index(noisy), 0)
    viewer.canvas.grid.enabled = True
    viewer.canvas.grid.shape = (-1, 2)
    viewer.reset_view()
    take(viewer, "equivariance")
    viewer.close()


def take(viewer: napari.Viewer, name: str) -> None:
    """Write a picture of the window."""
    settled = time.monotonic() + 1
    wait_until(lambda: time.monotonic() > settled)
    IMAGES.mkdir(exist_ok=True)
    viewer.window.screenshot(str(IMAGES / f"{name}.png"), canvas_only=False, flash=False)


def wait_until(condition) -> None:
    """Let the viewer live until a condition holds."""
    while not condition():
        QApplication.processEvents()
        time.sleep(0.002)


if __name__ == "__main__":
    main()
