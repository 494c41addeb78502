import threading

import numpy as np
import pytest
import torch
from napari.layers import Image
from qtpy.QtCore import QThreadPool
from qtpy.QtWidgets import QApplication
from scipy import ndimage
from superqt.utils import WorkerBase

# Loaded before the docks open, which hold the widgets at once then.
from napari_redenoise._napari import DenoiseWidget as DenoiseWidget
from napari_redenoise._napari import EquivarianceWidget as EquivarianceWidget
from napari_redenoise._napari.denoise import _layer_run
from napari_redenoise._napari.denoise._survey import Survey
from napari_redenoise.config import Config
from napari_redenoise.data import Normalisation
from napari_redenoise.io import save_model
from napari_redenoise.model import _pretrained
from napari_redenoise.nn import build_network

TINY = Config().replace(
    {
        "network.levels": 2,
        "network.encoder_width": 8,
        "network.decoder_width": 16,
        "objective.kind": "noise2self",
        "training.steps": 4,
        "training.patch_size": 32,
        "training.batch_size": 2,
    }
)
PATIENCE_MS = 60_000


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    # Threads slow such small networks down, and more so where processors are shared.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def noisy():
    rng = np.random.default_rng(0)
    clean = ndimage.gaussian_filter(rng.normal(size=(72, 90)), 4)
    return (200 + 800 * clean / clean.std() + rng.normal(0, 300, clean.shape)).astype(np.float32)


class Dock:
    """A viewer with the dock, and the actions of a user."""

    def __init__(self, viewer, qtbot):
        self.viewer, self.qtbot = viewer, qtbot
        self.dock, self.widget = viewer.window.add_plugin_dock_widget("napari-redenoise", "Denoise")
        self.use()

    def use(self, **changes):
        self.widget.config = TINY.replace(changes)

    def press(self):
        self.widget.button.click()

    def wait(self, condition):
        self.qtbot.waitUntil(condition, timeout=PATIENCE_MS)

    def wait_for_step(self, step):
        self.wait(lambda: self.step >= step)

    def wait_for_end(self):
        self.wait(lambda: self.widget.run is None)

    def cancel(self):
        """Cancel a run that does not train, by one press; nothing is added."""
        assert self.widget.button.text() == "Cancel"
        assert not self.widget.pause_button.isVisibleTo(self.widget)
        self.press()
        self.wait_for_end()
        assert self.widget.status.text() == "Cancelled; no layers were added."

    def run(self):
        self.press()
        self.wait_for_end()

    def copied(self, button):
        """Press a button that copies; return the text."""
        QApplication.clipboard().clear()
        self.widget.result.buttons[button].click()
        self.wait(lambda: bool(QApplication.clipboard().text()))
        return QApplication.clipboard().text()

    @property
    def step(self):
        run = self.widget.run
        return 0 if run is None or run.step is None else run.step.step

    @property
    def names(self):
        return [layer.name for layer in self.viewer.layers]

    @property
    def images(self):
        return [layer for layer in self.viewer.layers if isinstance(layer, Image)]


def left_behind():
    """Everything of the plugin that is still running or open."""
    ours = "napari_redenoise"
    windows = [
        window
        for window in QApplication.topLevelWidgets()
        if window.isVisible() and type(window).__module__.startswith(ours)
    ]
    timers = [timer for run in _layer_run._running for timer in run._timers if timer.isActive()]
    threads = [thread for thread in threading.enumerate() if ours in thread.name]
    busy = QThreadPool.globalInstance().activeThreadCount()
    return [*windows, *timers, *threads, *_layer_run._running, *range(busy)]


@pytest.fixture
def dock(make_napari_viewer_proxy, qtbot, monkeypatch):
    # A trial of the machine's speed takes longer than the tests.
    monkeypatch.setattr(
        "napari_redenoise._napari.denoise._surveys.survey", lambda *_, **__: Survey(5.0, None)
    )
    opened = Dock(make_napari_viewer_proxy(), qtbot)
    yield opened
    if opened.widget.run is not None:
        opened.widget.run.control.abandon()
    WorkerBase.await_workers(PATIENCE_MS)
    qtbot.wait(50)
    opened.viewer.close()
    qtbot.waitUntil(lambda: not left_behind(), timeout=PATIENCE_MS)


@pytest.fixture
def pretrained(dock, tmp_path, monkeypatch):
    """Pretrained weights for the small network of the tests."""
    config = dock.widget.config
    network = build_network(config.network, torch.Generator().manual_seed(7))
    path = tmp_path / "adarenet-C4.safetensors"
    save_model(path, network, config, Normalisation((0.0,), (1.0,)))
    # The noise is measured with the default network, which this folder has not.
    _pretrained.pretrained_denoiser(torch.device("cpu"))
    monkeypatch.setattr(_pretrained, "FOLDER", tmp_path)
