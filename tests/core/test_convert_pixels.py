"""Resampling, cropping, and functions of two maps in a network that was converted."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from napari_redenoise.errors import ConversionError
from napari_redenoise.nn import parse_group, to_equivariant
from napari_redenoise.nn.testing import assert_equivariant


class Between(nn.Module):
    """A function of the feature maps, and of the image, between two convolutions."""

    def __init__(self, function, channels: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 8, 3, padding=1)
        self.last = nn.Conv2d(8, channels, 3, padding=1)
        self.function = function

    def forward(self, x):
        return self.last(self.function(self.first(x), x))


TWO_MAPS = {
    "power": lambda y, x: torch.pow(y.abs() + 1, x),
    "power of the image": lambda y, x: (x.abs() + 1) ** y,
    "upper limit": lambda y, x: torch.clamp(y, max=x),
    "two limits": lambda y, x: y.clamp(min=-x.abs(), max=x.abs()),
    "lower limit": lambda y, x: torch.clamp_min(y, x),
    "a limit of its own": lambda y, x: y.clip(max=y.mean((2, 3), keepdim=True)),
}
SAMPLINGS = {
    "up by three halves": lambda y, x: functional.interpolate(y, None, 1.5, "bilinear"),
    "down by three quarters": nn.Upsample(scale_factor=0.75, mode="bilinear"),
    "bicubic": lambda y, x: functional.interpolate(y, scale_factor=(0.7, 0.7), mode="bicubic"),
    "a factor of the image": lambda y, x: functional.interpolate(
        y, scale_factor=x.shape[2] / 31, mode="bilinear"
    ),
    "fixed size": nn.Upsample(size=23, mode="bilinear"),
    "nearest": nn.Upsample(scale_factor=2, mode="nearest-exact"),
}
CROPS = {
    "all axes": lambda y, x: y[:, :, 2:-2, 2:-2],
    "last axes": lambda y, x: y[..., 1:-1, 1:-1],
    "nothing": lambda y, x: y[:],
}

CUTS = {
    "one side": (lambda x: x[:, :, 1:, 1:], "all four sides"),
    "rows alone": (lambda x: x[:, :, 1:-1], "all four sides"),
    "columns alone": (lambda x: x[..., 1:-1], "all four sides"),
    "every other pixel": (lambda x: x[..., ::2, ::2], "all four sides"),
    "to the size of another": (lambda x: x[:, :, : x.shape[2] - 2, : x.shape[3] - 2], "all four"),
    "nothing left": (lambda x: x[..., -1:1, -1:1], "all four sides"),
    "a row": (lambda x: x[:, :, 0], "all four sides"),
    "narrow": (lambda x: x.narrow(-1, 1, 14), "all four sides"),
    "halves": (lambda x: torch.cat(x.chunk(2, dim=3), dim=1), "all four sides"),
    "channels": (lambda x: x[:, :4], "splits channels"),
    "channels and pixels": (lambda x: x[:, :4, 1:-1, 1:-1], "splits channels"),
    "fixed size": (lambda x: functional.interpolate(x, 24), "integer factor"),
    "exact fixed size": (
        lambda x: functional.interpolate(x, (24, 24), mode="nearest-exact"),
        "integer factor",
    ),
}


@pytest.mark.parametrize("function", TWO_MAPS.values(), ids=TWO_MAPS)
@pytest.mark.parametrize("name", ["C4", "D4", "C3"])
def test_functions_of_two_maps_are_exact(function, name: str) -> None:
    made = to_equivariant(Between(function), parse_group(name))
    x = torch.randn(2, 8, 16, 12, generator=torch.Generator().manual_seed(0))
    assert_equivariant(made, x, parse_group(name))


@pytest.mark.parametrize("kind", CUTS)
def test_what_treats_sides_differently_is_named(kind: str) -> None:
    cut, words = CUTS[kind]
    with pytest.raises(ConversionError, match=words):
        to_equivariant(Between(lambda y, x: cut(y)), parse_group("C4"))


def test_a_second_map_is_refused_where_only_its_dtype_is_meant() -> None:
    with pytest.raises(ConversionError, match="give a number or dtype") as caught:
        to_equivariant(Between(lambda y, x: y.type_as(x)), parse_group("C4"))
    (problem,) = caught.value.problems
    assert problem.startswith("type_as (type_as)")


def between(function) -> Between:
    return Between(function if not isinstance(function, nn.Module) else _Alone(function))


class _Alone(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, y, x):
        return self.layer(y)


@pytest.mark.parametrize("function", SAMPLINGS.values(), ids=SAMPLINGS)
def test_resampling_is_exact_also_where_it_rounds_the_size(function) -> None:
    group, network = parse_group("C4"), between(function)
    made = to_equivariant(network, group)
    for side in (16, 18, 22):
        x = torch.randn(1, 8, side, side, generator=torch.Generator().manual_seed(0))
        assert made(x).shape == network(x).shape
        assert_equivariant(made, x, group)


def test_the_network_that_was_converted_keeps_its_resampling() -> None:
    layer = nn.Upsample(scale_factor=0.75, mode="bilinear")
    to_equivariant(between(layer), parse_group("C4"))
    assert layer.recompute_scale_factor is None


@pytest.mark.parametrize("function", CROPS.values(), ids=CROPS)
def test_a_symmetric_crop_is_kept_and_exact(function) -> None:
    group, network = parse_group("D4"), Between(function)
    made = to_equivariant(network, group)
    x = torch.randn(1, 8, 16, 20, generator=torch.Generator().manual_seed(0))
    assert made(x).shape == network(x).shape
    assert_equivariant(made, x, group)


def test_a_kernel_size_may_be_any_kind_of_whole_number() -> None:
    made = to_equivariant(Between(lambda y, x: y), parse_group("C4"), kernel_size=np.int64(5))
    assert made.first.kernel_size == 5
    assert made(torch.randn(1, 8, 16, 16)).shape == (1, 8, 16, 16)
