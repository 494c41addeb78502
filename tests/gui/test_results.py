"""The tabs belong to the chosen layer, and show earlier results of the session again."""

import gc
import weakref
from threading import Event
from types import SimpleNamespace

import numpy as np
import pytest

from napari_redenoise._napari._layers import LayerImage
from napari_redenoise._napari.denoise import _finished_run
from napari_redenoise._napari.denoise._extra_layers import Extra, extra_layers
from napari_redenoise._napari.denoise._results import MOST_MODELS, Results
from napari_redenoise._napari.denoise.panels._quality import Row, summary_of_all
from napari_redenoise.assessment import QualityCheck, QualityReport

DENOISED = "cells denoised (AdaReNet, N2S)"


def report(*marks):
    """A quality report with these marks."""
    checks = [QualityCheck(f"Check {n}", mark, 0.0, "", "") for n, mark in enumerate(marks)]
    return QualityReport(tuple(checks))


@pytest.fixture
def two(dock, noisy):
    """A dock with results of two layers, of which the second is chosen."""
    for name, image in (("cells", noisy), ("other", noisy[::-1].copy())):
        layer = dock.viewer.add_image(image, name=name)
        dock.viewer.layers.selection.active = layer
        dock.run()
    return dock


def activate(dock, name):
    dock.viewer.layers.selection.active = dock.viewer.layers[name]


def titles(dock):
    choice = dock.widget.result.choice
    return [choice.itemText(number) for number in range(choice.count())]


def test_the_tabs_follow_the_chosen_layer_and_name_it(two):
    widget = two.widget
    assert widget.finished_run.layer.name == "other"
    activate(two, "cells")
    assert widget.finished_run.layer.name == "cells"
    assert widget.result.title.text() == "Result of 'cells':"
    assert widget.training.title.text().startswith("cells: AdaReNet, N2S, ")
    assert "cells: AdaReNet, N2S, " in widget.quality.title.text()
    assert "other" not in widget.quality.title.text()
    # The denoised layer belongs to its result, too.
    activate(two, "other denoised (AdaReNet, N2S)")
    assert widget.finished_run.layer.name == "other"


def test_the_tabs_are_off_for_a_layer_without_a_result(two, noisy):
    two.viewer.add_image(noisy, name="new")
    widget = two.widget
    assert widget.finished_run is None
    assert widget.result.title.text() == "There is no result of 'new' yet."
    assert widget.quality.words.text() == "There is no result of 'new' yet."
    assert not widget.result.blend.isEnabled()
    assert not widget.result.buttons["Save image..."].isEnabled()
    assert not widget.training.continue_button.isEnabled()
    assert widget.training.snapshots == ()
    assert widget.loss_plot.losses == ()
    # Earlier results are still listed.
    assert widget.result.choice.isEnabled()
    assert len(titles(two)) == 2


def test_a_refused_run_shows_no_result_of_another_layer(two):
    two.viewer.add_image(np.full((40, 40), 7.0), name="constant")
    two.run()
    assert "same value" in two.widget.status.text()
    assert two.widget.finished_run is None
    assert "'constant'" in two.widget.result.title.text()
    assert two.widget.quality.report is None


def test_a_refused_run_keeps_the_losses_of_the_earlier_result(two):
    losses = two.widget.loss_plot.losses
    assert len(losses) == 4
    two.press()
    two.widget.run.control.abandon()
    two.wait_for_end()
    assert two.widget.finished_run.layer.name == "other"
    assert two.widget.loss_plot.losses == losses


def test_a_result_of_a_snapshot_keeps_the_losses_of_its_training(two):
    losses = two.widget.loss_plot.losses
    two.widget.training.snapshot_used.emit(two.widget.training.snapshots[0].step)
    two.wait_for_end()
    assert two.widget.finished_run.result.name == "other denoised (AdaReNet, N2S) [1]"
    assert two.widget.loss_plot.losses == losses
    activate(two, "cells")
    assert two.widget.loss_plot.losses != losses


def test_an_earlier_result_is_chosen_from_the_list(two):
    # Results of one source are together, whatever was denoised in between.
    activate(two, "cells")
    two.run()
    assert [title.split(":")[0] for title in titles(two)] == ["cells", "cells", "other"]
    choice, widget = two.widget.result.choice, two.widget
    assert choice.currentIndex() == 1
    choice.activated.emit(0)
    assert widget.finished_run.result.name == DENOISED
    assert choice.currentIndex() == 0
    assert widget.training.title.text() == titles(two)[0]
    widget.result.blend.setValue(40)
    assert two.viewer.layers[DENOISED].opacity == pytest.approx(0.4)
    assert two.viewer.layers[f"{DENOISED} [1]"].opacity == 1
    choice.activated.emit(2)
    assert widget.layer_choice.value.name == "other"
    assert widget.finished_run.layer.name == "other"


def test_a_deleted_result_leaves_the_list_and_the_tabs(two):
    two.viewer.layers.remove("other denoised (AdaReNet, N2S)")
    assert [title.split(":")[0] for title in titles(two)] == ["cells"]
    assert two.widget.finished_run is None or two.widget.finished_run.layer.name == "cells"
    activate(two, "other")
    assert two.widget.finished_run is None
    assert not two.widget.result.extras["residual"].isEnabled()


def test_without_the_noisy_layer_only_maps_of_the_view_are_off(two):
    two.viewer.layers.remove("other")
    activate(two, "other denoised (AdaReNet, N2S)")
    result = two.widget.result
    assert result.extras["residual"].isEnabled()
    assert not result.extras["rotation"].isEnabled()
    assert "deleted" in result.extras["rotation"].toolTip()
    assert result.buttons["Save image..."].isEnabled()


def test_maps_of_a_view_of_other_data_are_refused_in_words(two):
    other = two.viewer.layers["other"]
    other.data = np.stack([other.data] * 3)
    said = []
    two.widget.finished_run.said.connect(said.append)
    two.widget.finished_run.add("rotation")
    assert said == ["This map is of a plane of the noisy layer: show its y and x in the 2-D view."]


def test_the_tabs_are_off_when_all_layers_are_deleted(two):
    two.viewer.layers.clear()
    assert two.widget.finished_run is None
    assert titles(two) == []
    assert not two.widget.result.choice.isVisibleTo(two.widget.result)
    assert two.widget.result.title.text() == "There is no result yet."


def test_every_result_of_several_layers_is_checked_and_has_a_row(dock, noisy, monkeypatch):
    marks = iter([("good", "good"), ("bad", "caution"), ("caution", "good")])
    monkeypatch.setattr(_finished_run, "assess", lambda *_, **__: report(*next(marks)))
    layers = [dock.viewer.add_image(noisy + n, name=name) for n, name in enumerate("abc")]
    dock.viewer.layers.selection = set(layers)
    dock.widget.layer_choice.value = layers[0]
    dock.widget.start_selected()
    dock.wait_for_end()
    dock.wait(lambda: "Look at" in dock.widget.status.text())
    assert dock.widget.status.text().endswith(
        "Look at the tab Quality: 2 of 3 results may be damaged, above all "
        "'b denoised (AdaReNet, N2S)' (check 0, check 1)."
    )
    rows = dock.widget.quality.rows.text()
    for name, words in (
        ("a", "no problem found"),
        ("b", "check 0, check 1"),
        ("c", "check 0"),
    ):
        assert f"{name} denoised (AdaReNet, N2S): {words}" in rows
    assert rows.count("<p>") == 3
    assert dock.widget.finished_run.layer == layers[0]


def test_a_failed_check_does_not_stop_the_others(dock, noisy, monkeypatch):
    calls = []

    def assess(*_, **__):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("a cable is loose")
        return report("good")

    monkeypatch.setattr(_finished_run, "assess", assess)
    layers = [dock.viewer.add_image(noisy + n, name=name) for n, name in enumerate("ab")]
    dock.viewer.layers.selection = set(layers)
    dock.widget.start_selected()
    dock.wait_for_end()
    dock.wait(lambda: "were checked" in dock.widget.status.text())
    assert dock.widget.status.text().endswith(
        "1 of 2 results were checked: see the tab Quality. 'a denoised (AdaReNet, N2S)' could not "
        "be checked."
    )
    assert "a denoised (AdaReNet, N2S): could not be checked" in dock.widget.quality.rows.text()


def test_a_refusal_has_no_verdict_of_an_earlier_result(dock, noisy, monkeypatch):
    goes_on = Event()
    monkeypatch.setattr(
        _finished_run, "assess", lambda *_, **__: goes_on.wait(30) and report("bad")
    )
    dock.viewer.add_image(noisy, name="cells")
    dock.run()
    dock.widget.refuse("'region' has no shape with an area: draw one.")
    goes_on.set()
    dock.wait(lambda: dock.widget.finished_run.is_checked)
    assert dock.widget.status.text() == "'region' has no shape with an area: draw one."


def test_a_result_that_is_deleted_ends_the_work_on_it(dock, noisy, monkeypatch):
    goes_on, made = Event(), Extra([(noisy, {"name": "map"}, "image")])
    monkeypatch.setattr(_finished_run, "extra_layers", lambda *_: goes_on.wait(30) and made)
    dock.viewer.add_image(noisy, name="cells")
    dock.run()
    dock.wait(lambda: dock.widget.finished_run.is_checked)
    dock.widget.finished_run.add("residual")
    assert dock.widget.status.text() == "Computing the layers."
    assert dock.widget.progress.isVisibleTo(dock.widget)
    dock.viewer.layers.remove(DENOISED)
    goes_on.set()
    assert dock.widget.status.text() == ""
    assert not dock.widget.progress.isVisibleTo(dock.widget)


def test_work_on_a_result_is_not_shown_under_another_layer(dock, noisy, monkeypatch):
    goes_on, made = Event(), Extra([(noisy, {"name": "map"}, "image")])
    monkeypatch.setattr(_finished_run, "extra_layers", lambda *_: goes_on.wait(30) and made)
    layer = dock.viewer.add_image(noisy, name="cells")
    dock.run()
    dock.wait(lambda: dock.widget.finished_run.is_checked)
    dock.widget.finished_run.add("residual")
    dock.viewer.add_image(noisy, name="other")
    assert dock.widget.status.text() == ""
    assert not dock.widget.progress.isVisibleTo(dock.widget)
    dock.viewer.layers.selection = {layer}
    assert dock.widget.progress.isVisibleTo(dock.widget)
    goes_on.set()
    dock.wait(lambda: not dock.widget.finished_run.is_busy)


def test_a_result_has_the_present_name_of_its_layer(dock, noisy):
    layer = dock.viewer.add_image(noisy, name="cells")
    dock.press()
    dock.wait(lambda: dock.step >= 1)
    dock.viewer.layers["cells"].name = "nuclei"
    assert dock.widget.layer_choice.value == layer
    dock.wait_for_end()
    assert dock.widget.finished_run.title.startswith("nuclei: ")
    # Also after it was deleted.
    dock.viewer.layers.remove("nuclei")
    assert dock.widget.finished_run.title.startswith("nuclei: ")


def test_the_worst_result_has_the_worst_mark() -> None:
    rows = [
        Row("a", report("caution", "caution")),
        Row("b", report("bad", "good")),
        Row("c", None),
    ]
    assert "2 of 3 results may be damaged, above all 'b' (check 0)." in summary_of_all(rows)
    assert summary_of_all(rows).endswith(" 'c' could not be checked.")
    several = [Row("a", report("bad", "good")), Row("b", report("bad", "bad"))]
    assert "above all 'b'" in summary_of_all(several)
    namespace = SimpleNamespace(checks=[SimpleNamespace(name="A", mark="unknown")])
    assert (
        summary_of_all([Row("a", namespace)]) == "0 of 1 checks could be made: see the tab Quality."
    )


class Run:
    """What the list of results needs of a finished run."""

    is_checked = is_checking = is_busy = False

    def __init__(self, number, model):
        source = SimpleNamespace(name=f"image {number % 2}")
        self.job = SimpleNamespace(denoiser=model, source=source)
        self.ended_at, self.result, self.batch = number, number, [self]
        self.source_name = source.name
        self.is_dropped = False

    def drop(self):
        self.is_dropped = True

    def check_quality(self):
        self.is_checking = True


def test_the_results_of_the_oldest_models_are_dropped() -> None:
    results, models = Results(), [object() for _ in range(MOST_MODELS + 2)]
    # Several results of one model count once.
    runs = [Run(number, models[number // 3]) for number in range(3 * len(models))]
    for run in runs:
        run.is_checked = True
        results.add(run)
    assert [run.is_dropped for run in runs] == [True] * 6 + [False] * 3 * MOST_MODELS
    assert all(run not in results for run in runs[:6])
    assert all(run in results for run in runs[6:])
    grouped = [run.ended_at for run in results.grouped()]
    assert grouped == [*range(6, 30, 2), *range(7, 30, 2)]


def test_results_of_one_press_are_kept_until_they_are_checked() -> None:
    results, runs = Results(), [Run(number, object()) for number in range(MOST_MODELS + 2)]
    press = list(runs)
    for run in runs:
        run.is_checked = False
        run.batch = press
        results.add(run)
    assert not any(run.is_dropped for run in runs)
    later = Run(99, object())
    results.add(later)
    assert not any(run.is_dropped for run in runs)
    for run in runs:
        run.is_checked = True
    results.add(Run(100, object()))
    assert sum(run.is_dropped for run in runs) == 4


def test_results_are_checked_one_after_the_other() -> None:
    results, runs = Results(), [Run(number, "model") for number in range(3)]
    for run in runs:
        results.add(run)
    results.check_next()
    results.check_next()
    assert [run.is_checking for run in runs] == [True, False, False]
    runs[0].is_checking, runs[0].is_checked = False, True
    # A result without its denoised layer needs no check.
    results.drop_deleted({0, 2})
    results.check_next()
    assert [run.is_checking for run in runs] == [False, False, True]


# -- further layers -----------------------------------------------------------------------------


def test_further_layers_are_hidden_and_the_blend_is_not_covered(two):
    residual = "other residual"
    two.widget.result.extras["residual"].click()
    assert not two.widget.result.extras["branches"].isEnabled()
    assert "computed" in two.widget.result.extras["branches"].toolTip()
    assert two.widget.progress.isVisibleTo(two.widget)
    two.wait(lambda: residual in two.names and not two.widget.finished_run.is_busy)
    layer = two.viewer.layers[residual]
    assert not layer.visible
    assert "hidden" in two.widget.status.text()
    assert two.widget.result.extras["branches"].isEnabled()
    assert not two.widget.progress.isVisibleTo(two.widget)
    mask = next(one for one in two.viewer.layers if one.name.startswith("other fusion mask"))
    layer.visible = mask.visible = True
    two.widget.result.blend.setValue(50)
    assert not layer.visible
    assert not mask.visible
    assert two.viewer.layers["other denoised (AdaReNet, N2S)"].visible


def test_the_progress_of_further_layers_is_shown(two):
    seen = []
    two.widget.finished_run.progressed.connect(lambda *values: seen.append(values))
    two.widget.result.extras["branches"].click()
    two.wait(lambda: not two.widget.finished_run.is_busy)
    assert seen[-1][0] == seen[-1][1] >= 1


def test_disagreement_under_rotation_is_one_layer_with_a_legend(two):
    before = set(two.names)
    two.widget.result.extras["rotation"].click()
    two.wait(lambda: len(two.names) > len(before))
    two.wait(lambda: not two.widget.finished_run.is_busy)
    assert set(two.names) - before == {"other disagreement"}
    legend = two.widget.result.legend.text()
    top = two.viewer.layers["other disagreement"].contrast_limits[1]
    assert f"changes by {top:.3g} grey levels or more" in legend
    # The legend belongs to the result.
    activate(two, "cells")
    assert "rotation" not in two.widget.result.legend.text()


@pytest.fixture
def residual_of():
    """The residual layer of an image whose denoised image is known."""

    def make(noisy, clean, axes="YX", reports=None):
        session = SimpleNamespace(provenance={})
        source = LayerImage("cells", noisy, axes, spatial={}, colour=axes == "YXC")
        progress = []
        made = extra_layers(
            "residual",
            SimpleNamespace(session=session),
            source,
            clean,
            {},
            None,
            lambda: False,
            reports,
            lambda *values: progress.append(values),
        )
        assert progress[-1][0] == progress[-1][1] == len(progress)
        (layer,) = made.layers
        return *layer[:2], made.legend

    return make


@pytest.fixture
def levels():
    """Expected photons: a bright square in the dark."""
    clean = np.full((256, 256), 20.0)
    clean[64:192, 64:192] = 500.0
    return clean


@pytest.mark.parametrize("gain", [1, 40])
def test_a_residual_of_photon_noise_is_divided_by_the_noise(residual_of, levels, gain):
    noisy = gain * np.random.default_rng(0).poisson(levels).astype(np.float32)
    data, keywords, legend = residual_of(noisy, (gain * levels).astype(np.float32))
    # Poisson noise over its standard deviation has a variance of 1 at every level.
    for level in (20, 500):
        assert data[levels == level].std() == pytest.approx(1, rel=0.1)
    assert keywords["name"] == "cells residual / noise"
    assert "divided by the expected noise" in legend


def test_the_residual_of_every_channel_is_divided_by_its_noise(residual_of, levels):
    both = np.stack([levels, levels[::-1] + 100])
    noisy = np.array([[1], [30]]).reshape(2, 1, 1) * np.random.default_rng(0).poisson(both)
    clean = np.array([1, 30]).reshape(2, 1, 1) * both
    data, _, _ = residual_of(noisy.astype(np.float32), clean.astype(np.float32), "CYX")
    for channel in (0, 1):
        assert data[channel].std() == pytest.approx(1, rel=0.1)


def test_a_residual_of_constant_noise_keeps_its_grey_levels(residual_of, levels):
    noisy = (levels + np.random.default_rng(0).normal(0, 30, levels.shape)).astype(np.float32)
    data, keywords, legend = residual_of(noisy, levels.astype(np.float32))
    np.testing.assert_allclose(data, noisy - levels, atol=1e-3)
    assert keywords["name"] == "cells residual"
    assert "divided" not in legend


def test_a_residual_has_no_value_where_the_image_has_none(residual_of, levels, recwarn):
    noisy = np.random.default_rng(0).poisson(levels).astype(np.float32)
    noisy[0, :3] = np.inf, -np.inf, np.nan
    denoised = levels.astype(np.float32)
    denoised[0, :3] = noisy[0, :3]
    data, keywords, _ = residual_of(noisy, denoised)
    assert np.isnan(data[0, :3]).all()
    assert np.isfinite(data[1:]).all()
    assert np.isfinite(keywords["contrast_limits"]).all()
    assert not [one for one in recwarn if issubclass(one.category, RuntimeWarning)]


def test_a_deleted_result_leaves_the_memory(two):
    """Though its noisy layer stays chosen."""
    name = "other denoised (AdaReNet, N2S)"
    two.wait(lambda: two.widget.finished_run.is_checked)
    pixels = weakref.ref(two.viewer.layers[name].data)
    two.viewer.layers.remove(name)
    two.viewer.layers.selection.active = two.viewer.layers["other"]
    two.viewer.layers.remove(next(n for n in two.names if n.startswith("other fusion mask")))

    def is_gone():
        gc.collect()
        return pixels() is None

    two.wait(is_gone)
