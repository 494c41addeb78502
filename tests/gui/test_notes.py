import torch
from napari.components import ViewerModel

from napari_redenoise import Redenoiser
from napari_redenoise._napari._layers import read_layer
from napari_redenoise._napari.denoise._layer_run import LayerRun
from napari_redenoise._napari.denoise._run import Job
from napari_redenoise.nn import AdaReNet

from .conftest import PATIENCE_MS, TINY


def test_the_final_message_tells_that_memory_was_too_small(qtbot, noisy, monkeypatch):
    forward = AdaReNet.forward

    def limited(self, image):
        if torch.is_grad_enabled() and len(image) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, image)

    monkeypatch.setattr(AdaReNet, "forward", limited)
    viewer = ViewerModel()
    layer = viewer.add_image(noisy, name="cells")
    run = LayerRun(viewer, layer, Job(Redenoiser(TINY, "cpu"), read_layer(layer)))
    said = []
    run.ended.connect(said.append)
    run.start()
    qtbot.waitUntil(lambda: bool(said), timeout=PATIENCE_MS)
    assert "Done: 4 training steps" in said[0]
    assert said[0].endswith(
        "The memory of cpu is too small for 2 patches per step, training continues with 1: "
        "choose smaller patches for more of them."
    )
