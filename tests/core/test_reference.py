"""The reference variant against the published network.

Expected values come from the published code itself where its file of outputs is there (fixture
``golden``), and otherwise from `published`, which is written from its ``state_dict`` alone, in
plain convolutions and loops, and is itself held to that file.
"""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, interpolate, max_pool2d

from napari_redenoise import Config, Redenoiser
from napari_redenoise.config import NetworkConfig
from napari_redenoise.data import Normalisation
from napari_redenoise.errors import ModelFileError
from napari_redenoise.io import load_model, save_model
from napari_redenoise.nn import (
    CyclicGroup,
    authors_config,
    build_network,
    filter_basis,
    load_authors_checkpoint,
)
from napari_redenoise.nn.testing import assert_equivariant, equivariance_error
from napari_redenoise.objectives import build_objective
from napari_redenoise.training import start, train

OUTPUTS = ("denoised", "standard", "equivariant", "mask")


def published_filter(weights: torch.Tensor, basis: torch.Tensor, *, out: bool) -> torch.Tensor:
    """Plain filters: orientation g sees h through filter h - g of the n, rotated by g."""
    n = basis.shape[2]
    fields, inputs, seen, _ = weights.shape
    rows = []
    for o in range(fields):
        for g in range(1 if out else n):
            row = []
            for i in range(inputs):
                for h in range(n if out else seen):
                    number = 0 if seen == 1 else (h - g) % n
                    row.append(basis[:, :, h if out else g] @ weights[o, i, number])
            rows.append(torch.stack(row))
    return torch.stack(rows)


def published_conv(state: dict, name: str, x: torch.Tensor) -> torch.Tensor:
    if f"{name}.weight" in state:
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    else:
        out = name.endswith("_block11.4")
        basis = state[f"{name}.Basis"]
        weight = published_filter(state[f"{name}.weights"], basis, out=out)
        bias = state[f"{name}.c"].flatten()
        bias = bias if out else bias.repeat_interleave(basis.shape[2])
    return conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def published_unet(state: dict, prefix: str, image: torch.Tensor) -> torch.Tensor:
    def block(number: int, x: torch.Tensor, places: tuple[int, ...]) -> torch.Tensor:
        for place in places:
            x = published_conv(state, f"{prefix}_block{number}.{place}", x).relu()
        return x

    x, skips = image, [image]
    for number in range(1, 6):
        x = max_pool2d(block(number, x, (0, 2) if number == 1 else (0,)), 2)
        skips.append(x)
    x = interpolate(block(6, x, (0,)), scale_factor=2)
    for number in range(7, 11):
        x = torch.cat([x, skips[10 - number + 1]], 1)
        x = interpolate(block(number, x, (0, 2)), scale_factor=2)
    x = block(11, torch.cat([x, image], 1), (0, 2))
    return published_conv(state, f"{prefix}_block11.4", x)


def published(state: dict, image: torch.Tensor) -> dict[str, torch.Tensor]:
    standard = published_unet(state, "unet.", image)
    equivariant = published_unet(state, "unet_f.", image)
    x = image
    for number in (1, 2):
        x = published_conv(state, f"mask_network.conv{number}", x).relu()
    mask = published_conv(state, "mask_network.conv3", x).sigmoid()
    fused = standard * mask + equivariant * (1 - mask)
    correction = published_conv(state, "resnet.conv1", fused).relu()
    denoised = fused + published_conv(state, "resnet.conv2", correction).relu()
    return {"denoised": denoised, "standard": standard, "equivariant": equivariant, "mask": mask}


def unet_widths(encoder: int, decoder: int, tail: tuple[int, int], channels: int) -> dict:
    """Inputs and outputs of every convolution; the first of block 11 follows apart."""
    both = encoder + decoder
    widths = {f"{number}.0": (encoder, encoder) for number in range(2, 7)}
    widths |= {"1.0": (channels, encoder), "1.2": (encoder, encoder)}
    widths |= {"7.0": (2 * encoder, decoder), "7.2": (decoder, decoder)}
    for number in (8, 9, 10):
        widths |= {f"{number}.0": (both, decoder), f"{number}.2": (decoder, decoder)}
    return widths | {"11.2": tail, "11.4": (tail[1], channels)}


def ordinary(name: str, inputs: int, outputs: int, k: int, rng: torch.Generator) -> dict:
    weight = torch.randn(outputs, inputs, k, k, generator=rng) * math.sqrt(2 / (inputs * k * k))
    return {f"{name}.weight": weight, f"{name}.bias": 0.1 * torch.randn(outputs, generator=rng)}


def fourier(name: str, inputs: int, outputs: int, seen: int, group, k: int, rng) -> dict:
    """Random coefficients in a random basis, with no rotation about it."""
    n, functions = len(group), filter_basis(k, group)[0].shape[-1]
    fan_in = inputs * (n if name.endswith("11.4") else seen) * functions
    weights = torch.randn(outputs, inputs, seen, functions, generator=rng) / math.sqrt(fan_in)
    return {
        f"{name}.weights": weights,
        f"{name}.c": 0.1 * torch.randn(1, outputs, 1, 1, generator=rng),
        f"{name}.Basis": torch.randn(k, k, n, functions, generator=rng) / k,
    }


def standard_unet(prefix: str = "", channels: int = 1, k: int = 3, seed: int = 0) -> dict:
    rng = torch.Generator().manual_seed(seed)
    widths = unet_widths(8, 16, (64, 32), channels) | {"11.0": (16 + channels, 64)}
    state = {}
    for place, (inputs, outputs) in widths.items():
        state |= ordinary(f"{prefix}_block{place}", inputs, outputs, k, rng)
    return state


def equivariant_unet(prefix: str = "", channels: int = 1, order: int = 4, k: int = 3) -> dict:
    rng = torch.Generator().manual_seed(1)
    group = CyclicGroup(order)
    encoder, decoder, wide, narrow = (width // order for width in (8, 16, 64, 32))
    widths = unet_widths(encoder, decoder, (wide, narrow), channels)
    # The published code lifts the orientations once more, as if they were channels.
    widths |= {"11.0": (decoder * order + channels, wide)}
    state = {}
    for place, (inputs, outputs) in widths.items():
        seen = 1 if place in ("1.0", "11.0", "11.4") else order
        state |= fourier(f"{prefix}_block{place}", inputs, outputs, seen, group, k, rng)
    return state


def adarenet(channels: int = 1, order: int = 4, k: int = 3) -> dict:
    rng = torch.Generator().manual_seed(2)
    state = standard_unet("unet.", channels, k) | equivariant_unet("unet_f.", channels, order, k)
    small = {"mask_network.conv1": (channels, 32), "mask_network.conv2": (32, 64)}
    small |= {"mask_network.conv3": (64, 1), "resnet.conv1": (channels, 32)}
    for name, (inputs, outputs) in (small | {"resnet.conv2": (32, channels)}).items():
        state |= ordinary(name, inputs, outputs, 3, rng)
    return state


def noise(*size: int, channels: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn(1, channels, *size, generator=torch.Generator().manual_seed(seed))


def outputs(network: nn.Module, image: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([part for part in network(image) if part is not None], 1)


def assert_close(got: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    """Compare in units of the standard deviation."""
    assert expected.std() > 1e-3
    assert float((got - expected).abs().max() / expected.std()) <= tolerance


def test_the_published_outputs_are_reproduced(golden, golden_checkpoint) -> None:
    # The file itself, in float32, is 1.6e-5 away from the same weights in float64.
    with torch.no_grad():
        prediction = load_authors_checkpoint(golden_checkpoint)(torch.from_numpy(golden["x"]))
    for name in OUTPUTS:
        assert_close(getattr(prediction, name), torch.from_numpy(golden[name]), 3e-5)


def test_the_published_mask_is_the_share_of_the_standard_branch(golden) -> None:
    fused = golden["standard"] * golden["mask"] + golden["equivariant"] * (1 - golden["mask"])
    added = golden["denoised"] - fused
    assert added.min() >= -1e-5
    assert 0.3 < np.mean(np.abs(added) < 1e-5) < 0.4  # where their correction's ReLU is at rest


def test_the_expected_values_are_the_published_ones(golden, golden_checkpoint) -> None:
    expected = published(golden_checkpoint, torch.from_numpy(golden["x"]))
    for name in OUTPUTS:
        assert_close(expected[name], torch.from_numpy(golden[name]), 3e-5)


@pytest.mark.parametrize(
    "settings",
    [{}, {"channels": 3}, {"order": 8, "k": 5}, {"order": 2, "channels": 2}],
    ids=["C4 grey", "C4 RGB", "C8 5x5", "C2 two channels"],
)
def test_checkpoints_of_any_width_compute_as_published(settings) -> None:
    state = adarenet(**settings)
    image = noise(32, 64, channels=settings.get("channels", 1)).double()
    network = load_authors_checkpoint(state).double()
    with torch.no_grad():
        prediction = network(image)
    expected = published({name: value.double() for name, value in state.items()}, image)
    for name in OUTPUTS:
        assert_close(getattr(prediction, name), expected[name], 1e-6)
    config = authors_config(state)
    assert (config.kind, config.variant) == ("adarenet", "reference")
    assert (config.encoder_width, config.decoder_width) == (8, 16)
    assert config.group == f"C{settings.get('order', 4)}"
    assert config.kernel_size == settings.get("k", 3)
    assert config.channels == settings.get("channels", 1)


@pytest.mark.parametrize(
    ("kind", "unet"), [("standard", standard_unet), ("equivariant", equivariant_unet)]
)
def test_a_checkpoint_of_one_branch_is_computed_as_published(kind: str, unet) -> None:
    state, image = unet(channels=3), noise(64, 32, channels=3)
    network = load_authors_checkpoint(state)
    assert authors_config(state).kind == kind
    assert_close(outputs(network, image), published_unet(state, "", image), 1e-4)
    assert network.stride == 32
    assert not any(module.training for module in network.modules())


def in_evaluation_mode(state: dict) -> dict:
    """Add what the published layers store when they are put into evaluation mode."""
    cached = {}
    for name in state:
        if name.endswith(".weights"):
            layer, out = name.removesuffix(".weights"), name.endswith("_block11.4.weights")
            basis = state[f"{layer}.Basis"]
            cached[f"{layer}.filter"] = published_filter(state[name], basis, out=out)
            if not out:
                bias = state[f"{layer}.c"].repeat_interleave(basis.shape[2], 1)
                cached[f"{layer}.bias"] = bias
    return {**state, **cached}


DISGUISES = {
    "parallel": lambda state: {f"module.{name}": value for name, value in state.items()},
    "wrapped": lambda state: {"state_dict": state, "epoch": 7},
    "both": lambda state: {"model": DISGUISES["parallel"](state)},
    "with optimiser": lambda state: {"model_state_dict": state, "optimizer": {"lr": 1e-3}},
    "reversed": lambda state: dict(reversed(state.items())),
    "double": lambda state: {name: value.double() for name, value in state.items()},
    "evaluation": in_evaluation_mode,
    "half": lambda state: {n: v.half() for n, v in in_evaluation_mode(state).items()},
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_every_form_of_a_checkpoint_is_read(disguise: str) -> None:
    state, image = adarenet(), noise(32, 32)
    network = load_authors_checkpoint(DISGUISES[disguise](state))
    expected = outputs(load_authors_checkpoint(state), image)
    assert_close(outputs(network, image), expected, 0.05 if disguise == "half" else 1e-5)


def test_reading_a_checkpoint_has_no_side_effects() -> None:
    state, before = adarenet(), torch.get_rng_state()
    copies = {name: value.clone() for name, value in state.items()}
    network = load_authors_checkpoint(state)
    for parameter in network.parameters():
        parameter.data.zero_()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(state[name], value) for name, value in copies.items())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"unet._block3.0.weight": None}, "has no unet._block3.0.weight: choose"),
        ({"unet._block1.0.weight": None}, "has no unet._block1.0.weight"),
        ({"unet_f._block9.2.Basis": None}, "has no unet_f._block9.2.Basis"),
        ({"unet_f._block1.0.Basis": None}, "has no unet_f._block1.0.Basis"),
        ({"resnet.conv2.bias": None}, "has no resnet.conv2.bias"),
        ({"unet.extra": torch.ones(2)}, "holds unet.extra, which"),
        ({"unet_f._block11.4.bias": torch.ones(1)}, "holds unet_f._block11.4.bias, which"),
        (
            {"unet_f._block8.0.c": torch.ones(1, 5, 1, 1)},
            r"unet_f._block8.0.c of the checkpoint has shape \(1, 5, 1, 1\), expected \(1, 4, 1",
        ),
        (
            {"unet_f._block2.0.weights": torch.ones(2, 2, 4, 8)},
            r"unet_f._block2.0.weights .* has shape \(2, 2, 4, 8\), expected \(2, 2, 4, 9\)",
        ),
        ({"unet_f._block1.0.Basis": torch.ones(3, 3, 4)}, r"shape \(3, 3, 4\), expected 4 axes"),
        ({"unet._block1.0.weight": torch.ones(8, 1, 9, 9)}, "kernel_size is not supported"),
        ({"unet._block1.0.weight": torch.ones(8, 99, 3, 3)}, "channels is not supported"),
        (
            {"unet_f._block1.2.filter": torch.ones(8, 8, 3, 3)},
            "_block1.2.filter of the checkpoint does not match its weights: save",
        ),
        ({"unet_f._block1.2.filter": torch.ones(8, 8, 3)}, r"_block1.2.filter .* has shape"),
        (
            {"unet_f._block1.2.bias": torch.full((1, 8, 1, 1), torch.nan)},
            "bias .* does not match its weights",
        ),
        ({"epoch": 3}, "not a state_dict"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(change, words) -> None:
    state = {**adarenet(), **change}
    state = {name: value for name, value in state.items() if value is not None}
    with pytest.raises(ModelFileError, match=words):
        load_authors_checkpoint(state)


@pytest.mark.parametrize(
    ("checkpoint", "words"),
    [
        ({}, "not a state_dict"),
        ({"state_dict": {}}, "not a state_dict"),
        ({"conv.weight": torch.ones(2, 1, 3, 3)}, "has none of the first layers .*conv.weight"),
    ],
)
def test_what_is_no_checkpoint_of_theirs_is_refused(checkpoint, words) -> None:
    with pytest.raises(ModelFileError, match=words):
        load_authors_checkpoint(checkpoint)
    with pytest.raises(ModelFileError, match=words):
        authors_config(checkpoint)


def fresh(seed: int = 0, **settings: object) -> nn.Module:
    config = NetworkConfig.model_validate({"variant": "reference", **settings})
    return build_network(config, torch.Generator().manual_seed(seed)).eval()


def branch_error(network: nn.Module, image: torch.Tensor) -> float:
    def branch(x: torch.Tensor) -> torch.Tensor:
        prediction = network(x)
        found = prediction.equivariant
        return prediction.denoised if found is None else found

    return equivariance_error(branch, image, CyclicGroup(4), 1)


def test_only_our_equivariant_branch_is_equivariant(
    golden_checkpoint,
) -> None:
    image = noise(64, 64)
    assert branch_error(load_authors_checkpoint(golden_checkpoint), image) > 0.1
    ours = build_network(NetworkConfig(kind="equivariant"), torch.Generator().manual_seed(0))
    assert branch_error(ours, image) <= 1e-5


def test_a_fresh_reference_branch_is_not_equivariant_and_ours_is() -> None:
    image = noise(64, 64)
    assert branch_error(fresh(kind="equivariant"), image) > 0.01
    ours = build_network(NetworkConfig(kind="equivariant"), torch.Generator().manual_seed(0))
    assert branch_error(ours, image) <= 1e-5


def test_the_last_block_alone_breaks_the_equivariance() -> None:
    # With the first convolution of block 11 put right, everything else being theirs.
    network = fresh(kind="equivariant")
    right = build_network(NetworkConfig(kind="equivariant"), torch.Generator().manual_seed(0))
    right.branch.encoder = network.branch.encoder
    right.branch.bottom, right.branch.decoder = network.branch.bottom, network.branch.decoder
    right.branch.tail[2], right.branch.last = network.branch.tail[2], network.branch.last
    assert_equivariant(lambda x: right(x).denoised, noise(64, 64), CyclicGroup(4))


def test_a_fresh_reference_starts_near_zero_and_ours_does_not() -> None:
    image = noise(64, 64)
    theirs = outputs(fresh(kind="equivariant"), image).std()
    ours = outputs(build_network(NetworkConfig(kind="equivariant"), torch.Generator()), image)
    assert theirs < 0.05 < 0.2 < ours.std() < 5


def test_fresh_weights_are_spread_as_published() -> None:
    network = fresh()
    lifted = network.equivariant_branch.tail[0]
    assert lifted.weight.shape == (16, 97, 1, 9)
    # Uniform within 0.4 sqrt(6 / (inputs functions)); nothing is damped for C4 and 3 x 3.
    bound = 0.4 * math.sqrt(6 / (97 * 9))
    assert lifted.weight.abs().max().item() == pytest.approx(bound, rel=1e-3)
    assert lifted.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert not lifted.bias.any()
    inner = network.equivariant_branch.decoder[1][0]
    assert inner.weight.abs().max().item() == pytest.approx(0.4 * math.sqrt(6 / 324), rel=1e-3)
    last = network.standard_branch.last
    assert last.weight.std().item() == pytest.approx(math.sqrt(2 / (32 * 9)), rel=0.1)
    small = network.correction_network[2]
    assert small.weight.abs().max().item() == pytest.approx(1 / math.sqrt(32 * 9), rel=0.02)
    assert small.bias.any()


def test_initial_coefficients_are_damped() -> None:
    layer = fresh(kind="equivariant", group="C8").branch.decoder[1][0]
    largest = layer.weight.detach().abs().amax((0, 1, 2)).numpy()
    bound = 0.4 * math.sqrt(6 / (layer.weight.shape[1] * layer.weight.shape[3]))
    damping = filter_basis(3, CyclicGroup(8))[1]
    np.testing.assert_allclose(largest, bound * damping, rtol=0.02)
    assert damping.min() < 0.9


def test_fresh_reference_weights_come_from_the_seed_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = (
        torch.cat([p.flatten() for p in fresh(seed).parameters()]) for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_correction_of_the_reference_only_adds() -> None:
    for made, lowest in ((fresh(encoder_width=8, decoder_width=16), 0.0), (ours(), -1e9)):
        prediction = made(5 * noise(64, 64))
        share = prediction.mask
        fused = prediction.standard * share + prediction.equivariant * (1 - share)
        added = (prediction.denoised - fused).min().item()
        assert added >= lowest - 1e-5
        assert (added < -1e-3) == (lowest < 0)


def ours() -> nn.Module:
    """The default network, its correction at random weights."""
    config = NetworkConfig(encoder_width=8, decoder_width=16)
    made = build_network(config, torch.Generator().manual_seed(0))
    nn.init.normal_(made.correction_network[-1].weight, generator=torch.Generator())
    return made


@pytest.mark.parametrize("size", [(33, 47), (64, 50), (5, 90)])
def test_other_sizes_are_padded_by_reflection_on_all_sides(size) -> None:
    state, image = adarenet(), noise(*size)
    network = load_authors_checkpoint(state)
    before = [-length % 32 // 2 for length in size]
    after = [-length % 32 - first for length, first in zip(size, before, strict=True)]
    width = ((0, 0), (0, 0), *zip(before, after, strict=True))
    padded = torch.from_numpy(np.pad(image.numpy(), width, "reflect"))
    rows, columns = (slice(b, b + n) for b, n in zip(before, size, strict=True))
    expected = published(state, padded)
    with torch.no_grad():
        prediction = network(image)
    for name in OUTPUTS:
        assert_close(getattr(prediction, name), expected[name][..., rows, columns], 1e-4)


def test_an_imported_network_is_saved_bit_by_bit(tmp_path) -> None:
    state, image = adarenet(channels=3, order=8), noise(40, 32, channels=3)
    network, config = load_authors_checkpoint(state), Config(network=authors_config(state))
    units = Normalisation((0.0,) * 3, (255.0,) * 3)
    path = save_model(tmp_path / "model.safetensors", network, config, units)
    loaded, its_config, its_units, *_ = load_model(path)
    torch.testing.assert_close(outputs(loaded, image), outputs(network, image), rtol=0, atol=0)
    assert its_config == config
    assert its_units == units
    kept, found = network.state_dict(), loaded.state_dict()
    assert kept.keys() == found.keys()
    assert all(torch.equal(kept[name], found[name]) for name in kept)


def test_the_damping_follows_an_imported_basis() -> None:
    basis, damping = filter_basis(3, CyclicGroup(8))
    state = equivariant_unet(order=8)
    order = torch.arange(len(damping)).flip(0)
    theirs = torch.from_numpy(basis.copy()).permute(1, 2, 0, 3)[..., order].float()
    state["_block2.0.Basis"] = theirs
    layer = load_authors_checkpoint(state).branch.encoder[1][0]
    np.testing.assert_allclose(layer.damping.numpy(), damping[::-1], rtol=1e-5)
    assert damping.min() < 0.9


def test_a_configuration_from_before_has_the_default_variant() -> None:
    assert Config.from_json('{"network": {"kind": "adarenet"}}').network.variant == "default"


def test_training_continues_from_an_imported_network() -> None:
    state = adarenet()
    config = Config(network=authors_config(state)).replace({"training.steps": 12})
    training = start(config, torch.device("cpu"))
    for network in (training.network, training.average):
        network.load_state_dict(load_authors_checkpoint(state).state_dict())
    clean = noise(32, 32, seed=3) * 0.2 + torch.linspace(-1, 1, 32)
    objective = build_objective(config.objective)
    events = train(training, [clean.repeat(2, 1, 1, 1)] * 12, objective, config.training)
    losses = [event.loss for event in events]
    assert len(losses) == 12
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])


def test_the_reference_can_be_trained_from_the_facade(noisy, tiny) -> None:
    model = Redenoiser(tiny.replace({"network.variant": "reference"}), "cpu").fit(noisy)
    result = model.predict(noisy)
    assert result.denoised.shape == noisy.shape
    assert np.isfinite(result.denoised).all()
    assert result.mask is not None
