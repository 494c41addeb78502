"""Channels: each by itself with the pretrained network, or together from random weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_redenoise import Config, Redenoiser
from napari_redenoise.config import NetworkConfig
from napari_redenoise.errors import ConfigError
from napari_redenoise.io import export_model
from napari_redenoise.model import TrainingImages, is_fine_tuned
from napari_redenoise.model._plan import make_plan
from napari_redenoise.nn import build_network

SMALL = NetworkConfig(levels=2, encoder_width=8, decoder_width=16, context=2)
UNTRAINED = Config().replace({"training.steps": 0, "tiling.tta": False})
CPU = torch.device("cpu")


def stack(*shape: int) -> np.ndarray:
    """Photon counts whose channels differ in their grey levels."""
    rng = np.random.default_rng(0)
    return np.stack([rng.poisson(8 * 5**n, shape).astype(np.float32) for n in range(3)], -1)


@pytest.mark.parametrize("inputs", [3, 19])
def test_a_channel_is_denoised_as_if_it_were_alone(inputs: int) -> None:
    """Of the whole input a channel sees its levels and the marks of the neighbours."""
    config = SMALL.model_copy(update={"channels": 3, "channel_mode": "separate"})
    network = build_network(config, torch.Generator().manual_seed(0)).eval()
    alone = build_network(config.of_one_channel, torch.Generator().manual_seed(0)).eval()
    image = torch.randn(2, inputs, 24, 20, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = network(image)
        for channel in range(3):
            shown = [*range(channel, min(inputs, 15), 3), *range(15, inputs)]
            expected = alone(image[:, shown])
            for name in ("denoised", "standard", "equivariant"):
                part, whole = getattr(expected, name), getattr(found, name)
                torch.testing.assert_close(whole[:, channel : channel + 1], part)
        masks = [alone(image[:, [*range(c, min(inputs, 15), 3), *range(15, inputs)]]).mask
                 for c in range(3)]  # fmt: skip
    torch.testing.assert_close(found.mask, torch.stack(masks).mean(0))


@pytest.mark.parametrize("axes", ["YXC", "TYXC"])
def test_colours_are_denoised_as_grey_images_are(axes: str) -> None:
    image = stack(*(5, 32, 48)[3 - len(axes) + 1 :])
    config = UNTRAINED.replace({"network.context": 2 if "T" in axes else 0})
    whole = Redenoiser(config, "cpu").fit(image, axes).predict(image, axes)
    grey = image[..., 1]
    alone = Redenoiser(config, "cpu").fit(grey, axes[:-1]).predict(grey, axes[:-1])
    np.testing.assert_allclose(whole.denoised[..., 1], alone.denoised, rtol=1e-5)
    assert whole.mask.shape == grey.shape


def mode(config: Config, image: np.ndarray, axes: str) -> tuple[str, str]:
    """How channels are denoised, and from which weights."""
    plan = make_plan(config, TrainingImages.of(image, axes), CPU)
    return plan.config.network.channel_mode, plan.config.training.start


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("separate", "pretrained")),
        ({"network.kind": "equivariant"}, ("separate", "pretrained")),
        ({"network.channel_mode": "together"}, ("together", "random")),
        ({"network.group": "D4"}, ("together", "random")),
        ({"training.start": "random"}, ("together", "random")),
    ],
)
def test_channels_are_separate_where_weights_exist(changes, expected) -> None:
    config = Config().replace(changes)
    assert mode(config, stack(32, 32), "YXC") == expected
    assert is_fine_tuned(config, 3) == (expected[1] == "pretrained")
    assert mode(config, stack(32, 32)[..., 0], "YX")[0] in ("auto", "together")


def test_the_plan_says_how_channels_are_denoised() -> None:
    plan = Redenoiser(Config(), "cpu").plan(stack(32, 32), "YXC")
    assert "channels: the network denoises each of 3 by itself" in plan.sentences()
    together = Config().replace({"network.channel_mode": "together"})
    plan = Redenoiser(together, "cpu").plan(stack(32, 32), "YXC")
    assert "channels: denoised together, by a network from random weights" in plan.sentences()
    with pytest.raises(ConfigError, match="0 steps"):
        Redenoiser(together.replace({"training.steps": 0})).plan(stack(32, 32), "YXC")


def test_fine_tuned_channels_are_saved_and_read(tmp_path: Path) -> None:
    image = stack(32, 32)
    config = Config().replace({"network.kind": "equivariant", "training.steps": 2,
                               "training.patch_size": 32, "training.batch_size": 1})  # fmt: skip
    model = Redenoiser(config, "cpu").fit(image, "YXC")
    path = model.save(tmp_path / "model.safetensors")
    expected = model.predict(image, "YXC").denoised
    found = Redenoiser.load(path, "cpu").predict(image, "YXC").denoised
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_an_exported_network_denoises_channels_alike(tmp_path: Path) -> None:
    image = stack(64, 64)
    config = UNTRAINED.replace({"network.kind": "equivariant"})
    model = Redenoiser(config, "cpu").fit(image, "YXC")
    session = model.session
    path = tmp_path / "model.pt2"
    export_model(
        path,
        session.network(),
        session.trained_plan().config.network,
        session.trained_normalisation(),
    )
    program = torch.export.load(path).module()
    found = program(torch.from_numpy(image).permute(2, 0, 1)[None])[0].permute(1, 2, 0)
    expected = model.predict(image, "YXC").denoised
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-3)


def test_models_without_the_setting_denoise_together(tiny: Config, tmp_path: Path) -> None:
    """Files of earlier versions do not hold it."""
    image = stack(32, 32)
    model = Redenoiser(tiny, "cpu").fit(image, "YXC")
    assert model.session.plan.config.network.channel_mode == "together"
    plain = model.session.plan.config.network.model_copy(update={"channel_mode": "auto"})
    build_network(plain).load_state_dict(model.session.network().state_dict())
