"""Idioms of published networks: shuffled pixels, LayerNorm with channels last, layer scale."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from napari_redenoise.errors import ConversionError
from napari_redenoise.nn import FieldAffine, export, parse_group, to_equivariant
from napari_redenoise.nn.convert._channels_last import put_channels_first
from napari_redenoise.nn.convert._factors import make_factors_layers
from napari_redenoise.nn.convert._shuffles import merge_shuffles
from napari_redenoise.nn.convert._traced import traced_copy
from napari_redenoise.nn.testing import assert_equivariant


class Between(nn.Module):
    """Parts between two convolutions of 8 channels."""

    def __init__(self, *parts: nn.Module, inputs: int = 8, channels: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, channels, 3, padding=1)
        self.parts = nn.Sequential(*parts)
        self.last = nn.Conv2d(inputs, 1, 3, padding=1)

    def forward(self, x):
        return self.last(self.parts(functional.gelu(self.first(x))))


class ConvNeXt(nn.Module):
    """Liu et al. 2022, their own block: channels last, pointwise layers, layer scale."""

    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1, self.act = nn.Linear(dim, 4 * dim), nn.GELU()
        self.pwconv2 = nn.Linear(4 * dim, dim)
        self.gamma = nn.Parameter(torch.full((dim,), 0.5))

    def forward(self, x):
        y = self.dwconv(x).permute(0, 2, 3, 1)
        y = self.gamma * self.pwconv2(self.act(self.pwconv1(self.norm(y))))
        return x + y.permute(0, 3, 1, 2)


class LayerNorm2d(nn.LayerNorm):
    """As torchvision writes it."""

    def forward(self, x):
        x = x.permute(0, 2, 3, 1)
        x = functional.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class ChannelsFirstNorm(nn.Module):
    """As ConvNeXt and the Segment Anything Model write it."""

    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        centred = x - x.mean(1, keepdim=True)
        x = centred / torch.sqrt(centred.pow(2).mean(1, keepdim=True) + 1e-6)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class Scaled(nn.Module):
    """A learned factor of a shape."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full(shape, 0.1))

    def forward(self, x):
        return x * self.gamma


class Apply(nn.Module):
    def __init__(self, function, layer: nn.Module | None = None) -> None:
        super().__init__()
        self.function, self.layer = function, layer

    def forward(self, x):
        return self.function(x) if self.layer is None else self.function(self.layer, x)


class Nested(nn.Module):
    """A sum of two branches with channels last, and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 8, bias=False), nn.LayerNorm(8, elementwise_affine=False)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        y = torch.permute(x, (0, 2, 3, 1))
        y = self.drop(self.a(y)) * torch.sigmoid(self.b(y)) + y
        return y.permute([0, 3, 1, 2]).contiguous()


def conv(*numbers: int, **options) -> nn.Conv2d:
    return nn.Conv2d(*numbers, **options)


IDIOMS = {
    "ConvNeXt": lambda: Between(ConvNeXt(), ConvNeXt()),
    "LayerNorm of torchvision": lambda: Between(LayerNorm2d(8)),
    "LayerNorm with channels first": lambda: Between(ChannelsFirstNorm()),
    "LayerNorm without offset": lambda: Between(
        Apply(lambda f, x: f(x.movedim(1, -1)).movedim(-1, 1), nn.LayerNorm(8, bias=False))
    ),
    "transposed": lambda: Between(
        Apply(lambda f, x: f(x.transpose(1, 3)).transpose(3, 1), nn.LayerNorm(8))
    ),
    "two steps": lambda: Between(
        Apply(
            lambda f, x: f(x.transpose(1, 2).transpose(2, 3)).permute(0, -1, 1, 2), nn.Linear(8, 8)
        )
    ),
    "nested": lambda: Between(Nested()),
    "permuted to and fro": lambda: Between(
        Apply(lambda x: x.permute(0, 2, 3, 1).permute(0, 3, 1, 2))
    ),
    "layer scale": lambda: Between(Scaled(8, 1, 1), nn.ReLU(), Scaled(1, 8, 1, 1)),
    "one factor for all": lambda: Between(Scaled(1), Scaled(1, 1, 1)),
    "one factor of many": lambda: Between(Apply(lambda f, x: x * f.gamma.mean(), Scaled(8))),
    "factor computed from others": lambda: Between(
        Apply(
            lambda f, x: torch.exp(f.gamma).view(1, -1, 1, 1) * x + f.gamma[:, None, None],
            Scaled(8),
        )
    ),
    "factor in place": lambda: Between(
        Apply(lambda f, x: x.mul_(f.gamma.unsqueeze(-1).unsqueeze(-1)), Scaled(8))
    ),
    "factor of the image": lambda: nn.Sequential(Scaled(3, 1, 1), conv(3, 3, 3, padding=1)),
    "factor of the result": lambda: nn.Sequential(conv(3, 3, 3, padding=1), Scaled(3, 1, 1)),
    "shuffle": lambda: Between(conv(8, 32, 3, padding=1), nn.PixelShuffle(2)),
    "shuffle by three, 1 x 1": lambda: Between(conv(8, 72, 1), nn.PixelShuffle(3)),
    "shuffle without padding": lambda: Between(conv(8, 32, 3), nn.PixelShuffle(2), nn.ReLU()),
    "shuffle behind ReLU": lambda: Between(
        conv(8, 32, 5, padding="same", bias=False), nn.ReLU(), nn.PixelShuffle(2)
    ),
    "shuffle twice": lambda: Between(
        *(conv(8, 32, 3, padding=1), nn.PixelShuffle(2)) * 1,
        *(conv(8, 32, 3, padding=1), Apply(lambda x: functional.pixel_shuffle(x, 2))),
    ),
    "shuffle last": lambda: nn.Sequential(
        conv(3, 8, 3, padding=1), nn.ReLU(), conv(8, 12, 3, padding=1), nn.PixelShuffle(2)
    ),
    "unshuffle": lambda: Between(nn.PixelUnshuffle(2), conv(32, 8, 3, padding=1)),
    "unshuffle first": lambda: nn.Sequential(
        nn.PixelUnshuffle(2),
        conv(12, 8, 3, padding=1),
        nn.ReLU(),
        conv(8, 12, 3, padding=1),
        nn.PixelShuffle(2),
    ),
    "unshuffle by a function": lambda: Between(
        Apply(lambda x: torch.pixel_unshuffle(x, 2)), conv(32, 8, 1)
    ),
}
THREE_CHANNELS = {"factor of the image", "factor of the result", "shuffle last", "unshuffle first"}

REFUSED = {
    "shuffle of a pooled map": ([nn.MaxPool2d(2), nn.PixelShuffle(2)], 2, "ConvTranspose2d"),
    "shuffle of a norm": (
        [conv(8, 32, 1), nn.BatchNorm2d(32), nn.PixelShuffle(2)], 8, "nearest upsampling"
    ),
    "shuffle of groups": (
        [conv(8, 32, 3, padding=1, groups=4), nn.PixelShuffle(2)], 8, "nearest upsampling"
    ),
    "shuffle of reflected": (
        [conv(8, 32, 3, padding=1, padding_mode="reflect"), nn.PixelShuffle(2)], 8, "a plain one"
    ),
    "unshuffle into a pool": (
        [nn.PixelUnshuffle(2), nn.MaxPool2d(2), conv(32, 8, 1)], 8, "after PixelUnshuffle"
    ),
    "stem of a ResNet": ([nn.MaxPool2d(3, stride=2, padding=1)], 8, "kernel equal to the stride"),
    "its average": ([nn.AvgPool2d(3, stride=2, padding=1)], 8, "kernel equal to the stride"),
    "softmax of channels last": (
        [Apply(lambda x: x.permute(0, 2, 3, 1).softmax(-1).permute(0, 3, 1, 2))],
        8,
        r"keep \(B, C, H, W\), or use only LayerNorm",
    ),
    "rows exchanged": ([Apply(lambda x: x.permute(0, 1, 3, 2))], 8, "mix orientations"),
    "norm of rows": (
        [Apply(lambda f, x: f(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1), nn.LayerNorm(8))],
        8,
        "mix orientations",
    ),
    "norm of pixels": ([nn.LayerNorm([16, 16])], 8, "not known to be equivariant"),
    "a number per pixel, reshaped": (
        [Apply(lambda f, x: x + f.gamma.view(1, 1, 16, 16), Scaled(256))], 8, r"gamma \(parameter\)"
    ),
    "an offset per channel": (
        [Apply(lambda f, x: x + f.gamma[:, None, None], Scaled(8))], 8, "remove it"
    ),
    "shuffle of channels": ([nn.ChannelShuffle(2)], 8, "mix orientations"),
    "a number per pixel": ([Scaled(16, 16)], 8, "remove it"),
    "a number per column": ([Scaled(16)], 8, "remove it"),
    "a number per row, channels last": (
        [Apply(lambda f, x: f(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), Scaled(16, 1))],
        8,
        "mix orientations",
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _in_float64(use_dtype) -> None:
    use_dtype(torch.float64)


def image(kind: str, *size: int) -> torch.Tensor:
    channels = 3 if kind in THREE_CHANNELS else 1
    return torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(1))


def randomised(made: nn.Module) -> nn.Module:
    draw = torch.Generator().manual_seed(2)
    for layer in made.modules():
        if isinstance(layer, FieldAffine):
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, 0.5, 1.5, generator=draw)
    return made.eval()


def convert(network: nn.Module, name: str) -> nn.Module:
    group = parse_group(name)
    return to_equivariant(network, group, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["C4", "D4", "C8"])
@pytest.mark.parametrize("kind", IDIOMS)
def test_an_idiom_is_converted_and_exact(kind: str, name: str) -> None:
    network = IDIOMS[kind]().eval()
    made = randomised(convert(network, name))
    for size in ((16, 16), (12, 20)):
        x = image(kind, *size)
        assert made(x).shape == network(x).shape
        assert made(x).std() > 1e-3
        assert_equivariant(made, x, parse_group(name), tolerance=1e-9)


@pytest.mark.parametrize("kind", IDIOMS)
def test_an_idiom_that_was_converted_can_be_exported_and_trained(kind: str) -> None:
    made = randomised(convert(IDIOMS[kind](), "C4"))
    x = image(kind, 8, 12)
    folded = export(made)
    torch.testing.assert_close(folded(x), made(x))
    homes = {type(layer).__module__.partition(".")[0] for layer in folded.modules()}
    assert homes <= {"torch", "abc"}
    made(x).square().mean().backward()
    assert all(parameter.grad is not None for parameter in made.parameters())


@pytest.mark.parametrize("kind", IDIOMS)
def test_the_rewritten_network_computes_the_same(kind: str) -> None:
    """With convolutions whose weights are all one, which merging and exchanging axes keep."""
    network = IDIOMS[kind]().eval()
    traced = traced_copy(network)
    for rewrite in (put_channels_first, make_factors_layers, merge_shuffles):
        rewrite(traced)
    for layer in [*network.modules(), *traced.modules()]:
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.constant_(layer.weight, 0.1)
            if layer.bias is not None:
                nn.init.constant_(layer.bias, 0.3)
    traced.graph.eliminate_dead_code()
    traced.recompile()
    x = image(kind, 12, 20)
    torch.testing.assert_close(traced(x), network(x))
    names = [str(node.target) + node.name for node in traced.graph.nodes]
    assert not any(word in name for name in names for word in ("permute", "shuffle", "move"))


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_exact_is_refused_with_a_remedy(kind: str) -> None:
    parts, inputs, words = REFUSED[kind]
    with pytest.raises(ConversionError, match=words):
        convert(Between(*copy.deepcopy(parts), inputs=inputs), "C4")


def test_a_factor_starts_at_the_mean_of_the_old_ones() -> None:
    made = convert(Between(Scaled(8, 1, 1)), "C4")
    (factor,) = (layer for layer in made.modules() if isinstance(layer, FieldAffine))
    assert factor.group.name == "C4"
    assert factor.bias is None
    torch.testing.assert_close(factor.weight.detach(), torch.full((2,), 0.1))


def test_the_norm_over_channels_is_that_of_torch() -> None:
    """Before any convolution is exchanged: on an image, which has no orientations."""
    norm = LayerNorm2d(3)
    nn.init.uniform_(norm.weight, 0.5, 1.5, generator=torch.Generator().manual_seed(0))
    nn.init.normal_(norm.bias, generator=torch.Generator().manual_seed(0))
    made = convert(nn.Sequential(nn.Conv2d(3, 3, 1), norm), "C4")
    x = torch.randn(1, 3, 6, 8, generator=torch.Generator().manual_seed(1))
    projected = made.get_submodule("0")(x.repeat_interleave(4, 1))
    torch.testing.assert_close(made(x), norm(projected))
