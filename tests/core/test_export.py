import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from napari_redenoise import Redenoiser, _cli
from napari_redenoise.config import NetworkConfig
from napari_redenoise.model import export_denoiser
from napari_redenoise.nn import (
    DeployedNetwork,
    FieldAffine,
    FieldBatchNorm2d,
    FieldDropout2d,
    FieldGroupNorm,
    FieldInstanceNorm2d,
    FieldPReLU,
    GroupConv2d,
    GroupConvTranspose2d,
    GroupPool,
    Lift,
    LiftingConv2d,
    LiftingConvTranspose2d,
    ProjectionConv2d,
    ProjectionConvTranspose2d,
    build_network,
    export,
    parse_group,
)

LIMITS = {torch.float32: 1e-6, torch.float64: 1e-12}
each_dtype = pytest.mark.parametrize("dtype", LIMITS)
GROUP = parse_group("D4")
LAYERS = {
    "lifting": lambda: LiftingConv2d(GROUP, 16, 4, 3, groups=2),
    "group": lambda: GroupConv2d(GROUP, 2, 4, 5, stride=2, padding=1, padding_mode="reflect"),
    "projection": lambda: ProjectionConv2d(GROUP, 2, 3, 4, dilation=2, bias=False),
    "transposed lifting": lambda: LiftingConvTranspose2d(GROUP, 16, 3, 2, stride=2),
    "transposed group": lambda: GroupConvTranspose2d(GROUP, 2, 4, 4, stride=2, groups=2),
    "transposed projection": lambda: ProjectionConvTranspose2d(GROUP, 2, 3, 3, bias=False),
    "batch norm": lambda: FieldBatchNorm2d(GROUP, 2),
    "batch norm without statistics": lambda: FieldBatchNorm2d(GROUP, 2, affine=False),
    "group norm": lambda: FieldGroupNorm(GROUP, 1, 2),
    "instance norm": lambda: FieldInstanceNorm2d(GROUP, 2),
    "prelu": lambda: FieldPReLU(GROUP, 2),
    "factor": lambda: FieldAffine(GROUP, 2, init=0.3),
    "factor and offset": lambda: FieldAffine(GROUP, 2, bias=True),
    "dropout": lambda: FieldDropout2d(GROUP),
    "max": lambda: GroupPool(GROUP),
    "mean": lambda: GroupPool(GROUP, "mean"),
    "lift": lambda: Lift(GROUP),
}


def draw() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def randomised(module: nn.Module) -> nn.Module:
    generator = draw()
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not name.endswith(("basis", "damping")):
            tensor.uniform_(0.1, 1.0, generator=generator)
    return module


def assert_same(got: torch.Tensor, expected: torch.Tensor) -> None:
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    assert (got - expected).norm() <= LIMITS[got.dtype] * expected.norm()


@each_dtype
@pytest.mark.parametrize("kind", LAYERS)
def test_every_layer_becomes_a_plain_one_that_does_the_same(use_dtype, dtype, kind: str) -> None:
    use_dtype(dtype)
    layer = randomised(LAYERS[kind]()).eval()
    plain = export(layer)
    x = torch.randn(2, 16, 9, 11, generator=draw())
    with torch.no_grad():
        assert_same(plain(x), layer(x))
    assert {type(part).__module__.partition(".")[0] for part in plain.modules()} == {"torch"}
    assert not {"basis", "damping"} & set(plain.state_dict())


@each_dtype
@pytest.mark.parametrize("kind", ["adarenet", "equivariant", "standard"])
@pytest.mark.parametrize("name", ["C8", "D4"])
def test_networks_are_exported_and_stay_as_they_were(use_dtype, dtype, kind, name) -> None:
    use_dtype(dtype)
    config = NetworkConfig(kind=kind, group=name, levels=2, encoder_width=16, decoder_width=16)
    network = build_network(config, draw()).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    plain = export(network)
    x = torch.randn(1, 1, 21, 30, generator=draw())
    with torch.no_grad():
        expected, got = network(x), plain(x)
    for part, wanted in zip(got, expected, strict=True):
        assert (part is None) == (wanted is None)
        if part is not None:
            assert_same(part, wanted)
    assert network.training
    assert not plain.training
    assert not any("basis" in key for key in plain.state_dict())
    assert not any(isinstance(part, (LiftingConv2d, GroupConv2d)) for part in plain.modules())
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


def test_an_exported_network_can_be_traced_and_exported() -> None:
    network = nn.Sequential(
        LiftingConv2d(GROUP, 1, 2, 3, draw()),
        FieldBatchNorm2d(GROUP, 2),
        nn.ReLU(),
        GroupConv2d(GROUP, 2, 2, 4, draw(), stride=2),
        GroupConvTranspose2d(GROUP, 2, 3, 2, draw(), stride=2),
        GroupPool(GROUP),
    )
    x, other = torch.randn(2, 1, 1, 16, 16, generator=draw())
    plain = export(randomised(network))
    program = torch.export.export(plain, (x,)).module()
    for made in (torch.jit.trace(plain, x), program):
        torch.testing.assert_close(made(other), network.eval()(other))


@pytest.mark.parametrize("size", [(24, 32), (9, 31), (17, 16)])
def test_a_deployed_network_pads_and_keeps_non_finite_pixels(size) -> None:
    config = NetworkConfig(levels=3, encoder_width=8, decoder_width=8, channels=2)
    network = build_network(config, draw())
    image = 100 + 20 * torch.randn(1, 2, *size, generator=draw())
    deployed = DeployedNetwork(network, (100.0, 90.0), (20.0, 30.0))
    mean, std = (torch.tensor(v)[:, None, None] for v in ((100.0, 90.0), (20.0, 30.0)))
    with torch.no_grad():
        expected = network((image - mean) / std).denoised * std + mean
        torch.testing.assert_close(deployed(image), expected, rtol=1e-5, atol=1e-4)
        image[0, 1, 4, 5], image[0, 0, 3, 3] = torch.nan, torch.inf
        result = deployed(image)
    assert torch.equal(result.isfinite(), image.isfinite())
    assert result[0, 0, 3, 3] == torch.inf


@pytest.fixture
def redenoise(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["redenoise", *map(str, arguments)])
        try:
            _cli.main()
            status = 0
        except SystemExit as exit_:
            status = exit_.code or 0
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return call


ELSEWHERE = """
import sys
sys.modules["napari_redenoise"] = None  # whoever imports it fails
import numpy, torch
program = torch.export.load(sys.argv[1]).module()
with numpy.load(sys.argv[2]) as images, torch.no_grad():
    done = {name: program(torch.from_numpy(images[name])).numpy() for name in images}
numpy.savez(sys.argv[3], **done)
"""


def test_an_exported_model_denoises_alike_with_torch_alone(
    redenoise, tiny, noisy, tmp_path
) -> None:
    model = Redenoiser(tiny.replace({"network.group": "C8"}), device="cpu").fit(noisy)
    path, program = model.save(tmp_path / "m.safetensors"), tmp_path / "out" / "m.pt2"
    status, said = redenoise("export", path, program)
    assert status == 0
    assert "grey levels" in said
    assert "at least 5 pixels" in said
    images = {
        f"{height}x{width}": noisy[:height, :width].astype(np.float32)[None, None]
        for height, width in ((70, 54), (64, 32), (33, 17))
    }
    np.savez(tmp_path / "in.npz", **images)
    command = [sys.executable, "-c", ELSEWHERE, program, tmp_path / "in.npz", tmp_path / "got.npz"]
    subprocess.run(list(map(str, command)), check=True, cwd=tmp_path)
    with np.load(tmp_path / "got.npz") as got:
        for name, image in images.items():
            expected = model.predict(image[0, 0], tta=False, draws=0, corrections=False).denoised
            np.testing.assert_allclose(got[name][0, 0], expected, rtol=1e-4)
    with zipfile.ZipFile(program) as file:
        (readme,) = [name for name in file.namelist() if name.endswith("readme.txt")]
        assert file.read(readme).decode() in said
        (network,) = [name for name in file.namelist() if name.endswith("network.json")]
        assert json.loads(file.read(network))["group"] == "C8"
        texts = b"".join(file.read(name) for name in file.namelist())
    assert b"_adarenet.py" not in texts


def test_an_existing_program_needs_overwrite(redenoise, tiny, noisy, tmp_path):
    model = Redenoiser(tiny.replace({"training.steps": 1}), device="cpu").fit(noisy)
    path, program = model.save(tmp_path / "m.safetensors"), tmp_path / "m.pt2"
    program.write_bytes(b"precious")
    status, said = redenoise("export", path, program)
    assert status == 1
    assert "exists already" in said
    assert program.read_bytes() == b"precious"
    assert redenoise("export", path, program, "--overwrite")[0] == 0
    assert program.stat().st_size > 1000
    assert list(tmp_path.glob(".redenoise-*")) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("missing.safetensors", "m.pt2"), "no model file"), (("m.safetensors", "m.pt"), ".pt2")],
)
def test_mistakes_are_answered_with_one_sentence(
    redenoise, tmp_path, monkeypatch, arguments, words
):
    monkeypatch.chdir(tmp_path)
    status, said = redenoise("export", *arguments)
    assert status == 1
    assert words in said


def test_a_network_that_has_just_predicted_is_exported(tiny, noisy, tmp_path):
    # It is in channels_last then.
    model = Redenoiser(tiny.replace({"network.kind": "adarenet"}), "cpu").fit(noisy)
    denoised = model.predict(noisy, tta=False).denoised
    export_denoiser(model, tmp_path / "m.pt2")
    program = torch.export.load(tmp_path / "m.pt2").module()
    # Without a gradient to keep.
    found = program(torch.from_numpy(noisy.astype(np.float32))[None, None]).numpy()[0, 0]
    np.testing.assert_allclose(found, denoised, rtol=1e-3, atol=1e-3 * np.abs(denoised).max())
