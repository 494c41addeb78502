"""Make the pictures of the widgets in docs/images, on the synthetic sample.

Needs a display; without a screen: ``xvfb-run -a -s "-screen 0 1600x1000x24" python
docs/make_screenshot.py``.
"""

import tempfile
import time
from pathlib import Path

import napari
import numpy as np
import tifffile
from qtpy.QtWidgets import QApplication

# Loaded before the docks open, which hold the widgets at once then.
from napari_redenoise._napari import DenoiseWidget as DenoiseWidget
from napari_redenoise._napari import EquivarianceWidget as EquivarianceWidget
from napari_redenoise._sample_data import cells

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
        # Its snapshot goes with a result.
        if layer.name != noisy.name and layer in viewer.layers:
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
    with tempfile.TemporaryDirectory() as folder:
        take_batch(Path(folder) / "raw")


def take_batch(folder: Path) -> None:
    """Denoise a folder of which one image is broken, and open a result."""
    write_images(folder)
    viewer = napari.Viewer()
    viewer.window.resize(1366, 768)
    _, widget = viewer.window.add_plugin_dock_widget("napari-redenoise", "Denoise")
    panel, table = widget.batch, widget.batch.table
    widget.open_tab(panel)
    panel.choose_folder(folder)
    wait_until(lambda: panel.button.isEnabled())
    panel.training.setCurrentIndex(panel.training.findData("none"))
    panel.button.click()
    wait_until(lambda: panel.status.text().startswith("Denoised"))
    table.selectRow(0)
    panel.open_button.click()
    wait_until(lambda: len(viewer.layers) == 2)
    viewer.canvas.grid.enabled = True
    viewer.reset_view()
    take(viewer, "batch")
    viewer.close()


def write_images(folder: Path) -> None:
    """Write four images, and the beginning of one."""
    folder.mkdir()
    for number in range(1, 5):
        rng = np.random.default_rng(number)
        clean = cells(192, rng)
        noisy = rng.poisson(30 + 15 * clean / clean.std()).astype(np.uint16)
        tifffile.imwrite(folder / f"cells_{number:02}.tif", noisy)
    whole = (folder / "cells_04.tif").read_bytes()
    (folder / "cells_05.tif").write_bytes(whole[:200])


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
