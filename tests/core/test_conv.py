import numpy as np
import pytest
import torch
from torch import nn

from napari_redenoise.nn import (
    CyclicGroup,
    Group,
    GroupConv2d,
    LiftingConv2d,
    ProjectionConv2d,
    lift,
    parse_group,
)
from napari_redenoise.nn.testing import TOLERANCE, assert_equivariant, equivariance_error, transform

LAYERS = {"lifting": LiftingConv2d, "group": GroupConv2d, "projection": ProjectionConv2d}
REPRESENTATIONS = {
    "lifting": ("trivial", "regular"),
    "group": ("regular", "regular"),
    "projection": ("regular", "trivial"),
}
every_kind = pytest.mark.parametrize("kind", LAYERS)
every_dtype = pytest.mark.parametrize("dtype", TOLERANCE)


def image(channels: int, *size: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, channels, *size, generator=generator)


def layer(kind: str, group: Group, kernel_size: int = 3, seed: int = 0) -> nn.Module:
    """A layer of 2 -> 3 fields with random biases."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = LAYERS[kind](group, 2, 3, kernel_size)
        nn.init.normal_(made.bias)
    return made


def channels_in(kind: str, group: Group) -> int:
    return 2 if kind == "lifting" else 2 * len(group)


def published(layers: dict[str, np.ndarray], kind: str, case: str) -> tuple[nn.Module, dict]:
    """Our layer with the published weights, bias and basis, and the published arrays."""
    arrays = {
        name: torch.from_numpy(layers[f"{kind}_{case}/{name}"])
        for name in ("weights", "bias", "basis", "filter", "x", "y")
        if f"{kind}_{case}/{name}" in layers
    }
    k, n = int(case[1]), int(case[4:])
    made = LAYERS[kind](CyclicGroup(n), 2, 3, k)
    state = made.state_dict()
    state["weight"] = arrays["weights"]
    state["bias"] = arrays["bias"].flatten()
    # theirs (k, k, elements, functions), ours (elements, functions, k*k)
    state["basis"] = arrays["basis"].permute(2, 3, 0, 1).flatten(2)
    made.load_state_dict(state)
    return made, arrays


@every_kind
@pytest.mark.parametrize("case", ["k3_n4", "k3_n8", "k5_n4", "k5_n8", "k7_n8"])
def test_filters_equal_the_published_ones(reference_layers, kind: str, case: str) -> None:
    made, arrays = published(reference_layers, kind, case)
    scale = float(arrays["filter"].std())
    torch.testing.assert_close(made.filters(), arrays["filter"], rtol=0, atol=1e-5 * scale)


@every_kind
@pytest.mark.parametrize("case", ["k3_n4", "k3_n8", "k5_n4", "k5_n8", "k7_n8"])
def test_outputs_equal_the_published_ones(reference_layers, kind: str, case: str) -> None:
    made, arrays = published(reference_layers, kind, case)
    # Of k7_n8 the upper left corner is kept: 9 x 10 pixels, and what they alone determine.
    height, width = arrays["y"].shape[-2:]
    found = made(arrays["x"])[..., :height, :width]
    difference = float((found - arrays["y"]).detach().abs().max())
    assert difference <= 1e-5
    assert difference <= 1e-5 * float(arrays["y"].std())


@every_kind
@every_dtype
@pytest.mark.parametrize("kernel_size", [3, 5, 7])
@pytest.mark.parametrize("name", ["C4", "C8", "D4"])
def test_every_layer_is_equivariant(use_dtype, kind, dtype, kernel_size, name) -> None:
    use_dtype(dtype)
    group = parse_group(name)
    inputs, outputs = REPRESENTATIONS[kind]
    made = layer(kind, group, kernel_size)
    x = image(channels_in(kind, group), 12, 17)
    assert x.dtype == made(x).dtype == dtype
    assert_equivariant(made, x, group, inputs=inputs, outputs=outputs)


@pytest.mark.parametrize("name", ["C4", "D4"])
def test_a_whole_chain_is_equivariant(name: str) -> None:
    group = parse_group(name)
    chain = nn.Sequential(
        layer("lifting", group),
        nn.ReLU(),
        LAYERS["group"](group, 3, 2),
        nn.ReLU(),
        layer("projection", group),
    )
    assert_equivariant(chain, image(2, 20, 14), group)


def test_the_assertion_fails_for_an_ordinary_convolution() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 2, 3, padding=1)
    group = CyclicGroup(4)
    with pytest.raises(AssertionError, match="not equivariant under element 1 of C4"):
        assert_equivariant(conv, image(2, 12, 12), group)
    assert equivariance_error(conv, image(2, 12, 12), group, 1) > 0.1


def test_the_assertion_fails_for_a_cyclic_layer_under_reflection() -> None:
    made = layer("lifting", CyclicGroup(4))
    # A mirror image of the input alone, in a group that holds it: outputs are not even alike.
    flipped = made(image(2, 12, 12).flip(-1)).flip(-1)
    plain = made(image(2, 12, 12))
    sizes = [t.unflatten(1, (3, 4)).amax((2, 3, 4)) for t in (flipped, plain)]
    assert not torch.allclose(*sizes, rtol=1e-2)


def test_the_assertion_fails_for_a_wrong_orientation() -> None:
    group = CyclicGroup(4)
    made = layer("group", group)
    made.relative.copy_(torch.from_numpy(group.product.ravel()))  # g h in the place of g^-1 h
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(made, image(8, 12, 12), group, inputs="regular", outputs="regular")


def test_the_assertion_fails_for_a_nan() -> None:
    with pytest.raises(AssertionError, match="relative error nan"):
        assert_equivariant(lambda x: x * torch.nan, image(1, 8, 8), CyclicGroup(4))


@pytest.mark.parametrize("name", ["C4", "D4", "D8"])
@pytest.mark.parametrize("representation", ["trivial", "regular"])
def test_transform_is_an_action_of_the_group(name: str, representation: str) -> None:
    group = parse_group(name)
    x = image(2 * len(group), 6, 6)
    for g in group.exact_elements:
        for h in group.exact_elements:
            twice = transform(transform(x, group, h, representation), group, g, representation)
            once = transform(x, group, int(group.product[g, h]), representation)
            torch.testing.assert_close(twice, once, rtol=0, atol=0)


def test_a_lifted_image_looks_alike_in_every_orientation() -> None:
    group = parse_group("D4")
    x = image(2, 6, 6)
    lifted = lift(x, group)
    assert lifted.shape == (2, 16, 6, 6)
    for channel in range(16):
        torch.testing.assert_close(lifted[:, channel], x[:, channel // 8])
    assert_equivariant(lambda t: lift(t, group), x, group, outputs="regular")


def second_moment_ratio(group: Group, layers: int, seed: int) -> float:
    """Second moment after a stack of convolutions with ReLU over that of white noise before it."""
    torch.manual_seed(seed)
    stack = nn.Sequential()
    for _ in range(layers):
        stack.extend([GroupConv2d(group, 32, 32), nn.ReLU()])
    x = torch.randn(1, 32 * len(group), 24, 24)
    with torch.no_grad():
        y = stack(x)
    return float((y[..., 8:-8, 8:-8] ** 2).mean() / (x**2).mean())


@pytest.mark.parametrize("name", ["C4", "C8", "D4"])
@pytest.mark.parametrize(("layers", "low", "high"), [(1, 0.95, 1.05), (20, 0.5, 2.0)])
def test_the_second_moment_survives_depth_on_average(name, layers, low, high) -> None:
    # He et al. 2015: E[relu(y)^2] = Var(y) / 2 = E[x^2]. An ordinary He stack of 32 channels and
    # 20 layers scatters as much from seed to seed; the average is what is promised.
    with torch.random.fork_rng():
        ratios = [second_moment_ratio(parse_group(name), layers, seed) for seed in range(16)]
    assert low <= np.mean(ratios) <= high


@every_kind
def test_state_dict_has_the_same_keys_in_training_and_evaluation(kind: str) -> None:
    made = layer(kind, CyclicGroup(8))
    training = set(made.train().state_dict())
    assert training == set(made.eval().state_dict())
    assert training == {"weight", "bias", "basis", "damping"}


@every_kind
def test_repr_says_fields_and_number_of_weights(kind: str) -> None:
    made = layer(kind, CyclicGroup(4))
    numbers = 3 * 2 * (4 if kind == "group" else 1) * 9 + 3
    assert f"C4, 2 -> 3 fields, kernel_size=3, {numbers} weights" in repr(made)
