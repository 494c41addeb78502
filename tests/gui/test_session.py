"""Actions before, during and after a run."""

import re
import runpy
import shlex
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import typer
from napari.settings import get_settings
from napari.utils import progress
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QComboBox,
    QDialog,
    QPlainTextEdit,
    QScrollBar,
    QSpinBox,
    QToolButton,
)
from scipy import ndimage

from napari_redenoise._cli import app
from napari_redenoise._napari import DenoiseWidget, denoise_selected_layer
from napari_redenoise._napari.denoise import _survey
from napari_redenoise._napari.denoise._survey import Survey, survey
from napari_redenoise._napari.denoise.panels._options import Options
from napari_redenoise._napari.denoise.panels._quality import summary
from napari_redenoise.config import Config
from napari_redenoise.io import _result_arrays, set_results_folder
from napari_redenoise.model import RunTime, measure_noise
from napari_redenoise.model._redenoiser import Redenoiser

KEY = "napari-redenoise"
DENOISED = "cells denoised (AdaReNet, N2S)"
ENDLESS = {"training.steps": 1_000_000}


def provenance(dock, name=DENOISED):
    return dock.viewer.layers[name].metadata[KEY]


def pick(box, data):
    """Choose the entry of a list that holds something."""
    numbers = [number for number in range(box.count()) if box.itemData(number) == data]
    assert numbers, [box.itemText(number) for number in range(box.count())]
    box.setCurrentIndex(numbers[0])


# -- one press --------------------------------------------------------------------------------


def test_the_menu_entry_starts_the_run_and_does_not_stop_one(dock, noisy):
    dock.use(**ENDLESS)
    dock.viewer.add_image(noisy, name="cells")
    denoise_selected_layer(dock.viewer)
    run = dock.widget.run
    dock.wait_for_step(2)
    denoise_selected_layer(dock.viewer)
    assert dock.widget.run is run
    assert not run.control.stop.is_set()
    dock.press()
    dock.wait_for_end()
    assert DENOISED in dock.names


def test_the_menu_entry_without_an_image_says_what_to_do(dock):
    denoise_selected_layer(dock.viewer)
    assert dock.widget.run is None
    assert "Open an image" in dock.widget.plan.text()


def test_wrong_axes_are_corrected_in_one_control_and_remembered(dock, noisy):
    stack = dock.viewer.add_image(np.stack([noisy, noisy / 2]), name="cells")
    assert (
        "Stack of 2 images, 72 × 90 pixels; the network learns from all." in dock.widget.plan.text()
    )
    pick(dock.widget.axes.choice, "CYX")
    assert "Image of 72 × 90 pixels in 2 channels." in dock.widget.plan.text()
    dock.viewer.add_image(noisy, name="other")
    assert not dock.widget.axes.isVisibleTo(dock.widget)
    dock.viewer.layers.selection.active = stack
    assert dock.widget.axes.choice.currentData() == "CYX"
    dock.run()
    assert provenance(dock)["axes"] == "CYX"
    assert provenance(dock)["config"]["network"]["channels"] == 2
    # The axis labels of the user's layer are unchanged.
    assert stack.axis_labels == ("-3", "-2", "-1")


def test_the_summary_names_the_objective_and_its_reason(dock, noisy, monkeypatch):
    monkeypatch.setattr("napari_redenoise._napari.denoise._surveys.survey", survey)
    # The quality checks take no time.
    monkeypatch.setattr(_survey, "estimate_run", lambda *_: RunTime(4, 2.5, 0.0, 0.0, 0.0))
    pick(dock.widget.objective.objective, "auto")
    rng = np.random.default_rng(0)
    dock.viewer.add_image(np.clip(rng.poisson(20, (96, 96)), 1, None).astype(np.uint16))
    dock.wait(lambda: not dock.widget.is_measuring)
    said = dock.widget.plan.text()
    assert "(objective: Noise2Self, which suits the noise)" in said
    assert "About 11 s on the" in said
    reason = dock.widget.plan.toolTip()
    assert reason.startswith("Noise2Self, because the noise is independent from pixel to pixel")
    assert "White" in dock.widget.noise.words.text()
    assert dock.widget.noise.correlation.isVisibleTo(dock.widget.noise)


def test_no_spinner_of_napari_redraws_the_window(dock, noisy):
    # Its 25 frames a second composite the whole window: without a graphics card, a quarter of the
    # processor. The dock has a progress bar of its own.
    dock.use(**ENDLESS)
    before = set(progress._all_instances)
    dock.viewer.add_image(noisy, name="cells")
    dock.press()
    dock.wait_for_step(3)
    assert set(progress._all_instances) == before
    assert dock.widget.progress.isVisibleTo(dock.widget)
    dock.wait(lambda: dock.widget.progress.value() >= 3)
    dock.press()
    dock.wait_for_end()


# -- options ----------------------------------------------------------------------------------


def test_the_form_has_the_value_that_was_set(dock):
    form = dock.widget.options
    wanted = Options("best", 90, "D4", "cpu", 7, as_source=True, start="random")
    form.setValue(wanted)
    assert form.value() == wanted


def test_options_determine_the_run(dock, noisy):
    dock.viewer.add_image((noisy / 5).clip(0, 255).astype(np.uint8), name="cells")
    dock.widget.options.setValue(Options("fast", None, "D4", "cpu", 3, as_source=True))
    dock.run()
    name = "cells denoised (equivariant D4, N2S)"
    assert dock.names == ["cells", name]
    config = provenance(dock, name)["config"]
    assert config["network"]["kind"] == "equivariant"
    assert config["network"]["group"] == "D4"
    assert config["training"]["seed"] == 3
    denoised = dock.viewer.layers[name].data
    assert denoised.dtype == np.uint8
    exact = dock.widget.denoiser.predict(dock.viewer.layers["cells"].data).denoised
    np.testing.assert_allclose(denoised, np.clip(exact, 0, 255), atol=0.6)


def test_a_time_limit_sets_the_number_of_steps(dock, noisy, monkeypatch):
    monkeypatch.setattr(_survey, "steps_within", lambda *given: given[-1] // 10)
    dock.viewer.add_image(noisy, name="cells")
    dock.widget.options.setValue(Options(seconds=70))
    assert "About 70 s on the" in dock.widget.plan.text()
    dock.run()
    assert provenance(dock)["steps"] == 7


def test_best_has_larger_batches_or_more_steps():
    tuned = Options("best").apply(Config()).training
    scratch = Options("best", start="random").apply(Config()).training
    assert (tuned.total_steps, tuned.patches_per_step) == (100, 12)
    assert (scratch.total_steps, scratch.patches_per_step) == (810, 8)


# -- during a run -----------------------------------------------------------------------------


def test_noise_that_is_known_late_is_shown_in_the_run(dock, noisy, monkeypatch):
    measured = threading.Event()

    def late(_, source, *others):
        assert measured.wait(60)
        return Survey(5.0, measure_noise(source.array, source.axes))

    monkeypatch.setattr("napari_redenoise._napari.denoise._surveys.survey", late)
    dock.use(**{"training.steps": 2000})
    dock.viewer.add_image(noisy, name="cells")
    dock.press()
    dock.wait_for_step(1)
    assert dock.widget.noise.words.text() == "Measuring the noise."
    measured.set()
    dock.wait(lambda: "Recommended:" in dock.widget.noise.words.text())
    assert dock.widget.run is not None
    dock.press()
    dock.wait_for_end()


def test_pause_makes_no_step_and_the_preview_follows(dock, noisy):
    dock.use(**ENDLESS)
    dock.viewer.add_image(np.stack([noisy, noisy, noisy]), name="cells")
    dock.viewer.dims.set_current_step(0, 0)
    dock.press()
    dock.wait(lambda: "cells preview" in dock.names)
    dock.widget.pause_button.click()
    dock.qtbot.wait(600)
    step = dock.step
    preview = dock.viewer.layers["cells preview"]
    assert np.isnan(preview.data[2]).all()
    dock.viewer.dims.set_current_step(0, 2)
    dock.wait(lambda: np.isfinite(preview.data[2]).all())
    assert dock.step <= step + 1
    assert "Paused" in dock.widget.status.text()
    dock.widget.pause_button.click()
    dock.wait_for_step(step + 3)
    dock.widget.pause_button.click()
    dock.press()
    dock.wait_for_end()
    assert DENOISED in dock.names


def test_snapshots_can_be_viewed_in_a_pause(dock, noisy):
    dock.use(**ENDLESS)
    dock.viewer.add_image(noisy, name="cells")
    dock.press()
    dock.wait_for_step(40)
    dock.widget.pause_button.click()
    panel = dock.widget.training
    dock.wait(lambda: panel.slider.isEnabled())
    panel.slider.setValue(0)
    dock.wait(lambda: any("at step" in name for name in dock.names))
    assert not panel.take_button.isEnabled()
    dock.widget.pause_button.click()
    assert not any("at step" in name for name in dock.names)
    dock.press()
    dock.wait_for_end()


# -- afterwards -------------------------------------------------------------------------------


@pytest.fixture
def done(dock, noisy, tmp_path):
    """A dock with a run behind it, on a layer that was read from a file."""
    file = tmp_path / "cells.tif"
    tifffile.imwrite(file, noisy)
    dock.use(**{"training.steps": 12})
    dock.viewer.open(file, plugin="napari")
    dock.run()
    return dock


def test_a_snapshot_is_shown_and_can_be_used(done):
    panel = done.widget.training
    snapshots = done.widget.denoiser.session.snapshots
    assert snapshots[-1].step == 12
    first = done.viewer.layers[DENOISED].data.copy()
    panel.slider.setValue(0)
    done.wait(lambda: f"cells at step {snapshots[0].step}" in done.names)
    shown = done.viewer.layers[f"cells at step {snapshots[0].step}"]
    assert shown.data.shape == first.shape
    assert not np.allclose(shown.data, first, rtol=1e-3)
    earlier = shown.data.copy()
    panel.take_button.click()
    done.wait_for_end()
    assert not any("at step" in name for name in done.names)
    used = done.images[-1]
    assert used.name == f"{DENOISED} [1]"
    # The slider stays at the snapshot in use, and the last one can be used again.
    assert panel.step == snapshots[0].step
    assert not panel.take_button.isEnabled()
    panel.slider.setValue(panel.slider.maximum())
    assert panel.take_button.isEnabled()
    assert used.metadata[KEY]["steps"] == snapshots[0].step
    model, cells = done.widget.denoiser, done.viewer.layers["cells"].data
    np.testing.assert_allclose(used.data, model.predict(cells).denoised, rtol=1e-4)
    # A preview is one prediction, in bfloat16 where that is faster.
    once = model.predict(cells, tta=False, draws=0, corrections=False).denoised
    assert np.abs(once - earlier).mean() < 0.03 * earlier.std()
    assert np.abs(used.data - first).mean() > 0.1 * earlier.std()
    np.testing.assert_array_equal(done.viewer.layers[DENOISED].data, first)


def test_continuing_does_not_change_the_model_of_other_runs(done):
    model = done.widget.denoiser
    before = {name: value.clone() for name, value in model.session.network().state_dict().items()}
    done.widget.training.continue_button.click()
    done.wait_for_end()
    assert done.widget.denoiser is not model
    assert model.session.provenance["steps"] == 12
    for name, value in model.session.network().state_dict().items():
        assert torch.equal(value, before[name])


def test_continuing_with_a_surveyed_plan_makes_as_many_steps(dock, noisy, monkeypatch):
    monkeypatch.setattr("napari_redenoise._napari.denoise._surveys.survey", survey)
    dock.use(**{"training.steps": 4})
    dock.viewer.add_image(noisy, name="cells")
    dock.wait(lambda: not dock.widget.is_measuring)
    dock.press()
    dock.wait_for_end()
    assert dock.widget.finished_run.job.plan is not None
    first = dock.viewer.layers[DENOISED].data
    dock.widget.training.continue_button.click()
    dock.wait_for_end()
    assert dock.widget.denoiser.session.provenance["steps"] == 8
    assert not np.array_equal(dock.widget.finished_run.result.data, first)


def test_a_cancelled_run_leaves_the_last_result_in_the_tabs(done):
    after = done.widget.finished_run
    done.widget.training.continue_button.click()
    done.widget.run.control.abandon()
    done.wait_for_end()
    assert done.widget.finished_run is after
    assert done.widget.result.buttons["Save image..."].isEnabled()
    assert done.widget.training.snapshots[-1].step == 12


def test_a_deleted_layer_does_not_stop_other_selected_layers(dock, noisy):
    layers = [dock.viewer.add_image(noisy + n, name=name) for n, name in enumerate("abc")]
    dock.viewer.layers.selection.clear()
    dock.viewer.layers.selection.update(layers)
    dock.widget.layer_choice.value = layers[0]
    dock.widget.start_selected()
    dock.viewer.layers.remove("b")
    dock.wait_for_end()
    assert "c denoised (AdaReNet, N2S)" in dock.names
    assert not any(name.startswith("b ") for name in dock.names)
    assert not dock.widget._queue


def test_the_selection_of_several_layers_stays(dock, noisy):
    layers = [dock.viewer.add_image(noisy, name=name) for name in "ab"]
    dock.viewer.layers.selection.clear()
    dock.viewer.layers.selection.update(layers)
    dock.run()
    assert {layer.name for layer in dock.viewer.layers.selection} == {"a", "b"}


def test_an_image_is_not_saved_over_the_noisy_one(done, monkeypatch):
    source = done.widget.finished_run.job.source.file
    before = Path(source).read_bytes()
    monkeypatch.setattr(
        "napari_redenoise._napari.denoise._finished_run.QFileDialog.getSaveFileName",
        lambda *_: (source, ""),
    )
    done.widget.result.buttons["Save image..."].click()
    assert "noisy image itself" in done.widget.status.text()
    assert Path(source).read_bytes() == before


def test_a_name_without_ending_replaces_nothing(done, tmp_path, monkeypatch):
    there = tmp_path / "result.tif"
    there.write_text("precious")
    monkeypatch.setattr(
        "napari_redenoise._napari.denoise._finished_run.QFileDialog.getSaveFileName",
        lambda *_: (str(there.with_suffix("")), ""),
    )
    done.widget.result.buttons["Save image..."].click()
    done.wait(lambda: "exists" in done.widget.status.text())
    assert there.read_text() == "precious"


def test_training_continues_later(done):
    first = done.viewer.layers[DENOISED].data.copy()
    done.widget.training.continue_button.click()
    done.wait_for_end()
    longer = done.images[-1]
    assert longer.metadata[KEY]["steps"] == 24
    assert not np.array_equal(longer.data, first)
    np.testing.assert_array_equal(done.viewer.layers[DENOISED].data, first)
    assert len(done.widget.loss_plot.losses) == 24


def test_the_blend_is_the_opacity_of_the_result(done):
    source, result = done.viewer.layers["cells"], done.viewer.layers[DENOISED]
    source.visible = False
    done.widget.result.blend.setValue(30)
    assert result.opacity == pytest.approx(0.3)
    assert source.visible
    assert result.visible


def test_side_by_side(done):
    done.widget.result.grid.click()
    assert done.viewer.canvas.grid.enabled
    done.widget.result.grid.click()
    assert not done.viewer.canvas.grid.enabled


def test_further_layers_are_computed_on_request(done, noisy):
    result = done.widget.result
    for kind, names in (
        ("residual", {"cells residual"}),
        ("branches", {"cells standard branch", "cells equivariant branch"}),
        # The dock Equivariance has the maps of the branches.
        ("rotation", {"cells disagreement"}),
    ):
        result.extras[kind].click()
        done.wait(lambda names=names: names <= set(done.names))
        done.wait(lambda: not done.widget.finished_run.is_busy)
    layers = done.viewer.layers
    np.testing.assert_allclose(
        layers["cells residual"].data, noisy - layers[DENOISED].data, rtol=1e-5, atol=1e-2
    )
    expected = done.widget.denoiser.predict(noisy, branches=True)
    np.testing.assert_allclose(layers["cells standard branch"].data, expected.standard, atol=0.5)
    # Outputs of the branches may be denoised, a residual may not.
    offered = [layer.name for layer in done.widget._choice.images()]
    assert "cells residual" not in offered


def test_no_button_of_the_result_is_cut_off(done):
    done.widget.open_tab(done.widget.result)
    done.qtbot.wait(50)
    panel = done.widget.result
    assert panel.minimumSizeHint().width() <= panel.parentWidget().width()


def test_the_quality_checks_run_after_a_run(done):
    done.wait(lambda: done.widget.quality.report is not None)
    report = done.widget.quality.report
    said = done.widget.quality.words.text()
    assert len(report.checks) >= 4
    for check in report.checks:
        assert check.name in said
        assert check.mark in ("good", "caution", "bad", "unknown")
    assert "no clean image" in said
    assert done.widget.status.text().endswith(summary(report))


@pytest.fixture
def photons():
    rng = np.random.default_rng(1)
    spots = ndimage.gaussian_filter((rng.random((2, 160, 192)) > 0.99).astype(float), (0, 2, 2))
    return rng.poisson(20 + 200 * spots / spots.max()).astype(np.uint16)


def test_the_supported_resolution_has_the_layer_unit_and_a_map(dock, photons):
    spatial = {
        "scale": (1.0, 0.11, 0.11),
        "translate": (0.0, 3.0, 4.0),
        "units": ("second", "um", "um"),
        "axis_labels": ("t", "y", "x"),
    }
    dock.viewer.add_image(photons, name="cells", **spatial)
    dock.viewer.dims.set_current_step(0, 1)
    dock.run()
    dock.wait(lambda: dock.widget.quality.report is not None)
    checks = {check.name: check for check in dock.widget.quality.report.checks}
    check = checks["Supported resolution"]
    assert check.mark in ("good", "caution"), check.figure
    said = re.search(r"([\d.]+) px \(([\d.]+) µm\)", dock.widget.quality.words.text())
    assert float(said[2]) == pytest.approx(0.11 * float(said[1]), rel=0.1)
    dock.widget.result.extras["support"].click()
    dock.wait(lambda: "cells unsupported detail" in dock.names)
    dock.wait(lambda: not dock.widget.finished_run.is_busy)
    layer = dock.viewer.layers["cells unsupported detail"]
    assert layer.data.shape == (1, 160, 192)
    assert layer.data.min() >= 0
    assert layer.data.max() <= 1
    assert np.ptp(layer.data) > 0.05
    np.testing.assert_allclose(layer.scale, spatial["scale"])
    # The position of its plane.
    np.testing.assert_allclose(layer.translate, (1.0, 3.0, 4.0))
    assert [str(unit) for unit in layer.units] == ["second", "micrometer", "micrometer"]
    assert "unsupported" not in "".join(layer.name for layer in dock.widget._choice.images())


def test_the_dock_says_why_detail_cannot_be_mapped(dock):
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(128, 128)), 1.0)
    dock.viewer.add_image((200 + 100 * smooth).astype(np.float32), name="cells")
    dock.run()
    dock.wait(lambda: dock.widget.quality.report is not None)
    assert dock.widget.quality.report.checks[-1].mark == "unknown"
    dock.widget.result.extras["support"].click()
    dock.wait(lambda: "There is no map, because" in dock.widget.status.text())
    assert "cells unsupported detail" not in dock.names


def test_the_image_is_saved_with_its_pixel_size(dock, noisy, tmp_path):
    dock.viewer.add_image(
        np.stack([noisy, noisy]),
        name="cells",
        scale=(2.0, 0.1, 0.1),
        units=("um", "um", "um"),
        axis_labels=("z", "y", "x"),
    )
    dock.run()
    file = tmp_path / "out.tif"
    dock.widget.finished_run.save_image(file)
    dock.wait(lambda: "Wrote" in dock.widget.status.text())
    with tifffile.TiffFile(file) as written:
        assert written.series[0].axes == "ZYX"
        assert written.imagej_metadata["spacing"] == 2.0
        assert written.pages[0].tags["XResolution"].value[0] == pytest.approx(
            10 * written.pages[0].tags["XResolution"].value[1]
        )
        np.testing.assert_array_equal(written.asarray(), dock.viewer.layers[DENOISED].data)
    before = file.read_bytes()
    dock.widget.finished_run.save_image(file)
    dock.wait(lambda: "exists" in dock.widget.status.text())
    assert file.read_bytes() == before


def test_a_saved_model_denoises_another_layer_without_training(done, noisy, tmp_path):
    file = tmp_path / "model.safetensors"
    done.widget.finished_run.save_model(file)
    done.wait(lambda: "Wrote" in done.widget.status.text())
    other = noisy[::-1].copy()
    done.viewer.add_image(other, name="other")
    done.widget.options.model.open_file(file)
    assert "without training" in done.widget.plan.text()
    done.run()
    made = done.viewer.layers["other denoised (AdaReNet, N2S)"]
    expected = Redenoiser.load(file).predict(other).denoised
    np.testing.assert_allclose(made.data, expected, rtol=1e-4, atol=1e-2)


def test_a_model_of_this_session_denoises_another_layer(done, noisy):
    done.viewer.add_image(noisy[:, ::-1].copy(), name="other")
    box = done.widget.options.model.box
    box.setCurrentIndex(box.findText("trained on 'cells'"))
    done.run()
    assert "other denoised (AdaReNet, N2S)" in done.names


def test_a_file_without_a_model_is_refused(dock, noisy, tmp_path):
    dock.viewer.add_image(noisy, name="cells")
    file = tmp_path / "not.safetensors"
    file.write_text("nothing")
    dock.widget.options.model.open_file(file)
    assert str(file.name) in dock.widget.status.text()
    assert dock.widget.options.model.model is None


def test_the_copied_script_repeats_the_run(done, tmp_path, monkeypatch):
    script = tmp_path / "again.py"
    script.write_text(done.copied("Copy as Python"))
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    runpy.run_path(str(script), run_name="__main__")
    written = {path.name: tifffile.imread(path) for path in folder.rglob("*.tif")}
    same = [
        name
        for name, data in written.items()
        if np.allclose(data, done.viewer.layers[DENOISED].data, rtol=1e-3, atol=1.0)
    ]
    assert same, list(written)


def test_the_copied_command_repeats_the_run(done, tmp_path, monkeypatch):
    command = shlex.split(done.copied("Copy as command"), comments=True)
    assert command[:2] == ["redenoise", "denoise"]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        typer.main.get_command(app)(command[1:])
    assert ended.value.code == 0
    written = tifffile.imread(tmp_path / "denoised.tif")
    np.testing.assert_allclose(written, done.viewer.layers[DENOISED].data, rtol=1e-3, atol=1.0)


def test_the_command_of_a_continued_training_uses_its_model(done):
    done.widget.training.continue_button.click()
    done.wait_for_end()
    assert "--model model.safetensors" in done.copied("Copy as command")
    assert "save the model as model.safetensors" in done.widget.status.text()


def test_a_training_is_resumed_from_a_file(done, noisy, tmp_path):
    file = tmp_path / "model.safetensors"
    done.widget.denoiser.save(file)
    done.widget.options.model.open_file(file)
    done.run()
    panel = done.widget.training
    assert panel.continue_button.isEnabled()
    panel.continue_button.click()
    done.wait_for_end()
    assert done.images[-1].metadata[KEY]["steps"] == 24
    assert done.images[-1].name.startswith(DENOISED)


def test_two_runs_at_once_do_not_share_a_network(done, noisy):
    second = DenoiseWidget(done.viewer, done.widget.config)
    done.viewer.window.add_dock_widget(second)
    second.button.click()
    assert second.run.denoiser is not done.widget.denoiser
    done.wait(lambda: second.run is None)


def test_every_control_can_be_reached_by_the_keyboard(dock, noisy):
    dock.viewer.add_image(noisy, name="cells")
    controls = dock.widget.findChildren((QAbstractButton, QComboBox, QAbstractSlider, QSpinBox))
    own = [control for control in controls if not control.objectName().startswith("qt_")]
    out_of_reach = [
        control
        for control in own
        if not isinstance(control, QScrollBar | QToolButton)
        and not control.focusPolicy() & Qt.FocusPolicy.TabFocus
    ]
    assert len(own) > 15
    assert not out_of_reach


# -- training region --------------------------------------------------------------------------


def test_training_on_one_slice_denoises_all(dock, noisy, monkeypatch):
    seen = []
    original = Redenoiser.fit_events

    def watched(self, *args, **keywords):
        seen.append(keywords["mask"])
        return original(self, *args, **keywords)

    monkeypatch.setattr(Redenoiser, "fit_events", watched)
    # The means of the other slices are far off.
    dock.viewer.add_image(np.stack([noisy + 1e5, noisy, noisy - 1e5]), name="cells")
    dock.viewer.dims.set_current_step(0, 1)
    pick(dock.widget.options.training_region.box, "slice")
    dock.run()
    assert dock.widget.denoiser.session.normalisation.mean[0] == pytest.approx(
        noisy.mean(), rel=1e-3
    )
    assert [seen[0][n, 2:5, :7].all() for n in range(3)] == [False, True, False]
    assert np.isfinite(dock.viewer.layers[DENOISED].data).all()


def test_training_uses_the_marked_region(dock, noisy):
    image = noisy.copy()
    image[:, 45:] += 1e5
    dock.viewer.add_image(image, name="cells")
    labels = np.zeros(image.shape, int)
    labels[:, :45] = 1
    dock.viewer.add_labels(labels, name="left")
    dock.viewer.layers.selection.active = dock.viewer.layers["cells"]
    dock.widget.options.training_region.box.setCurrentText("Region 'left'")
    dock.run()
    mean = dock.widget.denoiser.session.normalisation.mean[0]
    assert mean == pytest.approx(image[:, :45].mean(), rel=1e-3)


def test_an_empty_region_is_refused(dock, noisy):
    dock.viewer.add_image(noisy, name="cells")
    dock.viewer.add_labels(np.zeros(noisy.shape, int), name="nothing")
    dock.viewer.layers.selection.active = dock.viewer.layers["cells"]
    dock.widget.options.training_region.box.setCurrentText("Region 'nothing'")
    dock.run()
    assert "draw or paint a region" in dock.widget.status.text()
    assert dock.names == ["cells", "nothing"]


def test_training_on_selected_layers_denoises_each(dock, noisy):
    first = dock.viewer.add_image(noisy, name="cells")
    second = dock.viewer.add_image(noisy[:, :70] + 1000, name="more")
    dock.viewer.layers.selection = {first, second}
    dock.viewer.layers.selection.active = first
    dock.viewer.layers.selection.add(second)
    dock.widget.layer_choice.value = first
    dock.widget.start_selected()
    dock.wait_for_end()
    dock.wait(lambda: "more denoised (AdaReNet, N2S)" in dock.names and dock.widget.run is None)
    assert DENOISED in dock.names
    # The tabs show the trained layer with its snapshots, not the last layer.
    assert dock.widget.finished_run.layer == first
    assert dock.widget.training.snapshots
    assert "'more denoised" in dock.widget.status.text()
    assert f"'{DENOISED}'" in dock.widget.status.text()
    both = np.concatenate([noisy.ravel(), noisy[:, :70].ravel() + 1000])
    assert dock.widget.denoiser.session.normalisation.mean[0] == pytest.approx(
        both.mean(), rel=1e-3
    )


# -- the viewer -------------------------------------------------------------------------------


def test_a_volume_is_denoised_in_the_3d_view(dock, noisy):
    dock.viewer.add_image(np.stack([noisy] * 3), name="cells")
    dock.viewer.dims.ndisplay = 3
    dock.run()
    assert np.isfinite(dock.viewer.layers[DENOISED].data).all()


def test_slicing_in_the_background(dock, noisy):
    get_settings().experimental.async_ = True
    dock.use(**{"training.steps": 30})
    dock.viewer.add_image(np.stack([noisy] * 3), name="cells")
    dock.run()
    dock.viewer.dims.set_current_step(0, 2)
    dock.qtbot.wait(200)
    assert np.isfinite(dock.viewer.layers[DENOISED].data).all()


def test_pixels_may_be_replaced_during_a_run(dock, noisy):
    dock.use(**ENDLESS)
    layer = dock.viewer.add_image(noisy, name="cells")
    dock.press()
    dock.wait_for_step(2)
    layer.data = np.zeros((40, 40), np.float32)
    dock.wait_for_step(dock.step + 3)
    dock.press()
    dock.wait_for_end()
    assert dock.viewer.layers[DENOISED].data.shape == noisy.shape


def test_plots_have_the_colours_of_the_theme(dock):
    colours = set()
    for theme in ("light", "dark"):
        dock.viewer.theme = theme
        colours.add(dock.widget.loss_plot.getAxis("left").textPen().color().lightness() > 128)
    assert colours == {True, False}


def test_a_button_shows_the_error_log(dock, noisy, monkeypatch):
    def broken(*_args, **_keywords):
        raise RuntimeError("a cable is loose")
        yield

    monkeypatch.setattr(Redenoiser, "fit_events", broken)
    dock.viewer.add_image(noisy, name="cells")
    assert not dock.widget.details_button.isVisibleTo(dock.widget)
    dock.run()
    assert dock.widget.details_button.isVisibleTo(dock.widget)
    dock.widget.details_button.click()
    (dialog,) = dock.widget.findChildren(QDialog)
    text = dialog.findChild(QPlainTextEdit).toPlainText()
    assert "a cable is loose" in text
    assert "Traceback" in text
    dialog.close()


def test_a_new_user_denoises_the_sample_and_saves(dock, tmp_path):
    dock.viewer.open_sample("napari-redenoise", "noisy_cells")
    denoise_selected_layer(dock.viewer)
    dock.wait_for_end()
    name = "Noisy cells denoised (AdaReNet, N2S)"
    assert name in dock.names
    dock.widget.finished_run.save_image(tmp_path / "denoised.tif")
    dock.wait(lambda: "Wrote" in dock.widget.status.text())
    saved = tifffile.imread(tmp_path / "denoised.tif")
    np.testing.assert_array_equal(saved, dock.viewer.layers[name].data)


def test_a_new_dock_begins_with_the_preferences(make_napari_viewer_proxy, tmp_path):
    settings = pytest.importorskip("napari.settings")
    if not hasattr(settings, "get_plugin_settings"):
        pytest.skip("napari before 0.9 has no preferences for plugins")
    runs = settings.get_plugin_settings("napari-redenoise").runs
    before = runs.device, runs.seconds, runs.cache_folder
    runs.device, runs.seconds, runs.cache_folder = "cpu", 45, str(tmp_path)
    try:
        viewer = make_napari_viewer_proxy()
        _, widget = viewer.window.add_plugin_dock_widget("napari-redenoise", "Denoise")
        assert widget.options.value().device == "cpu"
        assert widget.options.value().seconds == 45
        assert _result_arrays._cache == tmp_path
    finally:
        runs.device, runs.seconds, runs.cache_folder = before
        set_results_folder(None)


def test_a_scale_beyond_tiff_is_left_out_and_reported(dock, noisy, tmp_path):
    dock.viewer.add_image(noisy, name="cells", scale=(1e-12, 1e-12), units=("um", "um"))
    dock.run()
    said = []
    dock.widget.finished_run.said.connect(said.append)
    dock.widget.finished_run.save_image(tmp_path / "out.tif")
    dock.wait(lambda: bool(said))
    assert said[0].startswith(f"Wrote {tmp_path / 'out.tif'}, without the resolution (1")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), dock.images[-1].data)
