"""What `to_equivariant` cannot convert, it names."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

from napari_redenoise.errors import ConfigError, ConversionError
from napari_redenoise.nn import parse_group, to_equivariant


class Mixture(nn.Module):
    """Parts that can be converted between others that cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.tall = nn.Conv2d(8, 8, (3, 1), padding=(1, 0))
        self.shuffle = nn.PixelShuffle(2)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.position = nn.Parameter(torch.zeros(1, 8, 1, 1))
        self.head = nn.Linear(8, 8)
        self.last = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, x):
        x = self.first(x) + self.position
        x = self.pool(self.tall(x))
        a, b = x.chunk(2, dim=1)
        x = torch.cat([b, a], dim=1)
        x = self.head(x.permute(0, 2, 3, 1))
        x = functional.pad(x, (0, 1, 0, 1))
        x = self.shuffle(functional.softmax(x, dim=-1))
        return self.last(functional.interpolate(x, scale_factor=1.5))


def test_all_unconvertible_parts_are_named_with_a_remedy() -> None:
    with pytest.raises(ConversionError) as caught:
        to_equivariant(Mixture(), parse_group("C4"))
    problems = caught.value.problems
    expected = {
        "position (parameter)": "remove it",
        "tall (Conv2d)": "rows and columns",
        "pool (MaxPool2d)": "without padding",
        "chunk (chunk)": "a convolution for each part",
        "permute (permute)": "keep (B, C, H, W)",
        "head (Linear)": "use a 1 x 1 convolution",
        "pad (pad)": "pad all four by the same",
        "softmax (softmax)": "use convolutions",
        "shuffle (PixelShuffle)": "ConvTranspose2d",
        "interpolate (interpolate)": "integer factor",
    }
    for name, remedy in expected.items():
        (found,) = [problem for problem in problems if problem.startswith(name)]
        assert remedy in found
        assert found in str(caught.value)
    assert not any(problem.startswith(("first", "last", "cat")) for problem in problems)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.Conv2d(8, 8, (3, 1), padding=(1, 0)), "rows and columns"),
        (nn.Conv2d(8, 8, 2, padding="same"), "opposite sides"),
        (nn.Conv2d(8, 8, 3, stride=3, padding=1), "off centre"),
        (nn.Conv2d(8, 8, 3, padding=1, groups=4), "keep_fields=True"),
        (nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 3, padding=1)), "normalisation"),
        (nn.utils.spectral_norm(nn.Conv2d(8, 8, 3, padding=1)), "hooks"),
        (nn.LazyConv2d(8, 3, padding=1), "run the network on an image first"),
        (nn.ConvTranspose2d(8, 8, 3, stride=2, output_padding=1, dilation=2), "one side only"),
        (nn.InstanceNorm2d(8, track_running_stats=True), "track_running_stats=False"),
        (nn.ZeroPad2d((1, 0, 1, 0)), "pad all four"),
        (nn.Upsample(scale_factor=(2, 3)), "one factor"),
        (nn.Upsample(size=(16, 32)), "one size"),
        (nn.Upsample(size=24), "integer factor"),
        (nn.Upsample(size=(24, 24), mode="nearest-exact"), "integer factor"),
        (nn.Upsample(scale_factor=0.5, mode="nearest-exact"), "integer factor"),
        (nn.AdaptiveAvgPool2d((2, 4)), "one size"),
        (nn.AdaptiveMaxPool2d((None, 4)), "one size"),
        (nn.MaxPool2d((2, 3)), "one number"),
        (nn.LayerNorm(16), "not known to be equivariant"),
        (nn.Flatten(), "mix orientations"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_options_that_cannot_be_converted_are_named(layer: nn.Module, words: str) -> None:
    network = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), layer, nn.Conv2d(8, 1, 3, padding=1))
    with pytest.raises(ConversionError, match=words) as caught:
        to_equivariant(network, parse_group("C4"))
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith("1 (")


SAMPLINGS = {
    "adaptive_avg_pool2d": lambda x, size: functional.adaptive_avg_pool2d(x, size),
    "adaptive_max_pool2d": lambda x, size: functional.adaptive_max_pool2d(x, output_size=size),
    "interpolate": lambda x, size: functional.interpolate(x, size=size, mode="bilinear"),
}


class Sampled(nn.Module):
    """A size that is given to a function, or computed from the image."""

    def __init__(self, kind: str, size) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)
        self.sample, self.size = SAMPLINGS[kind], size

    def forward(self, x):
        size = self.size(x) if callable(self.size) else self.size
        return self.last(self.sample(self.first(x), size))


@pytest.mark.parametrize("kind", SAMPLINGS)
def test_shapes_that_do_not_rotate_are_named_in_functions(kind: str) -> None:
    for size in ((2, 4), [16, 32], lambda x: (x.shape[2], 16)):
        with pytest.raises(ConversionError, match="one size") as caught:
            to_equivariant(Sampled(kind, size), parse_group("C4"))
        (problem,) = caught.value.problems
        assert problem.startswith(kind)


@pytest.mark.parametrize("kind", SAMPLINGS)
def test_sizes_that_rotate_with_the_image_are_converted(kind: str) -> None:
    for size in (8, (8, 8), lambda x: x.shape[2:], lambda x: (x.shape[2] // 2, x.shape[3] // 2)):
        made = to_equivariant(Sampled(kind, size), parse_group("C4"))
        x = torch.randn(1, 1, 16, 32, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(
            made(x.rot90(1, (2, 3))), made(x).rot90(1, (2, 3)), rtol=1e-4, atol=1e-5
        )


def test_a_transposed_convolution_to_a_given_size_is_named() -> None:
    class Hourglass(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down, self.up = nn.Conv2d(1, 8, 4, 2, 1), nn.ConvTranspose2d(8, 1, 3, 2, 1)

        def forward(self, x):
            return self.up(self.down(x), output_size=x.shape[2:])

    with pytest.raises(ConversionError, match=r"up \(ConvTranspose2d\).*one side only"):
        to_equivariant(Hourglass(), parse_group("C4"))


def test_weights_that_torch_cannot_copy_are_named() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        layers = [nn.utils.weight_norm(nn.Conv2d(8, 8, 3, padding=1)) for _ in range(2)]
    network = nn.Sequential(nn.Conv2d(1, 8, 3), *layers, nn.Conv2d(8, 1, 3))
    with pytest.raises(ConversionError, match="remove that first") as caught:
        to_equivariant(network, parse_group("C4"))
    assert [problem[:10] for problem in caught.value.problems] == ["1 (Conv2d)", "2 (Conv2d)"]


@pytest.mark.parametrize("size", [4, 0, -1, 3.5, "3"])
def test_a_kernel_that_is_not_odd_is_refused(size) -> None:
    with pytest.raises(ConfigError, match=f"kernel_size {size} is not an odd number.*: give 3"):
        to_equivariant(nn.Conv2d(1, 1, 3, padding=1), parse_group("C4"), kernel_size=size)


def test_control_flow_that_depends_on_values_is_explained() -> None:
    class Branching(nn.Module):
        def forward(self, x):
            return 2 * x if x.mean() > 0 else x

    with pytest.raises(ConversionError, match=r"forward \(Branching\) cannot be traced.*depend on"):
        to_equivariant(Branching(), parse_group("C4"))


def test_a_layer_that_serves_two_kinds_of_maps_is_named() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, padding=1)
            self.last = nn.Conv2d(4, 4, 1)

        def forward(self, x):
            return self.last(self.conv(self.conv(x)))

    with pytest.raises(ConversionError, match=r"conv \(Conv2d\).*make a layer for each"):
        to_equivariant(Shared(), parse_group("C4"))
