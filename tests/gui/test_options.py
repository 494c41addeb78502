"""Options that do nothing are off and say why."""

import numpy as np
import pytest

from napari_redenoise._napari.denoise.panels._options import FLOATS, GROUPS, TRAINED, Options
from napari_redenoise.config import Config

from .test_denoise_widget import rgb


@pytest.fixture
def options(dock):
    """The options of a dock with the default network, of which there are pretrained weights."""
    dock.widget.config = Config().replace({"objective.kind": "noise2self"})
    return dock.widget.options


def controls(options):
    return {
        "objective": options.objective.objective,
        "second": options.objective.second,
        "preset": options.preset,
        "start": options.start,
        "time": options.seconds,
        "symmetry": options.group,
        "seed": options.seed,
    }


def test_options_of_a_training_are_off_for_a_trained_network(dock, noisy):
    dock.viewer.add_image(noisy, name="cells")
    options = dock.widget.options
    tooltips = {name: one.toolTip() for name, one in controls(options).items()}
    assert all(one.isEnabled() for one in controls(options).values())
    dock.run()
    box = options.model.box
    box.setCurrentIndex(box.findText("trained on 'cells'"))
    for name, one in controls(options).items():
        assert not one.isEnabled(), name
        assert one.toolTip() == TRAINED
    assert options.note.text() == TRAINED
    assert options.note.isVisibleTo(options)
    assert options.device.isEnabled()
    box.setCurrentIndex(0)
    for name, one in controls(options).items():
        assert one.isEnabled(), name
        assert one.toolTip() == tooltips[name]
    assert not options.note.isVisibleTo(options)


def test_a_trained_network_has_no_training_region(dock, noisy):
    dock.viewer.add_image(np.stack([noisy, noisy]), name="cells")
    dock.viewer.add_shapes(name="outline")
    dock.viewer.layers.selection.active = dock.viewer.layers["cells"]
    region, box = dock.widget.options.training_region.box, dock.widget.options.model.box
    assert [region.itemText(n) for n in range(region.count())] == [
        "Whole layer",
        "Slice shown",
        "Region 'outline'",
    ]
    dock.run()
    box.setCurrentIndex(box.findText("trained on 'cells'"))
    assert [region.itemText(n) for n in range(region.count())] == ["Whole layer"]


@pytest.mark.parametrize("group", ["D4", "C8"])
def test_another_symmetry_says_that_it_trains_from_scratch(dock, noisy, options, group):
    dock.viewer.add_image(noisy, name="cells")
    assert options.start.isEnabled()
    assert "Fine-tunes" in dock.widget.plan.text()
    options.setValue(Options(group=group))
    words = f"because there is no pretrained network with symmetry {group}"
    assert options.note.text() == f"Trains from scratch, {words}."
    assert options.note.isVisibleTo(options)
    assert words in options.start.toolTip()
    assert not options.start.isEnabled()
    assert f"Trains a new network, {words}," in dock.widget.plan.text()
    assert f"({group})" in options.group.currentText()
    assert "trains from scratch" in options.group.toolTip()
    options.setValue(Options())
    assert options.start.isEnabled()
    assert not options.note.isVisibleTo(options)


def test_channels_say_whether_they_are_denoised_together(dock, noisy, options):
    dock.viewer.add_image(rgb(noisy), name="cells")
    words = "Fine-tunes the pretrained network, which denoises each channel by itself, on this"
    assert words in dock.widget.plan.text()
    dock.viewer.add_image(np.stack([noisy] * 2), name="pair", axis_labels=("c", "y", "x"))
    assert words in dock.widget.plan.text()
    assert not options.note.isVisibleTo(options)
    options.setValue(Options(start="random"))
    assert "Trains a new network on this" in dock.widget.plan.text()
    assert "Channels are denoised together" in options.start.toolTip()
    assert not options.note.isVisibleTo(options)


def test_channels_together_say_that_they_start_from_scratch(dock, noisy, options):
    dock.use(**{"network.channel_mode": "together"})
    dock.viewer.add_image(rgb(noisy), name="cells")
    words = "because no pretrained network denoises channels together"
    assert options.note.text() == f"Trains from scratch, {words}."
    assert f"Trains a new network, {words}, on this image" in dock.widget.plan.text()


def test_the_data_type_is_off_without_integers_to_round_to(dock, noisy):
    dock.viewer.add_image(noisy, name="float")
    box = dock.widget.options.as_source
    assert not box.isEnabled()
    assert box.toolTip() == FLOATS
    dock.viewer.add_image(noisy.clip(0).astype(np.uint16), name="integers")
    assert box.isEnabled()
    dock.viewer.add_image(rgb(noisy), name="colour")
    assert not box.isEnabled()


def test_the_names_of_symmetries_are_not_cut_off():
    # In the narrowest dock the list shows 18 letters: "Rotations by 90 de".
    assert max(len(label) for label, _ in GROUPS.values()) <= 18


def test_options_can_be_corrected_after_a_refusal(dock, noisy):
    dock.viewer.add_image(noisy, name="cells")
    dock.run()
    options = dock.widget.options
    options.objective.choose("noise2noise")
    box = options.model.box
    box.setCurrentIndex(box.findText("trained on 'cells'"))
    assert not options.objective.objective.isEnabled()
    box.setCurrentIndex(0)
    assert dock.widget.plan.text().startswith("Cannot denoise this layer")
    assert options.objective.objective.isEnabled()
    options.objective.choose("noise2self")
    assert dock.widget.button.isEnabled()


def test_the_second_shot_comes_back_and_is_named(dock, noisy):
    shots = [dock.viewer.add_image(np.stack([noisy] * 3) + n, name=f"shot{n}") for n in (1, 2)]
    select = dock.viewer.layers.selection
    select.active = shots[0]
    objective = dock.widget.options.objective
    objective.choose("noise2noise")
    assert "with the next frame" in dock.widget.plan.text()
    objective.second.setCurrentIndex(objective.second.findText("shot2"))
    assert "with the second shot 'shot2'" in dock.widget.plan.text()
    select.active = shots[1]
    assert "with the next frame" in dock.widget.plan.text()
    select.active = shots[0]
    assert objective.target_layer == shots[1]
    dock.viewer.layers.remove(shots[1])
    assert "with the next frame" in dock.widget.plan.text()


def test_a_network_of_other_channels_is_refused_beforehand(dock, noisy):
    dock.viewer.add_image(noisy, name="cells")
    dock.run()
    channels = np.stack([noisy, noisy])
    dock.viewer.add_image(channels, name="two", axis_labels=("C", "Y", "X"))
    box = dock.widget.options.model.box
    box.setCurrentIndex(box.findText("trained on 'cells'"))
    plan = dock.widget.plan.text()
    assert "the network was trained on 1 channel, the image has 2: train on this image" in plan
    assert not dock.widget.button.isEnabled()
    box.setCurrentIndex(0)
    assert dock.widget.button.isEnabled()


def test_instant_does_not_need_a_second_shot(dock, noisy):
    dock.viewer.add_image(noisy, name="cells")
    dock.widget.options.objective.choose("noise2noise")
    assert not dock.widget.button.isEnabled()
    assert dock.widget.instant_button.isEnabled()
    assert dock.widget.plan.text().endswith("Instant denoises without training.")
    objective = dock.widget.options.objective
    assert objective.second.currentText() == "Choose a layer"
    dock.viewer.add_image(np.stack([noisy] * 3), name="movie")
    assert objective.second.currentText() == "The next frame of the stack"


def test_a_refusal_goes_when_something_else_is_chosen(dock, noisy):
    layer = dock.viewer.add_image(noisy, name="cells")
    status = dock.widget.status
    dock.viewer.layers.selection.clear()
    dock.widget.start_selected()
    assert status.text() == "No layer is selected: select an image layer."
    dock.viewer.layers.selection.active = layer
    assert status.text() == ""
    labels = dock.viewer.add_labels(np.zeros(noisy.shape, int), name="empty")
    dock.viewer.layers.selection.active = layer
    box = dock.widget.options.training_region.box
    box.setCurrentIndex(box.findText(f"Region '{labels.name}'"))
    dock.run()
    assert status.text().startswith("Cannot denoise 'cells': no pixel of 'cells' lies inside")
    box.setCurrentIndex(0)
    assert status.text() == ""


def test_outcomes_stay_when_an_option_changes(dock, noisy):
    dock.viewer.add_image(noisy, name="cells")
    dock.run()
    dock.widget.options.objective.choose("r2r")
    assert dock.widget.status.text().startswith("Done")
