import numpy as np
import pytest
import torch

from napari_redenoise import Config, Redenoiser, denoise
from napari_redenoise.data import (
    NetworkInput,
    Normalisation,
    Planes,
    is_missing,
    load_pool,
    mask_missing,
)
from napari_redenoise.data._bad_pixels import fill_missing, is_outlier
from napari_redenoise.model import measure_noise

rng = np.random.default_rng


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def noise(*shape: int, dtype=np.uint16) -> np.ndarray:
    return rng(0).poisson(50, shape).astype(dtype)


def with_gaps(dtype) -> tuple[np.ndarray, np.ndarray]:
    """A mosaic with a cross, borders, one of them narrow, and a saturated blob; what they cover."""
    image = noise(200, 240, dtype=dtype)
    gaps = np.zeros(image.shape, bool)
    gaps[70:80] = gaps[:, 90:94] = gaps[-1] = gaps[:, 0] = True
    image[gaps] = 0
    image[120:140, 150:170] = 255
    gaps[120:140, 150:170] = True
    return image, gaps


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
def test_gaps_borders_and_saturated_blobs_are_missing(dtype) -> None:
    image, gaps = with_gaps(dtype)
    np.testing.assert_array_equal(is_missing(image), gaps)


@pytest.mark.parametrize("width", [2, 3, 4, 6])
@pytest.mark.parametrize("angle", [0.2, 0.5, np.pi / 4, 1.3, 2.5])
@pytest.mark.parametrize("value", [0, 65535])
def test_slanted_gaps_are_missing(width, angle, value) -> None:
    rows, columns = np.mgrid[:96, :96] - 48
    gap = np.abs(rows * np.cos(angle) + columns * np.sin(angle)) < width / 2
    image = np.random.default_rng(0).poisson(200, gap.shape).astype(np.uint16)
    missing = is_missing(np.where(gap, value, image).astype(np.uint16))
    assert missing[gap].mean() > 0.97
    assert not missing[~gap].any()


@pytest.mark.parametrize("photons", [0.05, 0.1, 0.3, 1.0, 5.0])
def test_slanted_lines_of_dark_pixels_are_no_gaps(photons) -> None:
    image = np.random.default_rng(0).poisson(photons, (256, 256)).astype(np.uint8)
    assert not is_missing(image).any()


def test_no_finite_number_is_missing() -> None:
    image = noise(40, 40, dtype=np.float32)
    image[3, 4], image[20, 7], image[9] = np.nan, np.inf, -np.inf
    np.testing.assert_array_equal(is_missing(image), ~np.isfinite(image))


def test_a_moving_border_is_missing_in_every_frame_by_itself() -> None:
    movie = noise(4, 60, 70)
    for number, frame in enumerate(movie):
        frame[:number], frame[:, : 2 * number] = 0, 0
    missing = is_missing(movie)
    for number, frame in enumerate(missing):
        expected = np.zeros_like(frame)
        expected[:number], expected[:, : 2 * number] = True, True
        np.testing.assert_array_equal(frame, expected)


# A dark background of which most pixels count no photon is measured.
@pytest.mark.parametrize("photons", [0.02, 0.1, 0.3, 1.0])
def test_few_photons_are_no_constant_area(photons) -> None:
    image = rng(1).poisson(photons, (256, 256)).astype(np.uint8)
    assert not is_missing(image).any()
    assert not is_outlier(image, is_missing(image)).any()


def test_a_slope_without_noise_is_no_constant_area() -> None:
    slope = np.tile(np.linspace(0, 60, 256), (256, 1))
    for image in (slope, slope.T, np.rint(4 * slope)):
        assert not is_missing(image).any()


def test_an_image_without_any_other_value_is_missing_whole() -> None:
    assert is_missing(np.full((2, 30, 30), 7)).all()


@pytest.mark.parametrize("value", [4095.0, 65535.0, 1e6, 1e30, -1e30])
def test_single_pixels_far_beyond_are_outliers(value) -> None:
    image = noise(64, 80, dtype=np.float64)
    places = np.zeros(image.shape, bool)
    places[[5, 30, 60], [7, 40, 79]] = True
    image[places] = value
    np.testing.assert_array_equal(is_outlier(image, is_missing(image)), places)


@pytest.mark.parametrize("step", [(0, 1), (1, 0), (1, 1), (1, -1)])
@pytest.mark.parametrize("value", [800.0, 65535.0, 1e30, -1e30])
def test_two_hot_pixels_that_touch_are_outliers(value, step) -> None:
    image = noise(64, 80, dtype=np.float64)
    places = np.zeros(image.shape, bool)
    places[30, 40] = places[30 + step[0], 40 + step[1]] = True
    image[places] = value * np.array([1.0, 0.9])
    np.testing.assert_array_equal(is_outlier(image, is_missing(image)), places)


@pytest.mark.parametrize("middle", [(20.0, 30.5), (20.5, 30.0), (20.5, 30.5), (20.0, 30.0)])
def test_a_spot_that_a_lens_can_make_is_none(middle) -> None:
    y, x = np.mgrid[:64, :64]
    far = (y - middle[0]) ** 2 + (x - middle[1]) ** 2
    image = rng(0).poisson(900 + 3000 * np.exp(-far / 2 / 0.8**2)).astype(np.float64)
    assert not is_outlier(image, is_missing(image)).any()


def test_a_dead_pixel_is_an_outlier_and_a_small_spot_is_none() -> None:
    y, x = np.mgrid[:64, :64]
    spot = 3000 * np.exp(-((y - 20.3) ** 2 + (x - 30.4) ** 2) / 2 / 0.8**2)
    image = rng(0).poisson(900 + spot).astype(np.float64)
    image[50, 50] = 0
    found = np.argwhere(is_outlier(image, is_missing(image)))
    assert found.tolist() == [[50, 50]]


def test_isolated_photons_are_no_outliers() -> None:
    photons = rng(0).poisson(0.003, (128, 128)).astype(np.float64)
    photons[40, 40] = 60
    found = np.argwhere(is_outlier(photons, np.zeros_like(photons, bool)))
    assert found.tolist() == [[40, 40]]


def test_mask_missing_changes_missing_pixels_only() -> None:
    image = noise(40, 40)
    assert mask_missing(image) is image
    image[:6] = 0
    marked = mask_missing(image)
    assert marked.dtype == np.float32
    assert np.isnan(marked[:6]).all()
    np.testing.assert_array_equal(marked[6:], image[6:])
    assert mask_missing(image.astype(np.int32)).dtype == np.float64


def test_gaps_are_filled_by_reflection() -> None:
    plane = np.arange(100.0).reshape(10, 10)
    missing = np.zeros((10, 10), bool)
    missing[:, :3] = True
    np.testing.assert_array_equal(fill_missing(plane, missing)[:, :3], plane[:, 4:7][:, ::-1])
    assert (fill_missing(plane, np.ones((10, 10), bool)) == 0).all()


def test_network_input_has_no_gaps_hot_pixels_or_extremes() -> None:
    image = noise(64, 64, dtype=np.float64)
    image[:8], image[30, 30] = np.nan, 1e9
    image[50:53, 50:53] += 1e6 + rng(0).normal(0, 9, (3, 3))
    shown = NetworkInput.of(image[None], Normalisation((50.0,), (7.0,)))
    assert np.isfinite(shown.image).all()
    assert abs(shown.image).max() == pytest.approx(40)
    assert abs(shown.image[0, 30, 30]) < 4
    np.testing.assert_array_equal(np.argwhere(shown.outlier[0]), [[30, 30]])
    # What is cut off is kept, to be given back.
    expected = image[50:53, 50:53] - 50 - 40 * 7
    np.testing.assert_allclose(shown.clipped[0, 50:53, 50:53], expected)
    assert np.count_nonzero(shown.clipped) == 9


@pytest.mark.parametrize("value", [65535.0, 1e6, 1e30, -1e30])
def test_the_normalisation_hardly_knows_of_hot_pixels(value) -> None:
    image = noise(128, 128, dtype=np.float64)
    before = load_pool(Planes(image, "YX"), generator()).normalisation
    # Some lie together, as where a cosmic ray passed.
    image[rng(1).integers(5, 120, 10), rng(2).integers(5, 120, 10)] = value
    image[40, 40:44] = value * (1 + 0.1 * np.arange(4))
    after = load_pool(Planes(image, "YX"), generator()).normalisation
    assert after.mean[0] == pytest.approx(before.mean[0], abs=0.6 * before.std[0])
    assert after.std[0] == pytest.approx(before.std[0], rel=1.0)


def test_black_frames_are_excluded_from_training() -> None:
    movie = np.zeros((5, 64, 64), np.uint16)
    movie[2] = noise(64, 64)
    pool = load_pool(Planes(movie, "TYX"), generator())
    assert len(pool.blocks) == 1
    assert pool.normalisation.mean[0] == pytest.approx(movie[2].mean())


def test_constant_areas_come_out_as_they_are_and_make_no_ripples(tiny: Config) -> None:
    image, gaps = with_gaps(np.float32)
    image = image[:96, 60:156]
    gaps = gaps[:96, 60:156]
    model = Redenoiser(tiny, "cpu").fit(image)
    denoised = model.predict(image).denoised
    np.testing.assert_array_equal(denoised[gaps], image[gaps])
    assert abs(denoised[~gaps] - 50).max() < 40


def test_a_result_has_the_grey_levels_of_a_large_offset(tiny: Config, noisy) -> None:
    image = noisy.astype(np.float64) / noisy.std()
    plain = Redenoiser(tiny, "cpu").fit(image).predict(image).denoised
    lifted = Redenoiser(tiny, "cpu").fit(image + 1e9).predict(image + 1e9).denoised
    assert plain.dtype == np.float32
    assert lifted.dtype == np.float64
    np.testing.assert_allclose(lifted - 1e9, plain, atol=2e-3)


def test_a_blank_channel_leaves_the_others_measured(tiny: Config, noisy) -> None:
    image = np.stack([noisy, np.zeros_like(noisy)])
    reports = measure_noise(image, "CYX")
    alone = measure_noise(noisy)
    assert reports[0].noise_std == alone[0].noise_std
    assert reports[1].noise_std == 0
    denoised = Redenoiser(tiny, "cpu").fit(image, "CYX").predict(image, "CYX").denoised
    assert (denoised[1] == 0).all()


@pytest.mark.parametrize("axes", ["TYX", "CYX"])
def test_a_plane_of_infinity_stays_beside_a_good_one(axes):
    good = np.random.default_rng(0).poisson(50, (48, 56)).astype(np.float32)
    denoised = denoise(np.stack([good, np.full_like(good, np.inf)]), axes, steps=0)
    assert np.isfinite(denoised[0]).all()
    assert (denoised[1] == np.inf).all()
