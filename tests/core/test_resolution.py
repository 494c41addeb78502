"""The supported resolution: estimates against the truth of synthetic scenes."""

import math

import numpy as np
import pytest
from scipy import ndimage

from napari_redenoise import Config, Redenoiser, assess
from napari_redenoise.assessment import (
    Band,
    Noise,
    Resolution,
    as_denoiser,
    in_pixels,
    map_unsupported_detail,
    measure_resolution,
    measure_response,
    pixel_size_of,
    support_map,
)
from napari_redenoise.assessment._checks import resolution_check
from napari_redenoise.assessment._perturbation import draw_photon_loss
from napari_redenoise.assessment._resolution import SHARE
from napari_redenoise.assessment._support import response_of_window
from napari_redenoise.data import Planes
from napari_redenoise.errors import InputError
from napari_redenoise.io import ImageFile
from napari_redenoise.model._previews import Window
from napari_redenoise.noise import (
    Autocorrelation,
    NoiseModel,
    NoiseReport,
    VariancePoint,
    estimate_noise,
    poisson_gaussian,
)

SHAPE = (320, 352)
NAME = "Supported resolution"


def ring(plane, coarse, fine):
    """What lies between two scales, without any of our code."""
    at = np.hypot(np.fft.fftfreq(plane.shape[0])[:, None], np.fft.fftfreq(plane.shape[1]))
    return np.fft.ifft2(np.fft.fft2(plane) * ((at >= 1 / coarse) & (at < 1 / fine))).real


def true_correlation(result, scene, band):
    # Tapered: what the rim of a plane leaks is more than a blur leaves of fine detail.
    taper = np.multiply.outer(*(np.hanning(side) for side in scene.shape))
    one, other = (
        ring(taper * (plane - plane.mean()), band.coarse, band.fine) for plane in (result, scene)
    )
    return float((one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum()))


def texture_of(seed):
    """Photons a pixel, 20 to 100, whose power falls with the square of the frequency."""
    rng = np.random.default_rng(seed)
    at = np.hypot(np.fft.fftfreq(SHAPE[0])[:, None], np.fft.fftfreq(SHAPE[1]))
    texture = np.fft.ifft2(np.fft.fft2(rng.normal(size=SHAPE)) / np.maximum(at, 0.02)).real
    return 60 + np.clip(20 * texture / texture.std(), -40, 40)


@pytest.fixture(scope="module")
def scene():
    return texture_of(3)


@pytest.fixture(scope="module")
def another():
    return texture_of(4)


def gaussian(width):
    return lambda window: ndimage.gaussian_filter(window, (0, width, width))


def median(window):
    return ndimage.median_filter(window, (1, 3, 3))


def resolved(noisy, denoiser, noise, **options):
    """Resolution and result of a denoiser on a plane."""
    denoised = denoiser(noisy[None].astype(np.float32))
    (response,) = measure_response(noisy[None], denoised, denoiser, [noise], **options)
    return measure_resolution(response), denoised[0]


def assert_agrees(resolution, denoised, scene, tolerance=0.06, fewest=5):
    # Of less than a millionth of the power, most has leaked from coarser scales.
    known = [
        band for band in resolution.bands if not math.isnan(band.correlation) and band.share > 1e-6
    ]
    assert len(known) >= fewest
    for band in known:
        truth = true_correlation(denoised, scene, band)
        assert band.correlation == pytest.approx(truth, abs=tolerance + 2 * band.error), band


def report_of(model, mean):
    """A report as of white noise that is known exactly."""
    variance = float(model.variance(mean))
    return NoiseReport(
        model,
        gain_error=0.0,
        offset_range=(model.offset, model.offset),
        noise_std=variance**0.5,
        mean=mean,
        autocorrelation=Autocorrelation((0.0,) * 8, (0.0,) * 8, 0.0),
        points=(VariancePoint(mean, variance, 100),),
        misfit=0.0,
        homogeneous=1.0,
        clipped=(0.0, 0.0),
        limits=(0.0, 1e4),
        step=0.0,
    )


MODELS = [NoiseModel(1.0, 0.0, 0.0), NoiseModel(7.0, 100.0, 20.0), NoiseModel(0.0, 0.0, 8.0)]


def noisy_of(scene, model, seed=0):
    rng = np.random.default_rng(seed)
    if model.gain == 0:
        return scene + rng.normal(0, model.read_noise, scene.shape)
    return poisson_gaussian(
        scene, rng, gain=model.gain, offset=model.offset, read_noise=model.read_noise
    )


@pytest.mark.parametrize("denoiser", [gaussian(0.7), gaussian(2.0), median])
@pytest.mark.parametrize("model", MODELS)
def test_the_estimated_correlation_is_the_true_one(scene, model, denoiser):
    noisy = noisy_of(scene, model)
    resolution, denoised = resolved(noisy, denoiser, Noise(model))
    assert_agrees(resolution, denoised, scene)


def test_the_correlation_of_the_noisy_image_follows_from_noise(scene):
    model = MODELS[0]
    resolution, _ = resolved(noisy_of(scene, model), lambda window: window, Noise(model))
    for band in resolution.bands:
        power = (ring(scene, band.coarse, band.fine) ** 2).mean()
        noise = scene.mean() * math.pi * (1 / band.fine**2 - 1 / band.coarse**2)
        if not math.isnan(band.correlation):
            assert band.correlation == pytest.approx(math.sqrt(power / (power + noise)), abs=0.05)


def test_invented_detail_is_not_supported(scene, another):
    model, blur, width = MODELS[0], gaussian(0.8), 1.5

    # As much of it as there is in truth, and of the same texture: only that it is not there.
    false = another - ndimage.gaussian_filter(another, width)

    def invents(window):
        return gaussian(width)(window) + false

    noisy = noisy_of(scene, model)
    honest, _ = resolved(noisy, blur, Noise(model))
    resolution, denoised = resolved(noisy, invents, Noise(model))
    assert_agrees(resolution, denoised, scene)
    coarse, *_, fine = zip(resolution.bands, honest.bands, strict=True)
    assert coarse[0].correlation > 0.98
    assert abs(fine[0].correlation) < 0.1
    assert abs(resolution.bands[-2].correlation) < 0.2 < honest.bands[-2].correlation - 0.4
    assert honest.supported < 4 < 6 < resolution.supported < 12
    assert resolution.unsupported_contrast > honest.unsupported_contrast + 0.1


def test_remaining_noise_is_not_supported_detail():
    """Without a scene nothing is supported, whatever noise remains."""
    noisy = np.random.default_rng(0).poisson(50.0, SHAPE)
    resolution, _ = resolved(noisy, gaussian(1.0), Noise(MODELS[0]))
    assert resolution.supported == math.inf
    assert resolution.unsupported_contrast == 1.0


def test_noise_behind_an_electron_multiplier(scene):
    rng = np.random.default_rng(2)
    photons = rng.poisson(scene / 10)
    noisy = np.where(photons > 0, rng.gamma(np.maximum(photons, 1), 1.0), 0.0)
    # Variance and third cumulant of a sum of exponential pulses: 2 and 6 times the light.
    resolution, denoised = resolved(noisy, median, Noise(NoiseModel(2.0, 0.0, 0.0), 1.5))
    assert_agrees(resolution, denoised, scene, fewest=3)


@pytest.mark.parametrize("excess", [1.0, 1.5])
@pytest.mark.parametrize("model", MODELS)
def test_drawn_noise_has_the_cumulants_of_the_noise(model, excess):
    level, share = model.offset + 40 * max(model.gain, 1), 0.05
    rng = np.random.default_rng(1)
    flat = np.full((1500, 1500), level)
    lost = draw_photon_loss(flat, model, share, rng, excess=excess)
    assert lost.mean() == pytest.approx(0.0, abs=5 * lost.std() / 1500)
    variance = float(model.variance(level))
    assert lost.var() == pytest.approx(share * variance, rel=0.01)
    third = share * excess * model.gain**2 * (level - model.offset)
    chance = 5 * float((lost**3).std()) / 1500
    assert (lost**3).mean() == pytest.approx(third, abs=chance)
    assert chance < abs(third) / 4 or model.gain in (0.0, 7.0)


def test_standard_errors_are_those_of_repeats(scene):
    model = MODELS[0]
    found = [
        resolved(noisy_of(scene, model, seed), gaussian(1.0), Noise(model), seed=seed)[0]
        for seed in range(12)
    ]
    values = np.array([[band.correlation for band in one.bands] for one in found])
    errors = np.array([[band.error for band in one.bands] for one in found])
    known = ~np.isnan(values).any(0)
    assert known.sum() >= 5
    ratio = values[:, known].std(0, ddof=1) / errors[:, known].mean(0)
    assert 0.3 < np.exp(np.log(ratio).mean()) < 1.7


@pytest.mark.parametrize(
    ("correlations", "limit"),
    [
        ((0.95, 0.9, 0.8, 0.6), 2 * 2**0.5),
        ((0.95, 0.9, math.nan, math.nan), 4.0),
        ((math.nan, 0.9, 0.8, 0.75), 2.0),
        ((0.5, 0.9, 0.8, 0.75), math.inf),
        ((math.nan,) * 4, math.inf),
    ],
)
def test_the_scale_is_interpolated_between_bands(correlations, limit):
    edges = [8.0 / 2 ** (n / 2) for n in range(5)]
    resolution = Resolution(
        tuple(
            Band(*edges[n : n + 2], correlation, 0.01, 0.25)
            for n, correlation in enumerate(correlations)
        )
    )
    assert resolution.supported == pytest.approx(limit)
    finer = sum(min(max(2 * math.log2(limit / edge), 0), 1) for edge in edges[1:]) / 4
    expected = 1.0 if math.isinf(limit) else math.sqrt(finer)
    assert resolution.unsupported_contrast == pytest.approx(expected)


def test_missing_and_clipped_pixels_do_not_count(scene):
    model = MODELS[0]
    noisy = noisy_of(scene, model)
    whole, _ = resolved(noisy, gaussian(1.0), Noise(model))
    marred = noisy.copy()
    marred[:40, :60] = np.nan
    marred[200:203, 100] = np.nan
    marred[250:253, 220:222] = 5000.0

    def denoiser(window):
        return gaussian(1.0)(np.where(np.isnan(window), 60, np.minimum(window, 120)))

    resolution, _ = resolved(marred, denoiser, Noise(model), limits=[(-math.inf, 5000.0)])
    for band, other in zip(resolution.bands, whole.bands, strict=True):
        if not math.isnan(other.correlation):
            assert band.correlation == pytest.approx(other.correlation, abs=0.05)


def test_too_few_pixels_give_no_resolution(scene):
    noisy = noisy_of(scene, MODELS[0])
    assert resolved(noisy[:40, :40], gaussian(1.0), Noise(MODELS[0]))[0] is None
    noisy[::8, ::8] = np.nan
    assert resolved(noisy, lambda window: window, Noise(MODELS[0]))[0] is not None
    noisy[::4, ::4] = np.nan
    assert resolved(noisy, lambda window: window, Noise(MODELS[0]))[0] is None


def test_the_map_shows_invented_detail(scene):
    model, blur = MODELS[0], gaussian(0.8)
    drawn = np.random.default_rng(8).normal(size=SHAPE)
    false, true = (ring(part, 8, 4) for part in (drawn, scene))
    false *= true.std() / false.std()
    left = np.arange(SHAPE[1]) < SHAPE[1] // 2

    def invents(window):
        kept = blur(window)
        return np.where(left, kept - ring(kept[0], 8, 4) + false, kept)

    noisy = noisy_of(scene, model)[None]
    denoised = invents(noisy)
    (response,) = measure_response(noisy, denoised, invents, [Noise(model)])
    shown = map_unsupported_detail(response, 8, 4)
    assert shown.shape == SHAPE
    assert (shown >= 0).all()
    assert (shown <= 1).all()
    assert shown[:, 40:130].mean() > 0.75
    assert shown[:, 220:310].mean() < 0.4


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_pixel_that_is_not_finite_has_no_response(scene, value, recwarn):
    noisy = noisy_of(scene, MODELS[0])[None].astype(float)
    noisy[0, 30, 40] = value

    def keeps(window):
        return np.where(np.isfinite(window), gaussian(0.8)(np.nan_to_num(window)), window)

    (response,) = measure_response(noisy, keeps(noisy), keeps, [Noise(MODELS[0])])
    assert not response.known[30, 40]
    assert all(part[30, 40] == 0 for part in response.response)
    assert np.isfinite(response.noisy).all()
    assert not [one for one in recwarn if issubclass(one.category, RuntimeWarning)]


def test_the_map_is_nan_where_most_pixels_are_missing(scene):
    model = MODELS[0]
    noisy = noisy_of(scene, model)[None].astype(float)
    noisy[0, 100:200, 100:200] = np.nan
    noisy[0, 30, 30] = np.nan

    def denoiser(window):
        return np.where(np.isnan(window), np.nan, gaussian(0.8)(np.nan_to_num(window, nan=60.0)))

    (response,) = measure_response(noisy, denoiser(noisy), denoiser, [Noise(model)])
    shown = map_unsupported_detail(response, 8, 4)
    assert np.isnan(shown[130:170, 130:170]).all()
    assert np.isfinite(shown[:60, :60]).all()
    assert np.isfinite(shown).mean() > 0.85


# -- the check --------------------------------------------------------------------------------


def check_of(noisy, denoised, axes=None, **options):
    (check,) = (c for c in assess(noisy, denoised, axes, **options).checks if c.name == NAME)
    return check


@pytest.fixture(scope="module")
def noisy(scene):
    return noisy_of(scene, MODELS[1])


def counted(denoiser):
    calls = []

    def counting(window):
        calls.append(window.shape)
        return denoiser(window)

    return counting, calls


def test_the_check_has_the_scale_in_pixels_and_units(noisy):
    blur = gaussian(1.0)
    denoised = blur(noisy[None])[0]
    check = check_of(noisy, denoised, denoiser=blur, pixel_size=(0.11, "µm"))
    assert 2.0 < check.value < 8.0
    said = f"{check.value:.1f} px ({check.value * 0.11:.2g} µm)"
    assert check.figure.startswith(f"the photons do not support detail finer than {said}")
    assert check.mark == "good"
    assert check.advice == ""
    sentence = assess(noisy, denoised, denoiser=blur).sentences()[-1]
    assert sentence == f"good: {NAME}: {check.figure.replace(said, said.split(' (')[0])}."


def test_the_noisy_image_holds_unsupported_detail(scene):
    noisy = noisy_of(scene / 4, MODELS[0])
    check = check_of(noisy, noisy, denoiser=lambda window: window)
    assert check.mark == "caution"
    assert "of the contrast of the result is finer" in check.figure
    assert check.advice


def test_without_a_denoiser_the_check_is_omitted(noisy):
    report = assess(noisy, ndimage.gaussian_filter(noisy, 0.8))
    check = next(check for check in report.checks if check.name == NAME)
    assert (check.mark, check.value) == ("unknown", None)
    assert "model" in check.figure
    assert NAME in report.omitted
    assert report.mark == max(
        (check.mark for check in report.checks if check.name not in report.omitted),
        key=("good", "unknown", "caution", "bad").index,
    )


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("correlated", "correlated"),
        ("lines", "line offsets"),
        ("clean", "no noise"),
        ("clipped", "clipped"),
        ("tiny", "too small"),
    ],
)
def test_without_white_noise_the_check_is_unknown(scene, kind, why):
    rng = np.random.default_rng(0)
    smooth = 5 * ndimage.gaussian_filter(scene, 6)
    noise = rng.normal(0, 15, SHAPE)
    noisy = smooth + noise
    if kind == "correlated":
        noisy = smooth + ndimage.gaussian_filter(noise, 0.8) * 3
    elif kind == "lines":
        noisy += rng.normal(0, 10, (SHAPE[0], 1))
    elif kind == "clean":
        noisy = np.add.outer(np.arange(128.0), np.arange(128.0)) * 4
    elif kind == "clipped":
        noisy = np.minimum(noisy, np.percentile(noisy, 60))
    else:
        noisy = noisy[:40, :40]
    reports = (report_of(NoiseModel(0.0, 0.0, 15.0), 300.0),) if kind == "tiny" else None
    denoiser, calls = counted(gaussian(1.0))
    denoised = ndimage.gaussian_filter(noisy, 1.0)
    check = check_of(noisy, denoised, denoiser=denoiser, reports=reports)
    assert (check.mark, check.value) == ("unknown", None)
    assert why in check.figure
    assert bool(calls) == (kind in ("clipped", "tiny"))


def test_the_middle_of_the_middle_plane_is_denoised(scene):
    rng = np.random.default_rng(5)
    large = np.tile(scene, (2, 2))
    stack = rng.poisson(np.stack([np.full_like(large, 60), large, np.full_like(large, 60)]))
    denoiser, calls = counted(gaussian(1.0))
    denoised = np.stack([gaussian(1.0)(plane[None].astype(float))[0] for plane in stack])
    reports = (report_of(MODELS[0], 60.0),)
    check = check_of(stack, denoised, "TYX", denoiser=denoiser, reports=reports)
    assert calls[:2] == [(1, 512, 512)] * 2
    # Planes without their neighbours.
    assert calls[2:] == [(1, 256, 256)] * 3
    assert check.value is not None
    assert check.value < 8


def test_the_coarsest_channel_is_named(scene):
    rng = np.random.default_rng(5)
    channels = np.stack([rng.poisson(scene), rng.poisson(scene / 20), rng.poisson(scene)])
    denoised = gaussian(1.0)(channels.astype(float))
    check = check_of(channels, denoised, "CYX", denoiser=gaussian(1.0))
    alone = check_of(channels[1], denoised[1], denoiser=gaussian(1.0))
    assert check.figure.endswith("(channel 1)")
    assert check.value == pytest.approx(alone.value, rel=0.15)


def test_it_stops_between_predictions(noisy):
    denoiser, calls = counted(gaussian(1.0))
    denoised = ndimage.gaussian_filter(noisy, 1.0)
    check = check_of(noisy, denoised, denoiser=denoiser, should_stop=lambda: len(calls) >= 1)
    assert check.mark == "unknown"
    assert "stopped" in check.figure
    assert len(calls) == 1


def test_a_model_is_a_denoiser(scene):
    noisy = np.random.default_rng(0).poisson(scene[:192, :192]).astype(np.float32)
    model = Redenoiser(Config().replace({"training.steps": 0}), "cpu").fit(noisy)
    denoiser = as_denoiser(model)
    expected = model.predict(noisy, tta=False, draws=0, corrections=False).denoised
    np.testing.assert_array_equal(denoiser(noisy[None])[0], expected)
    result = model.predict(noisy).denoised
    check = check_of(noisy, result, denoiser=denoiser)
    assert 2 <= check.value < 16
    stopped = as_denoiser(model, lambda: True)
    assert not stopped(noisy[None]).any()


def test_the_response_of_a_stack_is_beside_its_neighbours(scene):
    rng = np.random.default_rng(0)
    stack = rng.poisson(np.repeat(scene[None, :96, :96], 5, 0)).astype(np.float32)
    config = Config().replace({"training.steps": 0, "network.context": 2})
    model = Redenoiser(config, "cpu").fit(stack, "TYX")
    plain = {"tta": False, "draws": 0, "corrections": False}
    for middle in (2, 4):
        noisy = Planes(stack, "TYX")
        result = model.predict(stack, "TYX", **plain).denoised
        window = Window((middle,), slice(0, 96), slice(0, 96))
        reports = (report_of(MODELS[0], 60.0),)
        (found,) = response_of_window(
            noisy, Planes(result, "TYX"), window, reports, as_denoiser(model), lambda: False
        )
        thinned = stack.copy()
        thinned[middle] += SHARE * found.drawn[0]
        expected = model.predict(thinned, "TYX", **plain).denoised[middle] - result[middle]
        np.testing.assert_allclose(found.response[0], expected, atol=1e-3 * np.ptp(expected))


def test_the_map_of_a_window_and_its_refusals(noisy):
    planes, blur = Planes(noisy, "YX"), gaussian(1.0)
    denoised = Planes(blur(noisy[None])[0], "YX")
    reports = (estimate_noise(noisy),)
    window = Window((), slice(20, 220), slice(30, 300))
    shown, (coarse, fine) = support_map(planes, denoised, window, reports, blur)
    assert shown.shape == (200, 270)
    assert coarse / fine == pytest.approx(2.0)
    limit = check_of(noisy, denoised.array, denoiser=blur).value
    assert fine < limit * 1.3
    assert coarse > limit / 1.3
    small = Window((), slice(0, 40), slice(0, 40))
    with pytest.raises(InputError, match="show at least"):
        support_map(planes, denoised, small, reports, blur)
    assert support_map(planes, denoised, window, reports, blur, lambda: True) is None


def test_the_check_of_fully_supported_detail():
    bands = tuple(Band(4.0 / 2**n, 2.0 / 2**n, 0.9, 0.0, 0.5) for n in range(1))
    check = resolution_check([Resolution(bands)])
    assert check.figure == "the photons support all detail down to the pixels"
    assert check.value == 2.0
    assert in_pixels(3.14, None) == "3.1 px"


@pytest.mark.parametrize(
    ("unit", "resolution", "expected"),
    [
        ("µm", (10.0, 10.0), (0.1, "µm")),
        ("micron", (10.0, 10.0), (0.1, "µm")),
        ("\\u00B5m", (10.0, 10.0), (0.1, "µm")),
        ("nm", (0.01, 0.01), (100.0, "nm")),
        ("pixel", (1.0, 1.0), None),
        (None, (72.0, 72.0), None),
        ("µm", None, None),
        ("µm", (10.0, 5.0), None),
        ("µm", (0.0, 0.0), None),
    ],
)
def test_the_size_of_a_pixel_from_a_file(unit, resolution, expected):
    image = ImageFile(np.empty(0), "YX", {"unit": unit}, resolution)
    found = pixel_size_of(image)
    assert found == (None if expected is None else (pytest.approx(expected[0]), expected[1]))
