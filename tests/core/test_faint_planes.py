"""Planes of a stack that are far fainter than the others."""

import numpy as np
import pytest
from scipy import ndimage

from napari_redenoise import Config, Redenoiser
from napari_redenoise.data import Normalisation, Planes, PlaneScales
from napari_redenoise.errors import InputError
from napari_redenoise.model._previews import Window

PLAIN = Config(training={"steps": 0}, network={"context": 0})


def light() -> np.ndarray:
    """Photons per pixel, (96, 96): blobs on a dark background."""
    field = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(96, 96)), 4)
    return 2 + 40 * np.clip(field / field.max(), 0, 1)


def positions(factor: float) -> np.ndarray:
    """A faint position and a bright one, (2, 96, 96)."""
    return np.random.default_rng(1).poisson(np.stack([light(), factor * light()[::-1]]))


def error(denoised: np.ndarray) -> float:
    return float(np.sqrt(np.mean((denoised - light()) ** 2)))


@pytest.mark.parametrize("factor", [5, 60, 1000])
def test_a_faint_plane_is_denoised_as_if_alone(factor) -> None:
    noisy = positions(factor)
    alone = Redenoiser(PLAIN, "cpu").fit(noisy[0]).predict(noisy[0]).denoised
    model = Redenoiser(PLAIN, "cpu").fit(noisy, "SYX")
    found = model.predict(noisy, "SYX").denoised
    assert error(found[0]) < 1.1 * error(alone) < 0.5 * error(noisy[0])
    assert found[0].mean() == pytest.approx(noisy[0].mean(), rel=0.005)
    assert found[0].min() > 0
    # The preview shows what the result will be.
    view = Window((0,), slice(0, 96), slice(0, 96))
    planes = Planes(noisy, "SYX")
    shown = model.session.preview_with(model.session.network(), planes, view, 0).denoised
    assert np.abs(shown[0] - found[0]).max() < 0.1 * np.ptp(light())


def test_only_far_fainter_planes_have_their_own_scale() -> None:
    noisy = positions(10.0)
    stack = Planes(noisy, "SYX")
    usual = Normalisation((float(noisy.mean()),), (float(noisy.std()),))
    assert PlaneScales(stack, usual).normalisation((0,)) is usual
    bright = Normalisation((1e4,), (100 * float(noisy[0].std()),))
    own = PlaneScales(stack, bright).normalisation((0,))
    assert own.mean[0] == pytest.approx(noisy[0].mean())
    assert own.std[0] == pytest.approx(noisy[0].std())
    # As in a single image; a constant plane has no scale.
    assert PlaneScales(Planes(noisy[0], "YX"), bright).normalisation(()).std == own.std
    constant = Planes(np.ones((2, 40, 40)), "SYX")
    assert PlaneScales(constant, bright).normalisation((0,)) is bright


def test_a_bright_object_of_a_dark_field_keeps_its_scale() -> None:
    field = np.random.default_rng(0).poisson(2.0, (200, 200)).astype(float)
    trained = Normalisation((1e4,), (2e3,))
    field[50, 50] = 1e4
    hot = Planes(field.copy(), "YX")
    assert PlaneScales(hot, trained).normalisation(()).std[0] < 10
    field[50:58, 50:58] = 1e4
    assert PlaneScales(Planes(field, "YX"), trained).normalisation(()) is trained


def test_a_model_of_a_long_exposure_denoises_a_short_one() -> None:
    noisy = positions(50)
    model = Redenoiser(PLAIN, "cpu").fit(noisy[1])
    assert error(model.predict(noisy[0]).denoised) < 0.5 * error(noisy[0])


def with_a_dark_frame() -> np.ndarray:
    stack = np.stack([400 * light()] * 5)
    stack[2] = 0.5
    return np.random.default_rng(0).poisson(stack)


def test_a_dark_frame_in_the_middle_refuses_no_model(tmp_path) -> None:
    stack = with_a_dark_frame()
    model = Redenoiser(PLAIN, "cpu").fit(stack, "TYX")
    model.save(tmp_path / "model.safetensors")
    loaded = Redenoiser.load(tmp_path / "model.safetensors", "cpu")
    again = loaded.predict(stack, "TYX").denoised
    np.testing.assert_array_equal(again, model.predict(stack, "TYX").denoised)


@pytest.mark.parametrize("is_loaded", [False, True])
@pytest.mark.parametrize("factor", [1 / 65535, 100])
def test_another_grey_scale_is_refused(tmp_path, is_loaded, factor) -> None:
    noisy = positions(1)[0]
    model = Redenoiser(PLAIN, "cpu").fit(noisy)
    if is_loaded:
        model.save(tmp_path / "model.safetensors")
        model = Redenoiser.load(tmp_path / "model.safetensors", "cpu")
    with pytest.raises(InputError, match="convert it to the same grey scale"):
        model.predict((factor * noisy).astype(np.float32))
    model.predict(noisy)


def test_a_region_without_light_refuses_no_image() -> None:
    noisy = positions(1000)[1]
    noisy[:40] = np.random.default_rng(0).poisson(2, (40, 96))
    mask = np.zeros(noisy.shape, bool)
    mask[:40] = True
    model = Redenoiser(PLAIN, "cpu").fit(noisy, mask=mask)
    assert np.isfinite(model.predict(noisy).denoised).all()


def frames(*factors: float) -> np.ndarray:
    """Frames of one scene with these brightnesses, (T, 96, 96)."""
    return np.random.default_rng(2).poisson(np.array(factors)[:, None, None] * light())


def test_frames_of_far_more_contrast_are_no_neighbours() -> None:
    usual = Normalisation((10.0,), (10.0,))
    scales = PlaneScales(Planes(frames(1, 4, 20, 1, 1), "TYX", context=2), usual)
    assert scales.neighbours((0,)) == (None, None, (1,), None)
    assert scales.neighbours((1,)) == (None, (0,), (2,), (3,))
    # Faint ones beside it do no harm.
    assert scales.neighbours((2,)) == ((0,), (1,), (3,), (4,))
    empty = frames(1, 1, 1, 1, 1)
    empty[2] = np.random.default_rng(3).poisson(0.5, empty[2].shape)
    scales = PlaneScales(Planes(empty, "TYX", context=2), usual)
    assert scales.neighbours((2,)) == (None,) * 4
    assert scales.neighbours((1,)) == (None, (0,), (2,), (3,))
    # Of a black frame nothing is measured: it is missing as a whole.
    empty[2] = 0
    assert PlaneScales(Planes(empty, "TYX", context=1), usual).neighbours((1,)) == ((0,), (2,))


def test_frames_beside_a_flash_keep_their_brightness() -> None:
    noisy = frames(1, 1, 60, 1, 1, 1)
    seeing = Config(training={"steps": 0}, network={"context": 2})
    found = Redenoiser(seeing, "cpu").fit(noisy, "TYX").predict(noisy, "TYX").denoised
    others = [0, 1, 3, 4, 5]
    means = (found[others].mean((1, 2)), noisy[others].mean((1, 2)))
    np.testing.assert_allclose(*means, rtol=0.005)
    assert max(map(error, found[others])) < 0.5 * error(noisy[0])
