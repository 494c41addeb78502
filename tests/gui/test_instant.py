"""The button *Instant*: the pretrained network without training."""

import numpy as np
import pytest
import tifffile

from napari_redenoise._napari.denoise import _run, _survey
from napari_redenoise._napari.denoise._plan_sentence import NETWORK_CHOSEN
from napari_redenoise._napari.denoise.panels._options import Options
from napari_redenoise._napari.denoise.panels._progress import UNTRAINED
from napari_redenoise.io import read_image
from napari_redenoise.model import Redenoiser, RunTime

from .test_denoise_widget import rgb

NAME = "cells denoised (AdaReNet, pretrained)"


@pytest.fixture(autouse=True)
def _without_residual(monkeypatch):
    # The default network would measure it, and these tests have weights of a small one.
    monkeypatch.setattr(
        "napari_redenoise.model._noise_reports.pretrained_residual", lambda *_: None
    )


def press(dock):
    dock.widget.instant_button.click()
    dock.wait_for_end()


def expected(dock, image):
    config = dock.widget.config
    fast = {"training.steps": 0, "tiling.tta": False, "tiling.precision": "auto"}
    instant = type(config)(network=config.network, tiling=config.tiling).replace(fast)
    return Redenoiser(instant, "cpu").fit(image).predict(image)


def test_a_press_adds_the_result_of_the_pretrained_network(dock, noisy, pretrained):
    before = noisy.copy()
    dock.viewer.add_image(noisy, name="cells")
    networks = dock.widget.options.model.box
    # Those of other tests of the same process are kept, too.
    offered = networks.count()
    press(dock)
    assert dock.names == ["cells", "cells fusion mask", NAME]
    result = expected(dock, noisy)
    np.testing.assert_allclose(dock.viewer.layers[NAME].data, result.denoised, rtol=1e-4, atol=0.1)
    np.testing.assert_array_equal(noisy, before)
    said = dock.widget.status.text()
    assert said.startswith("Done: the pretrained network, without training. Added ")
    # It was not trained on this layer, so it is no network to choose for others.
    assert networks.count() == offered


def test_the_summary_says_what_instant_does(dock, noisy, pretrained, monkeypatch):
    time = RunTime(4, per_step=1.0, per_pixel=1e-3, judging=0.0, prediction=13.0)
    survey = _survey.Survey(17.0, None, time=time)
    monkeypatch.setattr("napari_redenoise._napari.denoise._surveys.survey", lambda *_: survey)
    dock.viewer.add_image(noisy, name="cells")
    dock.wait(lambda: not dock.widget.is_measuring)
    # 72 x 90 pixels of a millisecond, once.
    assert dock.widget.plan.text().endswith("Instant takes about 6 s, without training.")
    assert dock.widget.instant_button.toolTip() == (
        "Denoises with the pretrained network, without training. About 6 s on the CPU."
    )


@pytest.mark.parametrize("form", ["python", "command"])
def test_the_copied_code_makes_the_same_result(
    dock, noisy, pretrained, tmp_path, monkeypatch, form
):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, noisy)
    dock.viewer.open(path, plugin="napari")
    press(dock)
    text = dock.copied({"python": "Copy as Python", "command": "Copy as command"}[form])
    assert "model.safetensors" not in text
    if form == "command":
        assert "--instant" in text.split()
        return
    (denoised,) = (layer for layer in dock.images if "denoised" in layer.name)
    exec(compile(text, "script", "exec"), {})
    found = read_image("denoised.tif").array
    np.testing.assert_allclose(found, denoised.data, rtol=1e-4, atol=0.1)


def test_options_of_a_training_change_nothing(dock, noisy, pretrained):
    dock.viewer.add_image(noisy, name="cells")
    dock.widget.options.setValue(Options(start="random", seed=5, seconds=30, preset="best"))
    press(dock)
    result = expected(dock, noisy)
    np.testing.assert_allclose(dock.viewer.layers[NAME].data, result.denoised, rtol=1e-4, atol=0.1)


def test_without_pretrained_weights_instant_is_off(dock, noisy, pretrained):
    button, options = dock.widget.instant_button, dock.widget.options
    dock.viewer.add_image(noisy, name="cells")
    assert button.isEnabled()
    options.setValue(Options(group="D4"))
    assert not button.isEnabled()
    assert button.toolTip() == (
        "There is no pretrained network with symmetry D4: press Denoise to train one."
    )
    assert "Instant" not in dock.widget.plan.text()
    options.setValue(Options())
    assert button.isEnabled()
    dock.viewer.add_image(np.zeros((4, 4), np.float32), name="tiny")
    assert not button.isEnabled()


def test_a_chosen_network_leaves_nothing_to_instant(dock, noisy, pretrained):
    dock.viewer.add_image(noisy, name="cells")
    dock.run()
    box = dock.widget.options.model.box
    box.setCurrentIndex(box.findText("trained on 'cells'"))
    assert not dock.widget.instant_button.isEnabled()
    assert dock.widget.instant_button.toolTip() == NETWORK_CHOSEN


def test_the_tabs_show_an_instant_result(dock, noisy, pretrained):
    dock.viewer.add_image(noisy, name="cells")
    press(dock)
    dock.wait(lambda: dock.widget.quality.report is not None)
    panel = dock.widget.training
    assert panel.title.text().endswith(UNTRAINED)
    assert not panel.continue_button.isEnabled()
    # A fine-tuned result follows, with its own name.
    dock.run()
    assert panel.continue_button.isEnabled()
    assert len([name for name in dock.names if "denoised" in name]) == 2


def test_instant_can_be_cancelled_by_one_press(dock, noisy, pretrained, monkeypatch):
    dock.viewer.add_image(np.stack([noisy] * 40), name="cells")
    dock.widget.instant_button.click()
    assert not dock.widget.instant_button.isVisibleTo(dock.widget)
    dock.cancel()
    assert dock.names == ["cells"]
    assert dock.widget.instant_button.isVisibleTo(dock.widget)


@pytest.mark.parametrize("largest", [1, 10**9])
def test_large_images_alone_are_previewed(dock, noisy, pretrained, monkeypatch, largest):
    monkeypatch.setattr(_run, "UNSEEN_PIXELS", largest)
    shown = []
    real = _run.paint
    monkeypatch.setattr(_run, "paint", lambda *given: (shown.append(given), real(*given)))
    dock.viewer.add_image(noisy, name="cells")
    press(dock)
    assert bool(shown) == (largest == 1)
    assert NAME in dock.names


def test_colours_are_denoised_channel_by_channel(dock, noisy, pretrained):
    dock.viewer.add_image(rgb(noisy), name="cells")
    press(dock)
    assert dock.viewer.layers[NAME].data.shape == (*noisy.shape, 3)
