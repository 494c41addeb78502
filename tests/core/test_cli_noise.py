import json

import numpy as np
import pytest
import tifffile

from napari_redenoise.noise import poisson_gaussian

GAIN, OFFSET, READ = 3.0, 100.0, 6.0


@pytest.fixture
def frames():
    """Four shots of one scene, (4, 96, 112), uint16."""
    light = np.tile(np.linspace(0, 80, 112), (96, 1))
    shots = [
        poisson_gaussian(
            light, np.random.default_rng(seed), gain=GAIN, offset=OFFSET, read_noise=READ
        )
        for seed in range(4)
    ]
    return np.rint(np.stack(shots)).astype(np.uint16)


@pytest.fixture
def noisy(tmp_path, frames):
    path = tmp_path / "noisy.tif"
    tifffile.imwrite(path, frames, imagej=True, metadata={"axes": "TYX"})
    return path


def test_the_noise_is_described(redenoise, noisy):
    before = noisy.read_bytes()
    status, said, _ = redenoise("noise", noisy)
    assert status == 0
    assert "grey levels per photon" in said
    assert "Photon noise" in said
    assert "recommended: r2r\n" in said
    assert noisy.read_bytes() == before


@pytest.mark.parametrize("repeats", [False, True])
def test_json_holds_the_model_and_the_advice(redenoise, noisy, repeats):
    status, said, _ = redenoise("noise", noisy, "--json", *(["--repeats"] if repeats else []))
    assert status == 0
    (report,) = json.loads(said)
    assert report["model"]["gain"] == pytest.approx(GAIN, rel=0.1)
    assert report["frames"] == (4 if repeats else 1)
    assert report["recommendation"]["mask_shape"] == ["1"]
    assert len(report["autocorrelation"]["x"]) == 8


def test_json_has_no_infinities(redenoise, tmp_path):
    path = tmp_path / "even.tif"
    tifffile.imwrite(path, np.random.default_rng(0).normal(100, 5, (64, 64)).astype(np.float32))
    _, said, _ = redenoise("noise", path, "--json")

    def refuse(word):
        raise AssertionError(word)

    (report,) = json.loads(said, parse_constant=refuse)
    assert report["offset_range"][0] is None
    assert report["read_noise_range"] == [0.0, report["model"]["read_noise"]]


def test_undetermined_values_are_shown_as_a_range(redenoise, tmp_path):
    path = tmp_path / "bright.tif"
    light = np.tile(np.linspace(20, 100, 128), (128, 1))
    tifffile.imwrite(path, np.random.default_rng(0).poisson(light).astype(np.uint16))
    (report,) = json.loads(redenoise("noise", path, "--json")[1])
    assert report["offset_range"][0] < 0 < 20 < report["offset_range"][1]
    assert report["read_noise_range"] == [0.0, pytest.approx(np.sqrt(20), rel=0.15)]
    lines = redenoise("noise", path)[1].splitlines()
    for name, (low, high) in (
        ("offset", report["offset_range"]),
        ("read noise", report["read_noise_range"]),
    ):
        (line,) = (line for line in lines if line.startswith(f"  {name} "))
        assert line.endswith(f"(values from {low:.4g} to {high:.4g} fit)")


def test_channels_are_measured_one_by_one(redenoise, frames, tmp_path):
    path = tmp_path / "channels.tif"
    tifffile.imwrite(path, np.stack([frames[0], 2 * frames[1]]))
    _, said, _ = redenoise("noise", path, "--axes", "CYX", "--json")
    gains = [report["model"]["gain"] for report in json.loads(said)]
    assert gains == pytest.approx([GAIN, 2 * GAIN], rel=0.15)
    assert "channel 1" in redenoise("noise", path, "--axes", "CYX")[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("missing.tif",), "there is no image file"),
        (("{noisy}", "--axes", "YX"), "axes"),
        (("{noisy}", "--axes", "CYX", "--repeats"), "one axis of repeated acquisitions"),
        (("{noisy}", "--plot", "plot.tif"), ".png"),
    ],
)
def test_errors_are_one_sentence_with_a_remedy(
    redenoise, noisy, tmp_path, monkeypatch, arguments, words
):
    monkeypatch.chdir(tmp_path)
    status, _, said = redenoise("noise", *(part.format(noisy=noisy) for part in arguments))
    assert status == 1
    assert words in said
    assert "Traceback" not in said


def test_an_existing_plot_needs_overwrite(redenoise, noisy, tmp_path):
    plot = tmp_path / "plot.png"
    plot.write_bytes(b"precious")
    status, said, errors = redenoise("noise", noisy, "--plot", plot)
    assert status == 1
    assert "exists already" in errors
    assert said == ""
    assert plot.read_bytes() == b"precious"


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_plot_is_drawn(redenoise, noisy, tmp_path, suffix):
    plot = tmp_path / f"plot{suffix}"
    status, said, _ = redenoise("noise", noisy, "--repeats", "--plot", plot)
    assert status == 0
    assert f"wrote {plot}" in said
    assert plot.stat().st_size > 5_000
    if suffix == ".svg":
        assert "</svg>" in plot.read_text()
