"""The tab Batch: a folder in, results in a folder, and a table of what happens."""

import json

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_redenoise._napari import denoise_selected_layer
from napari_redenoise._napari.batch import _work
from napari_redenoise._napari.denoise._form import A_BATCH, A_RUN
from napari_redenoise.model import Redenoiser

from .conftest import PATIENCE_MS, TINY

FAST = {"network.kind": "standard", "training.steps": 2}
ENDLESS = {"network.kind": "standard", "training.steps": 1_000_000}


class Batch:
    """The tab, and the actions of a user."""

    def __init__(self, dock):
        self.dock = dock
        self.panel, self.control = dock.widget.batch, dock.widget._batch
        self.table = self.panel.table
        dock.use(**FAST)
        dock.widget.open_tab(self.panel)

    def choose(self, folder):
        self.panel.choose_folder(folder)
        self.dock.wait(lambda: self.panel.chosen.text() != "Listing the images.")

    def press(self):
        self.panel.button.click()

    def wait_for_end(self):
        self.dock.wait(lambda: not self.control.is_running)

    def run(self):
        self.press()
        self.wait_for_end()

    @property
    def states(self):
        return {key.name: self.table.state(key) for key in self.table.keys}

    def tooltip(self, name):
        row = [key.name for key in self.table.keys].index(name)
        return self.table.item(row, 1).toolTip()

    def train(self, training):
        self.panel.training.setCurrentIndex(self.panel.training.findData(training))


@pytest.fixture
def batch(dock):
    opened = Batch(dock)
    yield opened
    if opened.control.work is not None:
        opened.control.work.stop.set()
    dock.wait(lambda: not _work._running)


def write(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).poisson(50, (40, 48)).astype(np.uint16)
    scale = {"resolution": (4, 4), "metadata": {"unit": "um"}}
    tifffile.imwrite(path, pixels, imagej=True, **scale)
    return path


@pytest.fixture
def raw(tmp_path):
    """Three images, of which one is broken."""
    folder = tmp_path / "raw"
    for number, name in enumerate(("a.tif", "c.tif")):
        write(folder / name, number)
    (folder / "b.tif").write_bytes((folder / "a.tif").read_bytes()[:200])
    return folder


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_folder_is_denoised_and_a_broken_image_is_named(batch, raw):
    before = contents(raw)
    batch.choose(raw)
    assert batch.states == dict.fromkeys(("a.tif", "b.tif", "c.tif"), "waiting")
    assert batch.panel.chosen.text() == "3 images of 'raw'."
    assert batch.panel.output.text() == str(raw / "denoised")
    batch.run()
    assert batch.states == {"a.tif": "done", "b.tif": "failed", "c.tif": "done"}
    assert "b.tif cannot be read as an image" in batch.tooltip("b.tif")
    assert batch.panel.status.text().startswith("Denoised 2 of 3 images. 1 failed:")
    results = raw / "denoised"
    assert {path.name for path in results.iterdir()} == {"a.tif", "c.tif", "manifest.jsonl"}
    # As the command does, with the options of the dock.
    config = TINY.replace(FAST)
    pixels = tifffile.imread(raw / "a.tif")
    alone = Redenoiser(config).fit(pixels).predict(pixels).denoised
    np.testing.assert_allclose(tifffile.imread(results / "a.tif"), alone, rtol=1e-4)
    assert {path: found for path, found in contents(raw).items() if path in before} == before


def test_the_table_names_the_worst_check_of_a_result(batch, raw, monkeypatch):
    marks = {
        "Noise removed": "caution",
        "Mean brightness": "bad",
        "Supported resolution": "unknown",
    }

    def checks(_, source, *__):
        bad = source.array.mean() > 50
        found = marks if bad else dict.fromkeys(marks, "good")
        mark = "bad" if bad else "good"
        return {"mark": mark, "checks": found, "sentences": ["bad: Mean brightness: 2 %."]}

    monkeypatch.setattr(_work, "file_checks", checks)
    tifffile.imwrite(raw / "c.tif", np.full((40, 48), 30) + tifffile.imread(raw / "c.tif"))
    tifffile.imwrite(raw / "a.tif", tifffile.imread(raw / "a.tif") // 2)
    (raw / "b.tif").unlink()
    batch.choose(raw)
    batch.run()
    texts = [batch.table.item(row, 1).text() for row in range(2)]
    assert texts == ["done\n● no problem found", "done\n■ Mean brightness"]
    assert "bad: Mean brightness: 2 %." in batch.tooltip("c.tif")
    assert "Look at 'c.tif' (mean brightness) first." in batch.panel.status.text()
    # The checks of results that are up to date come from the manifest.
    batch.run()
    texts = [batch.table.item(row, 1).text() for row in range(2)]
    assert texts == ["up to date\n● no problem found", "up to date\n■ Mean brightness"]


def test_stop_keeps_finished_images_and_start_resumes(batch, raw):
    (raw / "b.tif").unlink()
    batch.choose(raw)
    batch.press()
    batch.dock.wait(lambda: batch.states["a.tif"] == "done")
    batch.press()
    assert batch.panel.status.text() == "Stopping; finished images are kept."
    batch.wait_for_end()
    # The last image may have been finished meanwhile.
    assert batch.states["a.tif"] == "done"
    done = contents(raw / "denoised")
    batch.run()
    assert batch.states["a.tif"] == "up to date"
    assert batch.states["c.tif"] in ("done", "up to date")
    assert all(done[path] == path.read_bytes() for path in done if path.suffix == ".tif")


def test_stop_ends_a_training(batch, raw):
    batch.dock.use(**ENDLESS)
    batch.choose(raw)
    batch.press()
    # Steps may follow each other faster than they are shown.
    batch.dock.wait(lambda: batch.states["a.tif"].startswith("training"))
    batch.press()
    batch.wait_for_end()
    assert batch.states["a.tif"] == "waiting"
    assert "Stopped. Denoised 0 of 3 images. Start continues." in batch.panel.status.text()
    assert [path.name for path in (raw / "denoised").glob("*.tif")] == []
    assert batch.panel.button.text() == "&Start"


def test_results_are_opened_as_layers_with_their_scale(batch, raw):
    batch.choose(raw)
    assert not batch.panel.open_button.isEnabled()
    batch.run()
    batch.table.selectRow(1)
    assert not batch.panel.open_button.isEnabled()
    batch.table.selectRow(0)
    batch.panel.open_button.click()
    batch.dock.wait(lambda: len(batch.dock.names) == 2)
    noisy, denoised = batch.dock.viewer.layers
    assert (noisy.name, denoised.name) == ("a", "a denoised")
    np.testing.assert_array_equal(noisy.data, tifffile.imread(raw / "a.tif"))
    np.testing.assert_array_equal(denoised.data, tifffile.imread(raw / "denoised" / "a.tif"))
    for layer in (noisy, denoised):
        np.testing.assert_allclose(layer.scale, 0.25)
        assert [str(unit) for unit in layer.units] == ["micrometer"] * 2
    assert noisy.contrast_limits == denoised.contrast_limits


def test_files_of_others_are_never_overwritten(batch, raw):
    (raw / "denoised").mkdir()
    (raw / "denoised" / "a.tif").write_text("mine")
    batch.choose(raw)
    batch.run()
    assert batch.states == {"a.tif": "failed", "b.tif": "failed", "c.tif": "done"}
    assert (raw / "denoised" / "a.tif").read_text() == "mine"
    tooltip = batch.tooltip("a.tif")
    assert tooltip.endswith("a.tif exists already: choose another folder.")
    # Nor are results of other options.
    kept = (raw / "denoised" / "c.tif").read_bytes()
    batch.dock.use(**{**FAST, "training.steps": 1})
    batch.run()
    assert batch.states["c.tif"] == "failed"
    assert "c.tif exists already, of other settings" in batch.tooltip("c.tif")
    assert (raw / "denoised" / "c.tif").read_bytes() == kept


def test_images_are_never_overwritten(batch, raw):
    before = contents(raw)
    batch.choose(raw)
    batch.panel.output.setText(str(raw))
    batch.run()
    assert "is read by this run: choose another folder" in batch.panel.status.text()
    assert contents(raw) == before


def test_closing_the_dock_stops_and_keeps_finished_images(dock, raw):
    batch = Batch(dock)
    batch.choose(raw)
    batch.press()
    dock.wait(lambda: batch.states["a.tif"] == "done")
    finished = (raw / "denoised" / "a.tif").read_bytes()
    dock.viewer.window.remove_dock_widget(dock.dock)
    dock.wait(lambda: not _work._running)
    assert (raw / "denoised" / "a.tif").read_bytes() == finished
    assert not list((raw / "denoised").glob(".redenoise-*"))


def test_closing_napari_stops_the_batch(make_napari_viewer_proxy, qtbot, raw):
    viewer = make_napari_viewer_proxy()
    _, widget = viewer.window.add_plugin_dock_widget("napari-redenoise", "Denoise")
    widget.config = TINY.replace(ENDLESS)
    widget.batch.choose_folder(raw)
    qtbot.waitUntil(lambda: widget.batch.button.isEnabled(), timeout=PATIENCE_MS)
    widget.batch.button.click()
    table = widget.batch.table
    qtbot.waitUntil(lambda: "training" in table.state(table.keys[0]), timeout=PATIENCE_MS)
    (work,) = _work._running
    viewer.close()
    qtbot.waitUntil(lambda: not _work._running, timeout=PATIENCE_MS)
    assert work.stop.is_set()
    assert list((raw / "denoised").glob("*.tif")) == []


def test_names_and_subfolders_choose_the_images(batch, raw):
    write(raw / "late" / "c.TIF", 5)
    batch.choose(raw)
    batch.panel.subfolders.setChecked(True)
    batch.dock.wait(lambda: len(batch.table.keys) == 4)
    batch.panel.pattern.setText("c*")
    batch.panel.inputs_changed.emit()
    batch.dock.wait(lambda: len(batch.table.keys) == 2)
    assert [batch.table.item(row, 0).text() for row in range(2)] == ["c.tif", "late/c.TIF"]
    batch.panel.pattern.setText("*.png")
    batch.panel.inputs_changed.emit()
    batch.dock.wait(lambda: not batch.table.keys)
    assert "There are no images to denoise" in batch.panel.chosen.text()
    assert not batch.panel.button.isEnabled()


def test_one_training_denoises_all(batch, raw):
    (raw / "b.tif").unlink()
    batch.panel.choose_files([raw / "a.tif", raw / "c.tif"])
    batch.dock.wait(lambda: len(batch.table.keys) == 2)
    batch.train("one")
    assert batch.panel.train_on.isVisibleTo(batch.panel)
    batch.panel.train_on.setCurrentIndex(1)
    batch.run()
    assert batch.states == {"a.tif": "done", "c.tif": "done"}
    (trained,) = [
        one
        for one in map(json.loads, (raw / "denoised" / "manifest.jsonl").read_text().splitlines())
        if one["state"] == "trained"
    ]
    assert trained["images"] == ["../c.tif"]


def test_the_pretrained_network_denoises_without_training(pretrained, batch, raw):
    batch.dock.use()
    batch.choose(raw)
    batch.train("none")
    batch.run()
    assert batch.states["a.tif"] == "done"
    lines = (raw / "denoised" / "manifest.jsonl").read_text().splitlines()
    (done,) = [one for one in map(json.loads, lines) if one.get("output") == "a.tif"][-1:]
    assert done["settings"]["config"]["training"]["steps"] == 0
    batch.dock.use(**{"network.group": "D4"})
    batch.panel.output.setText(str(raw / "other"))
    batch.run()
    said = batch.panel.status.text()
    assert said.startswith("There is no pretrained network with symmetry D4: choose C4")


def test_a_network_of_this_session_denoises_all(batch, raw, noisy):
    dock = batch.dock
    dock.use(**FAST)
    dock.viewer.add_image(np.random.default_rng(1).poisson(50, (40, 48)), name="cells")
    dock.run()
    network = dock.widget.options.model.box
    network.setCurrentIndex(1)
    assert batch.panel.training.currentText() == "None: network trained on 'cells'"
    assert not batch.panel.training.isEnabled()
    batch.choose(raw)
    batch.run()
    assert batch.states == {"a.tif": "done", "b.tif": "failed", "c.tif": "done"}
    # The network is kept beside the results, and found again.
    batch.run()
    assert batch.states == {"a.tif": "up to date", "b.tif": "failed", "c.tif": "up to date"}
    names = [path.name for path in (raw / "denoised").glob("*.safetensors")]
    assert names == ["network.safetensors"]
    network.setCurrentIndex(0)
    assert batch.panel.training.currentData() == "each"
    assert batch.panel.training.isEnabled()


def test_runs_of_layers_and_batches_wait_for_each_other(batch, raw, noisy):
    dock = batch.dock
    dock.use(**ENDLESS)
    dock.viewer.add_image(noisy, name="cells")
    batch.choose(raw)
    batch.press()
    assert dock.widget.plan.text() == A_BATCH
    assert not dock.widget.button.isEnabled()
    assert not dock.widget.options.isEnabled()
    denoise_selected_layer(dock.viewer)
    assert dock.widget.run is None
    batch.press()
    batch.wait_for_end()
    assert dock.widget.options.isEnabled()
    dock.press()
    assert not batch.panel.button.isEnabled()
    assert batch.panel.button.toolTip() == A_RUN
    dock.widget.run.control.abandon()
    dock.wait_for_end()
    assert batch.panel.button.isEnabled()


def test_ome_zarr_is_a_format_of_results(batch, raw):
    batch.choose(raw)
    batch.panel.format.setCurrentIndex(batch.panel.format.findData("zarr"))
    batch.run()
    assert (raw / "denoised" / "a.zarr" / "zarr.json").is_file()
    batch.table.selectRow(0)
    batch.panel.open_button.click()
    batch.dock.wait(lambda: len(batch.dock.names) == 2)
    assert batch.dock.viewer.layers[1].data.shape == (40, 48)


def test_thumbnails_show_the_images(batch, raw):
    batch.choose(raw)
    table = batch.table
    batch.dock.wait(lambda: not table.item(0, 0).icon().isNull())
    batch.dock.wait(lambda: not table.item(2, 0).icon().isNull())
    assert table.item(1, 0).icon().isNull()


def test_the_dock_stays_narrow(batch, raw):
    batch.choose(raw)
    assert batch.dock.widget.minimumSizeHint().width() <= 360


# -- drag and drop ----------------------------------------------------------------------------


def drop(batch, paths, target=None):
    """Drop files on the tab, as a file manager does; return whether they were accepted."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    # File managers give the names as text, too.
    data.setText("\n".join(map(str, paths)))
    return drop_data(batch, data, target)


def drop_data(batch, data, target=None):
    # Qt hands a drop to the widget under the pointer, or to the first ancestor that takes drops.
    target = target or batch.panel
    while not target.acceptDrops():
        target = target.parentWidget()
    action, button, key = Qt.DropAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    entered = QDragEnterEvent(QPoint(9, 9), action.CopyAction, data, button, key)
    # A new event is accepted.
    entered.ignore()
    QApplication.sendEvent(target, entered)
    if entered.isAccepted():
        dropped = QDropEvent(QPointF(9, 9), action.CopyAction, data, button, key)
        QApplication.sendEvent(target, dropped)
        batch.dock.wait(lambda: batch.panel.chosen.text() != "Listing the images.")
    return entered.isAccepted()


def test_the_panel_says_that_files_can_be_dropped(batch):
    assert "drop files and folders here" in batch.panel.chosen.text()
    assert "drop" in batch.panel.folder_button.toolTip()


def test_a_dropped_folder_is_denoised(batch, raw):
    assert drop(batch, [raw])
    assert batch.panel.chosen.text() == "3 images of 'raw'."
    assert batch.panel.output.text() == str(raw / "denoised")
    assert batch.panel.pattern.isEnabled()
    batch.run()
    assert batch.states == {"a.tif": "done", "b.tif": "failed", "c.tif": "done"}


def test_files_and_folders_are_dropped_together(batch, raw, tmp_path):
    single = write(tmp_path / "single.tif", 7)
    assert drop(batch, [single, raw])
    assert set(batch.states) == {"single.tif", "a.tif", "b.tif", "c.tif"}
    assert not batch.panel.pattern.isEnabled()


def test_files_dropped_on_a_text_are_images_and_no_text(batch, raw):
    for target in (batch.panel.output, batch.panel.table.viewport()):
        batch.panel.inputs = ()
        assert drop(batch, [raw / "a.tif"], target)
        assert batch.states == {"a.tif": "waiting"}
        assert batch.panel.output.text() == str(raw / "denoised")


def test_nothing_but_files_can_be_dropped(batch):
    text, address = QMimeData(), QMimeData()
    text.setText("a.tif")
    address.setUrls([QUrl("https://example.org/a.tif")])
    assert not drop_data(batch, text)
    assert not drop_data(batch, address)
    assert batch.panel.inputs == ()


def test_nothing_is_dropped_on_a_running_batch(batch, raw, tmp_path):
    batch.dock.use(**ENDLESS)
    batch.choose(raw)
    batch.press()
    assert not drop(batch, [write(tmp_path / "late.tif", 1)])
    assert batch.panel.inputs == (raw,)
    batch.press()
    batch.wait_for_end()


def test_an_unexpected_error_ends_the_batch(batch, raw, monkeypatch):
    def failing(*_, **__):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr("napari_redenoise.recipes.batch._shared_model.SharedModel.train", failing)
    (raw / "b.tif").unlink()
    batch.choose(raw)
    batch.train("all")
    batch.run()
    said = batch.panel.status.text()
    assert said.startswith("Unexpected error (RuntimeError: CUDA out of memory).")
    assert batch.panel.button.isEnabled()


# -- selected layers --------------------------------------------------------------------------


@pytest.fixture
def layers(batch, noisy):
    """Three selected layers, of which the second is constant."""
    dock = batch.dock
    dock.use()
    flat = np.full_like(noisy, 7)
    added = [
        dock.viewer.add_image(pixels, name=name)
        for name, pixels in (("a", noisy), ("flat", flat), ("c", noisy + 1000))
    ]
    dock.viewer.layers.selection = set(added)
    batch.panel.layers_button.click()
    return batch


def layer_states(batch):
    names = [batch.table.item(row, 0).text() for row in range(batch.table.rowCount())]
    return dict(zip(names, map(batch.table.state, batch.table.keys), strict=True))


def wait_for_layers(batch):
    batch.dock.wait(lambda: not batch.control.has_running_layers)


def test_selected_layers_are_denoised_one_after_the_other(layers):
    assert layer_states(layers) == dict.fromkeys(("a", "flat", "c"), "waiting")
    assert not layers.panel.output.isVisibleTo(layers.panel)
    layers.press()
    assert layers.panel.button.text() == "&Stop"
    wait_for_layers(layers)
    assert layer_states(layers) == {"a": "done", "flat": "failed", "c": "done"}
    names = layers.dock.names
    assert [name for name in names if "denoised" in name] == [
        "a denoised (AdaReNet, N2S)",
        "c denoised (AdaReNet, N2S)",
    ]
    # Each has its own training.
    means = [
        layers.dock.viewer.layers[f"{name} denoised (AdaReNet, N2S)"].data.mean() for name in "ac"
    ]
    assert means[1] - means[0] > 900
    assert layers.panel.status.text().startswith("Denoised 2 of 3 layers. 1 failed:")
    layers.dock.wait(lambda: "\n" in layers.table.item(2, 1).text())


@pytest.mark.parametrize("training", ["each", "all"])
def test_a_layer_that_is_refused_does_not_keep_the_others(layers, training):
    viewer = layers.dock.viewer
    viewer.layers.remove("flat")
    tiny = viewer.add_image(np.ones((8, 8), np.float32), name="tiny")
    viewer.layers.selection = {tiny, viewer.layers["a"], viewer.layers["c"]}
    layers.panel.layers_button.click()
    layers.train(training)
    layers.press()
    wait_for_layers(layers)
    assert layer_states(layers) == {"a": "done", "c": "done", "tiny": "failed"}
    assert "too small, 8 × 8 pixels" in layers.table.item(2, 1).toolTip()
    assert layers.panel.status.text().startswith("Denoised 2 of 3 layers. 1 failed:")
    assert "too small" in layers.dock.widget.status.toolTip()


def test_no_other_layer_is_trained_on_than_the_chosen_one(layers):
    viewer = layers.dock.viewer
    tiny = viewer.add_image(np.ones((8, 8), np.float32), name="tiny")
    viewer.layers.selection = {tiny, viewer.layers["a"]}
    layers.panel.layers_button.click()
    layers.train("one")
    layers.panel.train_on.setCurrentIndex(layers.panel.train_on.findText("tiny"))
    layers.press()
    wait_for_layers(layers)
    assert "'tiny' is too small" in layers.panel.status.text()
    assert not any("denoised" in name for name in layers.dock.names)


def test_one_network_denoises_the_selected_layers(layers):
    layers.dock.viewer.layers.remove("flat")
    layers.panel.layers_button.click()
    layers.train("one")
    layers.panel.train_on.setCurrentIndex(layers.panel.train_on.findText("c"))
    layers.press()
    wait_for_layers(layers)
    assert set(layer_states(layers).values()) == {"done"}
    made = {
        name: layers.dock.viewer.layers[f"{name} denoised (AdaReNet, N2S)"].metadata[
            "napari-redenoise"
        ]
        for name in "ac"
    }
    # Seconds of one training.
    assert made["a"]["seconds"] == made["c"]["seconds"]
    assert layers.dock.widget.finished_run.layer.name == "c"


def test_stop_ends_the_batch_of_layers(layers):
    layers.dock.use(**{"training.steps": 1_000_000})
    layers.press()
    layers.dock.wait_for_step(2)
    assert layer_states(layers)["a"].startswith("training")
    layers.press()
    wait_for_layers(layers)
    assert layers.dock.widget.run is None
    assert set(layer_states(layers).values()) == {"waiting"}
    assert not any("denoised" in name for name in layers.dock.names)


def test_no_selected_layer_is_said(batch):
    batch.panel.layers_button.click()
    assert batch.panel.status.text().startswith("No image layer is selected")
    assert not batch.panel.button.isEnabled()


def test_layers_are_denoised_without_training_whatever_the_time(pretrained, layers):
    layers.dock.viewer.layers.remove("flat")
    layers.panel.layers_button.click()
    layers.train("none")
    layers.dock.widget.options.seconds.setValue(60)
    layers.press()
    wait_for_layers(layers)
    assert set(layer_states(layers).values()) == {"done"}
    for layer in layers.dock.images:
        made = layer.metadata.get("napari-redenoise")
        assert made is None or made["steps"] == 0
    layers.dock.use(**{"network.group": "D4"})
    layers.press()
    assert layers.panel.status.text().startswith("There is no pretrained network with symmetry D4")


def test_the_image_to_train_on_stays_when_the_list_is_read_again(batch, raw):
    batch.choose(raw)
    batch.train("one")
    batch.panel.train_on.setCurrentIndex(2)
    batch.panel.subfolders.click()
    batch.dock.wait(lambda: batch.panel.chosen.text() != "Listing the images.")
    assert batch.panel.train_on.currentText() == "c.tif"


def test_a_zarr_store_is_chosen_as_one_image(batch, tmp_path, monkeypatch):
    store = tmp_path / "x.zarr"
    store.mkdir()
    (store / "zarr.json").write_text("{}")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(store))
    batch.panel.folder_button.click()
    assert batch.panel.inputs == (store,)
    assert batch.panel.output.text() == str(tmp_path / "denoised")


def test_a_name_alone_is_a_folder_beside_the_images(batch, raw, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    batch.choose(raw)
    batch.panel.output.setText("results")
    assert batch.panel.value().folder == raw / "results"
    batch.panel.output.setText(str(tmp_path / "elsewhere"))
    assert batch.panel.value().folder == tmp_path / "elsewhere"
