"""The pretrained network without training, by the command and in Python."""

import shlex

import numpy as np
import pytest
import tifffile

from napari_redenoise import Config, Redenoiser, measure_noise
from napari_redenoise.model import RunAsCode
from napari_redenoise.model._noise_reports import pretrained_residual

INSTANT = Config(training={"steps": 0})


@pytest.fixture
def image(noisy, tmp_path):
    path = tmp_path / "noisy.tif"
    tifffile.imwrite(path, noisy)
    return path


def test_instant_writes_the_result_of_the_pretrained_network(redenoise, image, noisy, tmp_path):
    out, mask = tmp_path / "out.tif", tmp_path / "mask.tif"
    options = ("--instant", "--mask", mask, "--device", "cpu")
    status, _, errors = redenoise("denoise", image, out, *options)
    assert status == 0, errors
    expected = Redenoiser(INSTANT, "cpu").fit(noisy).predict(noisy)
    np.testing.assert_allclose(tifffile.imread(out), expected.denoised, rtol=1e-5)
    np.testing.assert_allclose(tifffile.imread(mask), expected.mask, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--steps", 5), "--steps"),
        (("--from-scratch",), "--from-scratch"),
        (("--model", "m.safetensors"), "--model"),
        (("--objective", "r2r", "--seed", 3), "--objective and --seed"),
        (("--region", "r.tif", "--stop-after", 2), "--region and --stop-after"),
        (("--out-dir", "out", "--train-on", "all"), "--train-on"),
    ],
)
def test_instant_refuses_options_of_a_training(redenoise, image, tmp_path, options, named):
    out = () if "--out-dir" in options else (tmp_path / "out.tif",)
    status, _, errors = redenoise("denoise", image, *out, "--instant", *options)
    assert status == 1
    assert errors.split("training: ")[1].strip() == f"omit it, or {named}"


def test_instant_refuses_a_network_without_pretrained_weights(redenoise, image, tmp_path):
    options = ("--instant", "--set", "network.group=D4")
    status, _, errors = redenoise("denoise", image, tmp_path / "out.tif", *options)
    assert status == 1
    assert "choose a network that has pretrained weights" in errors
    assert not (tmp_path / "out.tif").exists()


def test_the_command_of_such_a_run_says_instant():
    words = shlex.split(RunAsCode(INSTANT, "a.tif", "YX").command())
    assert words[-1] == "--instant"
    # Seed and objective belong to a training, beside which the command refuses --instant.
    seeded = RunAsCode(INSTANT.replace({"training.seed": 3}), "a.tif", "YX").command()
    assert shlex.split(seeded)[-4:] == ["--steps", "0", "--seed", "3"]


def test_without_a_training_no_precision_is_tried(noisy, monkeypatch):
    """On some processors the trial takes as long as the prediction."""
    plan = Redenoiser(INSTANT, "cpu").plan(noisy)

    def refuse():
        raise AssertionError("the precision was tried")

    monkeypatch.setattr("napari_redenoise.devices._cpu_bfloat16_gain", refuse)
    model = Redenoiser(INSTANT, "cpu").fit(noisy, plan=plan)
    assert model.predict(noisy).provenance["precision"] == "float32"


def test_lines_do_not_depend_on_what_was_measured_before(monkeypatch):
    """Without a training the residual is measured, and with known reports of white noise not."""
    rng = np.random.default_rng(0)
    # Rows that a network might take for structure.
    image = (200 + rng.normal(0, 20, (192, 192)) + rng.normal(0, 10, (192, 1))).astype(np.float32)
    known = measure_noise(image)
    asked = []

    def unknown_structure(planes, report, channel=0):
        found = pretrained_residual(planes, report, channel)
        asked.append(found)
        return found

    monkeypatch.setattr(
        "napari_redenoise.model._noise_reports.pretrained_residual", unknown_structure
    )
    model = Redenoiser(INSTANT, "cpu")
    fresh, given = model.plan(image), model.plan(image, reports=known)
    assert len(asked) == 1
    assert fresh.lines == given.lines == "rows"


def test_a_prediction_is_in_bfloat16_where_that_is_faster(noisy, monkeypatch):
    def denoised(precision, gain):
        monkeypatch.setattr("napari_redenoise.devices._cpu_bfloat16_gain", lambda: gain)
        config = INSTANT.replace({"tiling.precision": precision, "tiling.tta": False})
        return Redenoiser(config, "cpu").fit(noisy).predict(noisy).denoised

    exact, fast = denoised("float32", 3.0), denoised("bfloat16", 1.0)
    np.testing.assert_array_equal(denoised("auto", 3.0), fast)
    np.testing.assert_array_equal(denoised("auto", 0.5), exact)
    assert 0 < np.abs(fast - exact).max() < 0.02 * np.ptp(exact)
