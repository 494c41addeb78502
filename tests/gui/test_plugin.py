import numpy as np
import pytest
from qtpy.QtWidgets import QMenu

from napari_redenoise._napari import DenoiseWidget


def texts(menu: QMenu) -> list[str]:
    """Texts of all actions of a menu and its submenus."""
    menu.aboutToShow.emit()
    found = []
    for action in menu.actions():
        found.append(action.text().replace("&", ""))
        if action.menu() is not None:
            found += texts(action.menu())
    return found


@pytest.fixture
def window(make_napari_viewer):
    return make_napari_viewer().window


def test_the_entries_are_in_the_layers_and_plugins_menus(window):
    bars = {
        action.text().replace("&", ""): action.menu()
        for action in window._qt_window.menuBar().actions()
    }
    layers, plugins = bars["Layers"], bars["Plugins"]
    layers.aboutToShow.emit()
    submenus = {
        action.text().replace("&", ""): action.menu()
        for action in layers.actions()
        if action.menu() is not None
    }
    assert "Denoise this layer (Redenoise)" in texts(submenus["Filter"])
    assert "Denoise (Redenoise)" in texts(plugins)
    assert "Equivariance (Redenoise)" in texts(plugins)


def test_the_entry_opens_the_widget(window):
    _, widget = window.add_plugin_dock_widget("napari-redenoise", "Denoise")
    assert isinstance(widget, DenoiseWidget)


@pytest.mark.parametrize(("key", "ndim"), [("noisy_cells", 2), ("noisy_time_series", 3)])
def test_samples_open_with_their_hidden_ground_truth_below(make_napari_viewer, key, ndim):
    viewer = make_napari_viewer()
    viewer.open_sample("napari-redenoise", key)
    truth, noisy = viewer.layers
    assert "ground truth" in truth.name
    assert not truth.visible
    assert noisy.ndim == ndim
    assert noisy.data.dtype == np.uint16
    assert [str(unit) for unit in noisy.units][-2:] == ["micrometer", "micrometer"]
    np.testing.assert_allclose(noisy.data.mean(), truth.data.mean(), rtol=0.02)
    assert viewer.layers.selection.active == noisy
