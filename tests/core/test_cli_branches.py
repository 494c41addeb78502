"""`redenoise denoise --branches`: what each branch of the AdaReNet makes of an image."""

import re
import shlex
import signal
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_redenoise import Config, Redenoiser


@pytest.fixture
def image(tmp_path: Path, noisy: np.ndarray) -> Path:
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, noisy)
    return path


@pytest.fixture
def model(tmp_path: Path, noisy: np.ndarray, tiny: Config) -> Path:
    config = tiny.replace({"network.kind": "adarenet"})
    return Redenoiser(config, "cpu").fit(noisy).save(tmp_path / "m.safetensors")


def test_both_branches_are_written_beside_the_result(redenoise, image, model, noisy, tmp_path):
    out, mask = tmp_path / "out.tif", tmp_path / "mask.tif"
    options = ("--mask", mask, "--model", model, "--device", "cpu")
    status, said, _ = redenoise("denoise", image, out, *options, "--branches")
    assert status == 0
    expected = Redenoiser.load(model, "cpu").predict(noisy, branches=True)
    for name in ("standard", "equivariant"):
        path = tmp_path / f"out-{name}.tif"
        assert f"wrote {path}" in said
        np.testing.assert_allclose(tifffile.imread(path), getattr(expected, name), rtol=1e-5)
    np.testing.assert_allclose(tifffile.imread(out), expected.denoised, rtol=1e-5)
    assert np.abs(expected.standard - expected.equivariant).max() > 0.01


def test_branches_are_written_on_request_alone(redenoise, image, model, tmp_path):
    assert redenoise("denoise", image, tmp_path / "out.tif", "--model", model)[0] == 0
    assert not list(tmp_path.glob("out-*.tif"))


def test_branches_have_the_integer_type_of_the_result(redenoise, image, model, noisy, tmp_path):
    out = tmp_path / "out.tif"
    options = ("--model", model, "--branches", "--as-source", "--device", "cpu")
    assert redenoise("denoise", image, out, *options)[0] == 0
    expected = Redenoiser.load(model, "cpu").predict(noisy, branches=True)
    for name in ("standard", "equivariant"):
        found = tifffile.imread(tmp_path / f"out-{name}.tif")
        assert found.dtype == np.uint16
        np.testing.assert_allclose(found, getattr(expected, name), atol=0.51)


@pytest.mark.parametrize("backbone", ["standard", "equivariant"])
def test_a_network_of_one_branch_is_refused_before_training(
    redenoise, image, tmp_path, monkeypatch, backbone
):
    monkeypatch.setattr(Redenoiser, "fit_events", lambda *_, **__: pytest.fail("it was trained"))
    line = ("denoise", image, tmp_path / "out.tif", "--branches", "--backbone", backbone)
    status, _, said = redenoise(*line)
    assert status == 1
    assert said.splitlines()[-1] == (
        "redenoise: only the adarenet has two branches: omit --branches"
    )
    assert not (tmp_path / "out.tif").exists()


def test_a_model_of_one_branch_is_refused(redenoise, image, tmp_path, tiny, noisy):
    config = tiny.replace({"network.kind": "standard"})
    model = Redenoiser(config, "cpu").fit(noisy).save(tmp_path / "one.safetensors")
    line = ("denoise", image, tmp_path / "out.tif", "--branches", "--model", model)
    status, _, said = redenoise(*line)
    assert status == 1
    assert "only the adarenet has two branches" in said


def test_an_existing_branch_needs_overwrite(redenoise, image, model, tmp_path):
    out, branch = tmp_path / "out.tif", tmp_path / "out-standard.tif"
    branch.write_bytes(b"precious")
    line = ("denoise", image, out, "--model", model, "--branches")
    status, _, said = redenoise(*line)
    assert status == 1
    assert "out-standard.tif exists already" in said
    assert branch.read_bytes() == b"precious"
    assert not out.exists()
    assert redenoise(*line, "--overwrite")[0] == 0
    assert tifffile.imread(branch).shape == (70, 54)


def test_a_branch_and_a_mask_of_one_name_are_refused(redenoise, image, model, tmp_path):
    out, mask = tmp_path / "out.tif", tmp_path / "out-standard.tif"
    line = ("denoise", image, out, "--model", model, "--branches", "--mask", mask)
    status, _, said = redenoise(*line)
    assert status == 1
    assert "two results have the same name" in said


def test_the_command_of_an_incomplete_run_has_branches(redenoise, image, tmp_path, monkeypatch):
    predict = Redenoiser.predict_events

    def interrupted(self, *arguments, **keywords):
        signal.raise_signal(signal.SIGINT)
        return predict(self, *arguments, **keywords)

    monkeypatch.setattr(Redenoiser, "predict_events", interrupted)
    small = ("--from-scratch", "--objective", "noise2self", "--set", "network.levels=2",
             "--set", "training.patch_size=32", "--device", "cpu", "--steps", 1)  # fmt: skip
    status, _, said = redenoise("denoise", image, tmp_path / "out.tif", "--branches", *small)
    assert status == 130
    monkeypatch.setattr(Redenoiser, "predict_events", predict)
    _, *words = shlex.split(re.search("redenoise denoise .*", said)[0])
    assert redenoise(*words)[0] == 0
    for name in ("out", "out-standard", "out-equivariant"):
        assert tifffile.imread(tmp_path / f"{name}.tif").shape == (70, 54)
