"""The page of the plugin in napari's preferences."""

import pytest
from qtpy.QtWidgets import QComboBox

from napari_redenoise._napari._preferences import preferences

DEVICES = ["auto", "cpu", "mps", *(f"cuda:{number}" for number in range(8))]


@pytest.fixture
def runs():
    settings = pytest.importorskip("napari.settings")
    if not hasattr(settings, "get_plugin_settings"):
        pytest.skip("napari before 0.9 has no preferences for plugins")
    page = settings.get_plugin_settings("napari-redenoise").runs
    before = page.device
    yield page
    page.device = before


def test_the_devices_are_a_list(make_napari_viewer, runs, qtbot):
    window = make_napari_viewer().window
    window._open_preferences_dialog()
    boxes = window._pref_dialog.findChildren(QComboBox)
    window._pref_dialog.close()
    listed = [[box.itemText(number) for number in range(box.count())] for box in boxes]
    assert DEVICES in listed


def test_another_device_is_refused(runs):
    with pytest.raises(ValueError, match="cuda:99"):
        runs.device = "cuda:99"


def test_a_device_that_is_missing_counts_as_automatic(runs, monkeypatch):
    monkeypatch.setattr("napari_redenoise._napari._preferences.available_devices", lambda: ["cpu"])
    runs.device = "mps"
    assert preferences().device is None
    runs.device = "cpu"
    assert preferences().device == "cpu"
