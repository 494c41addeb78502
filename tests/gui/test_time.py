"""The time limit, and the estimate of the time left."""

import itertools
import time
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from napari_redenoise._napari._layers import LayerImage
from napari_redenoise._napari._words import duration
from napari_redenoise._napari.denoise import _run, _survey, _surveys, _time_left
from napari_redenoise._napari.denoise._survey import Survey, time_within
from napari_redenoise._napari.denoise._time_left import Deadline, TimeLeft
from napari_redenoise._napari.denoise.panels._options import Options
from napari_redenoise.model import PREVIEW_SHARE, Redenoiser, RunTime
from napari_redenoise.training import StepDone


def step(number, seconds, steps=100):
    return StepDone(number, steps, 0.5, 1e-3, seconds, 4)


def test_the_time_left_hardly_changes_with_single_steps() -> None:
    left = TimeLeft(RunTime(100, 3.0, 0.0, 10.0, 20.0))
    # Steps of 1 to 5 s, 3 s on average; the first one is slower.
    pattern = itertools.cycle((1.0, 5.0, 2.0, 4.0))
    ends = []
    for number in range(1, 101):
        done = step(number, 60.0 if number == 1 else next(pattern))
        left.add(done)
        ends.append(left.seconds(done) + number * 3 * (1 + PREVIEW_SHARE))
    total = 100 * 3 * (1 + PREVIEW_SHARE) + 30
    np.testing.assert_allclose(ends, total, rtol=0.15)


def test_the_time_left_includes_what_follows_the_training() -> None:
    left = TimeLeft(RunTime(100, 3.0, 0.0, 10.0, 20.0))
    assert left.seconds(step(100, 3.0)) == 30
    # Without an estimate, the steps alone are known.
    assert TimeLeft(None).seconds(step(100, 3.0)) == 0


def test_the_time_left_without_an_estimate_is_that_of_the_steps() -> None:
    left = TimeLeft(None)
    for number, seconds in enumerate((9.0, 1.0, 3.0), start=1):
        left.add(step(number, seconds))
    assert left.seconds(step(3, 3.0)) == pytest.approx(97 * 2 * (1 + PREVIEW_SHARE))


def test_a_pause_does_not_count_towards_the_limit(monkeypatch) -> None:
    now, paused = [0.0], [False]
    monkeypatch.setattr(_time_left.time, "monotonic", lambda: now[0])
    deadline = Deadline(10, lambda: paused[0])
    deadline.bring_forward(4)
    now[0] = 5
    assert not deadline.is_over()
    paused[0], now[0] = True, 500
    assert not deadline.is_over()
    paused[0], now[0] = False, 500.5
    assert not deadline.is_over()
    now[0] = 501.1
    assert deadline.is_over()
    assert not Deadline(None, lambda: False).is_over()


@pytest.fixture
def speed(monkeypatch):
    """A machine of known speed: seconds of a step and of the prediction of an image."""

    def known(per_step, prediction, *, tuned, judging=0.0):
        def estimate(config, *_):
            return RunTime(config.training.total_steps, per_step, 0.0, judging, prediction)

        def within(config, image, axes, device, seconds):
            after = judging + prediction
            return min(max(20, int((seconds - after) / per_step)), 100 if tuned else 10**6)

        monkeypatch.setattr(_survey, "estimate_run", estimate)
        monkeypatch.setattr(_survey, "steps_within", within)
        for module in (_run, _survey):
            monkeypatch.setattr(module, "is_fine_tuned", lambda *_: tuned)

    return known


def expected(dock, seconds):
    config = dock.widget.config
    source = SimpleNamespace(array=np.zeros((64, 64)), axes="YX", channels=1)
    return time_within(SimpleNamespace(config=config, device=None), source, seconds)


def test_a_limit_holds_previews_and_judging_included(dock, speed) -> None:
    speed(1.0, 5.0, tuned=True, judging=3.0)
    found = expected(dock, 60)
    assert found.steps == int((60 - 8) / (1 + PREVIEW_SHARE))
    assert found.steps * (1 + PREVIEW_SHARE) + found.after <= 60


@pytest.mark.parametrize(("tuned", "steps"), [(True, 0), (False, 20)])
def test_without_time_for_the_fewest_steps(dock, speed, tuned, steps) -> None:
    # Fine-tuning is left out; from scratch there is nothing to denoise with.
    speed(3.0, 8.0, tuned=tuned)
    assert expected(dock, 10).steps == steps


def test_the_summary_says_that_a_limit_is_too_short_for_training(dock, noisy, monkeypatch):
    found = Survey(8.0, None, time=RunTime(0, 3.0, 0.0, 10.0, 8.0))
    monkeypatch.setattr("napari_redenoise._napari.denoise._surveys.survey", lambda *_, **__: found)
    dock.viewer.add_image(noisy[:60], name="cells")
    dock.widget.options.setValue(Options(seconds=10))
    dock.wait(lambda: "because fine-tuning takes longer than 10 s" in dock.widget.plan.text())
    assert "Denoises with the pretrained network as it is" in dock.widget.plan.text()
    assert "About 8 s on the" in dock.widget.plan.text()


def test_the_time_is_that_of_the_image_itself(qtbot, monkeypatch):
    plans = {"cells": None, "denoised": SimpleNamespace(is_training_left_out=True)}
    times = {"cells": RunTime(100, 3.0, 0.0, 0.0, 8.0), "denoised": RunTime(0, 3.0, 0.0, 0.0, 8.0)}

    def survey(_, image, *__):
        return Survey(times[image].seconds, None, plans[image], times[image])

    monkeypatch.setattr(_surveys, "survey", survey)
    surveys = _surveys.Surveys()
    for image in ("denoised", "cells", "denoised"):
        surveys.begin("run", image, None, image)
        qtbot.waitUntil(lambda: not surveys.is_measuring)
        assert surveys.of("run", image).seconds == times[image].seconds
    # An image that is not yet measured has the time of one that is trained on.
    assert surveys.of("run", "another").time.steps == 100
    assert surveys.of("run", "denoised").time.steps == 0


def test_the_summary_gives_the_true_time_beyond_the_limit(dock, noisy, monkeypatch):
    found = Survey(68.0, None, time=RunTime(20, 3.0, 0.0, 0.0, 8.0))
    monkeypatch.setattr("napari_redenoise._napari.denoise._surveys.survey", lambda *_, **__: found)
    dock.viewer.add_image(noisy[:60], name="cells")
    dock.widget.options.setValue(Options(seconds=10))
    dock.wait(lambda: "longer than the limit of 10 s" in dock.widget.plan.text())
    assert "About 68 s on the" in dock.widget.plan.text()
    assert "because training takes at least 20 steps" in dock.widget.plan.text()


def test_the_training_ends_at_the_limit_whatever_was_estimated(dock, noisy, monkeypatch):
    # The estimate is far too low: a thousand times more steps than fit.
    monkeypatch.setattr(_survey, "steps_within", lambda *_: 1_000_000)
    monkeypatch.setattr(
        _survey, "estimate_run", lambda config, *_: RunTime(1_000_000, 1e-9, 0.0, 0.0, 0.0)
    )
    dock.viewer.add_image(noisy, name="cells")
    dock.widget.options.setValue(Options(seconds=3))
    began = time.monotonic()
    dock.run()
    assert time.monotonic() - began < 20
    made = dock.images[-1].metadata["napari-redenoise"]
    assert 20 <= made["steps"] < 1_000_000


# What follows a training may be expected to take longer than the limit itself.
@pytest.mark.parametrize("after", [1.0, 100.0])
def test_a_limit_too_short_for_training_keeps_the_pretrained(
    dock, noisy, pretrained, monkeypatch, after
):
    time = RunTime(20, 1000.0, 0.0, after, 1.0)
    monkeypatch.setattr(_survey, "steps_within", lambda *_: 20)
    monkeypatch.setattr(_survey, "estimate_run", lambda *_: time)
    dock.viewer.add_image(noisy, name="cells")
    dock.widget.options.setValue(Options(seconds=10))
    dock.run()
    assert dock.widget.status.text().startswith(
        "Done: the pretrained network, without training. Added "
    )
    assert "cells denoised (AdaReNet, pretrained)" in dock.names
    assert dock.images[-1].metadata["napari-redenoise"]["steps"] == 0


def test_a_limit_that_ends_before_the_first_step_keeps_a_result(
    dock, noisy, pretrained, monkeypatch
):
    # The plan takes longer than was estimated.
    time = RunTime(20, 1e-9, 0.0, 0.0, 0.0)
    monkeypatch.setattr(_run, "time_within", lambda *_: time)
    monkeypatch.setattr(_run.Deadline, "is_over", lambda _: True)
    dock.viewer.add_image(noisy, name="cells")
    dock.widget.options.setValue(Options(seconds=10))
    dock.run()
    assert dock.widget.status.text().startswith("Done: 1 training step in ")
    assert len(dock.images) == 3


def test_the_progress_names_the_tile_and_the_time_left(dock, noisy):
    said = []
    dock.use(**{"tiling.tile": 64, "tiling.halo": 16})
    dock.viewer.add_image(np.tile(noisy, (2, 2)), name="cells")
    dock.press()
    dock.widget.run.progressed.connect(lambda sentence, *_: said.append(sentence))
    dock.wait_for_end()
    tiles = [sentence for sentence in said if "tile" in sentence]
    assert any(" left." in sentence for sentence in tiles[:-1])
    assert tiles[-1].endswith(f"of {len(tiles)}.")


def test_no_status_of_reading_once_the_preview_is_shown(dock, noisy, tmp_path):
    said = []
    dock.viewer.add_image(noisy, name="cells")
    dock.run()
    # A continued training previews its network before the first step.
    dock.widget.training.continue_button.click()
    dock.widget.run.progressed.connect(lambda sentence, *_: said.append(sentence))
    assert dock.widget.status.text() == "Reading the image."
    dock.wait_for_end()
    assert said[0] == "The preview is shown; preparing the training."


def test_the_expected_time_includes_the_quality_checks(dock, monkeypatch) -> None:
    def estimate(config, *_):
        return RunTime(config.training.total_steps, 1.0, 1e-3, 0.0, 0.0)

    monkeypatch.setattr(_survey, "estimate_run", estimate)
    source = LayerImage("cells", np.zeros((1024, 2048), np.float32), "YX")
    model = SimpleNamespace(config=dock.widget.config, device=None)
    # A window of 512 x 512 pixels is denoised twice; half a microsecond for every pixel.
    checks = 2 * 512**2 * 1e-3 + 2**21 * 5e-7
    found = _survey._seconds(model, source, None, None)
    assert found[0] == pytest.approx(4 * (1 + PREVIEW_SHARE) + checks)


def test_durations_have_units() -> None:
    assert [duration(68), duration(600)] == ["68 s", "10 min"]


@pytest.mark.parametrize("is_planned", [False, True])
def test_a_limit_asks_for_no_training_of_smooth_noise(monkeypatch, is_planned) -> None:
    monkeypatch.setattr(_run, "time_within", lambda *_: RunTime(50, 0.1, 0.0, 1.0, 1.0))
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(160, 160)), 1.5)
    noisy = (100 + 60 * noise / noise.std()).astype(np.float32)
    noisy += 300 * (np.hypot(*np.mgrid[-80:80, -80:80]) < 40)
    denoiser = Redenoiser(device="cpu")
    plan = denoiser.plan(noisy) if is_planned else None
    job = _run.Job(denoiser, LayerImage("cells", noisy, "YX"), plan=plan, seconds=60)
    assert not any(isinstance(event, StepDone) for event in _run.run(job, _run.RunControl()))
    assert denoiser.session.plan.is_training_left_out
