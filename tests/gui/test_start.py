"""The pretrained network in the dock: start from it, without it, and roll back to it."""

import numpy as np
import pytest

from napari_redenoise._napari.denoise.panels._noise import NoisePanel
from napari_redenoise._napari.denoise.panels._options import STARTS
from napari_redenoise.data import Planes
from napari_redenoise.model import noise_reports


def test_the_summary_names_the_start_of_a_run(dock, noisy, pretrained):
    dock.viewer.add_image(noisy, name="cells")
    assert "Fine-tunes the pretrained network on this image" in dock.widget.plan.text()
    start_box = dock.widget.options.start
    assert "synthetic scenes" in start_box.toolTip()
    assert "never on microscope images" in start_box.toolTip()
    start_box.setCurrentIndex(start_box.findData("random"))
    assert "Trains a new network on this image" in dock.widget.plan.text()
    assert start_box.toolTip() == STARTS["random"][1]


def test_without_pretrained_weights_a_new_network_is_trained(dock, noisy):
    dock.viewer.add_image(noisy, name="cells")
    assert "Trains a new network on this image" in dock.widget.plan.text()


@pytest.mark.parametrize("start", ["pretrained", "random"])
def test_a_run_begins_with_the_chosen_start(dock, noisy, pretrained, start):
    dock.viewer.add_image(noisy, name="cells")
    start_box = dock.widget.options.start
    start_box.setCurrentIndex(start_box.findData(start))
    dock.run()
    assert dock.widget.denoiser.session.provenance["config"]["training"]["start"] == start
    steps = [snapshot.step for snapshot in dock.widget.denoiser.session.snapshots]
    # The pretrained network is the first snapshot.
    assert (steps[0] == 0) == (start == "pretrained")


def test_a_harmful_training_is_rolled_back_and_reported(dock, noisy, pretrained):
    dock.use(**{"training.learning_rate": 3.0})
    dock.viewer.add_image(noisy, name="cells")
    dock.run()
    said = dock.widget.status.text()
    assert "Fine-tuning did not improve this image; the pretrained result is kept." in said
    assert "cells denoised (AdaReNet, pretrained)" in dock.names


def test_row_offsets_are_reported_and_corrected(dock, qtbot):
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 10, (256, 1))
    image = (500 + rows + rng.normal(0, 20, (256, 256))).astype(np.float32)
    panel = NoisePanel()
    qtbot.addWidget(panel)
    panel.show_reports(noise_reports(Planes(image, "YX")))
    assert "Rows have offsets of their own" in panel.words.text()
    assert "remains after line correction (rows)" in panel.words.text()
    dock.use(**{"objective.kind": "auto", "training.start": "random"})
    dock.viewer.add_image(image, name="cells")
    dock.run()
    assert dock.widget.denoiser.session.plan.lines == "rows"
    (denoised,) = (layer for layer in dock.images if "denoised" in layer.name)
    assert denoised.data.mean(1).std() < 0.5 * rows.std()
