"""Smooth noise: found by the plan, removed at coarser scales, nothing else changed."""

import numpy as np
import pytest
import tifffile
import torch
from scipy import ndimage
from skimage import data

from napari_redenoise import Config, Redenoiser
from napari_redenoise.data import Planes
from napari_redenoise.inference import Interrupted
from napari_redenoise.model import (
    Corrections,
    TrainingPlan,
    Window,
    _corrections,
    _plan,
    measure_noise,
)
from napari_redenoise.model._corrections import correct
from napari_redenoise.noise import describe, diagnose, enlarge, smooth_noise
from napari_redenoise.noise._smooth_noise import bin_pixels, smooth_noise_scales

CPU = torch.device("cpu")
INSTANT = Config(training={"steps": 0})


def scene(side: int = 256, blobs: float = 4) -> np.ndarray:
    """Blobs of 4 pixels and more on a dark background, 100 to 600."""
    field = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(side, side)), blobs)
    return 100 + 500 * np.clip(field / field.max(), 0, 1)


def smoothed(sigma: float, std: float = 60.0, seed: int = 1, side: int = 256) -> np.ndarray:
    """The scene with smooth noise of a given standard deviation, float32."""
    noise = np.random.default_rng(seed).normal(size=(side, side))
    noise = ndimage.gaussian_filter(noise, sigma) if sigma else noise
    return (scene(side) + std * noise / noise.std()).astype(np.float32)


def error(denoised: np.ndarray) -> float:
    return float(np.sqrt(np.mean((denoised - scene(len(denoised))) ** 2)))


@pytest.fixture(scope="module")
def model() -> Redenoiser:
    """The pretrained network, planned on smooth noise."""
    return Redenoiser(INSTANT, "cpu").fit(smoothed(1.5))


@pytest.mark.parametrize(("sigma", "scales"), [(0, 0), (0.5, 0), (1.5, 1), (2.5, 2)])
def test_the_plan_finds_smooth_noise(sigma, scales) -> None:
    plan = Redenoiser(INSTANT, "cpu").plan(smoothed(sigma))
    assert plan.corrections == Corrections("none", scales, where_found=True)
    assert TrainingPlan.from_json(plan.as_json()) == plan


@pytest.mark.parametrize(
    "image", [data.page, data.coins, data.gravel, data.brick, data.camera, data.text, scene]
)
def test_structure_is_no_smooth_noise(image) -> None:
    plan = Redenoiser(INSTANT, "cpu").plan(np.asarray(image()[:256, :256], np.float32))
    assert plan.corrections.smooth_scales == 0


def test_most_of_the_smooth_noise_is_removed(model) -> None:
    noisy = smoothed(1.5)
    before = noisy.copy()
    left = error(model.predict(noisy, corrections=False).denoised)
    assert left > 50
    assert error(model.predict(noisy).denoised) < left / 1.6
    np.testing.assert_array_equal(noisy, before)


def test_a_second_scale_removes_noise_of_larger_grains(model) -> None:
    large = scene(blobs=8) - scene()
    noisy = (smoothed(2.5) + large).astype(np.float32)
    once, twice = (
        model.session.preview_with(
            model.session.network(),
            correct(Planes(noisy, "YX"), Corrections("none", scales), CPU),
            _whole(noisy),
            0,
        ).denoised[0]
        for scales in (1, 2)
    )
    assert error(twice - large) < 0.7 * error(once - large)


def _whole(image: np.ndarray) -> Window:
    return Window((), slice(0, image.shape[0]), slice(0, image.shape[1]))


def test_a_window_is_that_of_the_whole_prediction(model) -> None:
    noisy = smoothed(1.5)[:211, :173]
    whole = model.predict(noisy).denoised
    outputs = model.session.allocate(noisy)
    window = slice(31, 90), slice(0, 64)
    for _ in model.predict_events(noisy, outputs=outputs, window=window):
        pass
    np.testing.assert_allclose(outputs["denoised"][window], whole[window], atol=2e-3)


def test_the_brightness_stays(model) -> None:
    noisy = smoothed(1.5)
    assert abs(model.predict(noisy).denoised.mean() - noisy.mean()) < 0.5


def test_missing_and_hot_pixels_stay_alone(model) -> None:
    noisy = smoothed(1.5)
    plain = model.predict(noisy).denoised
    noisy[40:60, 80:120] = np.nan
    noisy[200, 100] = 1e9
    found = model.predict(noisy).denoised
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(noisy))
    far = np.ones_like(noisy, bool)
    far[:100, 40:160] = far[180:220, 80:120] = False
    assert np.abs(found - plain)[far].max() < 30


def test_every_plane_and_channel_is_corrected_alone() -> None:
    stack = np.stack([smoothed(1.5, seed=n, side=96) for n in range(2)])
    constant = np.full_like(stack, 7)
    image = np.stack([stack, constant], 1)
    planes = correct(Planes(image, "TCYX"), Corrections("none", 1), CPU)
    for number in range(2):
        alone = correct(Planes(stack[number], "YX"), Corrections("none", 1), CPU)
        everything = slice(0, 96), slice(0, 96)
        found = planes.read((number,), *everything)
        np.testing.assert_array_equal(found[0], alone.read((), *everything)[0])
        np.testing.assert_array_equal(found[1], 7)


def test_scales_can_be_given_and_left_out() -> None:
    noisy = smoothed(1.5, side=96)
    for scales in (0, 1, 2):
        config = INSTANT.replace({"objective.smooth_scales": scales})
        assert Redenoiser(config, "cpu").plan(noisy).corrections.smooth_scales == scales


def test_neighbours_tell_the_noise_of_a_stack() -> None:
    stack = np.stack([smoothed(1.5, seed=n, side=192) for n in range(5)])
    plan = Redenoiser(INSTANT, "cpu").plan(stack, "ZYX")
    assert plan.config.network.neighbours
    assert plan.corrections.smooth_scales == 0
    (found,) = [one.text for one in describe(plan.reports[0]) if "wide" in one.text]
    assert found.endswith("unless neighbouring planes are used.")
    alone = INSTANT.replace({"network.context": 0})
    assert Redenoiser(alone, "cpu").plan(stack, "ZYX").corrections.smooth_scales == 1


def test_planes_that_are_too_large_are_not_read_whole(monkeypatch) -> None:
    monkeypatch.setattr(_plan, "MAX_SMOOTHED", 256**2 - 1)
    assert Redenoiser(INSTANT, "cpu").plan(smoothed(1.5)).corrections.smooth_scales == 0


def test_random_weights_take_the_noise_as_it_is() -> None:
    config = Config(training={"start": "random", "steps": 1})
    assert Redenoiser(config, "cpu").plan(smoothed(1.5)).corrections.smooth_scales == 0


def test_a_training_that_is_asked_for_sees_the_corrected_image() -> None:
    noisy = smoothed(1.5)
    model = Redenoiser(Config(training={"steps": 1}), "cpu").fit(noisy)
    plan = model.session.plan
    assert plan.corrections.smooth_scales == 1
    # What is left of the noise was measured again.
    (before,) = measure_noise(noisy)
    assert plan.reports[0].noise_std != before.noise_std
    assert model.session.provenance["config"]["objective"]["smooth_scales"] == 1
    assert error(model.predict(noisy).denoised) < 40


def test_the_default_run_leaves_the_training_out(model) -> None:
    noisy = smoothed(1.5)
    default = Redenoiser(device="cpu").fit(noisy)
    plan = default.session.plan
    assert plan.is_training_left_out
    assert default.session.step == 0
    assert "training: left out" in " ".join(plan.sentences())
    np.testing.assert_array_equal(default.predict(noisy).denoised, model.predict(noisy).denoised)
    # It can be trained all the same.
    default.fit(noisy, plan=plan, resume=True, steps=1)
    assert default.session.step == 1
    assert not default.session.plan.is_training_left_out
    assert default.session.plan.config.objective.kind == "noise2void"


@pytest.mark.parametrize(
    "asked",
    [{"training.steps": 5}, {"objective.kind": "noise2self"}, {"objective.smooth_scales": 1}],
)
def test_a_setting_of_the_training_keeps_it(asked) -> None:
    assert not Redenoiser(Config().replace(asked), "cpu").plan(smoothed(1.5)).is_training_left_out


def test_a_model_file_keeps_the_scales(model, tmp_path) -> None:
    again = Redenoiser.load(model.save(tmp_path / "model.safetensors"), "cpu")
    assert again.session.plan.corrections == Corrections("none", 1, where_found=True)
    noisy = smoothed(1.5, seed=3)
    np.testing.assert_array_equal(again.predict(noisy).denoised, model.predict(noisy).denoised)


def test_other_channels_and_images_stay_as_they_are(model) -> None:
    """They would lose detail."""
    clean = np.where(scene() > 200, 255.0, 0.0).astype(np.float32)
    image = np.stack([smoothed(1.5), smoothed(0), clean])
    mixed = Redenoiser(INSTANT, "cpu").fit(image, "CYX")
    plan = mixed.session.plan
    assert plan.corrections == Corrections("none", 1, where_found=True)
    everything = slice(None), slice(None)
    corrected = correct(Planes(image, "CYX"), plan.corrections, CPU).read((), *everything)
    assert np.abs(corrected[0] - image[0]).max() > 10
    np.testing.assert_array_equal(corrected[1:], image[1:])
    # White noise can be learned from.
    default = Redenoiser(device="cpu")
    assert not default.plan(image, "CYX").is_training_left_out
    assert not default.plan(image[0], images=[image[1]]).is_training_left_out
    other = smoothed(0, seed=5)
    np.testing.assert_array_equal(
        model.predict(other).denoised, model.predict(other, corrections=False).denoised
    )


@pytest.mark.parametrize("side", [16, 24, 31, 32, 63])
def test_small_images_are_denoised_by_the_same_model(model, side) -> None:
    assert model.predict(smoothed(1.5)[:side, :side]).denoised.shape == (side, side)
    config = INSTANT.replace({"objective.smooth_scales": 2})
    tiny = smoothed(1.5)[:side, :side]
    assert np.isfinite(Redenoiser(config, "cpu").fit(tiny).predict(tiny).denoised).all()


def test_a_stop_is_noticed_between_strips(monkeypatch) -> None:
    monkeypatch.setattr(_corrections, "_STRIP", 64)
    asked = iter([False, True])
    with pytest.raises(Interrupted):
        correct(Planes(smoothed(1.5), "YX"), Corrections("none", 1), CPU, lambda: next(asked))


def test_strips_give_what_a_whole_plane_gives(monkeypatch) -> None:
    noisy = smoothed(1.5)[:201]
    noisy[30:60, 50:90] = np.nan
    offsets = _corrections.Offsets(np.arange(201.0), np.arange(256.0))
    whole = _corrections._bin(noisy, offsets, None)
    monkeypatch.setattr(_corrections, "_STRIP", 64)
    np.testing.assert_array_equal(_corrections._bin(noisy, offsets, None), whole)


def test_the_noise_check_and_the_plan_say_it() -> None:
    plan = Redenoiser(INSTANT, "cpu").plan(smoothed(1.5))
    assert any("several pixels wide" in one.text for one in describe(plan.reports[0]))
    assert diagnose(plan.reports, fine_tuning=True).smooth_scales == 1
    assert diagnose(plan.reports, fine_tuning=False).smooth_scales == 0
    assert "smooth noise: removed first, in an image of half the size" in plan.sentences()


def test_the_command_says_it_and_can_leave_it_out(redenoise, tmp_path) -> None:
    tifffile.imwrite(tmp_path / "noisy.tif", smoothed(1.5))
    arguments = "denoise", tmp_path / "noisy.tif", tmp_path / "denoised.tif", "--instant"
    status, said, errors = redenoise(*arguments)
    assert status == 0, errors
    assert "smooth noise: removed first, in an image of half the size" in said
    off = ("--set", "objective.smooth_scales=0", "--overwrite")
    status, said, errors = redenoise(*arguments, *off)
    assert status == 0, errors
    assert "smooth noise" not in said


@pytest.mark.parametrize("shape", [(64, 64), (65, 40), (33, 63)])
def test_enlarged_windows_are_parts_of_the_whole(shape) -> None:
    plane = np.random.default_rng(0).normal(size=shape)
    coarse = bin_pixels(plane)
    whole = enlarge(coarse, shape)
    assert whole.shape == shape
    window = slice(7, 30), slice(3, 33)
    np.testing.assert_array_equal(enlarge(coarse, shape, window), whole[window])


def test_a_slope_survives_binning_and_enlarging() -> None:
    slope = np.add.outer(np.arange(40.0), 3 * np.arange(60.0))
    inner = slice(1, -1), slice(1, -1)
    np.testing.assert_allclose(enlarge(bin_pixels(slope), slope.shape)[inner], slope[inner])


def test_binned_pixels_leave_missing_ones_out() -> None:
    plane = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan], [7.0, 9.0, 4.0]])
    np.testing.assert_array_equal(bin_pixels(plane), [[3.0, np.nan], [8.0, 4.0]])


def test_a_perfect_denoiser_leaves_no_smooth_noise() -> None:
    noisy, truth = smoothed(1.5).astype(float), scene()

    def perfect(plane: np.ndarray) -> np.ndarray:
        known = truth
        while known.shape != plane.shape:
            known = bin_pixels(known)
        return known

    (report,) = measure_noise(noisy)
    assert smooth_noise_scales(noisy, perfect(noisy), perfect, report) == 0
    assert smooth_noise_scales(noisy, noisy, perfect, report) >= 1
    found = smooth_noise(bin_pixels(noisy), 1, perfect)
    np.testing.assert_allclose(found, bin_pixels(noisy - truth), atol=1e-9)
