from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage import data

from napari_redenoise import Config, Redenoiser
from napari_redenoise.config import NoiseConfig, ObjectiveConfig
from napari_redenoise.data import Planes
from napari_redenoise.errors import InputError
from napari_redenoise.model import (
    Corrections,
    TrainingImages,
    channel_stack,
    measure_noise,
    noise_reports,
)
from napari_redenoise.model._noise_reports import pretrained_residual
from napari_redenoise.model._plan import make_plan
from napari_redenoise.noise import (
    Diagnosis,
    NoiseModel,
    NoiseReport,
    describe,
    diagnose,
    noise_in_words,
    noise_model,
    poisson_gaussian,
)


def case_of(report: NoiseReport) -> str:
    return diagnosed(report).case


def diagnosed(*reports: NoiseReport) -> Diagnosis:
    return diagnose(reports, fine_tuning=True)


def resolve(
    objective: ObjectiveConfig, planes: Planes, *, fine_tuning: bool = False
) -> ObjectiveConfig:
    """The objective of the plan of a run, begun with pretrained or with random weights."""
    start = "pretrained" if fine_tuning else "random"
    config = Config(objective=objective, training={"start": start})
    return make_plan(config, TrainingImages(planes), torch.device("cpu")).config.objective


@pytest.fixture(scope="module")
def photons() -> np.ndarray:
    """Expected photons, (128, 128): smooth, and dark in places."""
    image = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(128, 128)), 8)
    image = image / image.std()
    return 60.0 * np.maximum(image + 0.5, 0.0)


def camera(photons: np.ndarray, gain: float = 3.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return poisson_gaussian(photons, rng, gain=gain, offset=100.0, read_noise=2.0)


def test_a_channel_is_read_as_a_stack_of_planes() -> None:
    array = np.arange(2 * 3 * 2 * 20 * 24, dtype=np.uint16).reshape(2, 3, 2, 20, 24)
    stack = channel_stack(Planes(array, "TZCYX"), 1)
    assert stack.shape == (6, 20, 24)
    assert stack.dtype == np.uint16
    rows, columns = slice(2, 9), slice(4, 8)
    for number in range(6):
        expected = array[number // 3, number % 3, 1, rows, columns]
        np.testing.assert_array_equal(stack[number, rows, columns], expected)
    plane = channel_stack(Planes(array[0, 0, 0], "YX"), 0)
    np.testing.assert_array_equal(plane[0, rows, columns], array[0, 0, 0, rows, columns])


def test_r2r_takes_the_noise_that_is_measured(photons: np.ndarray) -> None:
    objective = resolve(ObjectiveConfig(kind="r2r"), Planes(camera(photons), "YX"))
    (gain,) = objective.noise.gain
    assert gain == pytest.approx(3.0, rel=0.15)
    assert objective.noise.offset == pytest.approx((100.0,), abs=6)


def test_r2r_treats_a_background_as_photon_noise() -> None:
    """Photon counts of a ramp, the darkest of 20: their variance is zero at 0."""
    light = np.tile(np.linspace(20, 100, 192), (192, 1))
    counts = np.random.default_rng(0).poisson(light)
    noise = resolve(ObjectiveConfig(kind="r2r"), Planes(counts, "YX")).noise
    assert noise.read_noise == (0.0,)
    assert noise.offset == pytest.approx((0.0,), abs=4)


def test_r2r_keeps_read_noise_where_pixels_are_too_dark() -> None:
    light = np.maximum(blobs(256, 10, -60, 60, 0), 0)
    noisy = poisson_gaussian(light, np.random.default_rng(0), gain=3.0, offset=100, read_noise=2.4)
    noise = resolve(ObjectiveConfig(kind="r2r"), Planes(noisy, "YX")).noise
    assert noise.read_noise == pytest.approx((2.4,), rel=0.1)
    assert noise.offset == pytest.approx((100.0,), abs=0.5)


def test_noise_is_described_in_one_line() -> None:
    mixed = NoiseConfig(gain=(2.5, 0.0), offset=(100.0,), read_noise=(3.0, 8.0))
    assert noise_in_words(mixed) == (
        "gain 2.5, offset 100, read noise 3 grey levels; "
        "Gaussian noise of standard deviation 8 grey levels"
    )


def test_every_channel_has_noise_of_its_own(photons: np.ndarray) -> None:
    image = np.stack([camera(photons, 3.0), camera(photons, 10.0, seed=1)])
    objective = resolve(ObjectiveConfig(kind="r2r"), Planes(image, "CYX"))
    assert objective.noise.gain == pytest.approx((3.0, 10.0), rel=0.2)


def test_photon_noise_is_never_gaussian_by_default(tiny: Config, photons) -> None:
    """The fit writes what it has measured, so the model says what it was trained with."""
    model = Redenoiser(tiny.replace({"objective.kind": "r2r"}), "cpu").fit(camera(photons))
    assert model.session.plan.config.objective.noise.gain[0] == pytest.approx(3.0, rel=0.15)
    assert model.session.provenance["config"]["objective"]["noise"]["gain"][0] > 2


def test_noise_that_is_given_is_kept(photons: np.ndarray) -> None:
    noise = NoiseConfig(gain=(7.0,))
    given = ObjectiveConfig(kind="r2r", noise=noise, lines="none", smooth_scales=0)
    assert resolve(given, Planes(camera(photons), "YX")) == given


def test_r2r_on_an_image_without_noise_is_refused_in_words() -> None:
    y, x = np.mgrid[:64, :64].astype(float)
    with pytest.raises(InputError, match="no noise was found"):
        resolve(ObjectiveConfig(kind="r2r"), Planes(y + 2 * x, "YX"))


def test_r2r_does_not_assume_gaussian_noise() -> None:
    even = np.random.default_rng(0).poisson(20.0, (64, 64))
    with pytest.raises(InputError, match=r"cannot be measured.*noise2self"):
        resolve(ObjectiveConfig(kind="r2r"), Planes(even, "YX"))


def blobs(size: int, width: float, low: float, high: float, seed: int) -> np.ndarray:
    """Smooth blobs (size, size) of levels from low to high."""
    image = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), width)
    return low + (high - low) * (image - image.min()) / np.ptp(image)


# Size, width of the blobs, photons. The levels of most differ too little to show a gain.
DIM_AND_FLAT = (
    (64, 2, 5, 20),
    (64, 4, 20, 40),
    (64, 4, 50, 100),
    (64, 16, 0, 3),
    (64, 16, 50, 60),
    (128, 2, 0, 30),
    (128, 2, 50, 100),
    (128, 4, 50, 60),
    (128, 16, 100, 110),
    (256, 4, 50, 60),
    (256, 16, 100, 110),
)


@pytest.mark.parametrize("case", DIM_AND_FLAT)
def test_no_photon_noise_is_resolved_to_gaussian_noise(case: tuple[int, ...]) -> None:
    """Photons of a counter and of a camera, and with the background subtracted."""
    low, high = case[2:]
    for seed in range(4):
        light = blobs(*case, seed)
        counts = np.random.default_rng(seed + 9).poisson(light)
        read = np.random.default_rng(seed + 99).normal(0, 2, light.shape)
        seen = np.rint(100 + 2 * counts + read).astype(np.uint16)
        images = [(counts, 1.0), (seen, 2.0)]
        if high > 1.5 * low:  # Else the noise is the same at all levels, but for a fifth.
            images.append((counts - counts.min(), 1.0))
        for image, gain in images:
            try:
                objective = resolve(ObjectiveConfig(kind="r2r"), Planes(image, "YX"))
            except InputError as refused:
                assert "cannot be measured" in str(refused)  # noqa: PT017
            else:
                assert objective.noise.gain[0] > 0.5 * gain


@pytest.mark.parametrize("sigma", [10.0, 25.0])
@pytest.mark.parametrize("levels", [(0, 200), (100, 300), (100, 600)])
def test_gaussian_noise_over_many_levels_is_known_as_such(levels, sigma: float) -> None:
    for seed in range(2):
        noise = np.random.default_rng(seed + 5).normal(0, sigma, (256, 256))
        noisy = blobs(256, 16, *levels, seed) + noise
        objective = resolve(ObjectiveConfig(kind="r2r"), Planes(noisy, "YX"))
        gain, read_noise = objective.noise.gain[0], objective.noise.read_noise[0]
        assert gain == 0
        assert read_noise == pytest.approx(sigma, rel=0.05)


def test_auto_takes_noise2self_for_white_noise(photons: np.ndarray) -> None:
    objective = resolve(ObjectiveConfig(kind="auto"), Planes(camera(photons), "YX"))
    assert objective == ObjectiveConfig(kind="noise2self", lines="none", smooth_scales=0)


def test_auto_fine_tunes_by_r2r_if_the_noise_is_known(photons) -> None:
    planes = Planes(camera(photons), "YX")
    fine_tuning = resolve(ObjectiveConfig(kind="auto"), planes, fine_tuning=True)
    assert fine_tuning.kind == "r2r"
    assert fine_tuning.noise == resolve(ObjectiveConfig(kind="r2r"), planes).noise
    assert resolve(ObjectiveConfig(kind="auto"), planes).kind == "noise2self"
    # Noise that is the same everywhere does not say whether it grows with the light.
    even = Planes(np.random.default_rng(0).normal(100, 5, photons.shape), "YX")
    assert resolve(ObjectiveConfig(kind="auto"), even).kind == "noise2self"
    # But who asked for R2R is not given something else.
    with pytest.raises(InputError, match="cannot be measured in this image"):
        resolve(ObjectiveConfig(kind="r2r"), even)
    # With the pretrained network it can be told.
    noise = resolve(ObjectiveConfig(kind="r2r"), even, fine_tuning=True).noise
    assert noise.gain == (0.0,)
    assert noise.read_noise == pytest.approx((5.0,), rel=0.05)


def test_the_residual_is_measured_where_it_matters(photons) -> None:
    """Not where R2R suits what was measured, unless that network is used as it is."""
    planes = Planes(camera(photons), "YX")
    (white,) = noise_reports(planes)
    assert white.residual is None
    (always,) = noise_reports(planes, always=True)
    assert always.residual.ratio == pytest.approx(1, abs=0.15)
    assert replace(always, residual=None) == white
    even = Planes(np.random.default_rng(0).normal(100, 5, photons.shape), "YX")
    assert noise_reports(even)[0].residual is not None
    assert noise_reports(even, ask_denoiser=False)[0].residual is None
    # Every channel has its own.
    both = Planes(np.stack([camera(photons), np.full_like(camera(photons), 7)]), "CYX")
    first, constant = noise_reports(both, always=True)
    assert first == always
    assert constant.residual is None


@pytest.mark.parametrize("period", [4, 5])
def test_fringes_are_structure_that_the_network_does_not_know(period: int) -> None:
    """As of structured illumination: the residual is mostly fringes, at one frequency."""
    y, x = np.indices((256, 256))
    fringes = 1 + np.cos(2 * np.pi / period * (0.955 * x + 0.296 * y))
    noisy = np.random.default_rng(0).poisson(20 + 50 * fringes)
    (report,) = noise_reports(Planes(noisy, "YX"))
    assert report.residual.pattern > 0.8
    assert diagnosed(report).case == "unknown structure"
    flat = np.random.default_rng(0).poisson(70, (128, 128))
    (report,) = noise_reports(Planes(flat, "YX"), always=True)
    # White noise has its power evenly: the strongest of 500 have 7 times the mean.
    assert report.residual.pattern == pytest.approx(0.015, abs=0.005)


def test_noise_without_a_line_is_not_drawn(photons) -> None:
    report = noise_reports(Planes(camera(photons), "YX"))[0]
    assert diagnosed(report).objective == "r2r"
    assert diagnosed(replace(report, misfit=0.5)).objective == "noise2self"
    assert diagnosed(report, replace(report, misfit=0.5)).objective == "noise2self"


def test_auto_chooses_noise2self_without_a_noise_measurement() -> None:
    even = np.full((64, 64), 7.0)
    with pytest.raises(InputError):
        noise_reports(Planes(even, "YX"))
    assert resolve(ObjectiveConfig(kind="auto"), Planes(even, "YX")).kind == "noise2self"


@pytest.mark.parametrize("axis", [0, 1])
def test_auto_hides_the_correlation_length(photons, axis: int) -> None:
    white = np.random.default_rng(2).normal(size=photons.shape)
    noisy = photons + 20 * ndimage.uniform_filter1d(white, 2, axis=axis, mode="wrap")
    objective = resolve(ObjectiveConfig(kind="auto"), Planes(noisy, "YX"))
    assert objective.kind == "noise2void"
    shape = np.array([list(row) for row in objective.mask_shape])
    assert shape.shape[axis] >= 3
    assert shape.shape[1 - axis] == 1


def test_the_channel_with_the_largest_blind_spot_decides(photons: np.ndarray) -> None:
    white = np.random.default_rng(2).normal(size=photons.shape)
    smeared = photons + 20 * ndimage.uniform_filter1d(white, 2, axis=1, mode="wrap")
    for order in ((0, 1), (1, 0)):
        channels = np.stack([camera(photons), smeared])[list(order)]
        advice = diagnosed(*noise_reports(Planes(channels, "CYX")))
        assert advice.objective == "noise2void"


def test_the_blind_spot_covers_the_correlation_of_any_channel(photons) -> None:
    white = np.random.default_rng(2).normal(size=(2, *photons.shape))
    along = [
        photons + 20 * ndimage.uniform_filter1d(part, 2, axis=axis, mode="wrap")
        for axis, part in enumerate(white)
    ]
    advice = diagnosed(*noise_reports(Planes(np.stack(along), "CYX")))
    assert len(advice.mask_shape) >= 3
    assert len(advice.mask_shape[0]) >= 3


@pytest.fixture(scope="module")
def fine() -> np.ndarray:
    """A image with details as fine as pixels and next to no noise, (256, 256), 8 bits."""
    image = data.camera()[96:352, 200:456]
    noisy = image + np.random.default_rng(4).normal(0, 0.3, image.shape)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def test_structure_that_the_network_does_not_know_is_not_noise(fine) -> None:
    """Blind spots would blur it."""
    (report,) = noise_reports(Planes(fine, "YX"))
    assert report.residual.ratio > 2
    assert diagnosed(replace(report, residual=None)).objective != "r2r"
    assert diagnosed(report).objective == "r2r"
    # Random weights know no structure at all.
    unlike = diagnose([report], fine_tuning=False)
    assert unlike == diagnose([replace(report, residual=None)], fine_tuning=False)
    objective = resolve(ObjectiveConfig(), Planes(fine, "YX"), fine_tuning=True)
    assert objective.kind == "r2r"
    assert objective.noise.read_noise == pytest.approx((report.noise_std,))


def test_a_colour_mosaic_is_no_noise() -> None:
    clean = blobs(96, 8, 20, 80, 3)
    clean[::2, ::2] *= 0.4
    clean[1::2, 1::2] *= 0.6
    (report,) = noise_reports(Planes(np.random.default_rng(1).poisson(clean), "YX"))
    assert case_of(report) == "unknown structure"
    assert any("it does not know such structure" in finding.text for finding in describe(report))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_structure_without_any_noise_is_kept(fine, dtype) -> None:
    flat = np.full(fine.shape, 50, dtype)
    flat[64:192, 64:192] = fine[64:192, 64:192]
    objective = resolve(ObjectiveConfig(), Planes(flat, "YX"), fine_tuning=True)
    assert objective.kind == "r2r"
    assert 0 < objective.noise.read_noise[0] < 1


def test_the_report_names_unknown_structure(fine) -> None:
    (report,) = noise_reports(Planes(fine, "YX"))
    texts = [finding.text for finding in describe(report)]
    assert any("times as much as the noise: it does not know" in text for text in texts)
    # What seems to be correlation is that of the structure.
    assert not any("Correlated" in text for text in texts)


@pytest.mark.parametrize("blur", [0.5, 0.7])
def test_correlated_noise_is_not_structure(blur: float) -> None:
    scene = blobs(256, 10, 20, 120, 0)
    noise = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=scene.shape), blur)
    noisy = (scene + 12 * noise / noise.std()).astype(np.float32)
    (report,) = noise_reports(Planes(noisy, "YX"))
    assert report.residual.ratio == pytest.approx(1, abs=0.15)
    assert min(report.residual.correlation) > 0.15
    assert diagnosed(report).objective == "noise2void"


def test_smooth_noise_with_a_large_residual_is_not_structure() -> None:
    scene = blobs(256, 10, 20, 120, 0)
    noise = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=scene.shape), 1.0)
    noisy = (scene + 12 * noise / noise.std()).astype(np.float32)
    (report,) = noise_reports(Planes(noisy, "YX"))
    assert report.residual.is_strong
    assert diagnosed(report).objective == "noise2void"
    assert any("cannot be told from structure" in finding.text for finding in describe(report))
    # By hand, if it is structure.
    assert resolve(ObjectiveConfig(kind="r2r"), Planes(noisy, "YX"), fine_tuning=True).noise


@pytest.fixture(scope="module")
def rough() -> np.ndarray:
    """A surface with structure at every place, (256, 256), 8 bits."""
    return data.gravel()[128:384, 128:384]


def test_structure_is_told_from_correlated_noise(rough) -> None:
    """Blind spots as large as that would blur it: 26 instead of 38 dB."""
    noisy = rough + np.random.default_rng(7).normal(0, 2, rough.shape)
    planes = Planes(np.clip(np.round(noisy), 0, 255).astype(np.uint8), "YX")
    (report,) = noise_reports(planes)
    assert max(report.autocorrelation.y[0], report.autocorrelation.x[0]) > 0.15
    assert max(report.residual.correlation) < 0.05
    assert diagnosed(report).objective == "r2r"
    assert diagnosed(replace(report, residual=None)).objective == "noise2void"
    assert diagnose([report], fine_tuning=False).objective == "noise2void"
    texts = " ".join(finding.text for finding in describe(report))
    assert "white (independent from pixel to pixel), so it is the noise" in texts
    assert "Correlated" not in texts
    objective = resolve(ObjectiveConfig(), planes, fine_tuning=True)
    noise = objective.noise
    variance = noise.gain[0] * (rough.mean() - noise.offset[0]) + noise.read_noise[0] ** 2
    # The structure counts as noise in part, in what is removed less than in what was measured.
    assert 2 < np.sqrt(variance) < 0.9 * report.noise_std


@pytest.mark.parametrize("photons_at_white", [100, 1000])
def test_noise_hidden_by_structure_is_measured_by_the_residual(rough, photons_at_white) -> None:
    rng = np.random.default_rng(8)
    gain = 255 / photons_at_white
    noisy = (gain * rng.poisson(rough / gain)).astype(np.float32)
    (report,) = noise_reports(Planes(noisy, "YX"))
    assert diagnosed(replace(report, residual=None)).noise is None
    objective = resolve(ObjectiveConfig(), Planes(noisy, "YX"), fine_tuning=True)
    assert objective.kind == "r2r"
    assert objective.noise.gain == pytest.approx((gain,), rel=0.25)


def test_r2r_draws_white_noise_of_a_flat_image() -> None:
    scene = blobs(256, 6, 20, 104, 0)
    noisy = scene + np.random.default_rng(9).normal(0, 5, scene.shape)
    (report,) = noise_reports(Planes(noisy, "YX"))
    residual = pretrained_residual(Planes(noisy, "YX"), report)
    unknown = replace(report, gain_error=1e3, residual=residual)
    assert not unknown.is_gain_known
    assert diagnosed(unknown).objective == "r2r"
    model = noise_model(unknown)
    assert model.gain == 0
    assert model.read_noise == pytest.approx(5, rel=0.05)
    # Or it grows, by what is removed.
    growing = replace(residual, noise=NoiseModel(2.0, 90.0, 1.0))
    assert noise_model(replace(unknown, residual=growing)).gain >= 2


def looked_at(**changes: object) -> NoiseReport:
    """White noise of unknown growth, 5 grey levels, and what the network removes of it."""
    scene = blobs(256, 6, 20, 104, 0)
    noisy = scene + np.random.default_rng(9).normal(0, 5, scene.shape)
    (report,) = noise_reports(Planes(noisy, "YX"))
    residual = replace(pretrained_residual(Planes(noisy, "YX"), report), **changes)
    return replace(report, gain_error=1e3, residual=residual)


def with_correlation(report: NoiseReport, first: float, **changes: float) -> NoiseReport:
    """With so much shared by neighbours along y."""
    found = replace(report.autocorrelation, y=(first, *([0.0] * 7)), **changes)
    return replace(report, autocorrelation=found)


def test_a_residual_more_correlated_than_the_noise_is_structure() -> None:
    """As in electron microscopy: calm places hold structure too, which counts as noise there."""
    least = NoiseModel(0.0, 0.0, 3.0)
    unknown = with_correlation(looked_at(correlation=(0.2, 0.0), noise=least), 0.03)
    assert not unknown.residual.is_strong
    assert case_of(unknown) == "unknown structure"
    assert diagnosed(unknown).objective == "r2r"
    assert noise_model(unknown) == least
    texts = " ".join(finding.text for finding in describe(unknown))
    assert "would remove structure with the noise" in texts
    assert "estimated at 3.00 grey levels RMS" in texts
    # Never more than was measured.
    more = replace(unknown.residual, noise=NoiseModel(0.0, 0.0, 7.0))
    assert noise_model(replace(unknown, residual=more)) == unknown.model
    # Noise that is correlated as much is no structure, nor are offsets of lines.
    assert case_of(with_correlation(unknown, 0.2)) != "unknown structure"
    assert diagnosed(with_correlation(unknown, 0.2)).objective == "noise2void"
    assert case_of(with_correlation(unknown, 0.03, rows=0.3)) != "unknown structure"


@pytest.mark.parametrize("blur", [1.2, 1.5])
def test_smooth_noise_is_not_white_by_the_residual(blur: float) -> None:
    scene = blobs(256, 10, 20, 120, 0)
    noise = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=scene.shape), blur)
    noisy = (scene + 12 * noise / noise.std()).astype(np.float32)
    (report,) = noise_reports(Planes(noisy, "YX"))
    white = replace(report.residual, correlation=(0.0, 0.0))
    assert case_of(replace(report, residual=white)) != "white by residual"


def test_photon_noise_is_found_after_the_line_correction(photons) -> None:
    """Measured without them the noise seemed to be less than a tenth, and the rest structure."""
    noisy = camera(np.kron(photons, np.ones((2, 2))))
    (report,) = noise_reports(Planes(noisy, "YX"), ask_denoiser=False)
    wrong = replace(report, model=NoiseModel(0.0, 100.0, 0.6), noise_std=0.6, gain_error=1e3)
    wrong = replace(wrong, residual=pretrained_residual(Planes(noisy, "YX"), wrong))
    wrong = replace(wrong, homogeneous=0.1)
    assert wrong.residual.ratio > 5
    assert case_of(wrong) != "unknown structure"
    assert diagnosed(wrong).objective == "r2r"
    assert noise_model(wrong).gain == pytest.approx(3, rel=0.1)


def test_a_noisier_plane_of_a_stack_holds_no_structure() -> None:
    rng = np.random.default_rng(6)
    scene = blobs(256, 10, 20, 120, 0)
    stack = np.stack([scene + rng.normal(0, sigma, scene.shape) for sigma in (2, 2, 6, 2, 2)])
    planes = Planes(stack, "TYX")
    report = replace(noise_reports(planes)[0], residual=None)
    assert report.noise_std < 4
    assert pretrained_residual(planes, report).ratio == pytest.approx(1, abs=0.1)


def test_a_blank_plane_is_passed_over(fine) -> None:
    small = fine[:128, 128:256]
    stack = np.stack([small, np.zeros_like(small), np.zeros_like(small)])
    report = noise_reports(Planes(small, "YX"))[0]
    assert pretrained_residual(Planes(stack, "TYX"), report).ratio > 1


def test_one_window_of_a_plane_with_an_empty_middle_is_read(fine) -> None:
    plane = np.zeros((2600, 2600), np.uint8)
    plane[:200, :200] = fine[:200, :200]
    report = noise_reports(Planes(fine, "YX"))[0]
    assert pretrained_residual(Planes(plane, "YX"), report) is None


def test_smooth_noise_may_be_underestimated(fine) -> None:
    (report,) = noise_reports(Planes(fine, "YX"))
    smooth = replace(report.autocorrelation, y=(0.6, *report.autocorrelation.y[1:]))
    doubled = replace(report, residual=replace(report.residual, ratio=2.5))
    assert case_of(doubled) == "unknown structure"
    assert case_of(replace(doubled, autocorrelation=smooth)) != "unknown structure"


def test_filled_and_missing_pixels_do_not_change_the_noise(fine) -> None:
    whole = noise_reports(Planes(fine, "YX"))[0]
    expected = pretrained_residual(Planes(fine, "YX"), whole).ratio
    filled = fine.astype(np.float32)
    filled[:, :128] = 7
    filled[:48, 128:] = np.nan
    filled[48:64, 128:] = np.inf
    found = pretrained_residual(Planes(filled, "YX"), whole).ratio
    alone = pretrained_residual(Planes(fine[64:, 128:], "YX"), whole).ratio
    assert found == pytest.approx(alone, rel=0.35)
    assert expected > 2
    assert pretrained_residual(Planes(np.full((64, 64), 7.0), "YX"), whole) is None


def test_another_image_is_measured_anew(tiny: Config, photons, tmp_path) -> None:
    model = Redenoiser(tiny.replace({"objective.kind": "r2r"}), "cpu").fit(camera(photons))
    path = model.save(tmp_path / "model.safetensors")
    for again in (model, Redenoiser.load(path, "cpu")):
        gain = again.fit(camera(photons, gain=12.0)).session.plan.config.objective.noise.gain
        assert gain == pytest.approx((12.0,), rel=0.2)
    given = tiny.replace({"objective.kind": "r2r", "objective.noise": {"gain": (5.0,)}})
    kept = Redenoiser(given, "cpu").fit(camera(photons)).fit(camera(photons, gain=12.0))
    assert kept.session.plan.config.objective.noise.gain == (5.0,)


def test_auto_chooses_anew_for_another_image(tiny: Config, photons) -> None:
    white = np.random.default_rng(2).normal(size=photons.shape)
    smeared = photons + 20 * ndimage.uniform_filter1d(white, 2, axis=1, mode="wrap")
    model = Redenoiser(tiny.replace({"objective.kind": "auto"}), "cpu")
    kinds = [
        model.fit(image).session.plan.config.objective.kind for image in (camera(photons), smeared)
    ]
    assert kinds == ["noise2self", "noise2void"]
    assert model.fit(camera(photons)).session.plan.config.objective.mask_shape == ("1",)


def test_auto_trains_what_it_has_chosen(tiny: Config, photons) -> None:
    model = Redenoiser(tiny.replace({"objective.kind": "auto"}), "cpu").fit(camera(photons))
    assert model.session.plan.config.objective.kind == "noise2self"
    assert len(measure_noise(camera(photons))) == 1


@pytest.mark.parametrize(
    ("background", "read_noise", "low", "high"), [(10.0, 0.0, 0.6, 1.0), (0.0, 9.0, 0.0, 0.3)]
)
def test_r2r_tells_background_from_read_noise_by_skewness(
    background, read_noise, low, high
) -> None:
    """What is taken for read noise there is light, or what a camera's electronics make."""
    y, x = np.mgrid[:512, :512]
    light = background + 30 * np.maximum(0.5 + np.sin(y / 40) * np.cos(x / 31), 0)
    rng = np.random.default_rng(0)
    noisy = 100 + 3.0 * rng.poisson(light) + rng.normal(0, read_noise, light.shape)
    noise = resolve(ObjectiveConfig(kind="r2r"), Planes(noisy, "YX")).noise
    assert noise.gain[0] == pytest.approx(3.0, rel=0.1)
    assert noise.read_noise[0] ** 2 == pytest.approx(9 * background + read_noise**2, rel=0.15)
    assert low <= noise.skewed[0] <= high


@pytest.mark.parametrize("kind", ["auto", "r2r"])
def test_the_noise_is_measured_again_without_line_offsets(photons, kind, monkeypatch) -> None:
    asked, straight = ObjectiveConfig(kind=kind), Planes(camera(photons), "YX")
    rows = np.random.default_rng(1).normal(0, 8, (len(photons), 1))
    noisy = Planes(camera(photons) + rows, "YX")
    seen = []

    def corrected(material: TrainingImages, found: Corrections, *_: object) -> TrainingImages:
        seen.append(found.lines)
        return TrainingImages(straight)

    monkeypatch.setattr(TrainingImages, "corrected", corrected)
    found = resolve(asked, noisy, fine_tuning=True)
    assert (seen, found.lines) == (["rows"], "rows")
    assert found.noise == resolve(asked, straight, fine_tuning=True).noise
    # With them there seems to be more of it.
    without = ObjectiveConfig(kind="r2r", lines="none")
    assert resolve(without, noisy).noise.gain > found.noise.gain
    # What the user says of lines stays.
    said = ObjectiveConfig(kind=kind, lines="columns")
    assert resolve(said, noisy).lines == "columns"
    assert seen == ["rows", "columns"]


def test_constant_areas_count_in_no_measure_of_the_noise(photons: np.ndarray) -> None:
    noisy = camera(photons)
    gap = noisy.copy()
    gap[60:70], gap[:, 30:34] = 0.0, 0.0
    missing = np.where(gap == 0, np.nan, gap)
    reports = [noise_reports(Planes(image, "YX"))[0] for image in (gap, missing)]
    assert reports[0] == reports[1]
