import io
import pickle
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from torch import nn

from napari_redenoise import Redenoiser
from napari_redenoise.io import load_model
from napari_redenoise.nn import load_authors_checkpoint

PAGE = Path(__file__).resolve().parents[2] / "docs" / "import-checkpoints.md"


def published_unet(channels: int = 1) -> dict[str, torch.Tensor]:
    """A checkpoint of the published ordinary U-Net, with narrow feature maps."""
    widths = {f"{number}.0": (8, 8) for number in range(2, 7)} | {"1.0": (channels, 8)}
    widths |= {"1.2": (8, 8), "7.0": (16, 16), "7.2": (16, 16)}
    for number in (8, 9, 10):
        widths |= {f"{number}.0": (24, 16), f"{number}.2": (16, 16)}
    widths |= {"11.0": (16 + channels, 64), "11.2": (64, 32), "11.4": (32, channels)}
    state = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for place, (inputs, outputs) in widths.items():
            conv = nn.Conv2d(inputs, outputs, 3)
            nn.init.kaiming_normal_(conv.weight)
            state[f"_block{place}.weight"], state[f"_block{place}.bias"] = conv.weight, conv.bias
    return {name: value.detach() for name, value in state.items()}


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "authors.pt"
    torch.save(published_unet(), path)
    return path


def write_image(path, pixels):
    tifffile.imwrite(path, pixels)
    return path


def test_the_published_checkpoint_denoises_as_published(
    redenoise, golden, golden_checkpoint, tmp_path
):
    authors, model = tmp_path / "authors.pt", tmp_path / "model.safetensors"
    torch.save(golden_checkpoint, authors)
    assert redenoise("import-checkpoint", authors, model)[0] == 0
    noisy = write_image(tmp_path / "noisy.tif", golden["x"][0, 0] * 255)
    out, mask = tmp_path / "out.tif", tmp_path / "mask.tif"
    assert redenoise("denoise", noisy, out, "--model", model, "--mask", mask)[0] == 0
    for path, expected in ((out, golden["denoised"] * 255), (mask, golden["mask"])):
        difference = np.abs(tifffile.imread(path) - expected[0, 0]).max()
        assert difference <= 1e-4 * expected.std()


def test_an_import_denoises_in_the_grey_levels_of_the_range(redenoise, checkpoint, tmp_path):
    model, out = tmp_path / "model.safetensors", tmp_path / "out.tif"
    status, said, _ = redenoise("import-checkpoint", checkpoint, model, "--range", 4095)
    assert status == 0
    assert f"wrote {model}" in said
    pixels = np.random.default_rng(0).integers(0, 4096, (50, 70)).astype(np.uint16)
    noisy = write_image(tmp_path / "noisy.tif", pixels)
    assert redenoise("denoise", noisy, out, "--model", model)[0] == 0
    scaled = torch.from_numpy(pixels.astype(np.float32) / 4095)[None, None]
    with torch.no_grad():
        expected = load_authors_checkpoint(published_unet())(scaled).denoised[0, 0].numpy() * 4095
    np.testing.assert_allclose(tifffile.imread(out), expected, atol=1e-3 * expected.std())
    result = Redenoiser.load(model, "cpu").predict(pixels)
    np.testing.assert_array_equal(result.denoised, tifffile.imread(out))


def test_an_import_is_evaluated_on_the_grey_scale_of_its_range(redenoise, checkpoint, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    y, x = np.mgrid[:32, :32]
    write_image(images / "0.tif", (120 + 60 * np.sin(y / 9) + 50 * np.cos(x / 7)).astype("u1"))
    tables = []
    for value in (1, 255, 4095):
        model = tmp_path / f"{value}.safetensors"
        assert redenoise("import-checkpoint", checkpoint, model, "--range", value)[0] == 0
        said = redenoise("evaluate", model, "--test-dir", images, "--noise-param", 25)[1]
        tables.append(said)
    # The weights are the same, and they see black as 0 and white as 1.
    assert tables[0] == tables[1] == tables[2]
    assert "mean" in tables[0]
    model = tmp_path / "1.safetensors"
    options = ("--test-dir", images, "--noise-param", 25, "--range", 255)
    assert redenoise("evaluate", model, *options)[1] != tables[0]


def test_a_colour_checkpoint_denoises_colour_images(redenoise, tmp_path):
    authors, model = tmp_path / "authors.pt", tmp_path / "model.safetensors"
    torch.save({"state_dict": published_unet(3), "epoch": 12}, authors)
    assert redenoise("import-checkpoint", authors, model)[0] == 0
    network, config, normalisation, provenance, *_ = load_model(model)
    assert (config.network.kind, config.network.variant) == ("standard", "reference")
    assert config.network.channels == 3
    assert normalisation.mean == (0.0, 0.0, 0.0)
    assert normalisation.std == (255.0, 255.0, 255.0)
    assert provenance == {"imported_from": "authors.pt", "grey_range": 255.0}
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32)).astype(np.uint8)
    result = Redenoiser.load(model, "cpu").predict(pixels, "CYX")
    with torch.no_grad():
        expected = network(torch.from_numpy(pixels / np.float32(255))[None]).denoised[0] * 255
    np.testing.assert_allclose(result.denoised, expected, atol=1e-3 * float(expected.std()))


def test_an_existing_model_needs_overwrite(redenoise, checkpoint, tmp_path):
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"precious")
    status, _, said = redenoise("import-checkpoint", checkpoint, model)
    assert status == 1
    assert "exists already" in said
    assert model.read_bytes() == b"precious"
    assert redenoise("import-checkpoint", checkpoint, model, "--overwrite")[0] == 0
    assert load_model(model)[1].network.variant == "reference"


def test_the_checkpoint_is_never_overwritten(redenoise, checkpoint):
    before = checkpoint.read_bytes()
    status, _, said = redenoise("import-checkpoint", checkpoint, checkpoint, "--overwrite")
    assert status == 1
    assert "is the checkpoint itself" in said
    assert checkpoint.read_bytes() == before


@pytest.mark.parametrize("name", ["model.txt", "model", "model.safetensors.bak", "model.pt"])
def test_a_wrong_suffix_of_a_model_is_refused(redenoise, checkpoint, tmp_path, name):
    noisy = write_image(tmp_path / "noisy.tif", np.arange(32 * 32, dtype=np.uint16).reshape(32, 32))
    for command in (
        ("import-checkpoint", checkpoint, tmp_path / name),
        ("denoise", noisy, tmp_path / "out.tif", "--save-model", tmp_path / name),
        ("pretrain", tmp_path / name),
    ):
        status, _, said = redenoise(*command)
        assert status == 1
        assert (
            f"the model cannot be written as {name}: give a name that ends in .safetensors" in said
        )
    assert {path.name for path in tmp_path.iterdir()} == {"authors.pt", "noisy.tif"}


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("the file was unpickled",))


def damaged(path):
    torch.save(published_unet(), path)
    path.write_bytes(path.read_bytes()[:-1000])


def older_tar(path):
    """The format before torch 0.4, whose members are pickles."""
    with tarfile.open(path, "w") as tar:
        for name in ("pickle", "storages", "tensors"):
            content = pickle.dumps(Bomb())
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


FILES = {
    "missing": (lambda path: None, "there is no checkpoint"),
    "folder": (lambda path: path.mkdir(), "there is no checkpoint"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read as a torch.save file"),
    "text": (lambda path: path.write_text("not weights"), "cannot be read"),
    "damaged": (damaged, "cannot be read"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps(Bomb())), "cannot be read"),
    "tar": (older_tar, "cannot be read"),
    "object": (lambda path: torch.save(Bomb(), path), "holds more than weights"),
    "object beside weights": (
        lambda path: torch.save({"state_dict": published_unet(), "args": Bomb()}, path),
        "save the network's state_dict() alone",
    ),
    "whole network": (
        lambda path: torch.save(nn.Conv2d(1, 1, 3), path),
        "save the network's state_dict() alone",
    ),
    "list": (lambda path: torch.save([torch.ones(2)], path), "holds no state_dict"),
    "another network": (
        lambda path: torch.save(nn.Conv2d(1, 1, 3).state_dict(), path),
        "has none of the first layers",
    ),
    "a layer short": (
        lambda path: torch.save(dict(list(published_unet().items())[:-1]), path),
        "has no _block11.4.bias",
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_without_a_checkpoint_is_refused(redenoise, tmp_path, kind):
    path, model = tmp_path / "authors.pt", tmp_path / "model.safetensors"
    write, words = FILES[kind]
    write(path)
    status, _, said = redenoise("import-checkpoint", path, model)
    assert status == 1
    assert words in said
    assert str(path) in said
    assert said.startswith("redenoise: ")
    assert said.count("\n") == 1
    assert not model.exists()


@pytest.mark.parametrize("value", ["0", "-255", "nan", "inf"])
def test_an_invalid_range_is_refused(redenoise, checkpoint, tmp_path, value):
    model = tmp_path / "model.safetensors"
    status, _, said = redenoise("import-checkpoint", checkpoint, model, "--range", value)
    assert status == 1
    assert "give the grey level of white" in said
    assert not model.exists()


def test_the_page_s_commands_and_python_run(redenoise, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (32, 40)).astype(np.uint8)
    write_image(tmp_path / "noisy.tif", pixels)
    commands = re.findall(r"^redenoise (.+)$", PAGE.read_text(), re.M)
    assert len(commands) == 2
    for command in commands:
        assert redenoise(*command.split())[0] == 0
    by_command = tifffile.imread("denoised.tif")
    Path("model.safetensors").unlink()
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    names = {"noisy": pixels}
    exec(compile(block, PAGE.name, "exec"), names)
    np.testing.assert_allclose(names["result"].denoised, by_command, rtol=1e-4, atol=1e-2)
