"""Layers that cannot be denoised are refused before the press, in words."""

import warnings

import numpy as np
import pytest

from napari_redenoise._napari._layers import percentiles
from napari_redenoise._napari.denoise import _survey
from napari_redenoise._napari.denoise._survey import survey
from napari_redenoise.model import RunTime


@pytest.fixture
def surveyed(dock, monkeypatch):
    """A dock that surveys layers, without a trial of the machine's speed."""
    monkeypatch.setattr("napari_redenoise._napari.denoise._surveys.survey", survey)
    monkeypatch.setattr(_survey, "estimate_run", lambda *_: RunTime(4, 1.0, 0.0, 0.0, 1.0))
    return dock


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.full((40, 40), 7.0), "same value"),
        (np.full((3, 40, 40), 7, np.uint16), "same value"),
        (np.full((40, 40), np.nan), "no finite pixels"),
        (np.random.default_rng(0).uniform(0, 255, (40, 40, 3)), "divide"),
    ],
)
def test_unsuitable_pixels_are_refused_before_the_press(surveyed, data, words):
    rgb = data.shape[-1] == 3
    surveyed.viewer.add_image(data, name="bad", rgb=rgb, contrast_limits=(0, 1))
    surveyed.wait(lambda: not surveyed.widget.is_measuring)
    said = surveyed.widget.plan.text()
    assert said.startswith("Cannot denoise this layer: ")
    assert words in said
    assert "About" not in said
    assert not surveyed.widget.button.isEnabled()
    assert "cannot be denoised" in surveyed.widget.noise.words.text()


def test_a_small_layer_with_noise_is_offered(surveyed):
    noise = np.random.default_rng(0).normal(100, 10, (20, 20)).astype(np.float32)
    surveyed.viewer.add_image(noise, name="small")
    surveyed.wait(lambda: not surveyed.widget.is_measuring)
    assert surveyed.widget.button.isEnabled()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            np.zeros((8, 8)),
            "'tiny' is too small, 8 × 8 pixels: choose an image of at least 16 × 16",
        ),
        (np.zeros((40, 9, 3), np.uint8), "'tiny' is too small, 40 × 9 pixels"),
        (np.zeros((30, 40, 4)), "'tiny' is too small, 40 × 4 pixels"),
    ],
)
def test_a_layer_that_is_too_small_is_refused_with_its_size(dock, data, words):
    dock.viewer.add_image(data, name="tiny", rgb=data.dtype == np.uint8)
    assert words in dock.widget.plan.text()
    # Stacks may only have other axes.
    assert ("correct its axes" in dock.widget.plan.text()) == (data.shape == (30, 40, 4))
    assert "Choose an image layer" not in dock.widget.noise.words.text()


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_pixels_that_are_not_finite_raise_no_warnings(dock, noisy, value):
    noisy[20, 30] = value
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        dock.viewer.add_image(noisy, name="cells", contrast_limits=(0, 1000))
        dock.run()
        dock.wait(lambda: dock.widget.quality.report is not None)
        for kind in ("residual", "rotation", "branches"):
            dock.widget.result.extras[kind].click()
            dock.wait(lambda: not dock.widget.finished_run.is_busy)
    numeric = [str(one.message) for one in raised if issubclass(one.category, RuntimeWarning)]
    assert numeric == []


def test_contrast_limits_are_finite() -> None:
    image = np.arange(100.0).reshape(10, 10)
    expected = percentiles(image[1:], 0, 100)
    image[0] = np.inf, np.nan, *[-np.inf] * 8
    assert percentiles(image, 0, 100) == expected == [10.0, 99.0]
    assert percentiles(np.full((4, 4), np.nan), 1, 99) == [0.0, 1.0]
