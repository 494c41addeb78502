import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QApplication, QFileDialog, QLabel

from napari_redenoise._napari import _background_task, _trained_models
from napari_redenoise._napari._words import short_name
from napari_redenoise._napari.equivariance import _dock as module
from napari_redenoise.assessment._equivariance import equivariance, percent
from napari_redenoise.model._previews import Window
from napari_redenoise.model._redenoiser import Redenoiser

KEY = "napari-redenoise"
NAMES = ["cells Δ90° fused", "cells Δ90° equivariant", "cells Δ90° standard"]


@pytest.fixture
def config(dock):
    return dock.widget.config


@pytest.fixture
def widget(dock):
    """The dock *Equivariance* beside the dock *Denoise*."""
    _, opened = dock.viewer.window.add_plugin_dock_widget("napari-redenoise", "Equivariance")
    yield opened
    opened._stop.set()
    _trained_models._models.clear()


@pytest.fixture
def press(dock, widget):
    def compare():
        widget.button.click()
        dock.wait(lambda: not widget.is_running)

    return compare


@pytest.fixture
def train(config):
    def on(layer, image=None, axes=None):
        model = Redenoiser(config).fit(layer.data if image is None else image, axes)
        _trained_models.remember(layer, model)
        return model

    return on


def test_it_shares_the_place_of_the_denoise_dock(dock, widget):
    # The windows of tests are hidden.
    QApplication.sendEvent(widget, QShowEvent())
    place = widget.parentWidget()
    window = place.parentWidget()
    assert window.tabifiedDockWidgets(place) == [dock.dock]
    assert widget.minimumSizeHint().height() < 150
    # Once: the user may place it elsewhere.
    window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, place)
    QApplication.sendEvent(widget, QShowEvent())
    assert window.tabifiedDockWidgets(place) == []


def test_a_model_of_the_denoise_dock_is_compared(dock, widget, press, noisy):
    dock.viewer.add_image(noisy, name="cells")
    assert "Train a model on this layer first" in widget.plan.text()
    assert not widget.button.isEnabled()
    dock.run()
    dock.viewer.layers.selection.active = dock.viewer.layers["cells"]
    assert widget.model_choice.currentText() == "trained on 'cells'"
    press()
    expected = equivariance(dock.widget.denoiser, noisy)
    assert dock.names[-3:] == NAMES
    for name, key in zip(NAMES, ("denoised", "equivariant", "standard"), strict=True):
        layer = dock.viewer.layers[name]
        np.testing.assert_allclose(layer.data, expected.differences[key], rtol=1e-3, atol=0.05)
        said = widget.status.text().replace("\N{NO-BREAK SPACE}", " ")
        assert f"{expected.labels[key]} {percent(expected.errors[key])}" in said
    assert expected.errors["equivariant"] < 1e-5 < expected.errors["standard"]


def test_the_network_that_denoised_a_layer_is_compared(dock, widget, press, train, noisy):
    first = train(dock.viewer.add_image(noisy, name="cells"))
    second = train(dock.viewer.add_image(noisy + 1, name="nuclei"))
    dock.viewer.add_image(noisy[::-1], name="other")
    network = dock.widget.options.model.box
    dock.widget.options.model.offer()
    network.setCurrentIndex(network.findText("trained on 'nuclei'"))
    dock.run()
    assert dock.widget.status.text().startswith("Done, without training.")
    choice = widget.model_choice
    assert [choice.itemText(n) for n in range(choice.count())] == [
        "trained on 'nuclei'",
        "trained on 'cells'",
    ]
    assert choice.currentData() is second
    press()
    assert "pixels of 'other'" in widget.status.text()
    # Each layer begins with its own.
    for name, model in (("cells", first), ("other", second), ("nuclei", second)):
        dock.viewer.layers.selection.active = dock.viewer.layers[name]
        assert choice.currentData() is model


def test_a_network_from_a_file_is_known_by_its_result(dock, widget, train, noisy, tmp_path):
    path = train(dock.viewer.add_image(noisy, name="cells")).save(tmp_path / "a.safetensors")
    dock.viewer.add_image(noisy[::-1], name="other")
    dock.widget.options.model.open_file(path)
    dock.run()
    dock.viewer.layers.remove("cells")
    dock.viewer.layers.selection.active = dock.viewer.layers["other"]
    assert widget.model_choice.currentText() == "used on 'other'"
    assert widget.model_choice.currentData() is dock.widget.denoiser
    assert widget.button.isEnabled()


def test_maps_share_contrast_limits_and_have_provenance(dock, widget, press, train, noisy):
    before = noisy.copy()
    layer = dock.viewer.add_image(noisy, name="cells")
    model = train(layer)
    widget._on_layer()
    press()
    maps = [dock.viewer.layers[name] for name in NAMES]
    assert len({tuple(shown.contrast_limits) for shown in maps}) == 1
    top = max(np.percentile(shown.data, 99.5) for shown in maps)
    assert maps[0].contrast_limits == pytest.approx([0, top], rel=1e-3)
    for shown, key in zip(maps, ("denoised", "equivariant", "standard"), strict=True):
        about = shown.metadata[KEY]
        assert about["source"] == "cells"
        assert about["steps"] == model.session.provenance["steps"]
        assert about["rotation"]["network"] == key
        assert about["rotation"]["angle"] == 90
        assert shown.visible
    assert dock.viewer.layers.selection.active == layer
    np.testing.assert_array_equal(noisy, before)


def test_maps_have_the_position_of_the_visible_part(dock, widget, press, train, noisy, monkeypatch):
    monkeypatch.setattr("napari_redenoise._napari._view.MOST_PREVIEWED", 40)
    stack = np.stack([noisy[::-1], noisy, noisy + 100])
    source = dock.viewer.add_image(
        stack,
        name="cells",
        scale=(2, 0.5, 0.25),
        translate=(1, 10, -20),
        rotate=[0, 0, 30],
        shear=[0, 0, 0.2],
        affine=np.array([[1, 0, 0, 2], [0, 1, 0.1, 5], [0, 0, 1.2, -3], [0, 0, 0, 1]], float),
        units=("s", "um", "um"),
        axis_labels=("t", "y", "x"),
    )
    model = train(source)
    dock.viewer.dims.set_current_step(0, 1)
    widget._on_layer()
    press()
    shown = dock.viewer.layers["cells Δ90° standard"]
    window = widget.result.window
    rows, columns = window.rows.start, window.columns.start
    assert rows > 0
    assert columns > 0
    assert window == Window((1,), slice(rows, rows + 40), slice(columns, columns + 40))
    assert shown.data.shape == (1, 40, 40)
    for corner in ((0, 0, 0), (0, 20, 30)):
        np.testing.assert_allclose(
            shown.data_to_world(corner), source.data_to_world(np.add(corner, (1, rows, columns)))
        )
    assert shown.units == source.units
    assert shown.axis_labels == source.axis_labels
    expected = equivariance(model, stack, "TYX", window=window).differences["standard"]
    np.testing.assert_allclose(shown.data[0], expected, rtol=1e-3, atol=0.05)


def test_of_a_large_plane_the_part_in_view_is_compared(dock, widget, press, train, monkeypatch):
    monkeypatch.setattr("napari_redenoise._napari._view.MOST_PREVIEWED", 41)
    image = np.random.default_rng(0).normal(100, 10, (90, 100)).astype(np.float32)
    source = dock.viewer.add_image(image, name="cells", scale=(2, 3))
    train(source)
    widget._on_layer()
    press()
    shown = dock.viewer.layers["cells Δ90° fused"]
    # 41 pixels around the middle, of which an even number is compared.
    assert shown.data.shape == (40, 40)
    np.testing.assert_allclose(shown.data_to_world((0, 0)), source.data_to_world((25, 30)), atol=3)
    rows = widget.result.window.rows
    assert shown.data_to_world((0, 0))[0] == 2 * rows.start


def test_colours_and_channels_give_one_map(dock, widget, press, train, noisy):
    colour = np.clip(np.stack([noisy, noisy / 2, noisy / 3], -1) / 5, 0, 255).astype(np.uint8)
    train(dock.viewer.add_image(colour, name="cells", rgb=True), axes="YXC")
    widget._on_layer()
    press()
    assert dock.viewer.layers["cells Δ90° fused"].data.shape == noisy.shape
    dock.viewer.layers.clear()
    channels = np.stack([noisy, 300 - noisy])
    layer = dock.viewer.add_image(channels, name="cells", axis_labels=("c", "y", "x"))
    train(layer, axes="CYX")
    widget._on_layer()
    press()
    assert dock.viewer.layers["cells Δ90° fused"].data.shape == channels.shape


@pytest.mark.parametrize("angle", [270, 45])
def test_other_angles_work(dock, widget, press, train, noisy, angle):
    train(dock.viewer.add_image(noisy, name="cells"))
    widget._on_layer()
    widget.angle_choice.setCurrentIndex(module.ANGLES.index(angle))
    assert ("inside the disc" in widget.plan.text()) == (angle == 45)
    press()
    assert widget.result.angle == angle
    assert f"by {angle}°" in widget.status.text()
    assert ("Interpolation alone" in widget.status.text()) == (angle == 45)
    assert np.isnan(dock.viewer.layers[f"cells Δ{angle}° fused"].data).any() == (angle == 45)


def test_a_model_file_is_compared(dock, widget, press, config, noisy, tmp_path, monkeypatch):
    path = tmp_path / "mine.safetensors"
    model = Redenoiser(config.replace({"network.kind": "standard"})).fit(noisy)
    model.save(path)
    dock.viewer.add_image(noisy, name="cells")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    widget.file_button.click()
    assert widget.model_choice.currentText() == "mine.safetensors"
    press()
    assert dock.names == ["cells", "cells Δ90° standard"]
    # The choice stays with another layer.
    dock.viewer.add_image(noisy[::-1], name="other")
    assert widget.layer_choice.value.name == "other"
    assert widget.model_choice.currentText() == "mine.safetensors"


def test_model_files_of_the_same_name_are_kept_apart(dock, widget, press, config, noisy, tmp_path):
    dock.viewer.add_image(noisy, name="cells")
    kinds = {"run1": "standard", "run2": "equivariant"}
    for run, kind in kinds.items():
        (tmp_path / run).mkdir()
        model = Redenoiser(config.replace({"network.kind": kind})).fit(noisy)
        widget.open_model(model.save(tmp_path / run / "epoch-040.safetensors"))
    # The same file by another path replaces itself alone.
    widget.open_model(tmp_path / "run2" / ".." / "run1" / "epoch-040.safetensors")
    choice = widget.model_choice
    shown = {choice.itemText(i): choice.itemData(i) for i in range(choice.count())}
    assert {name: model.config.network.kind for name, model in shown.items()} == {
        str(Path(run, "epoch-040.safetensors")): kind for run, kind in kinds.items()
    }
    assert choice.currentData().config.network.kind == "standard"
    choice.setCurrentIndex(choice.findText(str(Path("run2", "epoch-040.safetensors"))))
    press()
    assert choice.currentData().config.network.kind == "equivariant"
    assert dock.names == ["cells", "cells Δ90° equivariant"]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/a/x.st", "/a/y.st"], ["x.st", "y.st"]),
        (["/a/1/x.st", "/b/1/x.st", "/b/y.st"], ["a/1/x.st", "b/1/x.st", "y.st"]),
        (["/1/x.st", "/b/1/x.st"], ["/1/x.st", "b/1/x.st"]),
    ],
)
def test_files_are_named_as_shortly_as_tells_them_apart(paths, names):
    files = [Path(path) for path in paths]
    assert [short_name(file, files) for file in files] == [str(Path(name)) for name in names]


def test_a_file_without_a_model_is_refused(dock, widget, noisy, tmp_path):
    dock.viewer.add_image(noisy, name="cells")
    (tmp_path / "bad.safetensors").write_bytes(b"no model")
    widget.open_model(tmp_path / "bad.safetensors")
    assert "bad.safetensors" in widget.status.text()
    assert not widget.button.isEnabled()


def test_a_model_of_other_channels_is_refused(dock, widget, press, train, noisy):
    layer = dock.viewer.add_image(np.stack([noisy, noisy]), axis_labels=("c", "y", "x"))
    train(layer, noisy)
    widget._on_layer()
    press()
    assert "trained on 1 channel, the image has 2" in widget.status.text()
    assert len(dock.viewer.layers) == 1


def test_volumes_are_refused(dock, widget, press, train, noisy):
    train(dock.viewer.add_image(np.stack([noisy, noisy]), name="cells"))
    widget._on_layer()
    dock.viewer.dims.ndisplay = 3
    press()
    assert "2-D view" in widget.status.text()


def endless(model, *_, should_stop, **__):
    while not should_stop():
        pass
    return "finished all the same"


def test_stop_adds_nothing(dock, widget, train, noisy, monkeypatch):
    monkeypatch.setattr(module, "equivariance", endless)
    train(dock.viewer.add_image(noisy, name="cells"))
    widget._on_layer()
    widget.button.click()
    assert widget.button.text() == "Stop"
    # The viewer lives meanwhile: events are handled and layers can be chosen.
    dock.qtbot.wait(100)
    assert widget.is_running
    dock.viewer.add_labels(np.zeros(noisy.shape, int), name="mine")
    widget.button.click()
    dock.wait(lambda: not widget.is_running)
    assert "Stopped" in widget.status.text()
    assert dock.names == ["cells", "mine"]
    assert widget.button.isEnabled() == (widget.model_choice.currentData() is not None)


def test_closing_the_dock_ends_the_comparison(dock, noisy, train, monkeypatch):
    monkeypatch.setattr(module, "equivariance", endless)
    train(dock.viewer.add_image(noisy, name="cells"))
    shell, opened = dock.viewer.window.add_plugin_dock_widget("napari-redenoise", "Equivariance")
    opened.button.click()
    stop = opened._stop
    shell.destroyOnClose()
    dock.wait(stop.is_set)
    dock.wait(lambda: not _background_task._tasks)
    dock.viewer.add_image(noisy, name="other")
    dock.qtbot.wait(100)
    assert dock.names == ["cells", "other"]


def test_layers_may_be_deleted_meanwhile(dock, widget, train, noisy):
    train(dock.viewer.add_image(noisy, name="cells"))
    widget._on_layer()
    widget.button.click()
    dock.viewer.layers.clear()
    dock.wait(lambda: not widget.is_running)
    assert dock.names == NAMES


def test_an_unexpected_error_is_shown_and_logged(
    dock, widget, press, train, noisy, monkeypatch, caplog
):
    def broken(*_, **__):
        raise RuntimeError("a cable is loose")

    monkeypatch.setattr(module, "equivariance", broken)
    train(dock.viewer.add_image(noisy, name="cells"))
    widget._on_layer()
    with caplog.at_level(logging.ERROR):
        press()
    assert "RuntimeError: a cable is loose" in widget.status.text()
    assert any(record.exc_info for record in caplog.records)
    assert dock.names == ["cells"]


def test_the_outcome_goes_with_the_last_layer(dock, widget, press, train, noisy):
    train(dock.viewer.add_image(noisy, name="cells"))
    widget._on_layer()
    press()
    assert "Compared" in widget.status.text()
    dock.viewer.layers.clear()
    assert widget.status.text() == ""
    assert "Open an image" in widget.plan.text()


def test_maps_are_not_listed_as_images(dock, widget, press, train, noisy):
    train(dock.viewer.add_image(noisy, name="cells"))
    widget._on_layer()
    press()
    for choice in (widget.layer_choice, dock.widget.layer_choice):
        assert [layer.name for layer in choice.choices if layer is not None] == ["cells"]


def test_only_the_latest_models_are_kept():
    layers = [SimpleNamespace(unique_id=number, name=str(number)) for number in range(6)]
    for layer in layers:
        _trained_models.remember(layer, layer)
    assert [_trained_models.recall(layer) is layer for layer in layers] == [False] * 2 + [True] * 4
    _trained_models._models.clear()


def test_without_an_image_the_widget_says_what_to_do(widget):
    assert "Open an image" in widget.plan.text()
    assert not widget.button.isEnabled()


def test_controls_have_keyboard_focus_and_tooltips(widget):
    inputs = (
        widget.layer_choice.native,
        widget.model_choice,
        widget.file_button,
        widget.angle_choice,
        widget.button,
    )
    for control in inputs:
        assert control.focusPolicy() & Qt.FocusPolicy.TabFocus
        assert control.toolTip()
    buddies = {label.buddy() for label in widget.findChildren(QLabel)}
    assert {widget.layer_choice.native, widget.model_choice, widget.angle_choice} <= buddies


def test_a_narrow_dock_cuts_no_words(dock, widget, train, noisy):
    train(dock.viewer.add_image(noisy, name="a long name of a layer " * 4))
    widget._on_layer()
    assert widget.minimumSizeHint().width() <= 300
    assert widget.plan.wordWrap()
    assert widget.status.wordWrap()


def test_axes_that_the_user_chose_are_those_of_the_comparison(dock, widget, press, noisy):
    layer = dock.viewer.add_image(np.stack([noisy, noisy + 100]), name="cells")
    choice = dock.widget.axes.choice
    choice.setCurrentIndex(choice.findData("CYX"))
    dock.run()
    dock.viewer.layers.selection.active = layer
    press()
    assert dock.viewer.layers["cells Δ90° fused"].data.shape == layer.data.shape
