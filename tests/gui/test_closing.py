"""The dock or the viewer is closed during a run."""

from pathlib import Path

import pytest
import tifffile
from napari._app_model import get_app_model
from napari.settings import get_settings
from qtpy.QtCore import Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QApplication, QPushButton
from superqt.utils import WorkerBase

from napari_redenoise._napari.denoise import _dock, _layer_run
from napari_redenoise._napari.denoise._closing import ClosingQuestion
from napari_redenoise.io import load_model

DENOISED = "cells denoised (AdaReNet, N2S)"
ENDLESS = {"training.steps": 1_000_000}


@pytest.fixture
def training(dock, noisy):
    """A dock whose run does not end by itself."""
    dock.use(**ENDLESS)
    dock.viewer.add_image(noisy, name="cells")
    dock.press()
    dock.wait(lambda: dock.step >= 2 and "cells preview" in dock.names)
    return dock


@pytest.fixture
def closed(training):
    """A dock that its close button has closed during the run."""
    training.run_in_progress = training.widget.run
    training.dock.findChild(QPushButton, "QTitleBarCloseButton").click()
    return training


def questions():
    return [one for one in QApplication.topLevelWidgets() if isinstance(one, ClosingQuestion)]


def close_as_user(dock, monkeypatch):
    """Press the close button of the viewer; events of tests are never spontaneous."""
    with monkeypatch.context() as patch:
        patch.setattr(_dock, "is_close_of_user", lambda _, event: event.type() == event.Type.Close)
        dock.widget._main_window.close()
    # napari cannot close a viewer whose window is closed, as the fixture does.
    monkeypatch.setattr(dock.widget, "_close_viewer", dock.viewer.close)
    return dock.widget._question


def test_the_close_button_asks_and_the_training_continues(closed):
    question = closed.widget._question
    assert isinstance(question, ClosingQuestion)
    assert question.isVisible()
    assert "'cells'" in question.text()
    step = closed.step
    closed.wait(lambda: closed.step > step)
    question.choices["discard"].click()


def test_continuing_brings_the_dock_back(closed):
    widget, run = closed.widget, closed.run_in_progress
    closed.qtbot.keyClick(widget._question, Qt.Key.Key_Escape)
    assert widget._question is None
    assert widget.run is run
    assert not run.control.stop.is_set()
    assert widget in closed.viewer.window.dock_widgets.values()
    # The windows of tests are hidden.
    assert widget.isVisibleTo(widget._main_window)
    # The dock works as before: its button stops the run, and the tabs show the result.
    closed.press()
    closed.wait_for_end()
    assert DENOISED in closed.names
    assert widget.finished_run.result.name == DENOISED


def test_discarding_leaves_the_noisy_layer_alone(closed):
    closed.widget._question.choices["discard"].click()
    closed.wait(lambda: not _layer_run._running)
    assert closed.names == ["cells"]


def test_a_training_that_ends_meanwhile_keeps_its_result(closed):
    closed.run_in_progress.control.stop.set()
    closed.wait(lambda: not _layer_run._running)
    assert DENOISED in closed.names
    assert closed.widget._question is None
    closed.wait(lambda: not questions())
    # Nothing listens any more.
    assert closed.widget._connections == []


def test_a_viewer_that_a_script_closes_meanwhile_ends_the_run(closed):
    closed.viewer.close()
    closed.wait(lambda: closed.run_in_progress.control.cancel.is_set())
    WorkerBase.await_workers(10_000)
    closed.wait(lambda: not _layer_run._running)


def test_an_idle_dock_closes_without_a_question(dock, noisy):
    dock.viewer.add_image(noisy, name="cells")
    dock.run()
    dock.dock.destroyOnClose()
    assert dock.widget._question is None


def test_a_hidden_dock_goes_on_without_a_question(training):
    training.dock.findChild(QPushButton, "QTitleBarHideButton").click()
    assert not training.widget.isVisibleTo(training.widget._main_window)
    assert training.widget._question is None
    step = training.step
    training.wait(lambda: training.step > step)


def test_closing_napari_asks_and_can_be_taken_back(training, monkeypatch):
    question = close_as_user(training, monkeypatch)
    assert "cells.redenoise.safetensors" in question.informativeText()
    question.choices["resume"].click()
    step = training.step
    training.wait(lambda: training.step > step)
    assert not training.widget.run.control.stop.is_set()


def test_closing_napari_keeps_the_network_in_the_named_file(training, monkeypatch, tmp_path):
    # The layer has no file.
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    run = training.widget.run
    question = close_as_user(training, monkeypatch)
    assert str(tmp_path / "cells.redenoise.safetensors") in question.informativeText()
    question.choices["keep"].click()
    training.wait(run.control.cancel.is_set)
    WorkerBase.await_workers(10_000)
    training.wait(lambda: not _layer_run._running)
    (kept,) = tmp_path.glob("*.safetensors")
    assert kept.name == "cells.redenoise.safetensors"
    assert load_model(kept)[3]["steps"] >= 2


def test_closing_napari_can_discard_the_network(dock, noisy, tmp_path, monkeypatch):
    dock.use(**ENDLESS)
    tifffile.imwrite(tmp_path / "cells.tif", noisy)
    dock.viewer.open(tmp_path / "cells.tif", plugin="napari")
    dock.press()
    dock.wait_for_step(2)
    run = dock.widget.run
    question = close_as_user(dock, monkeypatch)
    question.choices["discard"].click()
    dock.wait(run.control.cancel.is_set)
    WorkerBase.await_workers(10_000)
    dock.wait(lambda: not _layer_run._running)
    assert [path.name for path in tmp_path.iterdir()] == ["cells.tif"]


# -- the menu File ----------------------------------------------------------------------------


MENU = {
    "Exit": "napari.window.file.quit_dialog",
    "Close Window": "napari.window.file.close_dialog",
}


def choose_in_menu(dock, title, monkeypatch):
    """Choose an entry of the menu File, without napari's own question."""
    monkeypatch.setattr(get_settings().application, "confirm_close_window", False)
    # napari acts on the active window, and those of tests are hidden.
    monkeypatch.setattr(QApplication, "activeWindow", lambda: dock.widget._main_window)
    get_app_model().commands.execute_command(MENU[title]).result()
    return dock.widget._question


def record_closing(monkeypatch):
    """Record whether napari exits instead of closing it: the fixture closes the viewer."""
    closed = []
    monkeypatch.setattr(_dock, "close_window", lambda _, exits: closed.append(exits))
    return closed


@pytest.mark.parametrize("title", ["Exit", "Close Window"])
def test_the_menu_asks_and_the_training_continues(training, title, monkeypatch):
    question = choose_in_menu(training, title, monkeypatch)
    assert isinstance(question, ClosingQuestion)
    assert "cells.redenoise.safetensors" in question.informativeText()
    assert training.names
    question.choices["resume"].click()
    step = training.step
    training.wait(lambda: training.step > step)
    assert not training.widget.run.control.stop.is_set()


@pytest.mark.parametrize(("title", "exits"), [("Exit", True), ("Close Window", False)])
def test_the_menu_closes_after_the_answer(training, title, exits, monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    run, closed = training.widget.run, record_closing(monkeypatch)
    choose_in_menu(training, title, monkeypatch).choices["keep"].click()
    assert closed == [exits]
    # What was learned is kept, in the file that the question named.
    training.viewer.close()
    WorkerBase.await_workers(10_000)
    training.wait(lambda: not _layer_run._running)
    assert run.control.cancel.is_set()
    assert load_model(tmp_path / "cells.redenoise.safetensors")[3]["steps"] >= 2


def test_exit_is_forgotten_when_the_training_continues(training, monkeypatch):
    choose_in_menu(training, "Exit", monkeypatch).choices["resume"].click()
    closed = record_closing(monkeypatch)
    choose_in_menu(training, "Close Window", monkeypatch).choices["discard"].click()
    assert closed == [False]


def test_exit_in_another_viewer_asks_too(training, make_napari_viewer, monkeypatch):
    another = make_napari_viewer()
    # Windows are found when a run begins.
    training.widget._watch(training.widget._main_window)
    window = another.window._qt_window
    closed = record_closing(monkeypatch)
    # napari holds a window that a patch returns for a leak.
    with monkeypatch.context() as patch:
        patch.setattr(get_settings().application, "confirm_close_window", False)
        patch.setattr(QApplication, "activeWindow", lambda: window)
        get_app_model().commands.execute_command(MENU["Exit"]).result()
    question = training.widget._question
    assert isinstance(question, ClosingQuestion)
    assert question.parent() is training.widget._main_window
    assert not window._quit_app
    question.choices["discard"].click()
    assert closed == [True]


def test_a_script_closes_the_viewer_without_a_question(training):
    run = training.widget.run
    training.viewer.close()
    assert questions() == []
    training.wait(run.control.cancel.is_set)
    WorkerBase.await_workers(10_000)
    training.wait(lambda: not _layer_run._running)


def reopened(dock):
    """Open another dock, as the menu does."""
    opened = dock.viewer.window.add_plugin_dock_widget("napari-redenoise", "Denoise")
    dock.dock, dock.widget = opened
    # The windows of tests are hidden.
    QApplication.sendEvent(dock.widget, QShowEvent())
    return dock.widget


def test_a_new_dock_shows_the_results_of_the_closed_one(dock, noisy):
    layer = dock.viewer.add_image(noisy, name="cells")
    dock.run()
    dock.wait(lambda: dock.widget.finished_run.is_checked)
    before = dock.widget.finished_run
    title, report, losses = before.title, before.report, before.losses
    dock.dock.destroyOnClose()
    widget = reopened(dock)
    run = widget.finished_run
    assert run is not before
    assert (run.title, run.report, run.losses) == (title, report, losses)
    assert run.batch == [run]
    assert widget.result.choice.count() == 1
    assert widget.loss_plot.losses == losses
    # It works: it computes further layers, and continues the training.
    run.add("residual")
    dock.wait(lambda: not run.is_busy)
    assert "cells residual" in " ".join(dock.names)
    widget.training.continue_button.click()
    dock.wait_for_end()
    assert widget.finished_run.provenance["steps"] == 8
    assert widget.result.choice.count() == 2
    dock.viewer.layers.remove(layer)
    assert widget.result.choice.count() == 2


def test_checks_of_a_closed_dock_are_made_in_the_next(dock, noisy):
    dock.viewer.add_image(noisy, name="cells")
    dock.run()
    assert not dock.widget.finished_run.is_checked
    dock.dock.destroyOnClose()
    widget = reopened(dock)
    dock.wait(lambda: widget.finished_run.is_checked)
    assert widget.finished_run.report is not None


def test_a_result_that_a_closed_dock_adds_is_listed(dock, noisy):
    dock.use(**{"training.steps": 1_000_000})
    dock.viewer.add_image(noisy, name="cells")
    dock.press()
    dock.wait_for_step(2)
    dock.dock.destroyOnClose()
    dock.widget._question.choices["keep"].click()
    dock.wait(lambda: not _layer_run._running)
    widget = reopened(dock)
    assert widget.finished_run.result.name == DENOISED
    assert widget.finished_run.losses


def test_results_whose_layers_were_deleted_are_not_taken(dock, noisy):
    dock.viewer.add_image(noisy, name="cells")
    dock.run()
    dock.dock.destroyOnClose()
    dock.viewer.layers.remove(DENOISED)
    widget = reopened(dock)
    assert widget.finished_run is None
    assert widget.result.choice.count() == 0
