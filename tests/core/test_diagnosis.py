"""What reports mean, told on reports that are made up; and that they can be stored."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from napari_redenoise.errors import InputError
from napari_redenoise.noise import (
    Autocorrelation,
    Diagnosis,
    NoiseModel,
    NoiseReport,
    ResidualNoise,
    VariancePoint,
    describe,
    diagnose,
    estimate_noise,
    noise_model,
    residual_noise,
    sampling_noise,
    without_noise,
)

ZEROS = (0.0,) * 8
WHITE = NoiseReport(
    model=NoiseModel(2.0, 100.0, 3.0),
    gain_error=0.02,
    offset_range=(95.5, 100.0),
    noise_std=10.0,
    mean=150.0,
    autocorrelation=Autocorrelation(ZEROS, ZEROS, 0.005),
    points=(VariancePoint(110.0, 29.0, 50), VariancePoint(200.0, 209.0, 50)),
    misfit=0.02,
    homogeneous=0.5,
    clipped=(0.0, 0.0),
    limits=(80.0, 400.0),
    step=1.0,
    slope=2.0,
)
UNKNOWN = replace(WHITE, misfit=0.3)
SMEARED = replace(WHITE, autocorrelation=Autocorrelation(ZEROS, (0.25, 0.1, *ZEROS[2:]), 0.005))
GREY = NoiseModel(1.5, 98.0, 4.0)


def residual(**changes: object) -> ResidualNoise:
    return replace(ResidualNoise(1.0, GREY, (0.0, 0.0), 0.0), **changes)


@pytest.mark.parametrize(
    ("report", "case", "tuned", "scratch"),
    [
        (without_noise(), "clean", "noise2self", "noise2self"),
        (WHITE, "white", "r2r", "noise2self"),
        (UNKNOWN, "not measurable", "noise2self", "noise2self"),
        (SMEARED, "correlated", "noise2void", "noise2void"),
        (replace(UNKNOWN, residual=residual()), "white by residual", "r2r", "noise2self"),
        (replace(SMEARED, residual=residual()), "white by residual", "r2r", "noise2void"),
        # A white residual is no structure, however strong.
        (replace(SMEARED, residual=residual(ratio=5.0)), "white by residual", "r2r", "noise2void"),
        # The residual has the correlation of the noise.
        (
            replace(SMEARED, residual=residual(correlation=(0.0, 0.25))),
            "correlated",
            "noise2void",
            "noise2void",
        ),
        # It is more, or more correlated, and not white.
        (
            replace(WHITE, residual=residual(ratio=1.5, correlation=(0.2, 0.0))),
            "unknown structure",
            "r2r",
            "noise2self",
        ),
        (
            replace(SMEARED, residual=residual(correlation=(0.0, 0.4))),
            "unknown structure",
            "r2r",
            "noise2void",
        ),
        # It is a repeated pattern, as fringes or a colour mosaic, whatever else.
        (
            replace(SMEARED, residual=residual(ratio=0.6, pattern=0.6)),
            "unknown structure",
            "r2r",
            "noise2void",
        ),
        (
            replace(without_noise(), residual=residual(pattern=0.6)),
            "clean",
            "noise2self",
            "noise2self",
        ),
        # Sharpened noise does not repeat.
        (
            replace(UNKNOWN, residual=residual(correlation=(-0.4, -0.4))),
            "white by residual",
            "r2r",
            "noise2self",
        ),
        # Too little of it to fit a line to says that it is more, and nothing else.
        (
            replace(WHITE, residual=residual(ratio=1.5, noise=None)),
            "unknown structure",
            "r2r",
            "noise2self",
        ),
    ],
)
def test_every_report_has_one_case(report, case, tuned, scratch) -> None:
    found = diagnose([report], fine_tuning=True)
    assert (found.case, found.objective) == (case, tuned)
    assert (found.noise is not None) == (tuned == "r2r")
    from_scratch = diagnose([report], fine_tuning=False)
    assert from_scratch.objective == scratch
    # From random weights it does not matter what a denoiser makes of the image.
    assert from_scratch == diagnose([replace(report, residual=None)], fine_tuning=False)
    assert describe(report)


def test_of_several_channels_the_least_reliable_decides() -> None:
    along_y = replace(SMEARED, autocorrelation=Autocorrelation((0.3, *ZEROS[1:]), ZEROS, 0.005))
    nothing = without_noise()
    for reports, case, shape in (
        ([WHITE, WHITE], "white", ("1",)),
        ([nothing, WHITE], "white", ("1",)),
        ([nothing, nothing], "clean", ("1",)),
        ([WHITE, UNKNOWN], "not measurable", ("1",)),
        ([UNKNOWN, SMEARED, WHITE], "correlated", ("11111",)),
        ([along_y, SMEARED], "correlated", ("01110", "11111", "01110")),
    ):
        for order in (reports, reports[::-1]):
            found = diagnose(order, fine_tuning=True)
            assert (found.case, found.mask_shape) == (case, shape)
    assert diagnose([nothing, WHITE], fine_tuning=True).noise.gain == (0.0, 2.0)


def test_unmeasurable_noise_is_trained_by_noise2self() -> None:
    found = diagnose([], fine_tuning=True)
    assert (found.case, found.objective) == ("not measurable", "noise2self")


def test_line_offsets_are_reported_unless_they_may_be_structure() -> None:
    striped = replace(WHITE.autocorrelation, rows=0.2)
    lined = replace(WHITE, autocorrelation=striped)
    for report in (lined, replace(lined, misfit=0.3)):
        found = diagnose([report], fine_tuning=True)
        assert found.lines == "rows"
        assert "line offsets are subtracted first" in found.reason
    columns = replace(lined, autocorrelation=replace(striped, rows=0.0, columns=0.1))
    assert diagnose([lined, columns], fine_tuning=True).lines == "both"
    structured = replace(lined, residual=residual(ratio=1.5, correlation=(0.2, 0.0)))
    assert diagnose([structured], fine_tuning=True).lines == "none"
    assert diagnose([structured], fine_tuning=False).lines == "rows"
    # Steps between grey levels that are all the noise look like offsets on a slope.
    assert diagnose([replace(lined, step=20.0)], fine_tuning=True).lines == "none"


def test_r2r_draws_the_noise_of_a_white_residual() -> None:
    assert noise_model(WHITE) == WHITE.model
    by_residual = replace(UNKNOWN, residual=residual())
    assert noise_model(by_residual) == GREY
    # Of structure that the denoiser does not know never more than was measured.
    structured = replace(WHITE, residual=residual(ratio=1.5, correlation=(0.2, 0.0)))
    assert noise_model(structured) == GREY
    strong = replace(structured.residual, noise=NoiseModel(9.0, 98.0, 4.0))
    assert noise_model(replace(structured, residual=strong)) == WHITE.model


def test_r2r_refuses_noise_of_unknown_growth() -> None:
    flat = replace(WHITE, model=NoiseModel(0.0, 100.0, 10.0), slope=0.0, gain_error=10.0)
    assert not flat.is_gain_known
    with pytest.raises(InputError, match=r"cannot be measured.*noise2self"):
        sampling_noise([flat])
    with pytest.raises(InputError, match="no noise was found"):
        sampling_noise([without_noise()])
    assert sampling_noise([flat, WHITE][1:]).gain == (2.0,)


@pytest.mark.parametrize(
    "report",
    [
        WHITE,
        without_noise(),
        replace(UNKNOWN, residual=residual(), offset_range=(-math.inf, 100.0)),
        replace(WHITE, residual=residual(noise=None), gain_error=math.inf),
        replace(WHITE, mean=0.1 + 0.2, noise_std=1e-300, slope=np.float64(1 / 3)),
    ],
)
def test_a_report_and_its_diagnosis_can_be_stored(report) -> None:
    text = json.dumps(report.as_json(), allow_nan=False)
    assert NoiseReport.from_json(json.loads(text)) == report
    for fine_tuning in (True, False):
        found = diagnose([report], fine_tuning=fine_tuning)
        text = json.dumps(found.as_json(), allow_nan=False)
        assert Diagnosis.from_json(json.loads(text)) == found


def test_a_measured_report_is_stored_to_the_last_digit() -> None:
    photons = 40 + 30 * np.sin(np.arange(128) / 9) * np.ones((128, 1))
    report = estimate_noise(100 + 3 * np.random.default_rng(0).poisson(photons))
    again = NoiseReport.from_json(json.loads(json.dumps(report.as_json(), allow_nan=False)))
    assert again == report
    nan = replace(report, misfit=math.nan)
    assert math.isnan(NoiseReport.from_json(nan.as_json()).misfit)


def test_values_that_are_no_report_are_refused() -> None:
    values = WHITE.as_json()
    for wrong in ({}, {**values, "model": None}, {**values, "noise_std": "much"}):
        with pytest.raises(ValueError, match="validation error"):
            NoiseReport.from_json(wrong)
    with pytest.raises(ValueError, match="case"):
        Diagnosis.from_json({**diagnose([WHITE], fine_tuning=True).as_json(), "case": "odd"})


def scene() -> np.ndarray:
    """Smooth blobs, 20 to 120 grey levels, (128, 128)."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(128, 128)), 8)
    return 20 + 100 * (smooth - smooth.min()) / np.ptp(smooth)


@pytest.mark.parametrize("gain", [0.0, 2.0])
def test_the_residual_of_a_perfect_denoiser_is_the_noise(gain: float) -> None:
    rng, truth = np.random.default_rng(1), scene()
    sigma = np.sqrt(gain * truth + 25)
    noisy = truth + sigma * rng.normal(size=truth.shape)
    report = replace(WHITE, model=NoiseModel(gain, 0.0, 5.0), step=0.0)
    seen = []

    def denoise(plane: np.ndarray) -> np.ndarray:
        seen.append(plane.shape)
        return truth

    found = residual_noise(noisy, report, denoise)
    assert seen == [(128, 128)]
    assert found.ratio == pytest.approx(1, abs=0.05)
    assert found.correlation == pytest.approx((0, 0), abs=0.03)
    assert found.noise.variance(truth) == pytest.approx(sigma**2, rel=0.25)
    # What a denoiser blurs is in its residual.
    blurred = residual_noise(noisy, report, lambda plane: ndimage.gaussian_filter(truth, 12))
    assert blurred.is_strong
    assert min(blurred.correlation) > 0.2


def test_missing_pixels_are_in_no_residual() -> None:
    truth = scene()
    noisy = truth + 5 * np.random.default_rng(1).normal(size=truth.shape)
    report = replace(WHITE, model=NoiseModel(0.0, 0.0, 5.0), step=0.0)
    half = noisy.copy()
    half[:, :64] = np.nan
    known = residual_noise(half, report, lambda plane: np.where(np.isnan(plane), plane, truth))
    assert known.ratio == pytest.approx(1, abs=0.06)
    assert residual_noise(np.full((64, 64), np.nan), report, lambda plane: plane) is None
