"""Packages of the BioImage Model Zoo, as its own library loads and tests them."""

import subprocess
import sys
import zipfile
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np
import pytest
import yaml
from PIL import Image

from napari_redenoise import Redenoiser
from napari_redenoise.io import load_model
from napari_redenoise.model import export_denoiser

needs_its_library = pytest.mark.skipif(
    find_spec("bioimageio") is None or version("pydantic").startswith("2.14."),
    reason="needs bioimageio.core, and another pydantic than 2.14",
)


@pytest.fixture
def model(tiny, noisy, tmp_path):
    trained = Redenoiser(tiny.replace({"network.group": "C8"}), device="cpu").fit(noisy)
    return trained, trained.save(tmp_path / "m.safetensors")


@pytest.fixture(scope="module")
def zoo():
    """The zoo's library."""
    import bioimageio.core

    return bioimageio.core


@needs_its_library
def test_the_test_of_the_zoo_passes(redenoise, model, tmp_path, zoo):
    _, path = model
    package = tmp_path / "out" / "m.bioimageio.zip"
    status, said, errors = redenoise("export", path, package)
    assert status == 0, errors
    assert "float32 with the axes batch, channel (1), y and x" in said
    summary = zoo.test_model(package)
    assert summary.status == "passed", summary.format()
    tested = {detail.loc[1:2] for detail in summary.details if "Reproduce" in detail.name}
    assert tested == {("pytorch_state_dict",), ("torchscript",)}


@needs_its_library
def test_its_prediction_is_that_of_the_model(model, noisy, tmp_path, zoo):
    trained, _ = model
    package = tmp_path / "m.zip"
    export_denoiser(trained, package)
    image = np.pad(noisy, 20, mode="reflect")[:80, :64].astype(np.float32)
    prediction = zoo.predict(model=package, inputs=image[None, None], blocksize_parameter=None)
    (found,) = (np.asarray(tensor.data) for tensor in prediction.members.values())
    expected = trained.predict(image, tta=False, draws=0, corrections=False).denoised
    # The zoo pads by the halo, in another way than the network does.
    inside = (slice(20, -20), slice(20, -20))
    np.testing.assert_allclose(found[0, 0][inside], expected[inside], rtol=1e-4)


ELSEWHERE = """
import sys
sys.modules["napari_redenoise"] = None  # whoever imports it fails
import numpy, torch
network = torch.jit.load(sys.argv[1])
image = torch.from_numpy(numpy.load(sys.argv[2]))
with torch.no_grad():
    numpy.save(sys.argv[3], network(image).numpy())
"""


@pytest.mark.parametrize("size", [(33, 17)])
def test_its_torchscript_needs_torch_alone(model, noisy, tmp_path, size):
    trained, _ = model
    export_denoiser(trained, tmp_path / "m.zip")
    with zipfile.ZipFile(tmp_path / "m.zip") as file:
        file.extract("torchscript.pt", tmp_path)
    image = noisy[: size[0], : size[1]].astype(np.float32)
    np.save(tmp_path / "in.npy", image[None, None])
    files = [str(tmp_path / name) for name in ("torchscript.pt", "in.npy", "got.npy")]
    command = [sys.executable, "-W", "ignore", "-c", ELSEWHERE, *files]
    subprocess.run(command, check=True, cwd=tmp_path)
    expected = trained.predict(image, tta=False, draws=0, corrections=False).denoised
    np.testing.assert_allclose(np.load(tmp_path / "got.npy")[0, 0], expected, rtol=1e-4)


def test_a_package_describes_its_model(redenoise, model, tmp_path):
    _, path = model
    assert redenoise("export", path, tmp_path / "m.zip")[0] == 0
    with zipfile.ZipFile(tmp_path / "m.zip") as file:
        file.extractall(tmp_path / "x")
        content = {name: file.read(name) for name in file.namelist()}
    described = yaml.safe_load(content["rdf.yaml"])
    (channel,) = (one for one in described["outputs"][0]["axes"] if one.get("id") == "x")
    # The receptive radius of 2 levels with kernels of 3 is 19 by hand; the stride is 4.
    assert channel["halo"] == 20
    assert described["inputs"][0]["axes"][2]["size"] == {"min": 44, "step": 4}
    # What older libraries of the zoo, and so other tools, read.
    assert described["format_version"] == "0.5.3"
    assert (described["covers"], described["documentation"]) == (["cover.png"], "README.md")
    assert "2505.19618" in described["cite"][0]["text"]
    loaded = load_model(path)
    assert described["weights"]["pytorch_state_dict"]["architecture"]["kwargs"] == {
        "network": loaded.config.network.model_dump(mode="json"),
        "mean": [*loaded.normalisation.mean],
        "std": [*loaded.normalisation.std],
    }
    readme = content["README.md"].decode()
    assert "None are known" in readme
    assert '"steps": 3' in readme
    with Image.open(tmp_path / "x" / "cover.png") as cover:
        assert cover.size == (512, 256)
    # Neither paths of this computer nor source code.
    assert str(tmp_path.parents[1]).encode() not in b"".join(content.values())
    with zipfile.ZipFile(tmp_path / "x" / "torchscript.pt") as script:
        texts = b"".join(script.read(name) for name in script.namelist())
    assert b"_adarenet.py" not in texts


def test_two_channels_have_two_names(tiny, noisy, tmp_path):
    image = np.stack([noisy, noisy[::-1]])
    trained = Redenoiser(tiny, device="cpu").fit(image, "CYX")
    export_denoiser(trained, tmp_path / "m.zip")
    with zipfile.ZipFile(tmp_path / "m.zip") as file:
        described = yaml.safe_load(file.read("rdf.yaml"))
    assert described["inputs"][0]["axes"][1]["channel_names"] == ["channel0", "channel1"]


def test_cautions_are_printed_and_documented(redenoise, tiny, noisy, tmp_path):
    changes = {"objective.kind": "noise2self", "objective.lines": "rows"}
    trained = Redenoiser(tiny.replace(changes), device="cpu").fit(noisy)
    path = trained.save(tmp_path / "m.safetensors")
    _, _, errors = redenoise("export", path, tmp_path / "m.zip")
    assert "note: this model was trained after line correction" in errors
    with zipfile.ZipFile(tmp_path / "m.zip") as file:
        assert "- this model was trained after line correction" in file.read("README.md").decode()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("m.pt2", ("--format", "bioimageio"), "give a name that ends in .zip"),
        ("m.zip", ("--format", "program"), "give a name that ends in .pt2"),
        ("taken.zip", (), "exists already"),
    ],
)
def test_a_name_that_does_not_fit_is_refused(redenoise, tmp_path, name, options, words):
    (tmp_path / "taken.zip").write_bytes(b"precious")
    status, _, errors = redenoise("export", tmp_path / "m.safetensors", tmp_path / name, *options)
    assert status == 1
    assert words in errors
    assert (tmp_path / "taken.zip").read_bytes() == b"precious"
