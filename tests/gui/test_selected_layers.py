"""One dock with one title, which acts on the selected layers or says why not."""

import numpy as np
import pytest
from napari.plugins import menu_item_template
from npe2 import PluginManager

from napari_redenoise._napari import DenoiseWidget, denoise_selected_layer
from napari_redenoise._napari._menu import open_dock
from napari_redenoise._napari._words import TITLE
from napari_redenoise._napari.denoise._layer_choice import LayerChoice
from napari_redenoise._napari.denoise._layout import LOWEST_TABS

from .conftest import TINY


def docks(viewer):
    return [one for one in viewer.window.dock_widgets.values() if isinstance(one, DenoiseWidget)]


def test_the_title_is_that_of_the_plugins_menu(make_napari_viewer):
    make_napari_viewer()
    manifest = PluginManager.instance().get_manifest("napari-redenoise")
    names = [widget.display_name for widget in manifest.contributions.widgets]
    titles = [menu_item_template.format(manifest.display_name, name) for name in names]
    assert TITLE in titles


def test_the_entries_of_both_menus_open_one_dock(make_napari_viewer):
    viewer = make_napari_viewer()
    denoise_selected_layer(viewer)
    (widget,) = docks(viewer)
    assert list(viewer.window.dock_widgets) == [TITLE]
    # What the entry of the menu Plugins does: it shows and hides the dock of this title.
    from napari._app_model import get_app_model

    command = get_app_model().commands.execute_command
    command("napari-redenoise.denoise").result()
    assert docks(viewer) == [widget]
    assert not widget.isVisible()
    denoise_selected_layer(viewer)
    assert docks(viewer) == [widget]
    assert not widget.parentWidget().isHidden()


def test_a_dock_that_a_script_opened_is_reused(dock):
    assert open_dock(dock.viewer) is dock.widget
    assert docks(dock.viewer) == [dock.widget]


def only(dock, *names):
    dock.viewer.layers.selection = {dock.viewer.layers[name] for name in names}


def test_left_out_layers_are_named_in_their_order(dock, noisy):
    viewer = dock.viewer
    names = [f"points {number}" for number in range(9)]
    for name in names:
        viewer.add_points(name=name)
    viewer.layers.selection = set(viewer.layers)
    denoise_selected_layer(viewer)
    said = dock.widget.status.text()
    assert [name for name in said.split("'") if name in names] == names
    viewer.add_image(noisy, name="cells")
    viewer.layers.selection = set(viewer.layers)
    found = LayerChoice(viewer, dock.widget.layer_choice).left_out()
    assert found == [f"'{name}' (a Points layer)" for name in names]


def started_on(dock):
    """Names of the layers on which the command runs, in their order."""
    denoise_selected_layer(dock.viewer)
    run = dock.widget.run
    if run is None:
        return []
    names = [run.layer.name, *(layer.name for layer, _ in dock.widget._queue)]
    dock.widget._queue = []
    run.control.abandon()
    dock.wait_for_end()
    return names


@pytest.fixture
def several(dock, noisy):
    """A dock beside images, labels, shapes and the map of a result."""
    for name in "abc":
        dock.viewer.add_image(noisy, name=name)
    dock.viewer.add_labels(np.zeros(noisy.shape, int), name="nuclei")
    dock.viewer.add_shapes(name="outline")
    mask = {"napari-redenoise": {"content": "residual: noisy minus denoised"}}
    dock.viewer.add_image(noisy, name="map", metadata=mask)
    return dock


@pytest.mark.parametrize("name", "abc")
def test_the_command_denoises_the_selected_image(several, name):
    only(several, name)
    assert started_on(several) == [name]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["nuclei"], "'nuclei' (a Labels layer) cannot be denoised: select an image layer."),
        (["outline"], "'outline' (a Shapes layer) cannot be denoised"),
        (["map"], "'map' (a map of a result) cannot be denoised"),
        ([], "No layer is selected: select an image layer."),
    ],
)
def test_the_command_says_why_a_selection_cannot_be_denoised(several, names, words):
    only(several, *names)
    assert started_on(several) == []
    assert several.widget.status.text().startswith(words)


def test_the_command_denoises_all_selected_images(several):
    only(several, "a", "c")
    assert started_on(several) == ["a", "c"]
    # The next command is about one layer again.
    only(several, "b")
    assert started_on(several) == ["b"]


def test_the_command_names_selected_layers_that_it_leaves_out(several):
    only(several, "b", "nuclei")
    denoise_selected_layer(several.viewer)
    several.wait_for_end()
    assert several.widget.status.text().startswith("Left out 'nuclei' (a Labels layer). Done")
    assert "b denoised (AdaReNet, N2S)" in several.names


def test_the_command_says_that_a_run_is_in_progress(several):
    several.use(**{"training.steps": 1_000_000})
    only(several, "a")
    several.press()
    only(several, "b")
    denoise_selected_layer(several.viewer)
    assert several.widget.run.layer.name == "a"
    assert several.widget.status.text().startswith("A run is in progress")
    several.widget.run.control.abandon()
    several.wait_for_end()


def test_selected_images_that_do_not_go_together_are_refused(dock, noisy):
    dock.viewer.add_image(noisy, name="grey")
    channels = np.stack([noisy, noisy])
    dock.viewer.add_image(channels, name="pair", axis_labels=("c", "y", "x"))
    only(dock, "grey", "pair")
    assert started_on(dock) == []
    said = dock.widget.status.text()
    assert said.startswith(
        "One network denoises layers of the same kind, but 'grey' is of the axes"
    )
    assert "'pair' is of the axes channels, y, x with 2 channels: select one of them." in said


@pytest.mark.parametrize("names", [["nuclei"], ["a", "b"], []])
def test_a_fresh_dock_offers_an_image_whatever_is_selected(several, names):
    only(several, *names)
    fresh = DenoiseWidget(several.viewer, TINY)
    several.qtbot.addWidget(fresh)
    assert fresh.layer_choice.value.name == (names[0] if names == ["a", "b"] else "c")
    assert "Open an image" not in fresh.plan.text()
    assert fresh.button.isEnabled()


def test_another_image_is_chosen_when_the_chosen_one_is_deleted(several):
    only(several, "a")
    several.viewer.layers.remove("a")
    assert several.widget.layer_choice.value.name in ("b", "c")
    assert several.widget.button.isEnabled()


def test_a_layer_chosen_in_the_dock_stays_when_layers_are_added(several, noisy):
    only(several, "a")
    several.widget.layer_choice.value = several.viewer.layers["b"]
    several.viewer.add_labels(np.zeros(noisy.shape, int))
    several.viewer.layers.remove("c")
    assert several.widget.layer_choice.value.name == "b"


def test_no_sentence_is_cut_off_in_a_low_dock(several):
    widget = several.widget
    widget.say("A long sentence about the run that needs several lines in a narrow dock. " * 3)
    widget.resize(260, 200)
    several.qtbot.wait(50)
    for label in (widget.plan, widget.status):
        assert (
            label.height() >= label.heightForWidth(label.width()) > 2 * label.fontInfo().pixelSize()
        )
    assert widget.tabs.height() >= LOWEST_TABS
    # A short sentence takes the room of its own.
    high = widget.status.minimumHeight()
    widget.say("A word.")
    assert widget.status.minimumHeight() <= high / 2
