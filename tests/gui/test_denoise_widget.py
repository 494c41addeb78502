import gc
import json
import logging

import dask.array as da
import numpy as np
import pytest
from superqt.utils import WorkerBase

from napari_redenoise._napari import _trained_models
from napari_redenoise._napari._plots import Plot
from napari_redenoise._napari.denoise import _layer_run, _survey
from napari_redenoise._napari.denoise._dock import DenoiseWidget
from napari_redenoise.io import ImageFile, load_model, write_tiff
from napari_redenoise.model import RunTime
from napari_redenoise.model._redenoiser import Redenoiser

KEY = "napari-redenoise"
DENOISED = "cells denoised (AdaReNet, N2S)"


def test_a_press_adds_denoised_image_and_hidden_mask(dock, noisy):
    before = noisy.copy()
    dock.viewer.add_image(noisy, name="cells")
    dock.run()
    assert dock.names == ["cells", "cells fusion mask", DENOISED]
    denoised, mask = dock.viewer.layers[DENOISED], dock.viewer.layers["cells fusion mask"]
    assert denoised.data.shape == mask.data.shape == noisy.shape
    assert denoised.data.dtype == np.float32
    assert np.isfinite(denoised.data).all()
    assert 0 <= mask.data.min() <= mask.data.max() <= 1
    assert denoised.visible
    assert not mask.visible
    np.testing.assert_allclose(
        mask.contrast_limits, np.percentile(mask.data, (1, 99)), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_array_equal(noisy, before)
    assert f"Added '{DENOISED}' and 'cells fusion mask'" in dock.widget.status.text()


def test_the_result_is_that_of_the_facade(dock, noisy):
    dock.viewer.add_image(noisy, name="cells")
    dock.run()
    expected = Redenoiser(dock.widget.config).fit(noisy).predict(noisy)
    np.testing.assert_allclose(
        dock.viewer.layers[DENOISED].data, expected.denoised, rtol=1e-3, atol=1.0
    )
    np.testing.assert_allclose(
        dock.viewer.layers["cells fusion mask"].data, expected.mask, atol=0.02
    )


def test_results_have_the_position_of_their_source(dock, noisy):
    stack = np.stack([noisy, noisy + 1, noisy + 2])
    affine = np.array([[1, 0, 0, 2], [0, 1, 0.1, 5], [0, 0, 1.2, -3], [0, 0, 0, 1]], float)
    source = dock.viewer.add_image(
        stack,
        name="cells",
        scale=(2, 0.5, 0.25),
        translate=(1, 10, -20),
        rotate=[0, 0, 30],
        shear=[0, 0, 0.2],
        affine=affine,
        units=("s", "um", "um"),
        axis_labels=("t", "y", "x"),
        colormap="green",
        gamma=0.8,
        contrast_limits=(100, 900),
    )
    dock.run()
    for name in (DENOISED, "cells fusion mask"):
        layer = dock.viewer.layers[name]
        for attribute in ("scale", "translate", "rotate", "shear"):
            np.testing.assert_allclose(getattr(layer, attribute), getattr(source, attribute))
        np.testing.assert_allclose(layer.affine.affine_matrix, source.affine.affine_matrix)
        assert layer.units == source.units
        assert layer.axis_labels == source.axis_labels
        np.testing.assert_allclose(
            layer.data_to_world((1, 20, 30)), source.data_to_world((1, 20, 30))
        )
    denoised = dock.viewer.layers[DENOISED]
    assert denoised.colormap.name == "green"
    assert denoised.gamma == 0.8
    assert denoised.contrast_limits == [100, 900]


def test_results_have_provenance_metadata(dock, noisy):
    dock.viewer.add_image(noisy, name="cells")
    dock.run()
    for name, content in ((DENOISED, "denoised"), ("cells fusion mask", "fusion mask")):
        provenance = dock.viewer.layers[name].metadata[KEY]
        assert json.loads(json.dumps(provenance)) == provenance
        assert provenance["source"] == "cells"
        assert provenance["steps"] == 4
        assert content in provenance["content"]
        assert provenance["config"]["training"]["seed"] == 0


def test_a_second_run_leaves_the_first_results_alone(dock, noisy):
    dock.viewer.add_image(noisy, name="cells")
    dock.run()
    first = {layer.name: layer.data.copy() for layer in dock.viewer.layers}
    dock.use(**{"training.seed": 1})
    dock.run()
    assert len(dock.names) == 5
    assert len(set(dock.names)) == 5
    for name, data in first.items():
        np.testing.assert_array_equal(dock.viewer.layers[name].data, data)
    assert not np.array_equal(dock.images[-1].data, first[DENOISED])


def test_stop_denoises_with_the_network_so_far(dock, noisy):
    dock.use(**{"training.steps": 1_000_000})
    dock.viewer.add_image(noisy, name="cells")
    dock.press()
    assert "Stop" in dock.widget.button.text()
    dock.wait_for_step(3)
    dock.press()
    dock.wait_for_end()
    assert _trained_models.recall(dock.viewer.layers["cells"]) is dock.widget.denoiser
    assert DENOISED in dock.names
    steps = dock.viewer.layers[DENOISED].metadata[KEY]["steps"]
    assert 3 <= steps < 1_000_000
    assert dock.widget.denoiser.session.is_trained
    assert dock.widget.button.text() == "&Denoise"


def test_a_preview_that_was_given_other_data_is_no_result(dock, noisy):
    dock.use(**{"training.steps": 1_000_000})
    dock.viewer.add_image(noisy, name="cells")
    dock.press()
    dock.wait(lambda: dock.widget.run.result is not None)
    mine = dock.widget.run.result
    mine.data = np.zeros((5, 5))
    dock.wait_for_step(2)
    dock.press()
    dock.wait_for_end()
    result = next(layer for layer in dock.images if layer.name == DENOISED)
    assert result is not mine
    assert result.data.shape == noisy.shape
    assert mine in dock.images
    assert KEY not in mine.metadata or mine.metadata[KEY].get("steps") is None


@pytest.mark.usefixtures("pretrained")
def test_without_steps_there_is_nothing_to_stop(dock, noisy):
    dock.use(**{"training.steps": 0, "training.start": "pretrained"})
    dock.viewer.add_image(noisy, name="cells")
    dock.press()
    dock.cancel()
    assert dock.names == ["cells"]


def test_cancelling_the_prediction_keeps_the_model(dock, noisy, monkeypatch):
    reached = []
    original = Redenoiser.predict_events

    def until_cancelled(self, *args, should_stop, **keywords):
        yield from original(self, *args, should_stop=None, **keywords)
        reached.append(True)
        while not should_stop():
            pass

    monkeypatch.setattr(Redenoiser, "predict_events", until_cancelled)
    layer = dock.viewer.add_image(noisy, name="cells")
    dock.press()
    dock.wait(lambda: dock.widget.button.text() == "Cancel")
    # Not at once: the press may have been meant for Stop, in the same place.
    assert not dock.widget.button.isEnabled()
    dock.wait(lambda: dock.widget.button.isEnabled() and bool(reached))
    # Another run with this model would share its network with this one.
    assert _trained_models.recall(layer) is None
    dock.press()
    dock.wait_for_end()
    # The model is kept: it can be chosen as network.
    assert _trained_models.recall(layer) is dock.widget.denoiser
    assert "trained on 'cells'" in [dock.widget.options.model.box.itemText(n) for n in range(3)]
    assert dock.names == ["cells"]
    assert "Cancelled" in dock.widget.status.text()
    assert dock.widget.denoiser.session.is_trained


def test_closing_the_dock_stops_the_run_and_adds_the_result(dock, noisy):
    dock.use(**{"training.steps": 1_000_000})
    layer = dock.viewer.add_image(noisy, name="cells")
    dock.press()
    dock.wait(lambda: dock.step >= 2 and "cells preview" in dock.names)
    run = dock.widget.run
    dock.dock.destroyOnClose()
    dock.widget._question.choices["keep"].click()
    dock.wait(lambda: not _layer_run._running)
    assert not run.control.cancel.is_set()
    assert dock.names == ["cells", "cells fusion mask", "cells denoised (AdaReNet, N2S)"]
    made = dock.viewer.layers[-1].metadata["napari-redenoise"]
    assert 2 <= made["steps"] < 1_000_000
    assert _trained_models.recall(layer) is run.denoiser
    np.testing.assert_allclose(
        dock.viewer.layers[-1].data, run.denoiser.predict(noisy).denoised, rtol=1e-3, atol=1.0
    )
    WorkerBase.await_workers(10_000)
    assert gc.get_freeze_count() == 0
    # The viewer continues without the dock: nothing of it listens any more.
    dock.viewer.add_image(noisy, name="other")
    dock.viewer.layers.selection.active = dock.viewer.layers["cells"]
    assert len(dock.names) == 4


def test_a_viewer_that_is_closed_after_the_dock_ends_the_run(dock, noisy):
    dock.use(**{"training.steps": 1_000_000})
    dock.viewer.add_image(noisy, name="cells")
    dock.press()
    dock.wait_for_step(2)
    run = dock.widget.run
    dock.dock.destroyOnClose()
    dock.widget._question.choices["keep"].click()
    dock.viewer.close()
    dock.wait(lambda: not _layer_run._running)
    WorkerBase.await_workers(10_000)
    assert run.control.stop.is_set()


def test_closing_the_viewer_keeps_the_model_beside_the_image(dock, noisy, tmp_path):
    path = tmp_path / "cells.tif"
    write_tiff(path, noisy, ImageFile(noisy, "YX"))
    dock.viewer.open(path, plugin="napari")
    dock.use(**{"training.steps": 1_000_000})
    dock.press()
    dock.wait_for_step(2)
    control = dock.widget.run.control
    dock.viewer.close()
    dock.wait(control.cancel.is_set)
    WorkerBase.await_workers(10_000)
    dock.wait(lambda: not _layer_run._running)
    (kept,) = (found for found in tmp_path.iterdir() if found != path)
    assert kept.name == "cells.redenoise.safetensors"
    assert 2 <= load_model(kept)[3]["steps"] < 1_000_000


def test_closing_the_viewer_ends_the_run(dock, noisy):
    dock.use(**{"training.steps": 1_000_000})
    dock.viewer.add_image(noisy, name="cells")
    dock.press()
    dock.wait_for_step(2)
    control = dock.widget.run.control
    dock.viewer.close()
    dock.wait(control.cancel.is_set)
    WorkerBase.await_workers(10_000)


def rgb(noisy):
    return np.clip(np.stack([noisy, noisy * 0.5, noisy * 0.2], -1) / 5, 0, 255).astype(np.uint8)


KINDS = {
    "uint8": lambda x: ((x / 8).clip(0, 255).astype(np.uint8), {}),
    "uint16": lambda x: (x.clip(0).astype(np.uint16), {}),
    "float64": lambda x: (x.astype(np.float64), {}),
    "time series": lambda x: (np.stack([x, x, x]), {"axis_labels": ("t", "y", "x")}),
    "z-stack": lambda x: (np.stack([x, x]).astype(np.uint16), {"axis_labels": ("z", "y", "x")}),
    "channels": lambda x: (np.stack([x, 2 * x]), {"axis_labels": ("c", "y", "x")}),
    "four axes": lambda x: (np.stack([[x, x], [x, x]]), {}),
    "dask": lambda x: (da.from_array(np.stack([x, x]), chunks=(1, 40, 40)), {}),
    "multiscale": lambda x: ([x, x[::2, ::2]], {"multiscale": True}),
    "colour": lambda x: (rgb(x), {"rgb": True}),
    "colour with alpha": lambda x: (np.dstack([rgb(x), 255 * np.ones_like(rgb(x)[..., :1])]), {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_image_works(dock, noisy, kind):
    data, keywords = KINDS[kind](noisy)
    source = dock.viewer.add_image(data, name="cells", **keywords)
    full = data[0] if source.multiscale else data
    dock.run()
    assert dock.names[-1] == DENOISED, dock.widget.status.text()
    denoised, mask = dock.viewer.layers[DENOISED], dock.viewer.layers["cells fusion mask"]
    colour = kind.startswith("colour")
    assert denoised.rgb == colour
    assert denoised.data.shape == ((*full.shape[:2], 3) if colour else full.shape)
    assert mask.data.shape == (full.shape[:2] if colour else full.shape)
    assert denoised.data.dtype == (np.uint8 if colour else np.float32)
    assert np.isfinite(denoised.data).all()
    assert denoised.ndim == source.ndim


def test_the_summary_names_the_axes(dock, noisy):
    dock.viewer.add_image(np.stack([noisy] * 4), axis_labels=("t", "y", "x"))
    assert (
        "Stack of 4 time points, 72 × 90 pixels; the network learns from all."
        in dock.widget.plan.text()
    )
    dock.viewer.add_image(rgb(noisy))
    assert "Image of 72 × 90 pixels in colour." in dock.widget.plan.text()


def test_nan_pixels_stay_nan(dock, noisy):
    noisy[10:20, :] = np.nan
    dock.viewer.add_image(noisy, name="cells")
    dock.run()
    denoised = dock.viewer.layers[DENOISED].data
    np.testing.assert_array_equal(np.isnan(denoised), np.isnan(noisy))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.full((40, 40), 7.0), "same value"),
        (np.full((40, 40), np.nan), "no finite pixels"),
        (np.random.default_rng(0).uniform(0, 255, (40, 40, 3)), "divide"),
    ],
)
def test_pixels_that_do_not_suit_training_are_refused(dock, data, words):
    dock.viewer.add_image(data, name="bad", rgb=data.ndim == 3, contrast_limits=(0, 1))
    dock.run()
    assert words in dock.widget.status.text()
    assert dock.names == ["bad"]
    assert dock.widget.button.isEnabled()


def test_axes_in_another_order_are_refused(dock, noisy):
    dock.viewer.add_image(np.stack([noisy, noisy], -1), axis_labels=("y", "x", "t"))
    assert "transpose" in dock.widget.plan.text()
    assert not dock.widget.button.isEnabled()


def test_the_selection_stays_where_the_user_works(dock, noisy):
    dock.viewer.add_image(noisy, name="cells")
    dock.press()
    labels = dock.viewer.add_labels(np.zeros(noisy.shape, int))
    dock.viewer.layers.selection.active = labels
    dock.wait_for_end()
    assert DENOISED in dock.names
    assert dock.viewer.layers.selection.active == labels


def test_large_results_are_stored_on_disk(dock, noisy, monkeypatch):
    monkeypatch.setattr("napari_redenoise.io._result_arrays.MOST_BYTES_IN_MEMORY", 1000)
    dock.use(**{"training.steps": 30})
    dock.viewer.add_image(np.stack([noisy, noisy]), name="cells")
    dock.run()
    for name in (DENOISED, "cells fusion mask"):
        data = dock.viewer.layers[name].data
        assert not isinstance(data, np.ndarray)
        assert np.isfinite(np.asarray(data[:])).all()


def test_a_speed_trial_that_fails_is_not_repeated(dock, noisy, monkeypatch):
    calls = []

    def broken(*_, **__):
        calls.append(1)
        raise RuntimeError("no kernel image")

    monkeypatch.setattr("napari_redenoise._napari.denoise._surveys.survey", broken)
    dock.viewer.add_image(noisy[:40], name="cells")
    dock.wait(lambda: bool(calls) and not dock.widget.is_measuring)
    dock.qtbot.wait(300)
    assert len(calls) == 1
    assert dock.widget.button.isEnabled()
    assert "Runs on" in dock.widget.plan.text()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.zeros((40, 40), bool), "convert"),
        (np.zeros((8, 8), np.float32), "at least 16"),
        (np.zeros((1, 1, 1, 1, 20, 20), np.float32), "axes"),
        (np.zeros((2, 40, 40, 3), np.uint8), "Split RGB"),
    ],
)
def test_unsuitable_layers_are_refused_before_the_press(dock, data, words):
    dock.viewer.add_image(data, name="bad", rgb=data.shape[-1] == 3)
    assert words in dock.widget.plan.text()
    assert not dock.widget.button.isEnabled()


def test_without_an_image_the_widget_says_what_to_do(dock):
    assert "Open an image" in dock.widget.plan.text()
    assert not dock.widget.button.isEnabled()
    dock.viewer.add_labels(np.zeros((40, 40), int))
    assert not dock.widget.button.isEnabled()


def test_the_choice_follows_selected_images_but_not_masks(dock, noisy):
    first = dock.viewer.add_image(noisy, name="first")
    second = dock.viewer.add_image(noisy, name="second")
    assert dock.widget.layer_choice.value == second
    dock.viewer.layers.selection.active = first
    assert dock.widget.layer_choice.value == first
    dock.run()
    dock.viewer.layers.selection.active = dock.viewer.layers["first fusion mask"]
    assert dock.widget.layer_choice.value == first


def test_the_preview_shows_the_visible_slice(dock, noisy):
    dock.use(**{"training.steps": 1_000_000})
    dock.viewer.add_image(np.stack([noisy, noisy, noisy]), name="cells")
    dock.viewer.dims.set_current_step(0, 0)
    dock.press()
    dock.wait(lambda: "cells preview" in dock.names)
    preview = dock.viewer.layers["cells preview"]
    assert np.isfinite(preview.data[0]).all()
    assert np.isnan(preview.data[2]).all()
    dock.viewer.dims.set_current_step(0, 2)
    dock.wait(lambda: np.isfinite(preview.data[2]).all())
    assert np.isnan(preview.data[1]).all()
    first = preview.data[2].copy()
    dock.wait(lambda: not np.array_equal(preview.data[2], first))
    dock.press()
    dock.wait_for_end()
    assert dock.names == ["cells", "cells fusion mask", DENOISED]
    assert np.isfinite(dock.viewer.layers[DENOISED].data).all()


def test_a_narrow_dock_shows_all_tabs(dock):
    bar = dock.widget.tabs.tabBar()
    assert bar.sizeHint().width() <= dock.widget.minimumSizeHint().width() <= 330


def test_every_tab_fits_into_a_narrow_dock(dock):
    widget = dock.widget
    narrowest = widget.tabs.tabBar().sizeHint().width()
    for page in (widget.noise, widget.options, widget.training, widget.result, widget.quality):
        assert page.minimumSizeHint().width() <= narrowest, type(page).__name__


def test_the_texts_of_a_plot_are_not_cut_off(dock, qtbot):
    plot = Plot("grey level", "noise variance", 142)
    qtbot.addWidget(plot)
    plot.resize(230, 142)
    with qtbot.waitExposed(plot):
        plot.show()
    seen = plot.mapToScene(plot.viewport().rect()).boundingRect()
    for side in ("left", "bottom"):
        label = plot.getAxis(side).label
        # Without the frame that Qt leaves empty around a text.
        text = label.mapRectToScene(label.boundingRect().adjusted(3, 3, -3, -3))
        assert seen.contains(text), side


def test_layers_may_be_deleted_during_a_run(dock, noisy):
    dock.use(**{"training.steps": 1_000_000})
    dock.viewer.add_image(noisy, name="cells")
    dock.press()
    dock.wait(lambda: "cells preview" in dock.names)
    dock.viewer.layers.clear()
    step = dock.step
    dock.wait_for_step(step + 2)
    dock.press()
    dock.wait_for_end()
    assert {DENOISED, "cells fusion mask"} <= set(dock.names)


def test_the_loss_curve_has_every_step(dock, noisy):
    dock.viewer.add_image(noisy)
    dock.run()
    assert len(dock.widget.loss_plot.losses) == 4
    assert np.isfinite(dock.widget.loss_plot.losses).all()


def test_an_unexpected_error_is_shown_and_logged(dock, noisy, monkeypatch, caplog):
    def broken(*_args, **_keywords):
        raise RuntimeError("a cable is loose")
        yield

    monkeypatch.setattr(Redenoiser, "fit_events", broken)
    dock.viewer.add_image(noisy, name="cells")
    with caplog.at_level(logging.ERROR):
        dock.run()
    assert "a cable is loose" in dock.widget.status.text()
    assert any(record.exc_info for record in caplog.records)
    assert dock.names == ["cells"]
    assert dock.widget.button.isEnabled()


def test_two_docks_run_side_by_side(dock, noisy):
    dock.viewer.add_image(noisy, name="cells")
    second = DenoiseWidget(dock.viewer, dock.widget.config)
    dock.viewer.window.add_dock_widget(second)
    dock.press()
    second.button.click()
    dock.wait_for_end()
    dock.wait(lambda: second.run is None)
    assert sum("denoised" in name for name in dock.names) == 2
    assert sum("mask" in name for name in dock.names) == 2


def test_the_expected_time_includes_the_previews(dock, noisy, monkeypatch):
    monkeypatch.setattr("napari_redenoise._napari.denoise._surveys.survey", _survey.survey)
    monkeypatch.setattr(_survey, "estimate_run", lambda *_: RunTime(4, 250.0 / 1.1, 0.0, 0.0, 0.0))
    dock.viewer.add_image(noisy[:50], name="cells")
    dock.wait(lambda: "About 17 min on the" in dock.widget.plan.text())


def choose(dock, kind):
    box = dock.widget.objective.objective
    box.setCurrentIndex(box.findData(kind))


def test_a_second_layer_is_the_other_shot_of_noise2noise(dock, noisy):
    second = noisy[::-1].copy()
    dock.viewer.add_image(second, name="second")
    dock.viewer.add_image(noisy, name="cells")
    choice = dock.widget.objective
    assert not choice.second.isVisibleTo(dock.widget.options)
    choose(dock, "noise2noise")
    assert choice.second.isVisibleTo(dock.widget.options)
    # A single image has no next frame.
    assert "second image, or a stack" in dock.widget.plan.text()
    assert not dock.widget.button.isEnabled()
    choice.second.setCurrentText("second")
    assert dock.widget.button.isEnabled()
    dock.run()
    config = dock.widget.config.replace({"objective.kind": "noise2noise"})
    expected = Redenoiser(config).fit(noisy, target=second).predict(noisy)
    made = dock.viewer.layers["cells denoised (AdaReNet, N2N)"]
    np.testing.assert_allclose(made.data, expected.denoised, rtol=1e-3, atol=1.0)
    assert made.metadata[KEY]["config"]["objective"]["kind"] == "noise2noise"


def test_neighbouring_frames_of_a_stack_are_shots_of_one_scene(dock, noisy):
    dock.viewer.add_image(np.stack([noisy, noisy[::-1], noisy]), name="movie")
    choose(dock, "noise2noise")
    assert dock.widget.button.isEnabled()
    dock.run()
    assert "movie denoised (AdaReNet, N2N)" in dock.names


def test_the_second_shot_stays_chosen_when_layers_change(dock, noisy):
    dock.viewer.add_image(noisy + 1, name="second")
    dock.viewer.add_image(noisy, name="cells")
    choose(dock, "noise2noise")
    dock.widget.objective.second.setCurrentText("second")
    dock.viewer.add_image(noisy + 2, name="third")
    dock.viewer.layers.selection.active = dock.viewer.layers["cells"]
    assert dock.widget.objective.second.currentText() == "second"
    dock.viewer.layers.remove("second")
    assert dock.widget.objective.second.currentText() == "Choose a layer"
    assert not dock.widget.button.isEnabled()


def test_a_second_shot_of_another_shape_is_refused(dock, noisy):
    dock.viewer.add_image(noisy[:60], name="second")
    dock.viewer.add_image(noisy, name="cells")
    choose(dock, "noise2noise")
    dock.widget.objective.second.setCurrentText("second")
    assert "same scene pixel by pixel" in dock.widget.plan.text()
    assert not dock.widget.button.isEnabled()


def test_the_run_chooses_the_objective_by_the_noise(dock, noisy):
    dock.viewer.add_image(noisy, name="cells")
    choose(dock, "auto")
    dock.run()
    made = dock.images[-1].metadata[KEY]
    assert made["config"]["objective"]["kind"] in ("noise2self", "noise2void")
