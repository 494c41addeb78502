"""In a process of its own: napari's tests keep the commands of several viewers in one registry."""

import subprocess
import sys
from textwrap import dedent

SCRIPT = """
    import time

    import napari
    import numpy as np
    import torch
    from npe2 import PluginManager
    from qtpy.QtWidgets import QApplication

    # The widget is loaded before its dock opens, which holds it at once then.
    from napari_redenoise._napari import DenoiseWidget, denoise_selected_layer

    torch.set_num_threads(1)

    def wait_until(condition):
        end = time.monotonic() + 120
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError
            QApplication.processEvents()
            time.sleep(0.01)

    viewer = napari.Viewer()
    rng = np.random.default_rng(0)
    viewer.add_image(rng.poisson(20, (64, 64)).astype(np.float32), name="cells")
    _, widget = viewer.window.add_plugin_dock_widget("napari-redenoise", "Denoise")
    widget.config = widget.config.replace({
            "network.levels": 2,
            "network.encoder_width": 8,
            "network.decoder_width": 16,
            "training.steps": 100000,
            "training.patch_size": 32,
            "training.batch_size": 2,
            "objective.kind": "noise2self",
        }
    )
    denoise_selected_layer(viewer)
    wait_until(lambda: widget.run.step is not None)
    manager = PluginManager.instance()
    manager.disable("napari-redenoise")
    QApplication.processEvents()
    manager.enable("napari-redenoise")
    step = widget.run.step.step
    wait_until(lambda: widget.run.step.step > step + 2)
    denoise_selected_layer(viewer)
    widget.button.click()
    wait_until(lambda: widget.run is None)
    print([layer.name for layer in viewer.layers])
    viewer.close()
"""


def test_the_plugin_can_be_switched_off_and_on_during_a_run():
    done = subprocess.run(
        [sys.executable, "-c", dedent(SCRIPT)], capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    assert "cells denoised (AdaReNet, N2S)" in done.stdout
    assert "Traceback" not in done.stderr
