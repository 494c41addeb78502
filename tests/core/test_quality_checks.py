"""Quality checks: values against closed forms, marks on synthetic images."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from napari_redenoise import QualityReport, Redenoiser, assess
from napari_redenoise.assessment import _residual, as_denoiser
from napari_redenoise.errors import InputError
from napari_redenoise.model import measure_noise
from napari_redenoise.noise import (
    Autocorrelation,
    NoiseModel,
    NoiseReport,
    ResidualNoise,
    VariancePoint,
    estimate_noise,
    poisson_gaussian,
)

ROOT = Path(__file__).resolve().parents[2]
SIGMA = 10.0
NAMES = (
    "Mean brightness",
    "Structure in the residual",
    "Noise removed",
    "Change of the image",
    "Bright regions and edges",
    "Supported resolution",
)


def report_of(model, mean=100.0, *, y=(0.0,) * 8, x=(0.0,) * 8, **changes):
    """A report of exactly known noise."""
    variance = float(model.variance(mean))
    values = {
        "gain_error": 0.0,
        "offset_range": (model.offset, model.offset),
        "noise_std": variance**0.5,
        "mean": mean,
        "autocorrelation": Autocorrelation(y, x, 0.0),
        "points": (VariancePoint(mean, variance, 100),),
        "misfit": 0.0,
        "homogeneous": 1.0,
        "clipped": (0.0, 0.0),
        "limits": (0.0, 1e4),
        "step": 0.0,
    }
    return NoiseReport(model, **{**values, **changes})


GAUSSIAN = report_of(NoiseModel(0.0, 0.0, SIGMA))


def by_name(report):
    assert tuple(check.name for check in report.checks) == NAMES
    # The last one needs a denoiser: test_resolution.py.
    *checks, _ = report.checks
    return dict(zip(("shift", "structure", "amount", "change", "contrast"), checks, strict=True))


def judged(noisy, denoised, reports=(GAUSSIAN,), axes=None):
    return by_name(assess(noisy, denoised, axes, reports=reports))


@pytest.fixture(scope="module")
def truth():
    """A smooth image with spots, (320, 288), of about 100 to 500 grey levels."""
    rng = np.random.default_rng(3)
    waves = ndimage.gaussian_filter(rng.normal(size=(320, 288)), 12)
    spots = ndimage.gaussian_filter((rng.random((320, 288)) > 0.995).astype(float), 2)
    return 150 + 40 * waves / waves.std() * (waves > 0) + 250 * spots / spots.max()


@pytest.fixture(scope="module")
def noise(truth):
    return np.random.default_rng(4).normal(0, SIGMA, truth.shape)


def test_the_truth_passes_every_check(truth, noise):
    report = assess(truth + noise, truth, reports=(GAUSSIAN,))
    assert isinstance(report, QualityReport)
    assert report.mark == "good"
    found = by_name(report)
    assert all(check.mark == "good" and not check.advice for check in found.values())
    assert found["amount"].value == pytest.approx(1.0, abs=0.02)
    assert found["contrast"].value == pytest.approx(1.0, abs=0.1)
    assert abs(found["structure"].value) < 0.01


@pytest.mark.parametrize("axis", [0, 1])
def test_line_offsets_do_not_count_as_structure(truth, noise, axis) -> None:
    size = tuple(1 if n != axis else truth.shape[axis] for n in range(2))
    offsets = np.random.default_rng(5).normal(0, 0.4 * SIGMA, size)
    noisy = truth + noise + offsets
    (report,) = measure_noise(noisy)
    assert report.autocorrelation.rows > 0.2 or report.autocorrelation.columns > 0.2
    check = judged(noisy, truth, (report,))["structure"]
    assert check.mark == "good", check.figure
    # Structure that was removed with them is still found.
    blurred = ndimage.gaussian_filter(truth, 2.5)
    assert judged(noisy, blurred, (report,))["structure"].mark != "good"


def test_the_truth_passes_with_measured_noise(truth):
    photons = (truth - 100) / 4
    rng = np.random.default_rng(0)
    noisy = poisson_gaussian(photons, rng, gain=4.0, offset=100.0, read_noise=3.0)
    checks = by_name(assess(noisy, truth))
    assert {check.mark for check in checks.values()} == {"good"}
    blurred = ndimage.gaussian_filter(noisy, 5.0)
    assert assess(noisy, blurred).mark == "bad"


def test_the_noisy_image_itself_fails(truth, noise):
    noisy = truth + noise
    found = judged(noisy, noisy.copy())
    assert found["change"].mark == "bad"
    assert found["amount"].mark == "caution"
    assert found["shift"].mark == "good"
    assert found["structure"].mark == found["contrast"].mark == "unknown"


@pytest.mark.parametrize(
    ("part", "mark"), [(1.0, "good"), (0.9, "good"), (0.6, "caution"), (1.15, "caution")]
)
def test_noise_removed_is_the_square_of_the_removed_part(truth, noise, part, mark):
    check = judged(truth + noise, truth + (1 - part) * noise)["amount"]
    assert check.value == pytest.approx(part**2 * noise.var() / SIGMA**2, rel=0.01)
    assert check.mark == mark


@pytest.mark.parametrize(
    ("percent", "mark"), [(0.3, "good"), (-1.0, "caution"), (1.0, "caution"), (-2.0, "bad")]
)
def test_the_shift_is_in_per_cent_of_the_range(truth, noise, percent, mark):
    noisy = truth + noise
    low, high = np.percentile(noisy, (0.1, 99.9))
    moved = truth + noise.mean() + percent * (high - low) / 100
    check = judged(noisy, moved)["shift"]
    assert check.value == pytest.approx(percent, abs=0.02)
    assert check.mark == mark
    assert f"{percent:+.2f} %"[:4] in check.figure


def test_a_local_shift_is_found(truth, noise):
    noisy = truth + noise
    low, high = np.percentile(noisy, (0.1, 99.9))
    y, x = np.mgrid[:320, :288] // 32
    field = np.where((y + x) % 2, 1, -1) * 0.03 * (high - low)
    check = judged(noisy, truth + field)["shift"]
    assert abs(check.value) < 0.1
    assert check.mark == "bad"
    local = float(check.figure.split(", ")[1].removesuffix(" % locally"))
    assert local == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize("axis", [0, 1])
def test_autocorrelation_of_the_residual(axis):
    # The mean of two neighbours: coefficients of 1/2 and 0 at lags 1 and 2.
    white = np.random.default_rng(5).normal(0, SIGMA, (512, 512))
    removed = (white + np.roll(white, 1, axis)) / np.sqrt(2)
    flat = np.full((512, 512), 100.0)
    along = {"yx"[axis]: (0.5, *(0.0,) * 7)}
    check = judged(flat + removed, flat)["structure"]
    assert check.value == pytest.approx(0.25, abs=0.01)
    assert check.mark == "bad"
    # The same autocorrelation is no damage where the noise has it.
    known = report_of(NoiseModel(0.0, 0.0, SIGMA), **along)
    assert judged(flat + removed, flat, (known,))["structure"].mark == "good"


def test_a_pattern_that_was_removed_is_found(truth, noise):
    rows, columns = np.indices(truth.shape)
    pattern = np.where((rows + columns) % 2, SIGMA, -SIGMA)
    check = judged(truth + noise + pattern, truth)["structure"]
    assert check.mark == "caution"
    assert "alternates in sign" in check.figure


def test_remaining_correlated_noise_is_found():
    rng = np.random.default_rng(6)
    flat = np.full((512, 512), 100.0)
    white, other = rng.normal(0, SIGMA, (2, 512, 512))
    smooth = (other + np.roll(other, 1, 1)) / np.sqrt(2)
    known = report_of(NoiseModel(0.0, 0.0, SIGMA * 2**0.5), x=(0.25, *(0.0,) * 7))
    stayed = judged(flat + white + smooth, flat + smooth, (known,))["structure"]
    assert stayed.mark == "caution"
    assert "correlated noise remains" in stayed.figure
    # Structure has to remain.
    told = replace(known, residual=ResidualNoise(1.5, None, (0.0, 0.0), 0.0))
    assert judged(flat + white + smooth, flat + smooth, (told,))["structure"].mark == "good"
    removed = judged(flat + white + smooth, flat, (known,))["structure"]
    assert removed.mark == "good"


@pytest.mark.parametrize("where", ["bright", "edges"])
def test_the_residual_of_bright_regions_and_edges(noise, where):
    x = np.broadcast_to(np.arange(288), (320, 288))
    if where == "bright":
        clean = 100.0 + 200 * (x >= 256)
        hurt = x >= 256
    else:
        clean = 100.0 + 100 * (x // 32 % 2)
        hurt = ((x + 3) % 32 < 6) & (x > 16)
    check = judged(clean + np.where(hurt, 2, 1) * noise, clean)["contrast"]
    # Four times the energy in the damaged part: three of eight columns of a block at an edge.
    expected = 4.0 if where == "bright" else 1 + 3 * 3 / 8
    assert check.value == pytest.approx(expected, rel=0.1)
    assert check.mark == "bad"


def test_without_a_gain_bright_regions_are_not_judged(truth):
    noisy = poisson_gaussian(truth, np.random.default_rng(4), gain=1.0, offset=0.0, read_noise=0.0)
    std = float(truth.mean()) ** 0.5
    known = report_of(NoiseModel(1.0, 0.0, 0.0), float(truth.mean()))
    unknown = report_of(NoiseModel(0.0, 0.0, std), float(truth.mean()), gain_error=5.0)
    assert judged(noisy, truth, (unknown,))["contrast"].mark == "unknown"
    # The residual of the pretrained network shows the gain where the image does not.
    shown = replace(unknown, residual=ResidualNoise(1.0, known.model, (0.0, 0.0), 0.0))
    check = judged(noisy, truth, (shown,))["contrast"]
    assert check.value == pytest.approx(1.0, abs=0.1)
    assert check.mark == "good"


def test_too_strong_and_too_weak_blurs_are_found(truth, noise):
    noisy = truth + noise
    assert assess(noisy, ndimage.gaussian_filter(noisy, 12.0), reports=(GAUSSIAN,)).mark == "bad"
    slight = judged(noisy, ndimage.gaussian_filter(noisy, 0.45))
    assert slight["amount"].mark == "caution"
    assert slight["shift"].mark == slight["structure"].mark == "good"


def test_nan_pixels_are_ignored(truth, noise):
    noisy, denoised = truth + noise, truth.copy()
    noisy[10:40, 50:90], denoised[200:220, 7] = np.nan, np.inf
    noisy[300, 200] = -np.inf
    report = assess(noisy, denoised, reports=(GAUSSIAN,))
    assert report.mark == "good"
    assert by_name(report)["amount"].value == pytest.approx(1.0, abs=0.02)


def test_pixels_taken_for_hot_pixels_are_counted(truth, noise):
    noisy = truth + noise
    assert judged(noisy, truth)["change"].figure == "differs from the noisy image"
    for row, column in ((30, 40), (99, 200), (250, 7)):
        noisy[row, column] += 1000
    noisy[:2, :5] = np.nan
    figure = judged(noisy, truth)["change"].figure
    share = 100 * 3 / (noisy.size - 10)
    assert figure.endswith(f"; 3 pixels were taken for hot pixels ({share:.2g} %)")


def test_clipped_pixels_are_ignored(truth, noise):
    limit = 190.0
    noisy = np.minimum(truth + noise, limit)
    share = float((noisy == limit).mean())
    known = report_of(NoiseModel(0.0, 0.0, SIGMA), clipped=(0.0, share), limits=(0.0, limit))
    found = judged(noisy, truth, (known,))
    assert found["amount"].mark == found["structure"].mark == "good"
    unaware = judged(noisy, truth)
    assert unaware["structure"].mark == "bad"


def test_unknown_noise_is_not_judged(truth, noise):
    noisy = truth + noise
    unknown = report_of(NoiseModel(0.0, 0.0, SIGMA), gain_error=5.0)
    assert judged(noisy, truth, (unknown,))["amount"].mark == "unknown"
    uncertain = report_of(NoiseModel(1.0, 0.0, 0.0), gain_error=0.3)
    assert judged(noisy, truth, (uncertain,))["amount"].mark == "unknown"
    textured = report_of(NoiseModel(0.0, 0.0, SIGMA), homogeneous=0.01)
    assert judged(noisy, truth, (textured,))["amount"].mark == "unknown"
    clean = report_of(NoiseModel(0.0, 0.0, 0.0))
    found = judged(truth, truth, (clean,))
    assert [check.mark for check in found.values()] == ["good", *["unknown"] * 4]
    assert [check.value is None for check in found.values()] == [False, *[True] * 4]
    for check in found.values():
        assert bool(check.advice) == (check.mark != "good")


def test_the_error_of_the_noise_widens_the_thresholds(truth, noise):
    noisy, denoised = truth + noise, truth - 0.13 * noise
    sure = judged(noisy, denoised)["amount"]
    assert sure.mark == "caution"
    # Photon noise alone would be 1 grey level a photon; its gain is known to 5 %.
    model = NoiseModel(1.0, 0.0, 0.0)
    report = report_of(model, gain_error=0.05, points=())
    flat = np.full(truth.shape, 100.0)
    doubted = judged(flat + noise, flat - 0.13 * noise, (report,))["amount"]
    assert doubted.value == pytest.approx(1.13**2 * noise.var() / 100, rel=0.02)
    assert doubted.mark == "good"


def test_the_worst_channel_counts_and_is_named(truth, noise):
    noisy = np.stack([truth + noise] * 3, axis=-1)
    denoised = np.stack([truth, truth + 0.9 * noise, truth], axis=-1)
    found = judged(noisy, denoised, (GAUSSIAN,) * 3, axes="YXC")
    assert found["change"].mark == "bad"
    assert "(channel 1)" in found["change"].figure
    assert found["shift"].mark == "good"


class Lazy:
    """A stack of planes that are made where they are read, and counted."""

    dtype = np.dtype(np.float32)

    def __init__(self, planes, side, noisy):
        self.shape, self.noisy, self.read = (planes, side, side), noisy, []

    def __getitem__(self, key):
        number, rows, columns = key
        self.read.append((number, rows.start, columns.start))
        shape = rows.stop - rows.start, columns.stop - columns.start
        noise = np.random.default_rng(number).normal(0, SIGMA, shape)
        return (100 + self.noisy * noise).astype(np.float32)


def test_windows_are_spread_evenly_over_a_large_stack(monkeypatch):
    monkeypatch.setattr(_residual, "MOST_PIXELS", 10 * 64 * 64)
    noisy, denoised = Lazy(50, 64, True), Lazy(50, 64, False)
    assert assess(noisy, denoised, "SYX", reports=(GAUSSIAN,)).mark == "good"
    assert noisy.read == denoised.read
    numbers = [number for number, *_ in noisy.read]
    assert len(numbers) == 10
    assert (numbers[0], numbers[-1]) == (0, 49)
    assert max(np.diff(numbers)) <= 6


def test_a_large_plane_is_read_in_windows(monkeypatch, truth, noise):
    monkeypatch.setattr(_residual, "WINDOW", 100)
    found = judged(truth + noise, truth)
    assert {check.mark for check in found.values()} == {"good"}
    assert found["shift"].value == pytest.approx(
        -100 * noise.mean() / np.ptp(np.percentile(truth + noise, (0.1, 99.9))), abs=0.01
    )


def test_tiny_and_integer_images_do_not_raise():
    rng = np.random.default_rng(0)
    noisy = rng.poisson(30.0, (16, 16)).astype(np.uint16)
    report = assess(noisy, np.full((16, 16), 30), reports=(report_of(NoiseModel(1, 0, 0), 30.0),))
    assert report.mark in ("good", "unknown")
    assert by_name(report)["contrast"].mark == "unknown"


def test_wrong_arguments_are_refused(truth):
    with pytest.raises(InputError, match="expected a denoised image of shape"):
        assess(truth, truth[:100])
    with pytest.raises(InputError, match="one noise report for each of 1"):
        assess(truth, truth, reports=())
    with pytest.raises(InputError, match="axes"):
        assess(truth, truth, "TYX")


def test_plain_values_and_sentences(truth, noise):
    report = assess(truth + noise, truth + 3 * noise, reports=(GAUSSIAN,))
    plain = report.as_dict()
    assert plain["mark"] == report.mark == "bad"
    assert [check["name"] for check in plain["checks"]] == list(NAMES)
    assert set(plain["checks"][0]) == {"name", "mark", "value", "figure", "meaning", "advice"}
    for line, check in zip(report.sentences(), report.checks, strict=True):
        assert line.startswith(f"{check.mark}: {check.name}: {check.figure}.")
        assert line.endswith(check.advice)


@pytest.mark.parametrize("name", ["003_0", "101_2"])
def test_real_references_pass_and_strong_blurs_do_not(bench_data, name):
    folder = bench_data / "w2s_dev"
    meta = next(
        pair
        for pair in json.loads((folder / "meta.json").read_text())["pairs"]
        if pair["id"] == name
    )
    noisy, reference = (tifffile.imread(folder / meta[key]) for key in ("noisy", "gt"))
    reports = (estimate_noise(noisy),)
    level = (reference - meta["offset"]) / meta["scale"]
    assert assess(noisy, level, reports=reports).mark == "good"
    blurred = ndimage.gaussian_filter(noisy.astype(float), 4 * meta["best_gauss_sigma"])
    assert assess(noisy, blurred, reports=reports).mark == "bad"


def test_the_command_prints_the_report(redenoise, truth, noise, tmp_path):
    noisy = np.stack([truth + noise, truth - noise]).astype(np.float32)
    denoised = np.stack([truth, truth + 30]).astype(np.float32)
    paths = [tmp_path / "noisy.tif", tmp_path / "denoised.tif"]
    tifffile.imwrite(paths[0], noisy, imagej=True, metadata={"axes": "TYX"})
    tifffile.imwrite(paths[1], denoised, imagej=True, metadata={"axes": "TYX"})
    expected = assess(noisy, denoised, "TYX")
    assert redenoise("check", *paths) == (0, "\n".join(expected.sentences()) + "\n", "")
    status, said, _ = redenoise("check", *paths, "--axes", "TYX", "--json")
    assert status == 0
    assert json.loads(said) == expected.as_dict()
    status, _, said = redenoise("check", paths[0], tmp_path / "missing.tif")
    assert status == 1
    assert "there is no image file" in said


def test_a_result_gets_the_axis_order_of_its_source(redenoise, tmp_path):
    rng = np.random.default_rng(0)
    noisy = rng.normal(100, SIGMA, (2, 3, 64, 80)).astype(np.float32)
    levels = np.broadcast_to(np.arange(6).reshape(2, 3, 1, 1) * 100.0, noisy.shape)
    tifffile.imwrite(
        tmp_path / "a.tif",
        (noisy + levels).astype(np.float32),
        photometric="minisblack",
        metadata={"axes": "ZTYX"},
    )
    tifffile.imwrite(
        tmp_path / "b.tif",
        (100 + levels).transpose(1, 0, 2, 3).astype(np.float32),
        imagej=True,
        metadata={"axes": "TZYX"},
    )
    status, said, _ = redenoise("check", tmp_path / "a.tif", tmp_path / "b.tif")
    assert status == 0
    assert {line.split(":")[0] for line in said.splitlines()} <= {"good", "unknown"}


def test_denoise_prints_a_report_on_request(redenoise, tiny, noisy, tmp_path):
    source, out = tmp_path / "noisy.tif", tmp_path / "out.tif"
    tifffile.imwrite(source, noisy)
    model = Redenoiser(tiny, device="cpu").fit(noisy).save(tmp_path / "m.safetensors")
    status, said, _ = redenoise("denoise", source, out, "--model", model, "--report")
    assert status == 0
    denoiser = as_denoiser(Redenoiser.load(model, "cpu"))
    report = assess(noisy, tifffile.imread(out), denoiser=denoiser)
    assert said.splitlines()[-6:] == report.sentences()
    assert not report.omitted
    _, said, _ = redenoise("check", source, out, "--model", model, "--device", "cpu")
    assert said.splitlines() == report.sentences()
    _, said, _ = redenoise("denoise", source, out, "--model", model, "--overwrite")
    assert len(said.splitlines()) == 1


def test_the_page_on_quality_runs_and_holds_every_table():
    page = (ROOT / "docs" / "is-it-good.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.S)
    names = {}
    exec(compile(block, "is-it-good.md", "exec"), names)
    assert len(names["report"].checks) == len(NAMES)
    page = (ROOT / "docs" / "quality-checks.md").read_text(encoding="utf-8")
    sections = re.findall(r"<!-- (\w+) begins: .*? -->\n(.*?)\n<!-- \1 ends -->", page, re.S)
    assert [name for name, _ in sections] == [
        "quality_checks",
        "quality_checks_references",
        "quality_checks_machine",
        "resolution",
    ]
    assert all(len(text) > 50 for _, text in sections)
    assert all(f"| {name} |" in page for name in NAMES)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("factor", [1e-30, 1e30])
def test_checks_of_any_scale_are_the_same(truth, factor):
    photons = (truth - 100) / 4
    rng = np.random.default_rng(0)
    noisy = poisson_gaussian(photons, rng, gain=4.0, offset=100.0, read_noise=3.0)
    usual = assess(noisy, truth).checks
    for found, check in zip(assess(factor * noisy, factor * truth).checks, usual, strict=True):
        assert found.mark == check.mark
        values = np.array([found.value, check.value], float)
        np.testing.assert_allclose(values[0], values[1], rtol=1e-3, atol=1e-3)
