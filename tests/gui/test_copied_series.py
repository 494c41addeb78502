"""Code that is copied for a layer of a file with several images denoises that layer's pixels."""

import runpy
import shlex

import numpy as np
import pytest
import tifffile
import typer

from napari_redenoise._cli import app


@pytest.fixture
def done(dock, noisy, tmp_path):
    """A result of the first image of a file, whose second image is larger."""
    path = tmp_path / "two.tif"
    with tifffile.TiffWriter(path) as file:
        for image in (noisy, np.random.default_rng(5).poisson(9, (96, 128)).astype(np.uint16)):
            file.write(image, photometric="minisblack")
    dock.use(**{"network.kind": "standard", "training.steps": 2})
    dock.viewer.open(path, plugin="napari")
    dock.run()
    return dock


def denoised(done):
    return done.widget.finished_run.result.data


def test_the_command_names_the_series(done, tmp_path, monkeypatch):
    command = shlex.split(done.copied("Copy as command"))
    assert command[command.index("--series") + 1] == "0"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        typer.main.get_command(app)(command[1:])
    assert ended.value.code == 0
    np.testing.assert_allclose(tifffile.imread("denoised.tif"), denoised(done), rtol=1e-3, atol=1)


def test_the_script_names_the_series(done, tmp_path, monkeypatch):
    (tmp_path / "again.py").write_text(done.copied("Copy as Python"))
    monkeypatch.chdir(tmp_path)
    runpy.run_path("again.py", run_name="__main__")
    np.testing.assert_allclose(tifffile.imread("denoised.tif"), denoised(done), rtol=1e-3, atol=1)
