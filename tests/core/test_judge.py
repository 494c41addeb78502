import numpy as np
import pytest
import torch
from napari_redenoise._guard import Comparison, Guard, WentBack, sparing
from torch import nn

from napari_redenoise import Config, Redenoiser, _warm_start
from napari_redenoise.data import Normalisation, Pool, patches
from napari_redenoise.io import load_model, save_model
from napari_redenoise.nn import Prediction, build_network
from napari_redenoise.objectives import (
    R2R,
    Neighbor2Neighbor,
    Noise2Noise,
    Noise2Self,
    Noise2Void,
    NoiseFigures,
)

UNIT = Normalisation((0.0,), (1.0,))
OBJECTIVES = {
    "noise2self": Noise2Self(),
    "dense grid": Noise2Self(2),
    "noise2void": Noise2Void(),
    "bar": Noise2Void(mask_shape=("11111",)),
    "noise2noise": Noise2Noise(),
    "r2r": R2R(NoiseFigures((0.0,), (0.0,), (0.5,))),
    "neighbor2neighbor": Neighbor2Neighbor(),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def never() -> bool:
    return False


def pool_of(*blocks: torch.Tensor, inside: tuple = ()) -> Pool:
    return Pool(blocks, UNIT, inside)


class Shifted(nn.Module):
    """Says nothing of a picture but a constant, at some of the pixels."""

    def __init__(self, value: float, share: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))
        self.share, self.seed = share, seed

    def forward(self, x: torch.Tensor) -> Prediction:
        chosen = torch.rand(x.shape, generator=generator(self.seed)) < self.share
        return Prediction(self.value * chosen)


class Rows(nn.Module):
    """Says of every row its mean."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> Prediction:
        return Prediction(x.mean(-1, keepdim=True).expand_as(x))


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_held_out_pixels_are_some_and_are_not_learned_from(objective) -> None:
    pool = pool_of(torch.randn(objective.shots, 200, 270, generator=generator()))
    guarded = Guard(pool, objective, 0).pool
    assert torch.equal(guarded.blocks[0][:-1], pool.blocks[0])
    held = guarded.blocks[0][-1:]
    assert 0.005 < float(held.mean()) < 0.08
    learned = sparing(objective)
    side = 32 * objective.scale
    for _, batch in zip(range(5), patches(guarded, side, 4, generator()), strict=False):
        sample = learned(batch, generator(3))
        plain = objective(batch[:, :-1], generator(3))
        assert torch.equal(sample.input, plain.input)
        free = 1 - batch[:, -1:]
        if objective.scale == 1:
            assert torch.equal(sample.mask, plain.mask * free)
        else:
            cells = -nn.functional.max_pool2d(-free, objective.scale)
            assert torch.equal(sample.mask, plain.mask * cells)
        assert 0.3 < float(sample.mask.sum() / plain.mask.sum()) <= 1


def test_what_is_learned_from_is_never_empty() -> None:
    """Not even where one small patch is all there is, on a grid whose every pixel is compared."""
    learned = sparing(Noise2Self(2))
    guard = Guard(pool_of(torch.randn(1, 16, 16, generator=generator())), Noise2Self(2), 0)
    batches = patches(guard.pool, 16, 1, generator())
    for seed, batch in zip(range(200), batches, strict=False):
        assert learned(batch, generator(seed)).mask.sum() > 0


def test_pixels_outside_the_region_are_not_held_out() -> None:
    inside = torch.zeros(128, 128, dtype=torch.bool)
    inside[:, 60:] = True
    pool = pool_of(torch.randn(1, 128, 128, generator=generator()), inside=(inside,))
    held = Guard(pool, Noise2Self(), 0).pool.blocks[0][-1]
    assert held[:, :60].sum() == 0
    assert held[:, 60:].sum() > 50


def test_a_network_is_as_good_as_itself() -> None:
    guard = Guard(pool_of(torch.randn(1, 256, 256, generator=generator())), Noise2Self(), 0)
    guard.begin(Shifted(0.1), never)
    assert guard.compare(Shifted(0.1), 7, never) == Comparison(7, 0.0, 0.0)
    assert not Comparison(7, 0.0, 0.0).is_worse


def test_the_difference_is_that_of_the_true_errors() -> None:
    """Pixels of mean 0 and variance 1: saying b at each of them costs b^2."""
    blocks = [torch.randn(1, 256, 256, generator=generator(seed)) for seed in range(4)]
    guard = Guard(pool_of(*blocks), Noise2Self(), 0)
    guard.begin(Shifted(0.0), never)
    found = guard.compare(Shifted(0.5), 1, never)
    assert found.difference == pytest.approx(0.25, abs=3 * found.error)
    # The mean of 8000 deviates, doubled by b.
    assert found.error == pytest.approx(0.5 * 2 / np.sqrt(4 * 256**2 / 32), rel=0.25)
    assert found.is_worse


def test_networks_that_are_equally_good_are_seldom_called_worse() -> None:
    """Both say the same constant, each at its own half of the pixels: a matter of the noise."""
    marks = []
    for seed in range(150):
        pool = pool_of(torch.randn(1, 128, 128, generator=generator(seed)))
        guard = Guard(pool, Noise2Self(), seed)
        guard.begin(Shifted(0.3, 0.5, seed + 1000), never)
        found = guard.compare(Shifted(0.3, 0.5, seed + 2000), 1, never)
        marks.append(found.difference / found.error)
    assert np.mean(marks) == pytest.approx(0, abs=0.3)
    assert np.std(marks) == pytest.approx(1, abs=0.2)
    assert np.mean(np.array(marks) > 2) < 0.07


def test_nothing_is_said_after_a_stop() -> None:
    guard = Guard(pool_of(torch.randn(1, 64, 64, generator=generator())), Noise2Self(), 0)
    guard.begin(Shifted(0.0), lambda: True)
    assert guard.compare(Shifted(0.5), 1, never) is None


@pytest.fixture
def warm(tiny: Config, tmp_path, monkeypatch) -> Config:
    """Of a small network that has shipped weights."""
    # Without a basis, which differs between machines, and with it what a wild training does.
    changes = {"training.start": "warm", "training.steps": 8, "network.kind": "standard"}
    config = tiny.changed(**changes)
    network = build_network(config.network, generator(7))
    save_model(tmp_path / "standard-C4.safetensors", network, config, UNIT)
    monkeypatch.setattr(_warm_start, "FOLDER", tmp_path)
    return config


def test_a_network_that_says_no_numbers_is_worse() -> None:
    assert Comparison(1, float("nan"), float("nan")).is_worse
    assert Comparison(1, float("nan"), 1.0).describe()["difference"] is None


# With the higher one the network soon says no numbers any more.
@pytest.mark.parametrize("rate", [1.0, 3.0])
def test_a_training_that_harms_is_taken_back_and_says_so(warm: Config, noisy, rate) -> None:
    model = Redenoiser(warm.changed(**{"training.learning_rate": rate}), "cpu")
    events = list(model.fit_events(noisy))
    assert events[-1] == WentBack(8, 0)
    assert "worse than the shipped network" in events[-1].in_words()
    assert (model.provenance["steps"], model.provenance["went_back_from"]) == (0, 8)
    assert [test["step"] for test in model.provenance["guard"]] == [2, 4, 6, 8]
    shipped = Redenoiser(warm.changed(**{"training.steps": 0}), "cpu").fit(noisy)
    np.testing.assert_array_equal(model.predict(noisy).denoised, shipped.predict(noisy).denoised)
    # What came of the training is still there, to look at or to go on from.
    assert [snapshot.step for snapshot in model.snapshots][-1] == 8
    model.use_snapshot(8)
    assert (model.predict(noisy).denoised != shipped.predict(noisy).denoised).any()


def test_a_training_that_helps_is_kept(warm: Config, noisy) -> None:
    model = Redenoiser(warm.changed(**{"training.learning_rate": 1e-3}), "cpu")
    events = list(model.fit_events(noisy))
    assert not any(isinstance(event, WentBack) for event in events)
    assert model.provenance["steps"] == 8
    assert len(model.provenance["guard"]) == 4
    assert "went_back_from" not in model.provenance


def test_a_stop_after_a_bad_test_goes_back_too(warm: Config, noisy) -> None:
    model = Redenoiser(warm.changed(**{"training.learning_rate": 3.0}), "cpu")
    events = model.fit_events(noisy)
    for event in events:
        if event.step == 5:
            events.close()
    assert (model.provenance["steps"], model.provenance["went_back_from"]) == (0, 5)


def test_a_training_from_scratch_is_not_tested(tiny: Config, noisy) -> None:
    model = Redenoiser(tiny, "cpu").fit(noisy)
    assert "guard" not in model.provenance


def test_the_tests_travel_with_the_model(warm: Config, noisy, tmp_path) -> None:
    model = Redenoiser(warm, "cpu").fit(noisy)
    provenance = load_model(model.save(tmp_path / "model.safetensors"))[3]
    assert provenance["guard"] == model.provenance["guard"]
