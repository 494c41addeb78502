"""Actions in an order, and with names, that few users come upon."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QFileDialog, QLabel

from napari_redenoise._napari._layers import DISAGREEMENT_CONTENT, METADATA_KEY
from napari_redenoise._napari._plots import LossPlot
from napari_redenoise._napari._words import WrappedLabel, in_short

DENOISED = "cells denoised (AdaReNet, N2S)"


@pytest.fixture
def twice(dock, noisy):
    """A dock with two results of one layer."""
    dock.viewer.add_image(noisy, name="cells")
    dock.run()
    dock.viewer.layers.selection.active = dock.viewer.layers["cells"]
    dock.run()
    return dock


def denoise_layers(dock, *images, training="each"):
    """Denoise these layers by the tab Batch, choose the last."""
    layers = [dock.viewer.add_image(image, name=name) for name, image in images]
    dock.viewer.layers.selection = set(layers)
    panel = dock.widget.batch
    dock.widget.open_tab(panel)
    panel.layers_button.click()
    panel.training.setCurrentIndex(panel.training.findData(training))
    panel.button.click()
    dock.wait(lambda: not dock.widget._batch.has_running_layers)
    dock.viewer.layers.selection.active = layers[-1]


def visible(dock):
    return {layer.name for layer in dock.viewer.layers if layer.visible}


def test_the_slider_compares_one_result_with_the_noisy_layer(twice):
    latest = twice.widget.finished_run.result.name
    made = {"content": DISAGREEMENT_CONTENT}
    twice.viewer.add_image(np.ones((72, 90)), name="map", metadata={METADATA_KEY: made})
    twice.viewer.layers.selection.active = twice.viewer.layers["cells"]
    twice.widget.result.blend.setValue(0)
    assert visible(twice) == {"cells", latest}
    earlier = next(n for n in range(2) if n != twice.widget.result.choice.currentIndex())
    twice.widget.result.choice.activated.emit(earlier)
    twice.widget.result.blend.setValue(50)
    shown = twice.widget.finished_run.result.name
    assert shown != latest
    assert visible(twice) == {"cells", shown}


def test_the_slider_removes_the_layer_of_a_snapshot(twice):
    twice.widget.training.slider.setValue(twice.widget.training.slider.minimum())
    twice.wait(lambda: any("at step" in name for name in twice.names))
    twice.widget.result.blend.setValue(30)
    assert not any("at step" in name for name in twice.names)


def test_the_button_side_by_side_follows_the_grid_of_napari(dock):
    grid = getattr(dock.viewer, "canvas", dock.viewer).grid
    grid.enabled = True
    assert dock.widget.result.grid.isChecked()
    grid.enabled = False
    assert not dock.widget.result.grid.isChecked()


def test_the_rest_of_a_batch_is_one_run_after_a_failure(dock, noisy):
    dock.viewer.add_image(noisy, name="before")
    dock.run()
    before = dock.widget.finished_run
    flat = np.full_like(noisy, 5)
    denoise_layers(dock, ("flat", flat), ("a", noisy), ("b", noisy[::-1].copy()))
    batch = dock.widget.finished_run.batch
    assert [run.job.source.name for run in batch] == ["a", "b"]
    assert before not in batch
    assert [len(run.losses) for run in batch] == [4, 4]


def test_a_batch_of_layers_leaves_its_tab_open(dock, noisy):
    denoise_layers(dock, ("a", noisy), ("b", noisy[::-1].copy()))
    assert dock.widget.tabs.currentWidget().widget() is dock.widget.batch
    table = dock.widget.batch.table
    dock.wait(lambda: all(run.is_checked for run in dock.widget.finished_run.batch))
    assert table.item(0, 1).toolTip().startswith("Done: ")


def test_a_continued_training_has_the_images_of_all_layers(dock, noisy):
    denoise_layers(dock, *((name, noisy + n) for n, name in enumerate("abc")), training="all")
    others = [{one.name for one in run.job.others} for run in dock.widget.finished_run.batch]
    assert others == [{"b", "c"}, {"a", "c"}, {"a", "b"}]


def test_replaced_pixels_are_looked_at(dock, noisy):
    layer = dock.viewer.add_image(np.full((72, 90), 7.0), name="cells")
    dock.widget._surveys._found = {}
    before = dock.widget.plan.text()
    layer.data = np.zeros((8, 8))
    assert dock.widget.plan.text() != before
    assert "too small" in dock.widget.plan.text()
    layer.data = noisy
    assert dock.widget.button.isEnabled()


def test_wrong_labels_of_axes_can_be_corrected(dock, noisy):
    stack = np.stack([noisy] * 17)
    dock.viewer.add_image(stack, name="planes", axis_labels=("c", "y", "x"))
    assert "at most 16 channels" in dock.widget.plan.text()
    assert dock.widget.axes.isVisibleTo(dock.widget)
    choice = dock.widget.axes.choice
    choice.setCurrentIndex(choice.findData("ZYX"))
    assert dock.widget.button.isEnabled()


def test_a_pause_before_the_first_step_is_said(dock, noisy):
    dock.use(**{"training.steps": 1_000_000})
    dock.viewer.add_image(noisy, name="cells")
    dock.press()
    dock.widget.pause_button.setChecked(True)
    dock.wait(lambda: "Paused" in dock.widget.status.text())
    dock.press()
    dock.wait_for_end()


def test_a_cancelled_dialog_keeps_the_chosen_network(dock, noisy, monkeypatch):
    dock.viewer.add_image(noisy, name="cells")
    dock.run()
    model = dock.widget.options.model
    model.box.setCurrentIndex(1)
    chosen = model.model
    assert chosen is not None
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: ("", ""))
    last = model.box.count() - 1
    model.box.setCurrentIndex(last)
    model.box.activated.emit(last)
    assert model.model is chosen


def test_the_wheel_changes_no_option(dock):
    seed = dock.widget.options.seed
    before = seed.value()
    seed.setFocus()
    nowhere, turn = QPointF(3, 3), QPoint(0, 120)
    button, key = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier
    phase = Qt.ScrollPhase.NoScrollPhase
    event = QWheelEvent(nowhere, nowhere, QPoint(0, 0), turn, button, key, phase, False)
    QApplication.sendEvent(seed, event)
    assert seed.value() == before


def test_a_long_name_does_not_widen_the_dock(dock, noisy):
    parts = dock.widget.layer_choice.native, dock.widget.status
    before = [part.minimumSizeHint().width() for part in parts]
    name = "_".join(["experiment"] * 9)
    dock.viewer.add_image(noisy, name=name)
    dock.widget.say(f"Done: added '{name} denoised'.")
    assert all(part.minimumSizeHint().width() < 200 for part in parts), before
    assert name in dock.widget.status.text()


def test_a_label_keeps_its_text():
    label = WrappedLabel("x" * 80)
    assert label.text() == "x" * 80


def test_no_line_breaks_between_a_number_and_its_unit():
    text = "About 2 s, 100 % of the contrast; 3 steps"
    label = WrappedLabel(text)
    assert label.text() == text
    shown = "About 2\u00a0s, 100\u00a0% of the contrast; 3 steps"
    assert QLabel.text(label) == shown


def test_a_short_training_shows_its_largest_loss(qtbot):
    plot = LossPlot()
    qtbot.addWidget(plot)
    plot.show_losses([(1, 9.0), (2, 1.0), (3, 1.0), (4, 1.0)])
    assert plot.getViewBox().viewRange()[1][1] >= 9
    plot.show_losses([(step, 100.0 if step < 5 else 1.0) for step in range(1, 41)])
    assert plot.getViewBox().viewRange()[1][1] == pytest.approx(1.5, rel=0.2)


def test_rich_text_keeps_its_tags():
    text = f"<p><b>Brightness</b>:</p><p><i>{'x' * 30}&lt;</i></p>"
    label = WrappedLabel(text, rich=True)
    assert label.text() == text
    raw = QLabel.text(label)
    assert raw.startswith("<p><b>Brightness</b>:</p><p><i>x\u200bx")
    assert raw.endswith("&lt;</i></p>")


def test_many_outcomes_are_shortened():
    said = [f"Done: {number}." for number in range(20)]
    assert in_short(said[:4]) == "Done: 0. Done: 1. Done: 2. Done: 3."
    assert in_short(said) == "Done: 0. Done: 1. (17 more: point here to read them.) Done: 19."
