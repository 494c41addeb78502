"""The choice *Neighbours*, and what the summary says of them."""

import numpy as np
import pytest

from napari_redenoise._napari._layers import LayerImage
from napari_redenoise._napari.denoise._plan_sentence import neighbours_in_words
from napari_redenoise._napari.denoise._survey import survey
from napari_redenoise._napari.denoise.panels._options import (
    NEIGHBOURS,
    NO_NEIGHBOURS,
    OTHER_FRAMES,
)
from napari_redenoise.config import Config
from napari_redenoise.model import TrainingPlan


def movie(frames: int = 4) -> np.ndarray:
    return np.random.default_rng(0).poisson(20, (frames, 48, 48)).astype(np.float32)


@pytest.fixture
def seeing(dock):
    """A dock whose small network is shown neighbours."""
    dock.widget.config = dock.widget.config.replace({"network.context": "auto"})
    return dock


def test_the_summary_says_that_neighbours_are_used(seeing, monkeypatch):
    monkeypatch.setattr("napari_redenoise._napari.denoise._surveys.survey", survey)
    seeing.viewer.add_image(movie(), name="movie", axis_labels=("t", "y", "x"))
    seeing.wait(lambda: not seeing.widget.is_measuring)
    assert "two neighbours on either side (frames before and after)" in seeing.widget.plan.text()
    seeing.widget.options.context.setCurrentIndex(1)
    seeing.wait(lambda: not seeing.widget.is_measuring)
    assert "neighbours" not in seeing.widget.plan.text()


@pytest.mark.parametrize(("choice", "expected"), [(0, 2), (1, 0)])
def test_the_choice_decides_what_the_network_is_shown(seeing, choice, expected):
    seeing.viewer.add_image(movie(), name="movie", axis_labels=("t", "y", "x"))
    seeing.widget.options.context.setCurrentIndex(choice)
    seeing.run()
    made = [layer for layer in seeing.viewer.layers if "denoised" in layer.name]
    config = made[0].metadata["napari-redenoise"]["config"]
    assert config["network"]["context"] == expected


def test_a_single_image_has_no_neighbours(seeing):
    seeing.viewer.add_image(movie()[0], name="cells")
    context = seeing.widget.options.context
    assert not context.isEnabled()
    assert context.toolTip() == NO_NEIGHBOURS
    seeing.viewer.add_image(movie(), name="movie", axis_labels=("t", "y", "x"))
    assert context.isEnabled()
    assert context.toolTip() == NEIGHBOURS["auto"][1]


def test_noise2noise_learns_from_frames_itself(seeing):
    seeing.viewer.add_image(movie(), name="movie", axis_labels=("t", "y", "x"))
    seeing.widget.options.objective.choose("noise2noise")
    context = seeing.widget.options.context
    assert not context.isEnabled()
    assert context.toolTip() == OTHER_FRAMES


def test_the_choice_follows_a_configuration(dock):
    dock.widget.config = Config().replace({"network.context": 0})
    assert dock.widget.options.context.currentData() == 0
    dock.widget.config = Config()
    assert dock.widget.options.context.currentData() == "auto"


def test_why_neighbours_are_not_used_is_said():
    stack = LayerImage("cells", movie(), "ZYX")
    plan = TrainingPlan(Config(), Config(), no_neighbours="they do not help")
    expected = "Each plane is denoised without its neighbours, since they do not help. "
    assert neighbours_in_words(stack, plan) == expected
    both = LayerImage("cells", np.stack([movie(), movie()]), "TZYX")
    used = TrainingPlan(Config(), Config().replace({"network.context": 2}))
    assert "(frames before and after and planes below and above)" in neighbours_in_words(both, used)
    assert neighbours_in_words(stack, None) == ""
