"""The docks open at once, while torch is loaded."""

import subprocess
import sys
import threading

import pytest
from qtpy.QtWidgets import QApplication

from napari_redenoise._napari import (
    DenoiseDock,
    DenoiseWidget,
    EquivarianceDock,
    EquivarianceWidget,
    _loading,
    denoise_selected_layer,
)
from napari_redenoise._napari.denoise._survey import Survey

from .conftest import PATIENCE_MS


class Loading:
    """Loading that ends when the test says so."""

    def __init__(self, monkeypatch, error=None):
        self._error, self._may_end = error, threading.Event()
        monkeypatch.setattr(_loading.LoadingDock, "is_loaded", classmethod(lambda cls: False))
        monkeypatch.setattr(_loading, "import_computing", self._load)

    def _load(self):
        self._may_end.wait(PATIENCE_MS / 1000)
        if self._error:
            raise self._error

    def end(self):
        self._may_end.set()


@pytest.fixture
def viewer(make_napari_viewer_proxy, monkeypatch):
    monkeypatch.setattr(
        "napari_redenoise._napari.denoise._surveys.survey", lambda *_, **__: Survey(5.0, None)
    )
    return make_napari_viewer_proxy()


def docked(viewer):
    (found,) = viewer.window.dock_widgets.values()
    return found


def test_importing_the_docks_does_not_load_torch():
    code = "import napari_redenoise._napari, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("name", "stand_in", "widget"),
    [
        ("Denoise", DenoiseDock, DenoiseWidget),
        ("Equivariance", EquivarianceDock, EquivarianceWidget),
    ],
)
def test_the_widget_takes_the_place(viewer, qtbot, monkeypatch, name, stand_in, widget):
    loading = Loading(monkeypatch)
    dock, shown = viewer.window.add_plugin_dock_widget("napari-redenoise", name)
    assert type(shown) is stand_in
    assert shown.status.text() == _loading.LOADING
    loading.end()
    qtbot.waitUntil(lambda: type(docked(viewer)) is widget, timeout=PATIENCE_MS)
    assert docked(viewer).parentWidget() is dock
    viewer.window.remove_dock_widget(dock)


def test_a_script_gets_the_widget_by_its_first_access(viewer, monkeypatch, noisy):
    loading = Loading(monkeypatch)
    viewer.add_image(noisy, name="cells")
    dock, shown = viewer.window.add_plugin_dock_widget("napari-redenoise", "Denoise")
    assert isinstance(shown, DenoiseDock)
    assert shown.layer_choice.value.name == "cells"
    assert shown.button is docked(viewer).button
    assert isinstance(docked(viewer), DenoiseWidget)
    loading.end()
    viewer.window.remove_dock_widget(dock)


def test_what_is_pressed_meanwhile_is_done(viewer, qtbot, monkeypatch, noisy):
    loading = Loading(monkeypatch)
    viewer.add_image(noisy)
    denoise_selected_layer(viewer)
    assert docked(viewer).status.text() == _loading.WAITING
    assert not docked(viewer)._press.isEnabled()
    # The same dock, and not a second one.
    denoise_selected_layer(viewer)
    assert isinstance(docked(viewer), DenoiseDock)
    loading.end()
    qtbot.waitUntil(lambda: isinstance(docked(viewer), DenoiseWidget), timeout=PATIENCE_MS)
    assert docked(viewer).run is not None
    docked(viewer).run.control.abandon()
    qtbot.waitUntil(lambda: docked(viewer).run is None, timeout=PATIENCE_MS)


def test_a_torch_that_cannot_be_loaded_is_said(viewer, qtbot, monkeypatch):
    loading = Loading(monkeypatch, OSError("libtorch.so: no such file"))
    _, shown = viewer.window.add_plugin_dock_widget("napari-redenoise", "Denoise")
    loading.end()
    qtbot.waitUntil(lambda: "cannot be loaded" in shown.status.text(), timeout=PATIENCE_MS)
    assert "libtorch.so" in shown.status.text()
    assert not shown._press.isEnabled()
    assert docked(viewer) is shown


def test_a_dock_closed_while_loading_stays_closed(viewer, qtbot, monkeypatch):
    loading = Loading(monkeypatch)
    dock, shown = viewer.window.add_plugin_dock_widget("napari-redenoise", "Denoise")
    shown._press.click()
    viewer.window.remove_dock_widget(dock)
    ended = threading.Event()
    shown._task._ended.connect(ended.set)
    loading.end()
    qtbot.waitUntil(ended.is_set, timeout=PATIENCE_MS)
    QApplication.processEvents()
    assert list(viewer.window.dock_widgets) == []
