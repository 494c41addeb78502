"""The dock takes the axes of a layer from its file, and says where they come from."""

from threading import Event

import numpy as np
import pytest
import tifffile
from napari.layers._layer_actions import _duplicate_layer

from napari_redenoise._napari._layers import read_layer
from napari_redenoise._napari.denoise import _file_axes
from napari_redenoise._napari.denoise._surveys import image_kind
from napari_redenoise._napari.denoise.panels import _axes
from napari_redenoise._napari.denoise.panels._axes import CHECK_AXES, ORIGINS


@pytest.fixture
def counts():
    return np.random.default_rng(0).poisson(20, (5, 2, 40, 48)).astype(np.uint16)


def open_file(dock, path, array, axes, **options):
    tifffile.imwrite(path, array, metadata={"axes": axes} if axes else None, **options)
    return dock.viewer.open(path, plugin="napari")


def chosen(dock):
    return dock.widget.axes.choice.currentData()


@pytest.mark.parametrize(
    ("name", "axes", "words"),
    [
        ("a.tif", "TCYX", "Stack of 5 time points, 40 × 48 pixels in 2 channels"),
        ("a.ome.tif", "ZCYX", "Stack of 5 z-slices, 40 × 48 pixels in 2 channels"),
    ],
)
def test_axes_come_from_the_file(dock, tmp_path, counts, name, axes, words):
    options = {} if "ome" in name else {"imagej": True}
    open_file(dock, tmp_path / name, counts, axes, **options)
    assert chosen(dock) == axes
    assert dock.widget.axes.label.text() == ORIGINS["file"]
    assert dock.widget.plan.text().startswith(words)
    assert CHECK_AXES not in dock.widget.plan.text()


def test_axes_that_no_file_names_are_to_be_checked(dock, tmp_path, counts):
    open_file(dock, tmp_path / "a.tif", counts[:, 0], None)
    assert dock.widget.axes.label.text() == ORIGINS["guess"]
    assert CHECK_AXES in dock.widget.plan.text()
    dock.viewer.add_image(counts[:, 0], name="made by a script")
    assert CHECK_AXES in dock.widget.plan.text()
    dock.viewer.add_image(counts[0, 0], name="plane")
    assert CHECK_AXES not in dock.widget.plan.text()
    assert not dock.widget.axes.isVisibleTo(dock.widget)


def test_a_duplicate_has_the_axes_of_the_file_of_its_original(dock, tmp_path, counts):
    open_file(dock, tmp_path / "a.tif", counts[:, 0], "ZYX", imagej=True)
    layers = dock.viewer.__wrapped__.layers
    for name in ("a copy", "a copy copy"):
        _duplicate_layer(layers)
        layers.selection.active = layers[name]
        assert dock.widget.layer_choice.value.name == name
        assert chosen(dock) == "ZYX"
        assert dock.widget.axes.label.text() == ORIGINS["file"]
    layers["a copy"].data = counts[:2, 0]
    layers.selection.active = layers["a copy"]
    assert dock.widget.axes.label.text() == ORIGINS["guess"]


def test_labels_and_users_count_more_than_the_file(dock, tmp_path, counts):
    (layer,) = open_file(dock, tmp_path / "a.tif", counts[:, 0], "TYX", imagej=True)
    choice = dock.widget.axes.choice
    choice.setCurrentIndex(choice.findData("ZYX"))
    assert chosen(dock) == "ZYX"
    assert dock.widget.axes.label.text() == ORIGINS["chosen"]
    path = layer.source.path
    (other,) = dock.viewer.open(path, plugin="napari", axis_labels=("z", "y", "x"))
    dock.viewer.layers.selection.active = other
    assert chosen(dock) == "ZYX"
    assert dock.widget.axes.label.text() == ORIGINS["labels"]


def test_each_of_several_files_has_its_own_axes(dock, tmp_path, counts):
    first, second = tmp_path / "t.tif", tmp_path / "z.tif"
    tifffile.imwrite(first, counts[:, 0], imagej=True, metadata={"axes": "TYX"})
    tifffile.imwrite(second, counts[:, 0], imagej=True, metadata={"axes": "ZYX"})
    layers = dock.viewer.open([first, second], plugin="napari")
    for layer, axes in zip(layers, ("TYX", "ZYX"), strict=True):
        dock.viewer.layers.selection.active = layer
        assert chosen(dock) == axes


def test_files_opened_as_one_stack_are_a_guess(dock, tmp_path, counts):
    paths = [tmp_path / "t0.tif", tmp_path / "t1.tif"]
    for path in paths:
        tifffile.imwrite(path, counts[:, 0], imagej=True, metadata={"axes": "ZYX"})
    dock.viewer.open(paths, plugin="napari", stack=True)
    assert dock.widget.axes.label.text() == ORIGINS["guess"]


def test_a_layer_with_other_pixels_than_its_file(dock, tmp_path, counts):
    (layer,) = open_file(dock, tmp_path / "a.tif", counts[:, 0], "TYX", imagej=True)
    layer.data = counts[:2, 0]
    dock.viewer.layers.selection.clear()
    dock.viewer.layers.selection.active = layer
    assert dock.widget.axes.label.text() == ORIGINS["guess"]


def test_a_run_has_the_axes_of_the_file(dock, tmp_path, counts):
    open_file(dock, tmp_path / "a.tif", counts[:, 0], "TYX", imagej=True)
    dock.run()
    assert dock.widget.finished_run.job.source.axes == "TYX"
    assert dock.widget.denoiser.session.provenance["axes"] == "TYX"


def test_a_run_waits_for_a_slow_file(dock, tmp_path, counts, monkeypatch):
    go_on, real = Event(), _axes.axes_of_file

    def slow(*given):
        go_on.wait(30)
        return real(*given)

    monkeypatch.setattr(_axes, "axes_of_file", slow)
    monkeypatch.setattr(_file_axes, "LONGEST_WAIT", 0.01)
    open_file(dock, tmp_path / "a.tif", counts[:, 0], "TYX", imagej=True)
    assert dock.widget.axes.label.text() == ORIGINS["guess"]
    dock.press()
    assert dock.widget.run is None
    assert dock.widget.status.text() == "Reading the axes of the file."
    go_on.set()
    dock.wait(lambda: dock.widget.finished_run is not None and dock.widget.run is None)
    assert dock.widget.finished_run.job.source.axes == "TYX"


def test_a_file_that_cannot_be_read_is_asked_once(dock, tmp_path, counts, monkeypatch):
    calls = []

    def broken(*given):
        calls.append(given)
        raise OSError("the drive is gone")

    monkeypatch.setattr(_axes, "axes_of_file", broken)
    open_file(dock, tmp_path / "a.tif", counts[:, 0], "TYX", imagej=True)
    dock.widget.options.seed.setValue(3)
    dock.qtbot.wait(100)
    assert len(calls) == 1
    assert dock.widget.axes.label.text() == ORIGINS["guess"]
    assert dock.widget.button.isEnabled()


def test_a_layer_chosen_in_the_dock_has_the_axes_of_its_file(dock, tmp_path, counts):
    paths = [tmp_path / f"{name}.tif" for name in "ab"]
    for path in paths:
        tifffile.imwrite(path, counts[0], imagej=True, metadata={"axes": "CYX"})
    first, second = dock.viewer.open(paths, plugin="napari")
    dock.viewer.layers.selection.active = second
    _axes._of_files.clear()
    dock.widget.layer_choice.value = first
    assert chosen(dock) == "CYX"


def test_layers_selected_together_have_the_axes_of_their_files(dock, tmp_path, counts):
    paths = [tmp_path / f"{name}.tif" for name in "abc"]
    for path in paths:
        tifffile.imwrite(path, counts[0], imagej=True, metadata={"axes": "CYX"})
    layers = dock.viewer.open(paths, plugin="napari")
    _axes._of_files.clear()
    dock.viewer.layers.selection = set(layers)
    dock.widget.start_selected()
    dock.wait(lambda: dock.widget.run is not None)
    jobs = [dock.widget.run.job, *(job for _, job in dock.widget._queue)]
    assert [job.source.axes for job in jobs] == ["CYX"] * 3
    dock.widget._stop_layers()
    dock.wait_for_end()


def test_other_pixels_of_a_layer_can_have_other_axes(dock, counts):
    layer = dock.viewer.add_image(counts[:, 0], name="a")
    choice = dock.widget.axes.choice
    choice.setCurrentIndex(choice.findData("CYX"))
    layer.data = counts[0, 0]
    dock.viewer.layers.selection.clear()
    dock.viewer.layers.selection.active = layer
    assert dock.widget.plan.text().startswith("Image of 40 × 48 pixels")
    assert dock.widget.button.isEnabled()


def test_every_array_of_a_layer_is_measured(dock, counts):
    layer = dock.viewer.add_image(counts[0, 0], name="a")
    source = read_layer(layer)
    kinds = set()
    for number in range(20):
        layer.data = counts[0, 0] + number
        kinds.add(image_kind(layer, source))
        assert image_kind(layer, source) in kinds
    assert len(kinds) == 20


def test_pixels_changed_in_place_are_measured_again(dock, counts):
    layer = dock.viewer.add_image(counts[0, 0].copy(), name="a")
    source = read_layer(layer)
    before = image_kind(layer, source)
    assert image_kind(layer, source) == before
    layer.data[:] = 3 * layer.data
    assert image_kind(layer, source) != before
