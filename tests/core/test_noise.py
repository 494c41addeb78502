"""Expected values: the formula of the camera that made the image, unless a test says otherwise."""

import dataclasses
import json
from importlib.resources import files

import numpy as np
import pytest
import skimage.io
import tifffile
import torch
from scipy import ndimage

from napari_redenoise.errors import InputError
from napari_redenoise.noise import (
    NoiseModel,
    describe,
    diagnose,
    estimate_noise,
    estimate_noise_from_repeats,
    poisson_gaussian,
)
from napari_redenoise.noise._diagnosis import blind_spot
from napari_redenoise.noise._estimate import level_before_cutting


def rng(seed=0):
    return np.random.default_rng(seed)


def spots(size=256, width=8.0):
    image = ndimage.gaussian_filter((rng().random((size, size)) > 0.998).astype(float), width)
    return image / image.max()


def ramp(size=256):
    return np.tile(np.linspace(0, 1, size), (size, 1))


def wheel(name):
    image = skimage.io.imread(str(files("skimage") / "data" / name)).astype(float)
    return (image - image.min()) / (image.max() - image.min())


def kinds(report):
    return {finding.kind: finding.text for finding in describe(report)}


def test_the_model_has_the_variance_of_the_camera():
    model = NoiseModel(gain=2.0, offset=100.0, read_noise=3.0)
    np.testing.assert_allclose(model.variance([100.0, 150.0]), [9.0, 109.0])
    np.testing.assert_allclose(model.std(150.0), np.sqrt(109.0))
    assert model.variance(0.0) == 0.0


@pytest.mark.parametrize("offset", [0, 100, 1000])
@pytest.mark.parametrize("gain", [0.5, 1, 2, 4, 10, 50])
def test_gain_and_noise_are_measured_within_ten_percent(gain, offset):
    for number, clean in enumerate((spots(), ramp(192), wheel("camera.png")[::2, ::2])):
        read = 1.5 * gain if offset else 0.0
        noisy = poisson_gaussian(40 * clean, rng(number), gain=gain, offset=offset, read_noise=read)
        if offset:
            noisy = np.clip(np.rint(noisy), 0, 65535).astype(np.uint16)
        report = estimate_noise(noisy)
        rms = np.sqrt(gain**2 * 40 * clean.mean() + read**2 + (offset > 0) / 12)
        assert report.model.gain == pytest.approx(gain, rel=0.1)
        assert report.noise_std == pytest.approx(rms, rel=0.1)
        assert report.model.std(report.mean) == pytest.approx(rms, rel=0.1)


def test_offset_and_read_noise_are_found_on_a_dark_background():
    noisy = poisson_gaussian(60 * spots(), rng(), gain=3.0, offset=100.0, read_noise=12.0)
    report = estimate_noise(noisy)
    assert report.model.offset == pytest.approx(100, abs=3)
    assert report.model.read_noise == pytest.approx(12, rel=0.1)


def test_without_a_dark_region_the_offset_has_a_range():
    noisy = poisson_gaussian(20 + 60 * ramp(), rng(), gain=3.0, offset=100.0)
    report = estimate_noise(noisy)
    low, high = report.offset_range
    # Darkest level: 20 photons, of which the darkest block has a little more.
    assert report.model.offset == high == pytest.approx(163, abs=5)
    assert report.model.read_noise == pytest.approx(3 * np.sqrt(20), rel=0.1)
    # No read noise: zero variance at 100; two errors lower as wide as the gain is uncertain.
    other = report.model.without_read_noise()
    assert other.offset == pytest.approx(100, abs=6)
    assert 100 - 18 < low < min(other.offset, 100)
    np.testing.assert_allclose(report.model.variance([200, 300]), other.variance([200, 300]))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_steep_gradient_has_the_level_of_its_darkest_blocks(seed):
    """There, light differs more within a block than its noise does."""
    light = np.tile(np.linspace(5, 200, 128), (128, 1))
    report = estimate_noise(rng(seed).poisson(light))
    blocks = light[:8].reshape(8, 16, 8).mean((0, 2))
    assert report.model.offset < blocks[0] + 1
    low, high = report.offset_range
    assert low <= 0 <= high < blocks[0] + 1


@pytest.mark.parametrize("background", [0, 2, 10, 40])
@pytest.mark.parametrize("gain", [0.5, 2, 10, 50])
def test_the_true_offset_and_read_noise_are_within_their_ranges(gain, background):
    clean, read = background + 60 * spots(192), 1.5 * gain
    frames = [
        poisson_gaussian(clean, rng(seed), gain=gain, offset=1000, read_noise=read)
        for seed in range(4)
    ]
    frames = np.rint(np.stack(frames)).astype(np.uint16)
    read = np.hypot(read, np.sqrt(1 / 12))  # with the rounding to integers
    for report in (estimate_noise(frames[0]), estimate_noise_from_repeats(frames)):
        assert report.model.gain == pytest.approx(gain, rel=0.1)
        low, high = report.offset_range
        assert low <= 1000 <= high == report.model.offset
        low, high = report.read_noise_range
        assert low <= read <= high == report.model.read_noise
        # What it says counts the photons of the background as read noise.
        expected = np.sqrt(read**2 + gain**2 * background)
        assert report.model.read_noise == pytest.approx(expected, rel=0.1)
        if background == 0:
            assert report.model.offset == pytest.approx(1000, abs=0.25 * read)


def test_gaussian_noise_of_known_kind_has_no_read_noise_range():
    known = estimate_noise(rng().normal(200 * ramp(), 20.0))
    assert known.model.gain == 0
    assert known.read_noise_range == (known.model.read_noise,) * 2
    even = estimate_noise(rng().poisson(np.full((128, 128), 50.0)))
    assert even.read_noise_range == (0.0, even.model.read_noise)


def test_noise_by_photons_alone_has_the_same_variances():
    model = NoiseModel(gain=2.0, offset=100.0, read_noise=6.0)
    assert model.without_read_noise() == NoiseModel(2.0, 82.0, 0.0)
    assert NoiseModel(0.0, 5.0, 3.0).without_read_noise() == NoiseModel(0.0, 5.0, 3.0)


def test_photon_noise_over_few_levels_is_not_read_noise():
    levels = ndimage.gaussian_filter(rng(1).normal(size=(128, 128)), 4)
    levels = (levels - levels.min()) / np.ptp(levels)
    report = estimate_noise(rng(10).poisson(50 + 10 * levels))
    assert report.model.gain == 0
    assert "cannot be measured" in kinds(report)["photons"]


@pytest.mark.parametrize("photons", [1, 2])
def test_the_gain_is_found_in_dim_photon_counts(photons):
    counts = rng().poisson(photons * spots(width=12.0))
    report = estimate_noise(counts)
    assert report.model.gain == pytest.approx(1.0, rel=0.1)
    assert report.noise_std == pytest.approx(np.sqrt(photons * spots(width=12.0).mean()), rel=0.1)
    assert report.clipped == (0.0, 0.0)


def test_gaussian_noise_has_no_gain():
    report = estimate_noise(rng().normal(200 * ramp(), 10.0))
    assert report.model.gain < 0.02
    assert report.model.read_noise == pytest.approx(10.0, rel=0.03)
    assert "does not depend on the signal" in kinds(report)["photons"]


def test_a_flat_image_has_an_unknown_gain():
    report = estimate_noise(rng().poisson(np.full((128, 128), 50.0)))
    assert report.noise_std == pytest.approx(np.sqrt(50), rel=0.05)
    assert "cannot be measured" in kinds(report)["photons"]


def test_texture_is_not_noise():
    clean = 400 * wheel("coins.png")
    inflated = estimate_noise(rng().normal(clean, 20.0)).noise_std
    assert inflated == pytest.approx(20.0, rel=0.1)
    assert ndimage.laplace(clean).std() > 3 * 20  # what a plain high-pass filter would see


@pytest.mark.parametrize("width", [3.0, 5.0])
def test_spots_smaller_than_a_block_tell_the_gain(width):
    report = estimate_noise(
        poisson_gaussian(100 * spots(width=width), rng(), gain=2.0, offset=50.0, read_noise=4.0)
    )
    assert report.model.gain == pytest.approx(2.0, rel=0.1)


def test_clipped_levels_do_not_count():
    noisy = poisson_gaussian(150 * ramp(), rng(), gain=2.0, offset=0.0, read_noise=8.0)
    report = estimate_noise(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
    assert report.model.gain == pytest.approx(2.0, rel=0.1)
    low, high = report.clipped
    assert low == pytest.approx((noisy <= 0.5).mean(), abs=0.001)
    assert high == pytest.approx((noisy >= 254.5).mean(), abs=0.001)
    assert "clipped at 255" in kinds(report)["clipping"]


def test_the_mean_level_before_clipping_is_recovered():
    values = rng().normal(3.0, 6.0, 400_000)
    left = np.maximum(values, 0.0)
    found = level_before_cutting(left.mean(), 0.0, (left == 0).mean())
    assert found == pytest.approx(3.0, abs=0.05)


def test_a_bright_part_does_not_hide_few_photons():
    rows, columns = np.mgrid[:160, :160]
    for seed, is_bright in ((0, columns < 40), (1, np.hypot(rows - 70, columns - 60) < 45)):
        report = estimate_noise(rng(seed).poisson(np.where(is_bright, 8, 0.02)))
        assert report.binning == 4
        assert report.faint == pytest.approx(0.02, rel=0.2)
        assert (report.autocorrelation.rows, report.autocorrelation.columns) == (0, 0)


@pytest.mark.parametrize(
    "camera",
    [
        lambda photons: photons + 100,
        lambda photons: np.rint(3 * photons + rng().normal(0, 2, photons.shape)) + 100,
        lambda photons: np.maximum(np.rint(photons + rng().normal(-8, 4, photons.shape)), 0),
    ],
)
def test_a_dark_background_has_no_few_photons(camera):
    light = np.full((160, 160), 0.5)
    light[:, :40] = 40
    assert estimate_noise(camera(rng().poisson(light))).binning == 1


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64"])
def test_the_pixel_type_does_not_matter(dtype):
    counts = rng().poisson(10 + 100 * ramp())
    expected = estimate_noise(counts.astype(float)).model
    found = estimate_noise(counts.astype(dtype)).model
    assert dataclasses.astuple(found) == pytest.approx(dataclasses.astuple(expected))


def test_the_unit_of_the_grey_levels_does_not_matter():
    counts = rng().poisson(10 + 100 * ramp()).astype(float)
    small, large = estimate_noise(1e-6 * counts), estimate_noise(1e6 * counts)
    assert large.model.gain == pytest.approx(1e12 * small.model.gain, rel=1e-6)
    assert large.noise_std == pytest.approx(1e12 * small.noise_std, rel=1e-6)


def test_pixels_without_a_value_are_left_out():
    noisy = poisson_gaussian(60 * ramp(), rng(), gain=2.0, offset=100.0)
    noisy[rng().random(noisy.shape) < 0.01] = np.nan
    noisy[10, 10], noisy[20, 20] = np.inf, -np.inf
    noisy[100:140] = np.nan
    report = estimate_noise(noisy)
    assert report.model.gain == pytest.approx(2.0, rel=0.1)
    assert np.isfinite(report.mean)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.full((32, 32), 3), "every pixel of the image is 3"),
        (np.full((32, 32), np.nan), "no finite pixels"),
        (np.zeros((15, 40)), "at least 16 x 16"),
        (np.zeros(40), "a plane"),
        (np.zeros((2, 2, 32, 32)), "a plane"),
        (np.zeros((32, 32), bool), "integer or floating-point"),
    ],
)
def test_images_without_measurable_noise_are_refused(image, words):
    with pytest.raises(InputError, match=words):
        estimate_noise(image)


def test_scattered_missing_pixels_are_refused():
    image = rng().normal(size=(64, 64))
    image[::4, ::4] = np.nan
    with pytest.raises(InputError, match="not finite"):
        estimate_noise(image)


@pytest.mark.parametrize("shape", [(16, 16), (17, 200), (3, 16, 31)])
def test_small_images_are_measured(shape):
    report = estimate_noise(rng().normal(100, 10, shape))
    assert report.noise_std == pytest.approx(10, rel=0.25)


def test_an_image_without_noise_is_clean():
    report = estimate_noise(np.repeat([0.0, 1.0], 32)[:, None] * np.ones(64))
    assert report.noise_std == 0
    assert "nothing to remove" in kinds(report)["sigma"]
    assert diagnose([report], fine_tuning=True).mask_shape == ("1",)


class Counted:
    """An array that knows how many of its pixels were read."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.pixels = array, array.shape, array.dtype, 0

    def __getitem__(self, key):
        part = self.array[key]
        self.pixels += part.size
        return part


@pytest.mark.parametrize("shape", [(3000, 3000), (60, 400, 400), (3, 1500, 1500)])
def test_of_large_images_a_part_is_read(shape):
    image = Counted(np.resize(rng().integers(0, 99, 997), shape).astype(np.uint8))
    estimate_noise(image)
    assert 2**19 < image.pixels <= 1.2 * 2**20


def test_repeats_of_a_large_movie_are_read_in_part():
    movie = Counted(np.resize(rng().integers(0, 99, 997), (40, 600, 600)).astype(np.uint8))
    estimate_noise_from_repeats(movie)
    assert 2**20 < movie.pixels <= 1.5 * 2**21


def test_repeats_of_a_textured_scene_give_its_noise():
    clean = 60 * wheel("brick.png")
    frames = [
        poisson_gaussian(clean, rng(seed), gain=4.0, offset=100.0, read_noise=8.0)
        for seed in range(3)
    ]
    report = estimate_noise_from_repeats(np.stack(frames))
    assert report.frames == 3
    assert report.model.gain == pytest.approx(4.0, rel=0.05)
    rms = np.sqrt(16 * clean.mean() + 64)
    assert report.noise_std == pytest.approx(rms, rel=0.01)
    assert max(map(abs, report.autocorrelation.x)) < 0.02


def test_a_flickering_lamp_is_no_noise_of_the_pixels():
    frames = np.stack([rng(k).normal(100 * ramp() + 20 * k, 5.0) for k in range(3)])
    assert estimate_noise_from_repeats(frames).noise_std == pytest.approx(5.0, rel=0.02)


@pytest.mark.parametrize("shape", [(1, 64, 64), (64, 64)])
def test_a_single_frame_is_no_repeat(shape):
    with pytest.raises(InputError, match="repeat"):
        estimate_noise_from_repeats(np.zeros(shape))


def blurred(size, taps_y, taps_x, seed=0):
    """Noise of variance 1 and its autocorrelation along y and x: that of the taps."""
    noise = rng(seed).normal(size=(size, size))
    for axis, taps in enumerate((taps_y, taps_x)):
        kernel = np.asarray(taps) / np.linalg.norm(taps)
        noise = ndimage.convolve1d(noise, kernel, axis=axis, mode="wrap")
    return noise


def of_taps(taps, lag):
    taps = np.asarray(taps, float)
    return float((taps[lag:] * taps[: len(taps) - lag]).sum() / (taps**2).sum())


@pytest.mark.parametrize(
    ("taps_y", "taps_x", "shape"),
    [
        ([1], [1], ("1",)),
        ([1], [1, 0.2], ("111",)),
        ([1, 0.2], [1], ("1", "1", "1")),
        ([1], [1, 0.3, 0.3], ("11111",)),
        ([1, 0.3], [1, 0.3], ("111", "111", "111")),
    ],
)
def test_the_blind_spot_covers_the_correlation(taps_y, taps_x, shape):
    noisy = 300 * spots() + 20 * blurred(256, taps_y, taps_x)
    report = estimate_noise(noisy)
    found = report.autocorrelation
    for along, taps in ((found.y, taps_y), (found.x, taps_x)):
        for lag in range(1, len(taps)):
            assert along[lag - 1] == pytest.approx(of_taps(taps, lag), abs=0.05)
    assert report.noise_std == pytest.approx(20, rel=0.1)
    advice = diagnose([report], fine_tuning=False)
    assert advice.mask_shape == shape
    assert advice.objective == ("noise2self" if shape == ("1",) else "noise2void")


@pytest.mark.parametrize("name", ["camera.png", "coins.png", "cell.png"])
def test_structure_is_not_correlation(name):
    noisy = rng().poisson(30 * wheel(name))
    found = estimate_noise(noisy).autocorrelation
    assert max(map(abs, (*found.x, *found.y))) < 0.05


def test_repeats_give_the_correlation_of_a_textured_scene():
    frames = [100 * wheel("brick.png") + 10 * blurred(512, [1], [1, 0.3], k) for k in range(2)]
    report = estimate_noise_from_repeats(np.stack(frames))
    assert report.autocorrelation.x[0] == pytest.approx(of_taps([1, 0.3], 1), abs=0.01)
    assert abs(report.autocorrelation.y[0]) < 0.01
    assert diagnose([report], fine_tuning=True).mask_shape == ("111",)


def test_offsets_of_rows_are_found():
    share = 0.15
    noisy = 300 * spots() + 20 * rng().normal(size=(256, 256))
    report = estimate_noise(noisy + 20 * share * rng(1).normal(size=(256, 1)))
    # Relative to all of the noise, the offsets included.
    assert report.autocorrelation.rows == pytest.approx(share / np.hypot(1, share), rel=0.3)
    assert report.autocorrelation.columns == 0
    assert "Rows" in kinds(report)["lines"]
    assert "subtract them first" in kinds(report)["lines"]
    # Where steps are all the noise, what looks like it may be a slope.
    coarse = dataclasses.replace(report, step=3 * report.noise_std)
    assert diagnose([coarse], fine_tuning=True).lines == "none"
    assert "subtract" not in kinds(coarse)["lines"]
    assert "lines" not in kinds(estimate_noise(noisy))


@pytest.mark.parametrize("share", [0.2, 0.3, 0.6])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("taps", [[1], [1, 0.5]])
def test_line_offsets_are_not_correlation(share, axis, taps):
    noisy = 300 * spots() + 20 * blurred(256, taps, [1])
    shape = (256, 1) if axis == 0 else (1, 256)
    report = estimate_noise(noisy + 20 * share * rng(1).normal(size=shape))
    advice = diagnose([report], fine_tuning=True)
    assert report.autocorrelation.reach == (len(taps) - 1, 0)
    assert advice.lines == ("rows" if axis == 0 else "columns")
    assert diagnose([report], fine_tuning=False).lines == advice.lines
    assert diagnose([estimate_noise(noisy)], fine_tuning=True).lines == "none"


def test_slowly_fading_correlation_is_no_line_offset():
    report = estimate_noise(rng().normal(size=(64, 64)))
    slow = dataclasses.replace(
        report.autocorrelation, x=(0.9, 0.8, 0.6, 0.4, 0.3, 0.2, 0.1, 0.08), rows=0.0, error=0.001
    )
    assert slow.reach == (0, 8)


def test_blind_spots_are_ellipses():
    assert blind_spot(0, 2) == ("11111",)
    assert blind_spot(1, 0) == ("1", "1", "1")
    assert blind_spot(2, 2) == ("01110", "11111", "11111", "11111", "01110")


def test_the_reach_ends_at_the_first_gap():
    report = estimate_noise(rng().normal(size=(64, 64)))
    gap = dataclasses.replace(
        report.autocorrelation, y=(0.0, 0.5, 0.5), x=(-0.3, 0.2, 0.01, 0.4), error=0.001
    )
    assert gap.reach == (0, 2)


def test_coarse_steps_are_reported():
    noisy = np.rint(rng().normal(100 * ramp(), 2.0) / 5) * 5
    report = estimate_noise(noisy.astype(np.uint8))
    assert report.step == 5
    assert "steps of 5.00" in kinds(report)["quantisation"]
    assert estimate_noise(rng().normal(100 * ramp(), 2.0)).step == 0


def test_gamma_is_reported():
    counts = rng().poisson(2 + 200 * ramp() ** 2).astype(float)
    assert "processing" in kinds(estimate_noise(counts**2))
    assert "processing" in kinds(estimate_noise(counts**0.4))
    assert "processing" not in kinds(estimate_noise(counts))


def test_photon_and_read_noise_are_distinguished():
    bright = poisson_gaussian(60 * spots(), rng(), gain=2.0, offset=100.0, read_noise=0.5)
    assert kinds(estimate_noise(bright))["photons"].startswith("Photon noise")
    assert "(1.9" in kinds(estimate_noise(bright))["photons"]
    dark = poisson_gaussian(60 * spots(), rng(), gain=2.0, offset=100.0, read_noise=20.0)
    assert kinds(estimate_noise(dark))["photons"].startswith("Camera (read) noise")


@pytest.mark.parametrize(("channel", "rms"), [(0, 18.7), (1, 28.4), (2, 14.6)])
def test_the_noise_of_a_real_camera(bench_data, channel, rms):
    folder = bench_data / "w2s_dev"
    frames = [tifffile.imread(folder / f"noisy_{f}_{channel}.tif") for f in ("036", "037")]
    for frame in frames:
        report = estimate_noise(frame)
        assert report.noise_std == pytest.approx(rms, rel=0.15)
        assert diagnose([report], fine_tuning=True).mask_shape == ("1",)
        assert report.clipped[1] == pytest.approx(0.0018, abs=0.0003)
    both = estimate_noise_from_repeats(np.stack(frames))
    assert both.noise_std == pytest.approx(rms, rel=0.02)
    gains = [estimate_noise(frame).model.gain for frame in frames]
    assert gains == pytest.approx([both.model.gain] * 2, rel=0.15)


def test_a_photon_counter_has_a_gain_of_one(bench_data):
    frames = tifffile.imread(bench_data / "flim_hazelnut_dev/frames_TYX.tif")
    for frame in frames:
        assert estimate_noise(frame).model.gain == pytest.approx(1.0, rel=0.15)
    report = estimate_noise_from_repeats(frames)
    assert report.model.gain == pytest.approx(1.0, rel=0.15)
    assert report.model.read_noise < 0.5


def test_a_scanner_s_noise_is_correlated_along_its_fast_axis(bench_data):
    folder = bench_data / "twophoton_sima_dev"
    meta = json.loads((folder / "meta.json").read_text())
    for frame in tifffile.imread(folder / "movie_TYX.tif")[:3]:
        report = estimate_noise(frame)
        assert report.autocorrelation.x[0] == pytest.approx(meta["noise_corr_x1"], abs=0.04)
        assert abs(report.autocorrelation.y[0]) < 0.05
        assert report.noise_std == pytest.approx(meta["diff_noise_std"], rel=0.1)
        assert diagnose([report], fine_tuning=True).mask_shape == ("111",)


def test_line_patterns_of_real_detectors(bench_data):
    folder = bench_data / "structured_dev"
    camera = estimate_noise(tifffile.imread(folder / "scmos_rownoise_actin60x_u8.tif"))
    assert camera.autocorrelation.rows > 0.05
    beam = estimate_noise(tifffile.imread(folder / "fibsem_curtaining_u8.tif"))
    assert beam.autocorrelation.columns > 0.05
    assert beam.autocorrelation.reach[0] > 0


@pytest.mark.parametrize("name", ["BPAE_B", "BPAE_G", "BPAE_R", "mice"])
def test_the_noise_of_a_confocal_frame_against_an_average(bench_data, name):
    folder = bench_data / "fmd_dev"
    pairs = json.loads((folder / "meta.json").read_text())["pairs"]
    pair = next(pair for pair in pairs if pair["id"] == f"confocal_{name}")
    noisy, average = (tifffile.imread(folder / pair[k]).astype(float) for k in ("noisy", "gt"))
    shift = [-value for value in pair["subpixel_shift_noisy_to_gt_yx"]]
    average = ndimage.shift(average, shift, mode="nearest")
    rest = (noisy - (average - pair["offset"]) / pair["scale"])[8:-8, 8:-8]
    assert estimate_noise(noisy).noise_std == pytest.approx(rest.std(), rel=0.15)


def waves(side: int = 512) -> np.ndarray:
    """A scene whose levels change slowly, 0 to about 1."""
    y, x = np.mgrid[:side, :side]
    return np.maximum(0.5 + np.sin(y / 40) * np.cos(x / 31), 0) / 1.5


@pytest.mark.parametrize(("background", "within"), [(2, 0.15), (10, 0.5)])
@pytest.mark.parametrize("gain", [0.5, 2, 50])
def test_skewness_separates_background_and_read_noise(gain, background, within):
    """By the variances alone the read noise would be 1.4 and 2.3 times the true one."""
    for seed in range(2):
        light = background + 45 * waves()
        noisy = poisson_gaussian(light, rng(seed), gain=gain, offset=1000, read_noise=1.5 * gain)
        report = estimate_noise(np.rint(noisy).astype(np.uint16))
        assert report.skewness.excess == 1
        read = np.hypot(1.5 * gain, np.sqrt(1 / 12))
        assert report.model.read_noise == pytest.approx(read, rel=within)
        assert report.skewness.offset == pytest.approx(1000, abs=4 * report.skewness.offset_error)


def test_an_electron_multiplier_is_known_by_its_skewness():
    """The gains of its photons are exponential: third cumulant 6, variance 2, so 6 / 2**2."""
    counts = rng().poisson(2 + 20 * waves()).astype(float)
    multiplied = np.where(counts > 0, rng(1).gamma(np.maximum(counts, 1e-9)), 0.0)
    report = estimate_noise(100 + 3 * multiplied)
    assert report.model.gain == pytest.approx(2 * 3, rel=0.05)
    assert report.skewness.excess == pytest.approx(1.5, abs=0.12)
    assert report.skewness.offset == pytest.approx(100, abs=1.5)


@pytest.mark.parametrize("kind", ["even", "Gaussian", "repeats"])
def test_insignificant_skewness_is_none(kind):
    if kind == "repeats":
        report = estimate_noise_from_repeats(rng().poisson(20 + 20 * waves(64), (4, 64, 64)))
    elif kind == "even":
        report = estimate_noise(rng().poisson(np.full((256, 256), 50.0)))
    else:
        report = estimate_noise(rng().normal(200 * ramp(), 20.0))
    assert report.skewness is None


def test_the_skewness_of_real_cameras(bench_data):
    """W2S looks like an electron multiplier, the other like a camera with read noise."""
    for name in ("003_0", "036_1", "101_2"):
        skewness = estimate_noise(
            tifffile.imread(bench_data / f"w2s_dev/noisy_{name}.tif")
        ).skewness
        assert 1.3 < skewness.excess < 1.6
    scmos = estimate_noise(tifffile.imread(bench_data / "hagen_dev/noisy_mito-20x-noise1.tif"))
    assert scmos.model.read_noise > 7


@pytest.mark.parametrize("share", [0.05, 0.17, 0.3])
def test_clipping_at_the_dark_end_is_reported_with_its_share(share) -> None:
    y, x = np.mgrid[:256, :256]
    photons = 4 + 20 * (1 + np.sin(x / 11) * np.cos(y / 13))
    noisy = poisson_gaussian(photons, np.random.default_rng(0), gain=4, read_noise=6)
    noisy = np.clip(np.rint(noisy - np.quantile(noisy, share)), 0, 255).astype(np.uint8)
    report = estimate_noise(noisy)
    assert report.clipped[0] == pytest.approx((noisy == 0).mean())
    assert "clipped at 0" in kinds(report)["clipping"]


@pytest.mark.parametrize("photons", [0.3, 1.0, 3.0])
def test_counts_that_reach_zero_are_not_clipped(photons) -> None:
    y, x = np.mgrid[:256, :256]
    light = photons * (1.1 + np.sin(x / 11) * np.cos(y / 13))
    counts = np.random.default_rng(0).poisson(light).astype(np.uint8)
    assert estimate_noise(counts).clipped == (0.0, 0.0)


@pytest.mark.parametrize("convert", [np.ndarray.tolist, torch.from_numpy])
def test_noise_of_lists_and_tensors(convert):
    image = np.random.default_rng(0).poisson(50, (64, 64)).astype(np.int32)
    assert estimate_noise(convert(image)).model == estimate_noise(image).model


def test_masked_pixels_count_in_no_noise():
    image = np.random.default_rng(0).poisson(50, (64, 64)).astype(np.float32)
    is_masked = np.arange(64)[:, None] < np.full(64, 20)
    masked = np.ma.array(np.where(is_masked, 6e4, image), mask=is_masked)
    assert estimate_noise(masked).model == estimate_noise(np.where(is_masked, np.nan, image)).model


def test_a_ragged_list_is_refused_in_words():
    with pytest.raises(InputError, match="is not an array of numbers"):
        estimate_noise([[1, 2], [3]])
