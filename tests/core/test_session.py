import math
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_redenoise import Config, Redenoiser
from napari_redenoise.errors import ConfigError, InputError
from napari_redenoise.model import estimate_run, steps_within
from napari_redenoise.model._previews import PreviewDone, Window
from napari_redenoise.model._snapshots import MAX_SNAPSHOTS, SMOOTHED, Snapshot, Snapshots
from napari_redenoise.training import StepDone

ANY = Window((), slice(0, 32), slice(0, 40))


def of(config: Config, **changes: object) -> Redenoiser:
    dotted = {f"training.{name}": value for name, value in changes.items()}
    return Redenoiser(config.replace(dotted), "cpu")


def steps_of(events) -> list[StepDone]:
    return [event for event in events if isinstance(event, StepDone)]


def weights(model: Redenoiser) -> torch.Tensor:
    return torch.cat([parameter.flatten() for parameter in model.session.network().parameters()])


def stopping_at(step: int, model: Redenoiser) -> Callable[[], bool]:
    return lambda: model.session.provenance.get("steps", 0) >= step


# -- what was learned before -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "losses"),
    [
        ("noise2self", [0.91546, 1.028506, 0.752834, 0.601422, 0.433453, 0.365279]),
        ("neighbor2neighbor", [1.367304, 1.036636, 0.907512, 0.686897, 0.469231, 0.400917]),
    ],
)
def test_a_plain_training_is_unchanged(tiny: Config, noisy, kind: str, losses) -> None:
    """Losses of an earlier version; of the standard network, which has no basis.

    The basis of the others is turned where the linear-algebra library takes other instructions.
    """
    changes = {"objective.kind": kind, "training.steps": 6, "network.kind": "standard"}
    model = Redenoiser(tiny.replace(changes), "cpu")
    found = [event.loss for event in model.fit_events(noisy)]
    np.testing.assert_allclose(found, losses, rtol=2e-3)


# -- pauses --------------------------------------------------------------------------------------


class Pausing:
    """Pauses at a step until it was asked some times, or for ever."""

    def __init__(self, model: Redenoiser, at: int, times: float = math.inf) -> None:
        self._model, self._at, self._times = model, at, times
        self.asked = 0

    def __call__(self) -> bool:
        if self._model.session.provenance.get("steps", 0) != self._at or self.asked >= self._times:
            return False
        self.asked += 1
        return True


class Clock:
    """Stands for the module ``time``: only sleeping takes time."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("napari_redenoise.model._run.time", clock)
    return clock


def test_a_pause_changes_no_weights(tiny: Config, noisy, clock: Clock) -> None:
    plain, paused = of(tiny, steps=6), of(tiny, steps=6)
    plain.fit(noisy)
    pause = Pausing(paused, at=2, times=4)
    events = list(paused.fit_events(noisy, should_pause=pause))
    assert [event.step for event in events] == [1, 2, 3, 4, 5, 6]
    assert torch.equal(weights(plain), weights(paused))
    assert pause.asked == 4
    # Naps are no training.
    assert clock.now > 0
    assert paused.session.provenance["seconds"] == 0


def test_a_pause_may_come_before_the_first_step(tiny: Config, noisy) -> None:
    model = of(tiny)
    pause = Pausing(model, at=0, times=3)
    assert len(list(model.fit_events(noisy, should_pause=pause))) == 3
    assert pause.asked == 3


def test_a_pause_does_not_keep_the_processor_busy(tiny: Config, noisy, clock: Clock) -> None:
    model = of(tiny)
    pause = Pausing(model, at=1)
    events = model.fit_events(noisy, should_pause=pause, should_stop=lambda: clock.now > 1)
    next(events)
    assert list(events) == []
    # It sleeps between its questions, and notices within a tenth of a second that it is over.
    assert 1 <= clock.now < 1.1
    assert 10 <= pause.asked <= 25
    assert model.session.provenance["steps"] == 1


def test_a_pause_previews_only_a_changed_view(tiny: Config, noisy) -> None:
    model = of(tiny, steps=30)
    pause = Pausing(model, at=25, times=12)

    def view() -> Window:
        # Another part of the picture from the fifth look of the pause on.
        return Window((), slice(0, 32), slice(0, 40 if pause.asked < 5 else 48))

    events = list(model.fit_events(noisy, view=view, should_pause=pause))
    shown = [event for event in events if isinstance(event, PreviewDone) and event.step == 25]
    assert [event.denoised.shape for event in shown] in (
        [(1, 32, 48)],
        [(1, 32, 40), (1, 32, 48)],
    )
    assert len(steps_of(events)) == 30


def test_another_thread_can_preview_during_a_pause(tiny: Config, noisy) -> None:
    model = of(tiny, steps=40)
    paused, stop = threading.Event(), threading.Event()

    def pause() -> bool:
        if model.session.provenance.get("steps", 0) == 37 and not stop.is_set():
            paused.set()
            return True
        return False

    events = model.fit_events(noisy, should_pause=pause, should_stop=stop.is_set)
    with ThreadPoolExecutor(1) as worker:
        made = worker.submit(list, events)
        assert paused.wait(60)
        deadline = time.perf_counter() + 60
        while model.session.snapshots[-1].step != 37 and time.perf_counter() < deadline:
            time.sleep(0.02)
        assert model.session.snapshots[-1].step == 37
        early = model.session.preview(noisy, None, ANY, step=model.session.snapshots[0].step)
        with pytest.raises(ConfigError, match="being trained: stop it before"):
            model.session.use_snapshot(37)
        stop.set()
        assert [event.step for event in made.result(60)] == list(range(1, 38))
    assert early.step == model.session.snapshots[0].step
    assert (early.denoised != model.session.preview(noisy, None, ANY).denoised).any()


# -- snapshots ---------------------------------------------------------------------------------


def snapshot(step: int) -> Snapshot:
    return Snapshot(step, 1.0, {}, {})


@pytest.mark.parametrize("length", [*range(1, 70), 270, 1000, 4097])
def test_snapshots_are_evenly_spread_over_a_run_of_any_length(length: int) -> None:
    snapshots = Snapshots()
    for step in range(1, length + 1):
        if snapshots.is_due(step):
            snapshots.keep(snapshot(step))
        assert len(snapshots.all) < MAX_SNAPSHOTS
    snapshots.keep_last(snapshot(length))
    steps = [kept.step for kept in snapshots.all]
    assert steps[-1] == length
    assert len(steps) <= MAX_SNAPSHOTS
    assert len(steps) >= min(length, MAX_SNAPSHOTS // 2)
    *gaps, last = np.diff([0, *steps]).tolist()
    assert len(set(gaps)) <= 1
    assert not gaps or last <= gaps[0]
    assert math.log2((gaps or [1])[0]).is_integer()


def test_a_fit_keeps_the_averaged_weights_of_its_steps(tiny: Config, noisy) -> None:
    model = of(tiny, steps=21)
    averages, losses = {}, []
    for event in model.fit_events(noisy):
        losses.append(event.loss)
        averages[event.step] = {
            k: v.clone() for k, v in model.session.network().state_dict().items()
        }
    steps = [kept.step for kept in model.session.snapshots]
    assert steps == [*range(2, 21, 2), 21]
    for kept in model.session.snapshots:
        assert kept.loss == pytest.approx(np.mean(losses[max(0, kept.step - SMOOTHED) : kept.step]))
        for name, value in kept.weights.items():
            assert (value.device.type, value.dtype) == ("cpu", torch.float32)
            assert torch.equal(value, averages[kept.step][name]), name
    assert repr(model.session.snapshots[0]).startswith("Snapshot(step=2, loss=0.")
    assert "tensor" not in repr(model.session.snapshots)
    assert model.session.snapshots[0] == Snapshot(2, model.session.snapshots[0].loss, {}, {})


def test_a_snapshot_equals_the_model_stopped_there(tiny: Config, noisy, tmp_path: Path) -> None:
    whole, short = of(tiny, steps=12), of(tiny, steps=12)
    whole.fit(noisy)
    list(short.fit_events(noisy, should_stop=stopping_at(7, short)))
    expected = short.predict(noisy)
    assert [kept.step for kept in short.session.snapshots] == [1, 2, 3, 4, 5, 6, 7]
    last = whole.predict(noisy).denoised
    assert (last != expected.denoised).any()
    # A look at it leaves the model as it is.
    seen = whole.session.preview(noisy, None, ANY, step=7)
    np.testing.assert_array_equal(seen.denoised, short.session.preview(noisy, None, ANY).denoised)
    assert seen.step == 7
    np.testing.assert_array_equal(whole.predict(noisy).denoised, last)
    whole.session.use_snapshot(7)
    chosen = whole.predict(noisy)
    np.testing.assert_array_equal(chosen.denoised, expected.denoised)
    assert chosen.provenance["steps"] == 7
    assert chosen.provenance["loss"] == expected.provenance["loss"]
    assert whole.session.preview(noisy, None, ANY).step == 7
    loaded = Redenoiser.load(whole.save(tmp_path / "model.safetensors"), "cpu")
    np.testing.assert_allclose(loaded.predict(noisy).denoised, expected.denoised, rtol=1e-5)
    assert loaded.session.provenance["steps"] == 7
    whole.session.use_snapshot(12)
    np.testing.assert_array_equal(whole.predict(noisy).denoised, last)
    assert whole.session.provenance["steps"] == 12


def test_previews_of_snapshots_do_not_change_the_training(tiny: Config, noisy) -> None:
    plain, watched = of(tiny, steps=8), of(tiny, steps=8)
    plain.fit(noisy)
    for event in watched.fit_events(noisy):
        watched.session.preview(noisy, None, ANY, step=(event.step + 1) // 2)
    assert torch.equal(weights(plain), weights(watched))


def test_a_snapshot_that_was_not_kept_is_refused_in_words(tiny: Config, noisy) -> None:
    model = of(tiny)
    with pytest.raises(ConfigError, match=r"no snapshot of step 1: .* \(none\)"):
        model.session.use_snapshot(1)
    model.fit(noisy)
    for choose in (
        model.session.use_snapshot,
        lambda n: model.session.preview(noisy, None, ANY, step=n),
    ):
        with pytest.raises(ConfigError, match=r"no snapshot of step 9: .* \(1, 2, 3\)"):
            choose(9)
    assert model.fit(noisy).session.snapshots[-1].step == 3


# -- going on ------------------------------------------------------------------------------------


def test_resuming_counts_steps_with_a_new_schedule(tiny: Config, noisy) -> None:
    model = of(tiny, steps=6, learning_rate=1e-3)
    list(model.fit_events(noisy))
    seconds = model.session.provenance["seconds"]
    events = list(model.fit_events(noisy, resume=True, steps=8))
    assert [event.step for event in events] == list(range(7, 15))
    assert {event.steps for event in events} == {14}
    assert model.session.plan.config.training.steps == model.session.step == 14
    assert model.session.provenance["config"]["training"]["steps"] == 14
    assert model.session.provenance["seconds"] >= seconds
    # A quarter of the steps to warm up, as many at the full rate, and half a cosine.
    expected = [0.5, 1, 1, 1, *(0.5 + 0.5 * np.cos(np.pi * np.arange(4) / 4))]
    np.testing.assert_allclose([event.learning_rate for event in events], 1e-3 * np.array(expected))
    assert model.session.state.losses[6:] == [event.loss for event in events]


def test_resuming_restores_raw_weights_and_optimiser(tiny: Config, noisy) -> None:
    model = of(tiny, steps=4)
    model.fit(noisy)
    raw = model.session.state.network.state_dict()["mask_network.0.weight"].clone()
    moments = next(iter(model.session.state.optimiser.state.values()))
    events = model.fit_events(noisy, resume=True, steps=4, should_stop=stopping_at(5, model))
    assert len(list(events)) == 1
    assert moments["step"] == 5
    moved = (model.session.state.network.state_dict()["mask_network.0.weight"] - raw).abs().max()
    assert 0 < moved < 3 * 2e-3


def test_resuming_after_a_stop_works(tiny: Config, noisy) -> None:
    model = of(tiny, steps=100)
    list(model.fit_events(noisy, should_stop=stopping_at(5, model)))
    events = list(model.fit_events(noisy, resume=True, steps=3))
    assert [(event.step, event.steps) for event in events] == [(6, 8), (7, 8), (8, 8)]
    assert model.session.plan.config.training.steps == 8


def test_a_loaded_model_resumes_from_its_file(tiny: Config, noisy, tmp_path: Path) -> None:
    path = of(tiny, steps=4).fit(noisy).save(tmp_path / "model.safetensors")
    model = Redenoiser.load(path, "cpu")
    before, normalisation = weights(model), model.session.normalisation
    shifted = noisy.astype(np.float32) + 5
    events = list(model.fit_events(shifted, resume=True, steps=2))
    assert [(event.step, event.steps) for event in events] == [(5, 6), (6, 6)]
    # Two steps, averaged, of at most the rate of training.
    assert 0 < (weights(model) - before).abs().max() < 2 * 2e-3
    assert model.session.normalisation == normalisation
    assert [kept.step for kept in model.session.snapshots] == [4, 5, 6]
    assert model.session.snapshots[0].loss == pytest.approx(
        Redenoiser.load(path).session.provenance["loss"]
    )
    model.session.use_snapshot(4)
    torch.testing.assert_close(weights(model), before)
    again = Redenoiser.load(model.save(tmp_path / "again.safetensors"), "cpu")
    assert again.session.provenance["steps"] == 4


def test_a_loaded_model_refuses_other_grey_levels(tiny: Config, noisy, tmp_path: Path) -> None:
    model = Redenoiser.load(of(tiny).fit(noisy).save(tmp_path / "model.safetensors"), "cpu")
    with pytest.raises(InputError, match="the model expects grey levels"):
        next(model.fit_events(noisy * 500.0, resume=True, steps=2))
    assert model.session.provenance["steps"] == 3


def test_resuming_from_a_snapshot_drops_later_ones(tiny: Config, noisy) -> None:
    model = of(tiny, steps=8)
    model.fit(noisy)
    model.session.use_snapshot(5)
    before = weights(model)
    events = list(model.fit_events(noisy, resume=True, steps=2, should_stop=stopping_at(6, model)))
    assert [(event.step, event.steps) for event in events] == [(6, 7)]
    assert 0 < (weights(model) - before).abs().max() < 2e-3
    assert [kept.step for kept in model.session.snapshots] == [1, 2, 3, 4, 5, 6]
    assert model.session.provenance["steps"] == 6


@pytest.mark.parametrize("trainings", [(40, 37), (9, 9, 9), (100, 16, 1)])
def test_resuming_keeps_a_snapshot_of_its_start(trainings) -> None:
    snapshots, step = Snapshots(), 0
    for length in trainings:
        begin = step
        if begin:
            snapshots.resume(snapshot(begin))
        for step in range(begin + 1, begin + length + 1):
            if snapshots.is_due(step):
                snapshots.keep(snapshot(step))
        snapshots.keep_last(snapshot(step))
        steps = [kept.step for kept in snapshots.all]
        assert steps == sorted(set(steps))
        assert len(steps) <= MAX_SNAPSHOTS
        assert steps[-1] == step
        assert not begin or begin in steps


def test_resuming_improves_the_result(tiny: Config) -> None:
    y, x = np.mgrid[:96, :96]
    clean = 60 + 40 * np.sin(y / 9) * np.cos(x / 7)
    noisy = np.random.default_rng(0).poisson(clean)
    config = tiny.replace({"network.kind": "standard", "training.batch_size": 8})
    model = of(config, steps=20)
    first = np.mean((model.fit(noisy).predict(noisy).denoised - clean) ** 2)
    list(model.fit_events(noisy, resume=True, steps=60))
    assert np.mean((model.predict(noisy).denoised - clean) ** 2) < 0.7 * first


def test_a_resumed_training_previews_before_its_first_step(tiny: Config, noisy) -> None:
    model = of(tiny).fit(noisy)
    expected = model.session.preview(noisy, None, ANY).denoised
    first = next(model.fit_events(noisy, resume=True, steps=2, view=lambda: ANY))
    assert isinstance(first, PreviewDone)
    assert first.step == 3
    np.testing.assert_array_equal(first.denoised, expected)


def test_resuming_accepts_regions_pairs_and_other_images(tiny: Config, noisy) -> None:
    region = np.zeros(noisy.shape, bool)
    region[20:50, 20:40] = True
    model = of(tiny).fit(noisy)
    assert len(list(model.fit_events(noisy, resume=True, steps=2, mask=region))) == 2
    assert model.session.provenance["region"]
    assert len(list(model.fit_events(noisy, resume=True, steps=2, images=[noisy[:50]]))) == 2
    assert (model.session.provenance["images"], model.session.provenance["steps"]) == (2, 7)
    pair = Redenoiser(tiny.replace({"objective.kind": "noise2noise"}), "cpu")
    pair.fit(noisy, target=np.roll(noisy, 1))
    assert len(list(pair.fit_events(noisy, resume=True, steps=2, target=np.roll(noisy, 1)))) == 2


def test_resuming_without_training_is_refused(tiny: Config, noisy) -> None:
    model = of(tiny)
    with pytest.raises(ConfigError, match=r"not been trained: call fit\(\) or load\(\) first"):
        next(model.fit_events(noisy, resume=True, steps=2))
    model.fit(noisy)
    with pytest.raises(ConfigError, match="resumed for a number of steps: give at least 1"):
        next(model.fit_events(noisy, resume=True, steps=0))
    with pytest.raises(InputError, match=r"trained on 1 channel, the image has 2"):
        next(model.fit_events(np.stack([noisy] * 2), "CYX", resume=True, steps=2))
    with pytest.raises(InputError, match="same value"):
        next(model.fit_events(np.zeros((40, 40)), resume=True, steps=2))
    assert (model.session.provenance["steps"], model.config.training.steps) == (3, 3)


# -- time ----------------------------------------------------------------------------------------


def test_the_steps_within_a_time_take_about_that_time(
    tiny: Config, noisy, monkeypatch: pytest.MonkeyPatch
) -> None:
    per_step, per_pixel = 0.01, 1e-6
    # What is read of a plane is rounded up to the network's stride.
    height, width = (-(-size // 4) * 4 for size in noisy.shape[-2:])
    plane, planes = height * width, noisy.size // (noisy.shape[-2] * noisy.shape[-1])
    monkeypatch.setattr("napari_redenoise.model._timing._speed", lambda *_: (per_step, per_pixel))
    model = of(tiny.replace({"tiling.tta": False}), steps=1000)
    expected = estimate_run(model.config, noisy, None, model.device).seconds
    assert expected == pytest.approx(1000 * per_step + planes * plane * per_pixel)
    assert steps_within(model.config, noisy, None, model.device, expected) == pytest.approx(
        1000, abs=1
    )
    more = steps_within(model.config, noisy, None, model.device, expected + 200 * per_step)
    assert more == pytest.approx(1200, abs=1)
    for seconds in (0, -5, per_step):
        assert steps_within(model.config, noisy, None, model.device, seconds) == 20
    # What prediction takes is not left for training.
    stack = np.broadcast_to(noisy, (200, *noisy.shape))
    fewer = 199 * planes * plane * per_pixel / per_step
    found = steps_within(model.config, stack, None, model.device, expected)
    assert found == pytest.approx(1000 - fewer, abs=1)
    assert found < 950


def test_the_expected_time_includes_the_judgement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("napari_redenoise.model._timing._speed", lambda *_: (1.0, 1e-6))
    device, image = torch.device("cpu"), np.zeros((512, 512), np.float32)
    config = Config().replace({"tiling.tta": False})
    tuned = estimate_run(config, image, None, device)
    scratch = estimate_run(config.replace({"training.start": "random"}), image, None, device)
    # Nine windows of 128 x 128 pixels are predicted five times before the training and four after.
    assert tuned.judging == pytest.approx(9 * 9 * 128**2 * 1e-6)
    assert scratch.judging == 0
    assert tuned.prediction == scratch.prediction >= 512**2 * 1e-6
    assert tuned.after == tuned.judging + tuned.prediction
    assert tuned.seconds == pytest.approx(100 + tuned.after)
    assert estimate_run(config, image, None, device).seconds == tuned.seconds
    # Without steps there is nothing to judge.
    still = estimate_run(config.replace({"training.steps": 0}), image, None, device)
    assert still.seconds == still.prediction


def test_a_model_can_be_pickled_and_copied(tiny: Config) -> None:
    noisy = np.random.default_rng(0).poisson(20.0, (48, 56)).astype(np.float32)
    pickle.loads(pickle.dumps(Redenoiser(tiny, "cpu")))
    model = Redenoiser(tiny, "cpu").fit(noisy)
    expected = model.predict(noisy).denoised
    for made in (pickle.loads(pickle.dumps(model)), deepcopy(model)):
        np.testing.assert_array_equal(made.predict(noisy).denoised, expected)
        made.session.use_snapshot(made.session.snapshots[0].step)
    np.testing.assert_array_equal(model.predict(noisy).denoised, expected)


def test_a_plan_of_other_channels_is_refused(tiny: Config) -> None:
    noisy = np.random.default_rng(0).poisson(20.0, (48, 56)).astype(np.float32)
    model = Redenoiser(tiny, "cpu")
    plan = model.plan(np.stack([noisy] * 3), "CYX")
    with pytest.raises(InputError, match="of other channels"):
        model.fit(noisy, plan=plan)
