import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from napari_redenoise import Config, Redenoiser
from napari_redenoise.data import Normalisation, Pool, patches
from napari_redenoise.io import load_model, save_model
from napari_redenoise.model import _pretrained
from napari_redenoise.model._judge import Judge, estimate, noise_by_level, probe
from napari_redenoise.model._judgement import Estimate, Judgement, judgement_in_words, share_of
from napari_redenoise.model._training_images import compare_usable
from napari_redenoise.nn import Prediction, build_network
from napari_redenoise.objectives import (
    R2R,
    Neighbor2Neighbor,
    Noise2Noise,
    Noise2Self,
    Noise2Void,
    PatchNoise,
)

UNIT = Normalisation((0.0,), (1.0,))
OBJECTIVES = {
    "noise2self": Noise2Self(),
    "dense grid": Noise2Self(2),
    "noise2void": Noise2Void(),
    "bar": Noise2Void(mask_shape=("11111",)),
    "noise2noise": Noise2Noise(),
    "r2r": R2R(PatchNoise((0.0,), (0.0,), (0.5,))),
    "neighbor2neighbor": Neighbor2Neighbor(),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def never() -> bool:
    return False


def pool_of(*blocks: torch.Tensor, **masks: tuple) -> Pool:
    return Pool(blocks, UNIT, **masks)


class Filter(nn.Module):
    """A Gaussian blur, and a share of the image itself."""

    def __init__(self, sigma: float, own: float = 0.0) -> None:
        super().__init__()
        row = torch.exp(-(torch.arange(-8.0, 9.0) ** 2) / 2 / sigma**2)
        self.kernel = nn.Parameter((row[:, None] * row)[None, None] / row.sum() ** 2)
        self.own = own

    def forward(self, x: torch.Tensor) -> Prediction:
        padded = nn.functional.pad(x, (8, 8, 8, 8), mode="reflect")
        blurred = nn.functional.conv2d(padded, self.kernel)
        return Prediction(torch.lerp(blurred, x, self.own))


def scene(side: int = 384) -> torch.Tensor:
    """Smooth waves, (1, side, side)."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return (torch.sin(x / 6) * torch.cos(y / 8))[None].float()


def noise_of(kind: str, clean: torch.Tensor) -> torch.Tensor:
    white = torch.randn(clean.shape, generator=generator(1))
    if kind == "of the signal":
        return white * (0.3 + 0.25 * (clean + 1))
    if kind == "uneven":
        return white * 0.3 * torch.exp(0.8 * torch.randn(clean.shape, generator=generator(2)))
    if kind == "correlated":
        return 0.6 * (white + white.roll(1, -1)) / 2**0.5
    return 0.5 * white


def best_share(clean: torch.Tensor, noisy: torch.Tensor, before: nn.Module, after: nn.Module):
    """By the clean image: where between two predictions the squared error is least."""
    with torch.no_grad():
        one, other = (net(noisy[None]).denoised[0] for net in (before, after))
    way = other - one
    return float(((clean - one) * way).mean() / (way**2).mean())


@pytest.mark.parametrize("kind", ["constant", "of the signal", "uneven"])
@pytest.mark.parametrize(
    "ways",
    {
        "sharper": ((3.0,), (1.5,)),
        "smoother": ((1.5,), (2.5,)),
        "too smooth": ((2.0,), (5.0,)),
        "noise is kept": ((2.0,), (2.0, 0.3)),
    }.items(),
    ids=lambda way: way[0],
)
def test_all_estimates_find_the_best_share(kind, ways) -> None:
    clean = scene()
    noisy = clean + noise_of(kind, clean)
    before, after = (Filter(*way) for way in ways[1])
    judge = Judge(pool_of(noisy), 1, 0)
    judge.begin(before, never)
    judgement = judge.judge(after, 7, never)
    truth = best_share(clean, noisy, before, after)
    assert judgement.step == 7
    assert set(judgement.estimates) == {"sure", "leave-out", "blind"}
    for name, found in judgement.estimates.items():
        # What is best where a pixel is hidden is near it only.
        about = 0.4 if name == "blind" else 0.15
        assert found.share == pytest.approx(truth, abs=4 * found.error + about), name
        assert found.error < 0.2
    loss = judgement.change * (judgement.share**2 - 2 * judgement.share * truth)
    assert loss < 0.03


def test_fine_tuning_may_restore_structure_with_a_known_noise() -> None:
    # As fine as the pixels: only the standard deviation of the noise tells it from noise.
    texture = torch.rand(1, 384, 384, generator=generator(4))
    noisy = texture + 0.03 * torch.randn(texture.shape, generator=generator(5))
    known = PatchNoise((0.0,), (0.0,), (0.03,))
    shares = []
    for noise in (None, known):
        judge = Judge(pool_of(noisy), 1, 0, noise=noise)
        judge.begin(Filter(2.0), never)
        shares.append(judge.judge(Filter(2.0, 0.9), 1, never).share)
    assert shares == [0, 1]


def test_keeping_correlated_noise_is_no_improvement() -> None:
    clean = scene()
    noisy = clean + noise_of("correlated", clean)
    judge = Judge(pool_of(noisy), 1, 0)
    judge.begin(Filter(2.0), never)
    assert judge.judge(Filter(2.0, 0.5), 1, never).share < 0.1


class EveryChannel(nn.Module):
    """Filters every channel by itself."""

    def __init__(self, *filters: nn.Module) -> None:
        super().__init__()
        self.filters = nn.ModuleList(filters)

    def forward(self, x: torch.Tensor) -> Prediction:
        parts = zip(self.filters, x.split(1, 1), strict=True)
        return Prediction(torch.cat([one(part).denoised for one, part in parts], 1))


def test_the_channel_that_loses_most_decides() -> None:
    clean = scene()
    texture = clean + 0.5 * torch.rand(1, 384, 384, generator=generator(4))
    faint = texture + 0.2 * torch.randn(texture.shape, generator=generator(6))
    noisy, blank = clean + 2 * noise_of("constant", clean), torch.zeros_like(clean)
    # Smoothing improves the noisy channel and costs the other one.
    ways = {"noisy": (Filter(1.0), Filter(2.0)), "faint": (Filter(0.4), Filter(0.7))}
    images = {"noisy": noisy, "faint": faint}
    shares = {}
    for names in (["noisy"], ["faint"], ["noisy", "faint"], ["noisy", "blank"]):
        pairs = [ways.get(name, ways["noisy"]) for name in names]
        before, after = (EveryChannel(*filters) for filters in zip(*pairs, strict=True))
        block = torch.cat([images.get(name, blank) for name in names])
        judge = Judge(pool_of(block), len(names), 0)
        judge.begin(before, never)
        shares[" and ".join(names)] = judge.judge(after, 1, never).share
    assert shares["noisy"] == 1
    assert shares["faint"] < 0.1
    assert shares["noisy and faint"] == pytest.approx(shares["faint"], abs=0.05)
    assert shares["noisy and blank"] == 1


@pytest.mark.parametrize("weight", [math.nan, math.inf, 1e30])
def test_a_network_that_diverged_is_not_kept(weight) -> None:
    judge = Judge(pool_of(scene(64) + 1e-1), 1, 0)
    judge.begin(Filter(1.0), never)
    wild = Filter(1.0)
    wild.kernel.data[:] = weight
    judgement = judge.judge(wild, 1, never)
    assert judgement.share == 0
    assert judgement.as_json()["change"] is None
    assert "did not improve" in judgement.in_words()


def test_the_same_network_changes_nothing() -> None:
    judge = Judge(pool_of(scene(64) + noise_of("white", scene(64))), 1, 0)
    judge.begin(Filter(1.0), never)
    assert judge.judge(Filter(1.0), 1, never).share == 0


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_hold_out_pixels_are_not_compared(objective) -> None:
    image = torch.randn(objective.shots, 200, 270, generator=generator())
    pool = pool_of(image)
    held = ~Judge(pool, 1, 0).pool.usable[0]
    assert 0.02 < float(held.float().mean()) <= 2 / 16
    # Every pixel tells whether it is held out.
    marked = pool_of(torch.cat([held[None].float()] * objective.shots), usable=(~held,))
    for _, batch in zip(range(5), patches(marked, 64, 4, generator()), strict=False):
        sample = compare_usable(objective)(batch, generator())
        marks = batch.noisy[:, :1]
        if objective.scale > 1:
            marks = nn.functional.max_pool2d(marks, objective.scale)
        assert (sample.mask * marks).sum() == 0
        assert sample.mask.sum() > 0


def test_only_usable_pixels_are_judged() -> None:
    clean = scene(256)
    noisy = clean + noise_of("white", clean)
    usable = torch.zeros(256, 256, dtype=torch.bool)
    usable[:, :128] = True
    spoilt = noisy.clone()
    spoilt[..., 128:] += 50 * torch.randn(1, 256, 128, generator=generator(5))
    found = []
    for image in (noisy, spoilt):
        judge = Judge(pool_of(image, usable=(usable,)), 1, 0)
        judge.begin(Filter(1.0), never)
        found.append(judge.judge(Filter(1.0, 0.1), 1, never).estimates["leave-out"].share)
    # Pixels at the edge see their neighbours beyond it.
    assert found[0] == pytest.approx(found[1], abs=0.15)


def test_a_stop_postpones_the_judgement() -> None:
    judge = Judge(pool_of(torch.randn(1, 64, 64, generator=generator())), 1, 0)
    judge.begin(Filter(1.0), never)
    assert judge.judge(Filter(2.0), 1, lambda: True) is None
    assert judge.judge(Filter(2.0), 1, never) is not None


def test_without_a_first_prediction_the_prior_share_is_kept() -> None:
    judge = Judge(pool_of(torch.randn(1, 64, 64, generator=generator())), 1, 0)
    judge.begin(Filter(1.0), lambda: True)
    assert 0.5 < judge.judge(Filter(2.0), 1, never).share < 0.8


def test_the_probe_has_the_noise_of_every_level() -> None:
    clean = 3 * scene()[None]
    white = torch.randn(clean.shape, generator=generator(1))
    noise = (white + white.roll(1, -1)) / 2**0.5 * (1 + 0.3 * clean)
    usable = torch.ones(clean.shape, dtype=torch.bool)
    std = noise_by_level(clean + noise, clean, usable)
    torch.testing.assert_close(std, 1 + 0.3 * clean, rtol=0.05, atol=0.1)
    drawn = probe(noise, std, usable, generator(3))
    assert float((drawn / std).std()) == pytest.approx(1, abs=0.05)
    unit = drawn / std
    along_x, along_y = ((unit * unit.roll(1, axis)).mean() for axis in (-1, -2))
    # The taper takes a seventh.
    assert float(along_x) == pytest.approx(0.5 * 6 / 7, abs=0.05)
    assert float(along_y) == pytest.approx(0, abs=0.05)


def test_the_estimate_is_that_of_a_parabola_with_its_error() -> None:
    shares = []
    for seed in range(40):
        moved = torch.full((1, 1, 256, 256), 0.04)
        # Least at 0.75: over the whole way the error changes by (1 - 2 * 0.75) of the curvature.
        gained = (1 - 1.5) * moved + torch.randn(moved.shape, generator=generator(seed))
        shares.append(estimate(gained, moved, torch.ones(moved.shape, dtype=torch.bool)))
    values = np.array([one.share for one in shares])
    assert values.mean() == pytest.approx(0.75, abs=4 * values.std() / 40**0.5)
    assert np.mean([one.error for one in shares]) == pytest.approx(values.std(), rel=0.3)


def test_the_lowest_estimate_decides() -> None:
    sure, doubtful = Estimate(1.3, 0.05), Estimate(-0.4, 0.05)
    assert share_of([sure, sure]) == 1
    assert share_of([sure, doubtful, sure]) == 0
    assert share_of([sure, Estimate(0.4, 0.05)]) == pytest.approx(0.48, abs=0.03)
    # What cannot be told ends near the middle.
    assert 0.6 < share_of([Estimate(-9.0, 9.0)]) < 0.75
    # Where much was changed, only what cannot cost much.
    assert share_of([Estimate(0.05, 0.05)], change=10.0) < 0.05
    assert share_of([sure, Estimate(math.nan, math.nan)]) == 0


def test_the_judgement_is_described() -> None:
    assert "pretrained result is kept" in judgement_in_words(0, [0.1])
    assert "did not improve" in judgement_in_words(0, [0.1])
    for nothing in ([], [None, None], [math.nan]):
        assert "cannot be judged" in judgement_in_words(0, nothing)
    assert "fine-tuned result is kept" in judgement_in_words(1, [1.2])
    assert judgement_in_words(0.62, [0.6]).startswith("62 % of the fine-tuning is kept")


@pytest.fixture
def small(tiny: Config, tmp_path, monkeypatch) -> Config:
    """Configuration of a small network with pretrained weights."""
    # Without a basis, which differs between machines, and with it what a wild training does.
    changes = {"training.start": "pretrained", "training.steps": 8, "network.kind": "standard"}
    config = tiny.replace(changes)
    network = build_network(config.network, generator(7))
    save_model(tmp_path / "standard-C4.safetensors", network, config, UNIT)
    monkeypatch.setattr(_pretrained, "FOLDER", tmp_path)
    return config


def denoised_as_it_comes(small: Config, noisy: np.ndarray) -> np.ndarray:
    model = Redenoiser(small.replace({"training.steps": 0}), "cpu").fit(noisy)
    return model.predict(noisy).denoised


# With the higher one the network soon says no numbers any more.
@pytest.mark.parametrize("rate", [1.0, 3.0])
def test_harmful_fine_tuning_is_not_kept(small: Config, noisy, rate) -> None:
    model = Redenoiser(small.replace({"training.learning_rate": rate}), "cpu")
    *_, last = model.fit_events(noisy)
    assert isinstance(last, Judgement)
    assert (last.step, last.share) == (8, 0)
    assert model.session.provenance["judgement"]["share"] == 0
    expected = denoised_as_it_comes(small, noisy)
    np.testing.assert_array_equal(model.predict(noisy).denoised, expected)
    # What came of the training is still there, to look at or to go on from.
    assert [snapshot.step for snapshot in model.session.snapshots][-1] == 8
    model.session.use_snapshot(8)
    assert (model.predict(noisy).denoised != expected).any()


def test_helpful_fine_tuning_is_kept(small: Config) -> None:
    clean = scene(96)[0].numpy()
    noisy = clean + 0.5 * np.random.default_rng(0).normal(size=clean.shape)
    config = small.replace({"training.learning_rate": 3e-3, "training.steps": 40})
    model = Redenoiser(config, "cpu")
    *_, last = model.fit_events(noisy)
    assert last.share > 0.2
    errors = [
        np.mean((result - clean) ** 2)
        for result in (model.predict(noisy).denoised, denoised_as_it_comes(small, noisy))
    ]
    # The network begins with random weights.
    assert errors[0] < 0.8 * errors[1]
    assert model.session.provenance["steps"] == 40


def test_weights_are_interpolated_by_the_share(small: Config, noisy, monkeypatch) -> None:
    model = Redenoiser(small.replace({"training.learning_rate": 1e-2}), "cpu").fit(noisy)
    model.session.judge = Judge(pool_of(torch.zeros(1, 32, 32)), 1, 0)
    half = Judgement(8, 0.5, 1.0, {})
    monkeypatch.setattr(Judge, "judge", lambda *_: half)
    assert model.session.apply_judgement() == half
    weights = _pretrained.pretrained_weights(small.network)
    tuned = dict(model.session.state.average.named_parameters())
    for name, value in model.session.network().named_parameters():
        torch.testing.assert_close(value, (weights[name] + tuned[name]) / 2)


@pytest.mark.parametrize("rate", [3.0, 1e-3])
def test_after_a_stop_the_judgement_is_made_on_use(small: Config, noisy, rate) -> None:
    model = Redenoiser(small.replace({"training.learning_rate": rate}), "cpu")
    events = model.fit_events(noisy)
    for event in events:
        if event.step == 5:
            events.close()
    assert "judgement" not in model.session.provenance
    denoised = model.predict(noisy).denoised
    assert model.session.provenance["judgement"]["step"] == 5
    if rate == 3.0:
        np.testing.assert_array_equal(denoised, denoised_as_it_comes(small, noisy))


def test_resumed_training_continues_and_is_judged_again(small, noisy) -> None:
    model = Redenoiser(small.replace({"training.learning_rate": 1e-3}), "cpu").fit(noisy)
    tuned = copy.deepcopy(model.session.state.average.state_dict())
    events = model.fit_events(noisy, resume=True, steps=3)
    next(events)
    state = model.session.state
    assert state.step == 9
    *_, last = events
    assert isinstance(last, Judgement)
    assert last.step == 11
    assert any((value != tuned[name]).any() for name, value in state.average.state_dict().items())


def test_a_training_from_scratch_is_not_judged(tiny: Config, noisy) -> None:
    model = Redenoiser(tiny, "cpu").fit(noisy)
    assert "judgement" not in model.session.provenance


def test_the_judgement_travels_with_the_model(small: Config, noisy, tmp_path) -> None:
    model = Redenoiser(small, "cpu").fit(noisy)
    path = model.save(tmp_path / "model.safetensors")
    assert load_model(path)[3]["judgement"] == model.session.provenance["judgement"]
    np.testing.assert_array_equal(
        Redenoiser.load(path, "cpu").predict(noisy).denoised, model.predict(noisy).denoised
    )
