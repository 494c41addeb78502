"""What is copied as text makes the result again that the facade makes directly."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

import napari_redenoise
from napari_redenoise import Config, Redenoiser
from napari_redenoise.io import read_image
from napari_redenoise.model import RunAsCode

RUNS = {
    "tiny": {},
    "seed": {"training.seed": 7},
    "mask shape": {
        "objective.kind": "noise2void",
        "objective.mask_shape": ("010", "111", "010"),
        "objective.replacement": "median",
    },
    "auto": {"objective.kind": "auto", "network.kind": "standard"},
    "two shots": {"objective.kind": "noise2noise"},
    "equivariant": {"network.kind": "equivariant", "network.group": "D4"},
    "recorrupted": {
        "objective.kind": "r2r",
        "objective.noise": {"gain": (1.0,), "offset": (-0.5,), "read_noise": (0.25,)},
        "objective.draws": 2,
    },
}


@pytest.fixture(params=RUNS)
def run(request, tiny, noisy, tmp_path, monkeypatch):
    """A run as the facade makes it, and its code; the files lie in the folder."""
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("it's noisy.tif", noisy)
    second = None
    if request.param == "two shots":
        second = "other shot.tif"
        tifffile.imwrite(second, np.random.default_rng(1).poisson(noisy).astype(np.uint16))
    model = Redenoiser(tiny.replace(RUNS[request.param]), device="cpu")
    other = None if second is None else read_image(second).array
    result = model.fit(noisy, "YX", target=other).predict(noisy, "YX")
    config = Config(**result.provenance["asked"])
    return result, RunAsCode(config, "it's noisy.tif", "YX", target=second, device="cpu")


@pytest.mark.parametrize("form", ["script", "command"])
def test_a_run_that_was_stopped_is_stopped_again(
    form, tiny, noisy, tmp_path, monkeypatch, redenoise
):
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("noisy.tif", noisy)
    model = Redenoiser(tiny.replace({"training.steps": 9}), device="cpu")
    for event in model.fit_events(noisy, "YX"):
        if event.step == 4:
            break
    result = model.predict(noisy, "YX")
    config = Config(**result.provenance["asked"])
    execute(form, redenoise, config, stop_after=4)
    check(result)


@pytest.mark.parametrize("form", ["script", "command"])
def test_a_model_denoises_without_training_and_in_integers(
    form, tiny, noisy, tmp_path, monkeypatch, redenoise
):
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("noisy.tif", noisy)
    model = Redenoiser(tiny, device="cpu").fit(noisy[::-1], "YX")
    model.save("model.safetensors")
    result = model.predict(noisy, "YX")
    config = Config(**result.provenance["asked"])
    execute(form, redenoise, config, model="model.safetensors", as_source=True)
    written = tifffile.imread("denoised.tif")
    limits = np.iinfo(noisy.dtype)
    assert written.dtype == noisy.dtype
    expected = np.clip(np.rint(result.denoised), limits.min, limits.max)
    np.testing.assert_allclose(written.astype(float), expected, atol=1)


def execute(form, redenoise, config, **keywords):
    """Run a text on ``noisy.tif``, as a script or as a command."""
    code = RunAsCode(config, "noisy.tif", "YX", device="cpu", **keywords)
    if form == "script":
        exec(compile(code.script(), "script", "exec"), {})
        return
    status, _, errors = redenoise(*shlex.split(code.command())[1:])
    assert status == 0, errors


def check(result):
    np.testing.assert_allclose(tifffile.imread("denoised.tif"), result.denoised, rtol=1e-5)
    if result.mask is None:
        assert not Path("denoised-mask.tif").exists()
    else:
        np.testing.assert_allclose(tifffile.imread("denoised-mask.tif"), result.mask, atol=1e-5)


def test_the_script_makes_the_same_result(run):
    result, code = run
    exec(compile(code.script(), "script", "exec"), {})
    check(result)


def test_the_command_makes_the_same_result(run, redenoise):
    result, code = run
    program, *words = shlex.split(code.command())
    assert program == "redenoise"
    status, _, errors = redenoise(*words)
    assert status == 0, errors
    check(result)


def test_the_script_runs_by_itself(tiny, noisy, tmp_path):
    tifffile.imwrite(tmp_path / "image.tif", noisy)
    (tmp_path / "run.py").write_text(RunAsCode(tiny, None, "YX", device="cpu").script())
    source = Path(napari_redenoise.__file__).parents[1]
    # Another number of threads adds in another order, and training multiplies the rounding.
    threads = str(torch.get_num_threads())
    environment = {
        **os.environ,
        "PYTHONPATH": str(source),
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
    }
    subprocess.run([sys.executable, "run.py"], cwd=tmp_path, env=environment, check=True)
    expected = Redenoiser(tiny, device="cpu").fit(noisy).predict(noisy)
    np.testing.assert_allclose(
        tifffile.imread(tmp_path / "denoised.tif"), expected.denoised, rtol=1e-5
    )
    np.testing.assert_allclose(
        tifffile.imread(tmp_path / "denoised-mask.tif"), expected.mask, atol=1e-5
    )


def test_only_changed_settings_are_written():
    config = Config().replace({"training.steps": 12, "network.kind": "adarenet"})
    code = RunAsCode(config, "a.png", "YXC")
    assert code.command() == (
        "redenoise denoise a.png denoised.tif --axes YXC --mask denoised-mask.tif --steps 12\n"
    )
    assert code.script().splitlines()[4:8] == [
        "config = Config().replace(",
        "    {",
        "        'training.steps': 12,",
        "    }",
    ]
    assert "replace" not in RunAsCode(Config(), "a.png", "YXC").script()


@pytest.mark.parametrize("source", [None, "movie.zarr"])
@pytest.mark.parametrize("form", [RunAsCode.script, RunAsCode.command])
def test_a_layer_without_a_file_needs_to_be_saved_first(form, source):
    text = form(RunAsCode(Config(), source, "YX"))
    assert text.startswith("# Save the image layer as image.tif first.\n")
    assert "movie" not in text
    assert "#" not in form(RunAsCode(Config(), "image.tif", "YX"))


def test_the_figures_of_several_channels_are_said():
    noise = {"gain": (1.0, 2.0), "offset": (0.0,), "read_noise": (0.0,)}
    config = Config().replace({"objective.kind": "r2r", "objective.noise": noise})
    words = shlex.split(RunAsCode(config, "-a.tif", "CYX").command())
    assert words[2] == "./-a.tif"
    assert words[-1] == (
        'objective.noise={"gain": [1.0, 2.0], "offset": [0.0], "read_noise": [0.0], '
        '"skewed": [0.0]}'
    )
    compile(RunAsCode(config, "a.tif", "CYX").script(), "script", "exec")


@pytest.mark.parametrize("ending", [".btf", ".tf8", ".lsm", ".stk", ".TIF"])
@pytest.mark.parametrize("form", [RunAsCode.script, RunAsCode.command])
def test_every_ending_of_a_tiff_is_read_directly(form, ending):
    text = form(RunAsCode(Config(), f"movie{ending}", "TYX"))
    assert f"movie{ending}" in text
    assert "#" not in text


def test_the_series_is_written():
    script = RunAsCode(Config(), "a.tif", "YX", series=2).script()
    assert "read_image('a.tif', 'YX', series=2)" in script
    words = shlex.split(RunAsCode(Config(), "a.tif", "YX", series=0).command())
    assert words[words.index("--series") + 1] == "0"
    # A saved layer has one series.
    assert "series" not in RunAsCode(Config(), None, "YX", series=2).command()
