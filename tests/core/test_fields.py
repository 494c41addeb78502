import copy

import pytest
import torch
from torch import nn

from napari_redenoise.errors import ConfigError
from napari_redenoise.nn import (
    FieldAffine,
    FieldBatchNorm2d,
    FieldDropout2d,
    FieldGroupNorm,
    FieldInstanceNorm2d,
    FieldPReLU,
    GroupPool,
    parse_group,
)
from napari_redenoise.nn.testing import TOLERANCE, assert_equivariant

FIELDS = 4
LAYERS = {
    "max": (lambda group: GroupPool(group), "trivial"),
    "mean": (lambda group: GroupPool(group, "mean"), "trivial"),
    "batch norm": (lambda group: FieldBatchNorm2d(group, FIELDS), "regular"),
    "instance norm": (lambda group: FieldInstanceNorm2d(group, FIELDS, affine=True), "regular"),
    "layer norm": (lambda group: FieldGroupNorm(group, 1, FIELDS), "regular"),
    "group norm": (lambda group: FieldGroupNorm(group, 2, FIELDS), "regular"),
    "dropout": (lambda group: FieldDropout2d(group), "regular"),
    "prelu": (lambda group: FieldPReLU(group, FIELDS), "regular"),
    "affine": (lambda group: FieldAffine(group, FIELDS, bias=True), "regular"),
}
each_name = pytest.mark.parametrize("name", ["C1", "C3", "C4", "C8", "D4"])


def maps(name: str, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 + torch.randn(3, FIELDS * len(parse_group(name)), 6, 8, generator=generator)


def randomised(layer: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(3)
    for tensor in layer.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5, generator=generator)
    return layer


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", LAYERS)
@each_name
def test_field_layers_are_equivariant(use_dtype, dtype, kind: str, name: str) -> None:
    use_dtype(dtype)
    make, outputs = LAYERS[kind]
    layer = randomised(make(parse_group(name))).eval()
    assert_equivariant(layer, maps(name), parse_group(name), inputs="regular", outputs=outputs)


@pytest.mark.parametrize("layer", [nn.BatchNorm2d(16), nn.PReLU(16), nn.GroupNorm(2, 16)])
def test_the_same_per_channel_is_not_equivariant(layer: nn.Module) -> None:
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(
            randomised(layer).eval(),
            maps("C4"),
            parse_group("C4"),
            inputs="regular",
            outputs="regular",
        )


def test_pooling_over_orientations_is_their_maximum_or_mean() -> None:
    x = maps("D4")
    for field in range(FIELDS):
        orientations = x[:, 8 * field : 8 * field + 8]
        group = parse_group("D4")
        torch.testing.assert_close(GroupPool(group)(x)[:, field], orientations.max(1)[0])
        torch.testing.assert_close(GroupPool(group, "mean")(x)[:, field], orientations.mean(1))


def test_batch_norm_uses_statistics_of_whole_fields() -> None:
    x, layer = maps("C4"), FieldBatchNorm2d(parse_group("C4"), FIELDS)
    y = layer(x)
    for field in range(FIELDS):
        part = x[:, 4 * field : 4 * field + 4]
        expected = (part - part.mean()) / part.std(correction=0)
        torch.testing.assert_close(y[:, 4 * field : 4 * field + 4], expected, atol=1e-4, rtol=1e-4)
        assert layer.running_mean[field] == pytest.approx(0.1 * part.mean().item(), rel=1e-5)
        assert layer.running_var[field] == pytest.approx(0.9 + 0.1 * part.var().item(), rel=1e-5)


@pytest.mark.parametrize("num_groups", [1, 2, 4])
def test_group_norm_normalises_groups_of_fields(num_groups: int) -> None:
    x = maps("C3")
    y = FieldGroupNorm(parse_group("C3"), num_groups, FIELDS)(x)
    for got, seen in zip(y.chunk(num_groups, 1), x.chunk(num_groups, 1), strict=True):
        mean = seen.mean((1, 2, 3), keepdim=True)
        expected = (seen - mean) / seen.std((1, 2, 3), correction=0, keepdim=True)
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def test_instance_norm_is_group_norm_of_every_field() -> None:
    group = parse_group("D2")
    x = maps("D2")
    expected = FieldGroupNorm(group, FIELDS, FIELDS, affine=False)(x)
    torch.testing.assert_close(FieldInstanceNorm2d(group, FIELDS)(x), expected)


def test_dropout_drops_a_field_with_all_its_orientations() -> None:
    layer = FieldDropout2d(parse_group("C4"), 0.3, torch.Generator().manual_seed(0))
    x = torch.ones(200, 4 * FIELDS, 2, 2)
    y = layer(x)
    fields = y.unflatten(1, (FIELDS, 4)).flatten(2)
    assert (fields == fields[..., :1]).all()
    torch.testing.assert_close(y.unique(), torch.tensor([0, 1 / 0.7]))
    # 800 draws: three standard deviations
    assert (fields[..., 0] == 0).float().mean().item() == pytest.approx(0.3, abs=0.05)
    assert (fields[:, 0, 0] != fields[:, 1, 0]).any()


def test_dropout_is_drawn_from_its_generator_and_can_be_copied() -> None:
    group, x = parse_group("C4"), torch.ones(9, 16, 2, 2)
    layer = FieldDropout2d(group, 0.5, torch.Generator().manual_seed(7))
    again = FieldDropout2d(group, 0.5, torch.Generator().manual_seed(7))
    state = torch.get_rng_state()
    torch.testing.assert_close(layer(x), again(x))
    assert (torch.get_rng_state() == state).all()
    torch.testing.assert_close(copy.deepcopy(layer)(x), layer(x))


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_dropout_of_nothing_and_of_everything(p: float) -> None:
    x = maps("C4")
    torch.testing.assert_close(FieldDropout2d(parse_group("C4"), p)(x), x * (1 - p))
    torch.testing.assert_close(FieldDropout2d(parse_group("C4"), p).eval()(x), x)


def test_prelu_has_a_slope_per_field() -> None:
    layer = FieldPReLU(parse_group("C4"), 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.5, 0.1]))
    slopes = -layer(-torch.ones(1, 8, 1, 1)).flatten()
    torch.testing.assert_close(slopes, torch.tensor([0.5] * 4 + [0.1] * 4))


def test_affine_has_a_factor_and_an_offset_per_field() -> None:
    layer = FieldAffine(parse_group("C4"), 2, init=0.5, bias=True)
    x = torch.ones(1, 8, 1, 1)
    torch.testing.assert_close(layer(x).detach(), x / 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([3.0, 5.0]))
        layer.bias.copy_(torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(layer(x).flatten(), torch.tensor([4.0] * 4 + [7.0] * 4))
    assert FieldAffine(parse_group("C4"), 2).bias is None


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda group: GroupPool(group, "min"), "give 'max' or 'mean'"),
        (lambda group: FieldGroupNorm(group, 3, 4), "cannot be divided into 3"),
        (lambda group: FieldDropout2d(group, 1.5), "out of range: give one from 0 to 1"),
    ],
)
def test_what_makes_no_sense_is_refused(make, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make(parse_group("C4"))


@pytest.mark.parametrize("kind", LAYERS)
def test_repr_names_the_group(kind: str) -> None:
    assert "D4" in repr(LAYERS[kind][0](parse_group("D4")))
