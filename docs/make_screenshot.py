"""Make docs/images/denoise.png: the widget on the synthetic sample, after a run.

Needs a display; without a screen: ``xvfb-run -a -s "-screen 0 1600x1000x24" python
docs/make_screenshot.py``.
"""

import time
from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication

OUTPUT = Path(__file__).parent / "images" / "denoise.png"


def main() -> None:
    """Open the sample, press the button, wait, and take the picture with both layers in a grid."""
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
    viewer.canvas.grid.enabled = True
    viewer.canvas.grid.shape = (1, 2)
    viewer.reset_view()
    settled = time.monotonic() + 1
    wait_until(lambda: time.monotonic() > settled)
    OUTPUT.parent.mkdir(exist_ok=True)
    viewer.window.screenshot(str(OUTPUT), canvas_only=False, flash=False)
    viewer.close()


def wait_until(condition) -> None:
    """Let the viewer live until a condition holds."""
    while not condition():
        QApplication.processEvents()
        time.sleep(0.002)


if __name__ == "__main__":
    main()
