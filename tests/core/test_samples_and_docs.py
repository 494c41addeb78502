import doctest
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import typer

from napari_redenoise import _sample_data
from napari_redenoise._cli import app
from napari_redenoise.model import _redenoiser
from napari_redenoise.noise import poisson_gaussian

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("sample", [_sample_data.noisy_cells, _sample_data.noisy_time_series])
def test_a_sample_is_its_ground_truth_with_camera_noise(sample):
    (truth, _, _), (noisy, _, kind) = sample()
    camera = _sample_data.CAMERA
    assert kind == "image"
    assert noisy.dtype == np.uint16
    expected = truth.astype(float)
    unclipped = expected > camera["offset"] + 5 * camera["read_noise"]
    variance = camera["gain"] * (expected - camera["offset"]) + camera["read_noise"] ** 2
    deviation = (noisy - expected)[unclipped] / np.sqrt(variance[unclipped])
    assert abs(deviation.mean()) < 0.02
    assert deviation.std() == pytest.approx(1.0, abs=0.02)


def test_samples_are_the_same_every_time():
    np.testing.assert_array_equal(
        _sample_data.noisy_cells()[1][0], _sample_data.noisy_cells()[1][0]
    )


def test_camera_noise_has_the_variance_of_its_formula():
    rng = np.random.default_rng(0)
    for photons in (0.5, 4.0, 100.0):
        noisy = poisson_gaussian(
            np.full((400, 400), photons), rng, gain=3.0, offset=50.0, read_noise=2.0
        )
        assert noisy.mean() == pytest.approx(3.0 * photons + 50.0, rel=0.01)
        assert noisy.var() == pytest.approx(9.0 * photons + 4.0, rel=0.02)


def test_the_readme_s_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert (tmp_path / "model.safetensors").exists()


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_commands_in_the_docs_have_the_options_that_they_are_shown_with(page):
    known = typer.main.get_command(app).commands
    text = page.read_text().replace("\\\n", " ")
    for line in re.findall(r"^redenoise .*", text, re.M):
        name, *arguments = shlex.split(line, comments=True)[1:]
        assert name in known, line
        options = {option for parameter in known[name].params for option in parameter.opts}
        given = {argument for argument in arguments if argument.startswith("--")}
        assert given <= options, line


def test_the_facade_s_example_runs():
    result = doctest.testmod(_redenoiser)
    assert result.attempted > 0
    assert result.failed == 0
