"""Pretraining of networks that see neighbouring planes."""

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from napari_redenoise import Config
from napari_redenoise._cli import app
from napari_redenoise.errors import ConfigError
from napari_redenoise.io import load_model
from napari_redenoise.recipes.pretraining import SIDE, Pretraining, Recipe
from napari_redenoise.recipes.pretraining import _sequences as drawn
from napari_redenoise.recipes.pretraining._clean_scenes import CleanScenes
from napari_redenoise.recipes.pretraining._recipe import _smoothed, make_stack_batch

RECIPE = Recipe(scenes=4, photographs=0.5)
CPU = torch.device("cpu")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def lights() -> torch.Tensor:
    return CleanScenes(6, SIDE, 0.3, 0, CPU).first(6)


def sequences(lights: torch.Tensor, count: int = 20, seed: int = 0) -> torch.Tensor:
    return drawn.sequences(lights, rng(seed), count=count, patch=48, reach=2)


def test_sequences_are_light_and_follow_from_their_seed(lights) -> None:
    made = sequences(lights)
    assert made.shape == (20, 5, 48, 48)
    assert torch.isfinite(made).all()
    assert made.min() >= 0
    torch.testing.assert_close(made, sequences(lights), rtol=0, atol=0)
    assert not torch.equal(made, sequences(lights, seed=1))


def only(kind: str, monkeypatch) -> None:
    monkeypatch.setattr(drawn, "_KINDS", (kind,))
    monkeypatch.setattr(drawn, "_SHARES", (1.0,))


def likeness(made: torch.Tensor, step: int) -> np.ndarray:
    """Correlation of the centre frame with another, of every sequence."""
    pairs = ((one[2].ravel(), one[2 + step].ravel()) for one in made.numpy())
    return np.array([np.corrcoef(a, b)[0, 1] for a, b in pairs])


@pytest.mark.parametrize(
    ("kind", "low", "high"), [("still", 0.8, 1.0), ("drift", 0.2, 0.99), ("unrelated", -1, 0.6)]
)
def test_kinds_of_motion_differ(kind: str, low: float, high: float, lights, monkeypatch) -> None:
    only(kind, monkeypatch)
    assert low < np.nanmedian(likeness(sequences(lights), 1)) <= high


def test_the_further_the_less_alike(lights) -> None:
    made = sequences(lights, count=40)
    assert np.nanmean(likeness(made, 1)) > np.nanmean(likeness(made, 2)) + 0.03
    assert np.nanmean(likeness(made, -1)) > np.nanmean(likeness(made, -2)) + 0.03


def batch(lights: torch.Tensor, seed: int = 0, count: int = 32):
    return make_stack_batch(lights, rng(seed), batch_size=count, patch=32, context=2)


def test_a_batch_has_planes_neighbours_and_marks(lights) -> None:
    sample = batch(lights)
    assert sample.input.shape == (32, 9, 32, 32)
    assert sample.target.shape == (32, 1, 32, 32)
    levels, marks = sample.input[:, 1:5], sample.input[:, 5:]
    assert set(marks.unique().tolist()) == {0.0, 1.0}
    # Every mark is that of a whole neighbour, and missing ones are 0.
    torch.testing.assert_close(marks.amin((2, 3)), marks.amax((2, 3)))
    assert not levels[marks == 0].any()
    assert (levels.abs().amax((2, 3)) > 0).equal(marks[:, :, 0, 0] > 0)


def test_ends_and_single_images_are_among_the_examples(lights) -> None:
    rows = torch.cat([batch(lights, seed).input[:, 5:, 0, 0] for seed in range(4)])
    found = {tuple(int(mark) for mark in row) for row in rows.tolist()}
    assert {(1, 1, 1, 1), (0, 0, 0, 0), (0, 0, 1, 1), (1, 1, 0, 0)} <= found
    assert (rows.sum(1) == 4).float().mean() > 0.4
    # No gap between the plane and a neighbour that is there.
    assert all(row[1] >= row[0] and row[2] >= row[3] for row in found)


def test_noise_of_neighbours_is_independent(lights, monkeypatch) -> None:
    only("still", monkeypatch)
    sample = batch(lights, count=64)
    noise = (sample.input[:, :1] - sample.target).ravel()
    there = sample.input[:, 6] > 0
    other = (sample.input[:, 2] - sample.target[:, 0]).ravel()
    chosen = there.ravel() & (noise.abs() < 3) & (other.abs() < 3)
    pair = torch.stack([noise[chosen], other[chosen]])
    assert abs(float(torch.corrcoef(pair)[0, 1])) < 0.15


@pytest.mark.parametrize("sigma", [0.4, 1.6])
def test_smoothed_noise_keeps_its_variance(sigma: float) -> None:
    noise = torch.randn(2, 128, 128, generator=torch.Generator().manual_seed(0))
    smooth = _smoothed(noise, sigma, -1)
    assert float(smooth.std()) == pytest.approx(1.0, abs=0.03)
    along = float((smooth[..., 1:] * smooth[..., :-1]).mean())
    across = float((smooth[..., 1:, :] * smooth[..., :-1, :]).mean())
    assert along > 0.05
    assert abs(across) < 0.03


@pytest.fixture
def config(tiny: Config) -> Config:
    changes = {"training.steps": 4, "network.kind": "adarenet", "network.context": 2}
    return tiny.replace(changes)


def test_a_resumed_pretraining_of_stacks_goes_on(config: Config, tmp_path) -> None:
    whole = Pretraining(config, RECIPE, "cpu")
    losses = [event.loss for event in whole.events()]
    first = Pretraining(config, RECIPE, "cpu")
    for event in first.events():
        if event.step == 2:
            break
    first.save_checkpoint(tmp_path / "state")
    second = Pretraining(config, RECIPE, "cpu")
    second.resume(tmp_path / "state")
    assert [event.loss for event in second.events()] == losses[2:]


def test_it_begins_with_a_network_of_single_images(config: Config, tmp_path) -> None:
    alone = Pretraining(config.replace({"network.context": 0}), RECIPE, "cpu")
    path = alone.save(tmp_path / "alone.safetensors")
    training = Pretraining(config, RECIPE, "cpu")
    training.begin_with(path)
    noisy = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    seeing = torch.cat([noisy, torch.zeros(1, 8, 32, 32)], 1)
    expected = load_model(path)[0].eval()(noisy).denoised
    found = training.state.average.eval()(seeing).denoised
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_a_branch_without_neighbours_is_refused(config: Config, tmp_path) -> None:
    changes = {"network.kind": "equivariant", "network.context": 0}
    path = Pretraining(config.replace(changes), RECIPE, "cpu").save(tmp_path / "a.safetensors")
    with pytest.raises(ConfigError, match="neither the network to train nor its"):
        Pretraining(config, RECIPE, "cpu").begin_with(path)


def test_the_command_pretrains_for_stacks(tmp_path) -> None:
    line = f"pretrain {tmp_path / 'm.safetensors'} --steps 1 --scenes 2 --backbone equivariant"
    done = CliRunner().invoke(app, [*line.split(), "--neighbours", "2", "--patch-size", "32"])
    assert done.exit_code == 0, done.output
    assert load_model(tmp_path / "m.safetensors")[1].network.context == 2
