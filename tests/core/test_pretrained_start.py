import numpy as np
import pytest
import torch
from skimage import data

from napari_redenoise import Config, Redenoiser
from napari_redenoise.data import Normalisation
from napari_redenoise.errors import ConfigError
from napari_redenoise.inference import predict_tile
from napari_redenoise.io import load_model, save_model
from napari_redenoise.model import _pretrained, _training_images
from napari_redenoise.model._previews import PreviewDone, Window
from napari_redenoise.nn import build_network
from napari_redenoise.nn.testing import equivariance_error
from napari_redenoise.training import StepDone

UNIT = Normalisation((0.0,), (1.0,))


@pytest.fixture
def small(tiny: Config) -> Config:
    network = {"network.kind": "equivariant", "network.group": "D4"}
    return tiny.replace({**network, "training.start": "pretrained"})


@pytest.fixture
def pretrained(small: Config, tmp_path, monkeypatch):
    """A folder of pretrained weights that holds those of one small network."""
    network = build_network(small.network, torch.Generator().manual_seed(7))
    path = tmp_path / "equivariant-D4.safetensors"
    save_model(path, network, small, UNIT, half=True)
    monkeypatch.setattr(_pretrained, "FOLDER", tmp_path)
    return load_model(path)[0]


def test_half_precision_halves_the_file_and_keeps_the_bases(small: Config, tmp_path) -> None:
    network = build_network(small.network, torch.Generator().manual_seed(7)).eval()
    paths = [tmp_path / name for name in ("whole.safetensors", "half.safetensors")]
    save_model(paths[0], network, small, UNIT)
    save_model(paths[1], network, small, UNIT, half=True)
    loaded = load_model(paths[1])[0]
    for name, value in loaded.state_dict().items():
        assert value.dtype == torch.float32
        if name.endswith(("basis", "damping")):
            assert torch.equal(value, network.state_dict()[name])
        torch.testing.assert_close(value, network.state_dict()[name], rtol=1e-3, atol=1e-6)
    whole, half = (path.stat().st_size for path in paths)
    weights = sum(parameter.numel() for parameter in network.parameters())
    assert half == pytest.approx(whole - 2 * weights, abs=200)
    x = torch.randn(1, 1, 32, 48, generator=torch.Generator().manual_seed(0))
    group = loaded.branch.last.group
    error = equivariance_error(lambda image: loaded(image).denoised, x, group, 1)
    assert error < 1e-5


def test_zero_steps_keep_the_pretrained_weights(small, pretrained, noisy) -> None:
    model = Redenoiser(small.replace({"training.steps": 0}), "cpu").fit(noisy)
    assert model.config.training.start == "pretrained"
    assert model.session.provenance["steps"] == 0
    expected = predict_tile(pretrained, noisy[None], model.session.normalisation).denoised[0]
    once = model.predict(noisy, tta=False, draws=0, corrections=False).denoised
    np.testing.assert_allclose(once, expected, rtol=1e-4, atol=1e-2)


def test_fine_tuning_starts_from_pretrained_weights(small, pretrained, noisy) -> None:
    tuned = Redenoiser(small, "cpu").fit(noisy).session.network().state_dict()
    name = next(name for name, _ in pretrained.named_parameters())
    before, after = pretrained.state_dict()[name], tuned[name]
    assert (before != after).any()
    # Three steps of at most the fine-tuning's rate.
    assert (before - after).abs().max() < 3 * 5e-4


def test_the_first_preview_comes_before_the_first_step(small, pretrained, noisy) -> None:
    window = Window((), slice(0, 40), slice(0, 40))
    events = list(Redenoiser(small, "cpu").fit_events(noisy, view=lambda: window))
    assert isinstance(events[0], PreviewDone)
    assert isinstance(events[1], StepDone)


@pytest.mark.parametrize(
    "changes",
    [{"training.start": "random"}, {"network.group": "C4"}, {"network.kind": "standard"}],
)
def test_other_networks_start_from_random_weights(small, pretrained, noisy, changes) -> None:
    config = small.replace(changes)
    model = Redenoiser(config, "cpu").fit(noisy)
    assert model.session.plan.config.training.start == "random"
    plain = Redenoiser(config.replace({"training.start": "random"}), "cpu").fit(noisy)
    np.testing.assert_array_equal(model.predict(noisy).denoised, plain.predict(noisy).denoised)


@pytest.mark.parametrize("kind", ["equivariant", "standard"])
def test_adarenet_branches_are_the_weights_of_single_branches(
    tiny: Config, noisy, tmp_path, monkeypatch, kind: str
) -> None:
    whole = tiny.replace({"network.kind": "adarenet", "training.start": "pretrained"})
    network = build_network(whole.network, torch.Generator().manual_seed(7))
    path = tmp_path / f"adarenet-{whole.network.group}.safetensors"
    save_model(path, network, whole, UNIT, half=True)
    monkeypatch.setattr(_pretrained, "FOLDER", tmp_path)
    config = whole.replace({"network.kind": kind, "training.steps": 0})
    model = Redenoiser(config, "cpu").fit(noisy)
    assert model.config.training.start == "pretrained"
    parts = predict_tile(load_model(path)[0], noisy[None], model.session.normalisation)
    expected = getattr(parts, kind)[0]
    once = model.predict(noisy, tta=False, draws=0, corrections=False).denoised
    np.testing.assert_allclose(once, expected, rtol=1e-4, atol=1e-2)


def test_r2r_fine_tuning_predicts_the_image_itself(small, pretrained) -> None:
    photons = (
        np.random.default_rng(0)
        .poisson(60 + 50 * np.sin(np.mgrid[:128, :128][0] / 9.0))
        .astype(np.float32)
    )
    config = small.replace({"objective.kind": "r2r", "tiling.tta": False})
    model = Redenoiser(config, "cpu").fit(photons)
    once = model.predict(photons, tta=False, draws=0, corrections=False).denoised
    np.testing.assert_array_equal(model.predict(photons).denoised, once)


def test_patches_and_steps_suit_the_start() -> None:
    small, scratch = (
        Config().replace({"training.start": start}).training for start in ("pretrained", "random")
    )
    assert (small.patches_per_step, small.patch_side, small.total_steps) == (4, 96, 100)
    assert (scratch.patches_per_step, scratch.patch_side, scratch.total_steps) == (8, 64, 270)
    asked = Config().replace({"training.batch_size": 2, "training.patch_size": 32}).training
    assert (asked.patches_per_step, asked.patch_side) == (2, 32)


def test_a_grey_image_after_colour_is_fine_tuned_again(small, pretrained, noisy) -> None:
    together = small.replace({"network.channel_mode": "together"})
    model = Redenoiser(together, "cpu").fit(np.stack([noisy, noisy + 1]), "CYX")
    assert not model.session.plan.is_fine_tuning
    assert model.fit(noisy).session.plan.is_fine_tuning


def test_untrained_random_weights_are_refused(tiny: Config, noisy) -> None:
    config = tiny.replace({"training.steps": 0, "training.start": "random"})
    with pytest.raises(ConfigError, match="0 steps leave random weights"):
        Redenoiser(config, "cpu").fit(noisy)


def test_the_noise_is_measured_only_after_the_first_preview(
    small, pretrained, noisy, monkeypatch
) -> None:
    measured = []
    real = _training_images.noise_reports
    monkeypatch.setattr(
        _training_images, "noise_reports", lambda *a, **k: measured.append(1) or real(*a, **k)
    )
    window = Window((), slice(0, 40), slice(0, 40))
    model = Redenoiser(small.replace({"objective.kind": "auto"}), "cpu")
    events = model.fit_events(np.tile(noisy, (2, 2)), view=lambda: window)
    assert isinstance(next(events), PreviewDone)
    assert not measured
    # Nor has torch loaded what it needs to train, which takes as long as the preview.
    assert "optimiser" not in vars(model.session.state)
    assert isinstance(next(events), StepDone)
    assert measured
    kind = model.session.plan.config.objective.kind
    assert kind != "auto" == model.config.objective.kind
    assert model.session.provenance["config"]["objective"]["kind"] == kind


@pytest.mark.parametrize("kind", ["auto", "r2r"])
def test_a_stop_before_the_first_step_keeps_pretrained_weights(small, pretrained, noisy, kind):
    """Also by an objective that would recorrupt images, had anything been learned by it."""
    window = Window((), slice(0, 40), slice(0, 40))
    model = Redenoiser(small.replace({"objective.kind": kind}), "cpu")
    events = model.fit_events(noisy, view=lambda: window)
    next(events)
    events.close()
    assert model.session.provenance["steps"] == 0
    plain = Redenoiser(small.replace({"training.steps": 0}), "cpu").fit(noisy)
    np.testing.assert_array_equal(model.predict(noisy).denoised, plain.predict(noisy).denoised)


def test_fine_tuning_removes_hot_pixels() -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:128, :128]
    scene = 30 + 20 * np.sin(rows / 7) * np.cos(columns / 9)
    noisy = rng.poisson(scene).astype(np.float32)
    hot = rng.random(noisy.shape) < 2e-3
    noisy[hot] += 300
    config = Config().replace({"objective.kind": "r2r", "training.steps": 30})
    noise = {"gain": (1.0,), "offset": (0.0,), "read_noise": (0.0,)}
    model = Redenoiser(config.replace({"objective.noise": noise}), "cpu").fit(noisy)
    assert np.abs(model.predict(noisy).denoised - scene)[hot].max() < 40


def test_fine_tuning_restores_unknown_structure() -> None:
    """Fine texture with hardly any noise, on which it looks for noise and finds some."""
    image = data.camera()[200:328, 180:308]
    rng = np.random.default_rng(0)
    noisy = np.clip(np.round(image + rng.normal(0, 0.5, image.shape)), 0, 255).astype(np.uint8)

    def error(steps: int) -> float:
        model = Redenoiser(Config().replace({"training.steps": steps}), "cpu").fit(noisy)
        return float(np.sqrt(np.mean((model.predict(noisy).denoised - image) ** 2)))

    assert error(40) < 0.7 * error(0)
