"""Make docs/images/denoise.png and equivariance.png: the widgets on the synthetic sample.

Needs a display; without a screen: ``xvfb-run -a -s "-screen 0 1600x1000x24" python
docs/make_screenshot.py``.
"""

import time
from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication

IMAGES = Path(__file__).parent / "images"


def main() -> None:
    """Open the sample, press the buttons, wait, and take pictures with the layers in a grid."""
    viewer = napari.Viewer()
    viewer.window.resize(1366, 768)
    viewer.open_sample("napari-redenoise", "noisy_cells")
    _, widget = viewer.window.add_plugin_dock_widget("napari-redenoise", "Denoise")
    wait_until(lambda: not widget.is_measuring)
    widget.button.click()
    wait_until(lambda: widget.run is None)
    for layer in list(viewer.layers):
        if not layer.visible:
            viewer.layers.remove(layer)
    take(viewer, "denoise")
    noisy = viewer.layers["Noisy cells"]
    viewer.layers.selection.active = noisy
    viewer.window.remove_dock_widget("all")
    _, widget = viewer.window.add_plugin_dock_widget("napari-redenoise", "Equivariance")
    widget.button.click()
    wait_until(lambda: not widget.is_running)
    viewer.layers.remove("Noisy cells denoised")
    viewer.layers.move(viewer.layers.index(noisy), 0)
    take(viewer, "equivariance")
    viewer.close()


def take(viewer: napari.Viewer, name: str) -> None:
    """Write a picture of the window, its layers side by side."""
    viewer.canvas.grid.enabled = True
    viewer.canvas.grid.shape = (-1, 2)
    viewer.reset_view()
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
