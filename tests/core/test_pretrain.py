from importlib.resources import files

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from napari_redenoise import Config
from napari_redenoise._cli import app
from napari_redenoise.errors import ConfigError
from napari_redenoise.io import load_model
from napari_redenoise.nn import Prediction
from napari_redenoise.objectives import Sample
from napari_redenoise.recipes.pretraining import (
    LICENCES,
    SIDE,
    STRUCTURES,
    Camera,
    Pretraining,
    Recipe,
    _patterns,
    draw_camera,
    draw_scene,
    record_scenes,
)
from napari_redenoise.recipes.pretraining._clean_scenes import CleanScenes
from napari_redenoise.recipes.pretraining._patterns import with_patterns
from napari_redenoise.recipes.pretraining._photographs import crop_photograph, photograph_planes
from napari_redenoise.recipes.pretraining._recipe import gain_loss, make_batch
from napari_redenoise.recipes.pretraining._scenes import through_optics
from napari_redenoise.training import with_branches

RECIPE = Recipe(scenes=4, photographs=0.5)
CPU = torch.device("cpu")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("name", STRUCTURES)
def test_structures_are_non_negative_with_contrast(name: str) -> None:
    for seed in range(5):
        drawn = STRUCTURES[name](96, rng(seed))
        assert drawn.shape == (96, 96)
        assert np.isfinite(drawn).all()
        assert drawn.min() >= 0
        assert drawn.std() > 0


def test_scenes_are_on_one_grey_scale_and_follow_from_their_seed() -> None:
    for seed in range(12):
        made = draw_scene(96, rng(seed))
        assert made.dtype == np.float32
        assert made.min() >= 0
        assert np.percentile(made, 99.8) == pytest.approx(1.0, abs=0.02)
        np.testing.assert_array_equal(made, draw_scene(96, rng(seed)))
    assert (draw_scene(96, rng(0)) != draw_scene(96, rng(1))).any()


def test_some_optics_leave_details_as_fine_as_pixels() -> None:
    point = np.zeros((33, 33))
    point[16, 16] = 1.0
    kept = np.array([through_optics(point, rng(seed)).max() for seed in range(300)])
    # A Gaussian of half a pixel leaves 0.62 of a point, one of a pixel 0.16.
    assert (kept > 0.6).mean() == pytest.approx(0.2, abs=0.07)
    assert np.median(kept) < 0.16


@pytest.mark.parametrize("seed", range(6))
def test_gratings_have_a_period_of_some_pixels(seed: int, monkeypatch) -> None:
    monkeypatch.setattr(_patterns, "GRATED", 1.0)
    monkeypatch.setattr(_patterns, "LABELLED", 0.0)
    grated = with_patterns(np.ones((96, 96), np.float32), rng(seed))
    assert grated.dtype == np.float32
    assert grated.min() >= 0
    power = np.abs(np.fft.rfft2(grated - grated.mean())) ** 2
    # Coarser than a grating is where it is and how deep.
    coarse = np.hypot(np.fft.fftfreq(96)[:, None], np.fft.rfftfreq(96)) < 1 / 12
    fine = np.sort(power[~coarse])
    assert fine[-50:].sum() > 0.8 * fine.sum() > 0


def test_labels_are_thin_and_leave_the_rest(monkeypatch) -> None:
    monkeypatch.setattr(_patterns, "GRATED", 0.0)
    monkeypatch.setattr(_patterns, "LABELLED", 1.0)
    scene = draw_scene(96, rng(3))
    for seed in range(6):
        changed = with_patterns(scene, rng(seed)) != scene
        assert 0.002 < changed.mean() < 0.3
    np.testing.assert_array_equal(scene, draw_scene(96, rng(3)))


def test_most_scenes_have_no_pattern() -> None:
    scene = np.ones((48, 48), np.float32)
    plain = [with_patterns(scene, rng(seed)) is scene for seed in range(200)]
    assert 0.8 < np.mean(plain) < 0.95


def test_every_photograph_of_scikit_image_has_a_licence() -> None:
    folder = files("skimage") / "data"
    assert all((folder / name).is_file() for name in LICENCES)
    assert all(said.startswith(("CC0", "public domain")) for said in LICENCES.values())
    assert len(photograph_planes()) > len(LICENCES)  # colours are planes of their own


def test_crops_of_photographs_have_the_size_of_a_scene() -> None:
    for seed in range(30):
        part = crop_photograph(SIDE, rng(seed))
        assert part.shape == (SIDE, SIDE)
        assert np.isfinite(part).all()
        assert part.min() >= 0


def recorded_by(camera: Camera, other: Camera | None = None) -> np.ndarray:
    """An image (400, 400) of intensity 0.5, recorded together with that of another camera."""
    cameras = [other or Camera(photons=3.0, has_excess_noise=True), camera]
    scenes = torch.full((2, 400, 400), 0.5)
    return record_scenes(cameras, scenes, torch.Generator().manual_seed(0)).noisy[1].numpy()


def test_the_plain_camera_is_a_photon_counter() -> None:
    seen = recorded_by(Camera(photons=40.0, background=5.0))
    assert seen.mean() == pytest.approx(25.0, abs=0.1)
    assert seen.var() == pytest.approx(25.0, rel=0.02)
    assert (seen == np.rint(seen)).all()


def test_a_multiplier_doubles_the_variance_of_the_photons() -> None:
    seen = recorded_by(Camera(photons=40.0, has_excess_noise=True))
    assert seen.mean() == pytest.approx(20.0, abs=0.1)
    assert seen.var() == pytest.approx(40.0, rel=0.02)


def test_noises_add_their_variances() -> None:
    seen = recorded_by(Camera(photons=20.0, read_noise=3.0, rows=2.0, columns=1.0))
    # Offsets of 400 rows and columns: standard error 7 % of their variances.
    assert seen.var() == pytest.approx(10 + 9 + 4 + 1, rel=0.05)
    assert seen.mean(1).var() == pytest.approx(4 + 20 / 400, rel=0.3)
    assert seen.mean(0).var() == pytest.approx(1 + 23 / 400, rel=0.3)


@pytest.mark.parametrize("smear", [(0.0, 0.4), (0.4, 0.0), (0.3, 0.2)])
def test_correlated_noise_keeps_its_variance(smear) -> None:
    seen = recorded_by(Camera(photons=200.0, smear=smear)) - 100.0
    assert seen.var() == pytest.approx(100.0, rel=0.03)
    for axis, share in enumerate(smear):
        neighbours = (seen * np.roll(seen, 1, axis)).mean() / seen.var()
        # Taps (s, 1, s) over their length.
        assert neighbours == pytest.approx(2 * share / (1 + 2 * share**2), abs=0.02)


def test_hot_pixels_quantisation_and_clipping() -> None:
    hot = recorded_by(Camera(photons=20.0, hot=0.01))
    assert (hot > 35).mean() == pytest.approx(0.01 * np.exp(-20 / 60), rel=0.3)
    steps = recorded_by(Camera(photons=200.0, step=8.0))
    np.testing.assert_allclose(steps / 8, np.rint(steps / 8))
    ends = recorded_by(Camera(photons=200.0, read_noise=1.0, clipped=(0.01, 0.02)))
    assert (ends == ends.min()).mean() == pytest.approx(0.01, rel=0.02)
    assert (ends == ends.max()).mean() == pytest.approx(0.02, rel=0.02)


def test_expected_values_of_a_clipping_camera_are_clipped() -> None:
    scenes = torch.linspace(0, 1, 10000).reshape(1, 100, 100)
    shot = record_scenes([Camera(100.0, clipped=(0.1, 0.2))], scenes, torch.Generator())
    assert float(shot.expected.max()) == float(shot.noisy.max())
    assert float(shot.expected.min()) == float(shot.noisy.min())
    assert float(shot.expected.max()) == pytest.approx(80, abs=5)
    shot = record_scenes([Camera(1.0)], scenes, torch.Generator())
    torch.testing.assert_close(shot.expected, scenes)


def test_uneven_read_noise_has_the_same_variance_and_heavy_tails() -> None:
    seen = recorded_by(Camera(photons=0.01, read_noise=5.0, uneven=0.5))
    assert seen.var() == pytest.approx(25.0, rel=0.05)
    # Kurtosis of a scale mixture: 3 exp(4 uneven^2).
    assert (seen**4).mean() / seen.var() ** 2 == pytest.approx(3 * np.exp(1.0), rel=0.25)


def test_expected_values_have_no_noise() -> None:
    scenes = torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(1))
    cameras = [Camera(photons=10.0, background=3.0), Camera(photons=200.0, read_noise=4.0)]
    expected = record_scenes(cameras, scenes, torch.Generator()).expected
    torch.testing.assert_close(expected[0], 10 * scenes[0] + 3)
    torch.testing.assert_close(expected[1], 200 * scenes[1])


def test_cameras_cover_the_range_and_every_flaw() -> None:
    drawn = [draw_camera(rng(seed)) for seed in range(2000)]
    photons = np.log([one.photons for one in drawn])
    bright = photons > np.log(300)
    assert np.exp(photons.min()) < 2.1
    assert np.exp(photons[~bright].max()) > 290
    assert photons[~bright].mean() == pytest.approx(np.log(np.sqrt(2 * 300)), abs=0.15)
    assert bright.mean() == pytest.approx(0.15, abs=0.03)
    assert np.exp(photons[bright].mean()) == pytest.approx(np.sqrt(300 * 30_000), rel=0.3)
    assert np.exp(photons.max()) <= 30_000
    for flaw in (
        "background",
        "has_excess_noise",
        "read_noise",
        "uneven",
        "rows",
        "columns",
        "hot",
        "step",
    ):
        share = np.mean([bool(getattr(one, flaw)) for one in drawn])
        assert 0.02 < share < 0.98, flaw
    assert any(one.smear[0] and one.smear[1] for one in drawn)
    assert any(one.clipped[0] for one in drawn)


def test_scenes_follow_from_their_numbers_whoever_draws_them() -> None:
    alone = CleanScenes(3, 48, 0.5, 7, CPU)
    many = CleanScenes(70, 48, 0.5, 7, CPU)
    try:
        assert torch.equal(many.first(3), alone.first(3))
        assert len(alone.first(100)) == 3
        everything = many.first(70)
        assert torch.isfinite(everything).all()
        assert everything.flatten(1).std(1).min() > 0
        assert not torch.equal(everything[68], everything[69])
    finally:
        many.close()


def test_a_batch_is_noisy_patches_with_their_clean_targets() -> None:
    lights = CleanScenes(3, SIDE, 0.5, 0, CPU).first(3)
    batch = make_batch(lights, rng(), batch_size=64, patch=32)
    assert batch.input.shape == batch.target.shape == batch.mask.shape == (64, 1, 32, 32)
    assert torch.isfinite(batch.input).all()
    again = make_batch(lights, rng(), batch_size=64, patch=32)
    assert torch.equal(batch.input, again.input)
    # Noise has no mean and its neighbours have little in common; the target explains the rest.
    error = batch.input - batch.target
    assert abs(float(error.mean())) < 0.03
    assert float((error**2).mean()) > 0.05
    assert float((error * batch.target).mean()) == pytest.approx(0, abs=0.03)


def test_patches_are_flipped_and_rotated_by_default() -> None:
    ramp = torch.linspace(0.1, 1, 64).expand(2, 64, 64)

    def slopes(*, flips: bool) -> list[float]:
        batches = (
            make_batch(ramp, np.random.default_rng(seed), batch_size=8, patch=32, flips=flips)
            for seed in range(8)
        )
        return [float(batch.target.diff(dim=-1).mean()) for batch in batches]

    assert min(slopes(flips=False)) > 0
    assert min(slopes(flips=True)) < 0


def test_the_loss_is_the_gain_over_the_noise_in_any_unit() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(2, 1, 16, 16, generator=generator)
    noise = torch.randn(2, 1, 16, 16, generator=generator)
    scale = torch.tensor([1.0, 100.0])[:, None, None, None]
    sample = Sample(scale * (target + noise), scale * target, torch.ones_like(target))
    # A tenth of the noise is left: a hundredth of its variance, or 20 dB, plus the floor.
    prediction = Prediction(scale * (target + 0.1 * noise), scale * target, sample.input)
    main, total = with_branches(gain_loss, 0.5)(prediction, sample)
    assert float(main) == pytest.approx(np.log(0.01 + 0.02), abs=1e-3)
    branches = np.log(0.02) + np.log(1.02)
    assert float(total - main) == pytest.approx(0.5 * branches, abs=1e-3)


def test_a_share_of_nothing_is_refused(tmp_path) -> None:
    line = f"pretrain {tmp_path / 'm.safetensors'} --steps 1 --scenes 2 --keep 0.5"
    with pytest.raises(ConfigError, match="keeps a share of initial weights and has none"):
        CliRunner().invoke(app, line.split(), catch_exceptions=False)


@pytest.fixture
def config(tiny: Config) -> Config:
    return tiny.replace({"training.steps": 4, "network.group": "D4"})


def test_a_resumed_pretraining_equals_an_uninterrupted_one(config: Config, tmp_path) -> None:
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


def test_the_header_says_what_the_weights_were_trained_on(config: Config, tmp_path) -> None:
    training = Pretraining(config, RECIPE, "cpu")
    list(training.events())
    _, loaded, normalisation, provenance, *_ = load_model(training.save(tmp_path / "m.safetensors"))
    assert loaded == config
    assert (normalisation.mean, normalisation.std) == ((0.0,), (1.0,))
    assert provenance["recipe"] == {
        "scenes": 4,
        "photographs": 0.5,
        "examples_per_scene": 8,
        "kept_share": 0.0,
        "flips": True,
    }
    assert provenance["pictures"]["scikit-image camera.png"].startswith("CC0")
    assert provenance["steps"] == 4


def test_adarenet_starts_with_a_pretrained_branch(config: Config, tmp_path) -> None:
    alone = Pretraining(config.replace({"network.kind": "equivariant"}), RECIPE, "cpu")
    list(alone.events())
    path = alone.save(tmp_path / "alone.safetensors")
    training = Pretraining(config.replace({"network.kind": "adarenet"}), RECIPE, "cpu")
    before = training.settings
    training.begin_with(path)
    expected = alone.state.average.branch.state_dict()
    for network in (training.state.network, training.state.average):
        for name, value in network.equivariant_branch.state_dict().items():
            torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-6)
    assert training.settings != before
    list(training.events())
    provenance = load_model(training.save(tmp_path / "both.safetensors"))[3]
    assert provenance["began_with"]["steps"] == 4
    assert provenance["began_with"]["part"] == "branch"


def test_a_training_continues_with_the_weights_of_another(config: Config, tmp_path) -> None:
    first = Pretraining(config, RECIPE, "cpu")
    list(first.events())
    path = first.save(tmp_path / "first.safetensors")
    second = Pretraining(config, RECIPE, "cpu")
    second.begin_with(path)
    expected = first.state.average.state_dict()
    for name, value in second.state.average.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-6)
    provenance = load_model(second.save(tmp_path / "second.safetensors"))[3]
    assert provenance["began_with"]["recipe"]["scenes"] == 4


def test_a_share_of_the_weights_it_began_with_is_kept(config: Config, tmp_path) -> None:
    first = Pretraining(config, RECIPE, "cpu")
    path = first.save(tmp_path / "first.safetensors")
    second = Pretraining(config, Recipe(scenes=4, photographs=0.5, kept_share=0.25), "cpu")
    second.begin_with(path)
    list(second.events())
    before, after = load_model(path)[0].state_dict(), second.state.average.state_dict()
    written = load_model(second.save(tmp_path / "second.safetensors"))[0]
    for name, value in written.named_parameters():
        expected = 0.25 * before[name] + 0.75 * after[name]
        torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-5)


def test_a_branch_of_another_network_is_refused(config: Config, tmp_path) -> None:
    equivariant = {"network.kind": "equivariant"}
    alone = Pretraining(config.replace(equivariant), RECIPE, "cpu")
    path = alone.save(tmp_path / "alone.safetensors")
    others = ({"network.group": "C4"}, {"network.kernel_size": 5}, {"network.kind": "standard"})
    for changes in others:
        training = Pretraining(config.replace(changes), RECIPE, "cpu")
        with pytest.raises(ConfigError, match="neither the network to train nor its"):
            training.begin_with(path)


def test_the_command_writes_a_model_and_never_over_one(tmp_path) -> None:
    line = f"pretrain {tmp_path / 'm.safetensors'} --steps 1 --scenes 2 --backbone equivariant"
    done = CliRunner().invoke(app, line.split())
    assert done.exit_code == 0, done.output
    assert load_model(tmp_path / "m.safetensors")[1].network.group == "C4"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.safetensors"]
    assert "exists already" in str(CliRunner().invoke(app, line.split()).exception)
