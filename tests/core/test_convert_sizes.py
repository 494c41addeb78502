"""Resampling to sizes that are computed from those of the image: exact, or refused in words."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.functional import interpolate

from napari_redenoise.errors import ConversionError
from napari_redenoise.nn import parse_group, to_equivariant
from napari_redenoise.nn.testing import assert_equivariant


class Hourglass(nn.Module):
    """Down by two, back up by a function of the small map and of the large one, and a skip."""

    def __init__(self, up, down=None) -> None:
        super().__init__()
        self.first, self.low = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Conv2d(16, 1, 3, padding=1)
        self.pool = nn.MaxPool2d(2) if down is None else down
        self.up = up

    def forward(self, x):
        skip = torch.relu(self.first(x))
        y = torch.relu(self.low(self.pool(skip)))
        return self.last(torch.cat([self.up(y, skip), skip], 1))


class Resampled(nn.Module):
    """Two convolutions and a resampling between them."""

    def __init__(self, function) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)
        self.function = function

    def forward(self, x):
        return self.last(self.function(torch.relu(self.first(x))))


def half(y):
    return [side // 2 for side in (y.shape[2], y.shape[3])]


UP = {
    "size of the skip": lambda y, skip: interpolate(y, size=skip.shape[-2:]),
    "size() of the skip": lambda y, skip: interpolate(y, skip.size()[2:], mode="nearest-exact"),
    "twice its own": lambda y, skip: interpolate(y, size=(2 * y.shape[2], 2 * y.shape[3])),
    "by a quotient": lambda y, skip: interpolate(y, scale_factor=skip.shape[2] / y.shape[2]),
    "bilinear": lambda y, skip: interpolate(y, skip.shape[2:], mode="bilinear"),
    "half of twice": lambda y, skip: interpolate(
        interpolate(y, scale_factor=4), size=skip.shape[-2:], mode="area"
    ),
    "padded": lambda y, skip: functional.pad(
        interpolate(y, scale_factor=2),
        [(skip.shape[3] - 2 * y.shape[3]) // 2] * 2 + [(skip.shape[2] - 2 * y.shape[2]) // 2] * 2,
    ),
}
EXACT = {
    "bilinear down to a size": lambda y: interpolate(y, size=half(y), mode="bilinear"),
    "bilinear corners": lambda y: interpolate(y, size=half(y), mode="bilinear", align_corners=True),
    "bicubic": lambda y: interpolate(y, size=half(y), mode="bicubic"),
    "area": lambda y: interpolate(y, size=half(y), mode="area"),
    "antialiased": lambda y: interpolate(y, size=half(y), mode="bilinear", antialias=True),
    "bilinear by a fraction": nn.Upsample(scale_factor=0.6, mode="bilinear"),
    "corners by a fraction": nn.Upsample(scale_factor=1.3, mode="bilinear", align_corners=True),
    "to a fixed size": nn.Upsample(size=24, mode="bilinear"),
    "nearest by three": nn.Upsample(scale_factor=3),
    "nearest-exact by two": nn.Upsample(scale_factor=2.0, mode="nearest-exact"),
    "nearest to three times its own": lambda y: interpolate(
        y, size=[3 * side for side in (y.shape[2], y.shape[3])]
    ),
    "divided by the number of pixels": lambda y: y / (y.shape[2] * y.shape[3]) ** 0.5,
    "pooled by four, padded": nn.MaxPool2d(4, stride=2, padding=1),
    "pooled to half": lambda y: functional.adaptive_max_pool2d(y, half(y)),
}
REFUSED = {
    "half": (lambda y: interpolate(y, size=(y.shape[2] // 2, y.shape[3] // 2)), "integer factor"),
    "half, exact": (lambda y: interpolate(y, half(y), mode="nearest-exact"), "integer factor"),
    "three halves": (
        lambda y: interpolate(y, size=(3 * y.shape[2] // 2, 3 * y.shape[3] // 2)),
        "integer factor",
    ),
    "a pixel more": (
        lambda y: interpolate(y, size=(y.shape[2] + 1, y.shape[3] + 1)),
        "integer factor",
    ),
    "a factor of the sizes": (
        lambda y: interpolate(y, scale_factor=(y.shape[2] // 2) / y.shape[2]),
        "integer factor",
    ),
    "factor of a half": (nn.Upsample(scale_factor=0.5), "mode 'bilinear'"),
    "factor of three halves": (nn.Upsample(scale_factor=1.5), "mode 'bilinear'"),
    "fixed size": (nn.UpsamplingNearest2d(size=32), "integer factor"),
    "one side for both": (lambda y: interpolate(y, size=y.shape[2]), "one size for both"),
    "sides exchanged": (
        lambda y: interpolate(y, size=(y.shape[2], 2 * y.shape[3]), mode="bilinear"),
        "one size for both",
    ),
    "pooled to one side": (
        lambda y: functional.adaptive_avg_pool2d(y, (y.shape[2], y.shape[2])),
        "one size for both",
    ),
    "divided by a side": (lambda y: y / y.shape[2], "both sides in the same way"),
    "a power of a side": (lambda y: torch.relu(y) ** (1 / y.size(3)), "both sides in the same way"),
    "clipped at a side": (lambda y: y.clamp(max=y.shape[2] / 10), "both sides in the same way"),
    "padded below and right": (
        lambda y: functional.pad(y, [0, y.shape[3] // 4, 0, y.shape[2] // 4]),
        "all four",
    ),
    "padded left and right": (
        lambda y: functional.pad(y, [y.shape[3] // 4, y.shape[3] // 4, 0, 0]),
        "one size for both",
    ),
}


@pytest.fixture(autouse=True)
def _in_float64(use_dtype) -> None:
    use_dtype(torch.float64)


def check(network: nn.Module, name: str, *sizes: tuple[int, int]) -> None:
    group = parse_group(name)
    made = to_equivariant(network, group, generator=torch.Generator().manual_seed(0)).eval()
    for size in sizes:
        x = torch.randn(2, 1, *size, generator=torch.Generator().manual_seed(1))
        assert made(x).shape == network(x).shape
        assert made(x).std() > 1e-3
        assert_equivariant(made, x, group, tolerance=1e-9)


@pytest.mark.parametrize("name", ["C4", "D4"])
@pytest.mark.parametrize("kind", UP)
def test_upsampling_to_the_size_of_a_skip_is_exact(kind: str, name: str) -> None:
    check(Hourglass(UP[kind]), name, (16, 16), (12, 20))


@pytest.mark.parametrize("name", ["C4", "D4"])
@pytest.mark.parametrize("kind", EXACT)
def test_resampling_with_symmetric_positions_is_exact(kind: str, name: str) -> None:
    check(Resampled(EXACT[kind]), name, (16, 16), (12, 20))


@pytest.mark.parametrize("kind", REFUSED)
def test_resampling_off_centre_is_refused(kind: str) -> None:
    function, words = REFUSED[kind]
    with pytest.raises(ConversionError, match=words) as caught:
        to_equivariant(Resampled(function), parse_group("C4"))
    assert len(caught.value.problems) == 1


def test_a_refused_resampling_is_not_equivariant_indeed() -> None:
    """The error that a rotation by 90 degrees makes of nearest downsampling alone."""
    x = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    smaller = interpolate(x, size=(8, 8))
    assert (interpolate(x.rot90(1, (2, 3)), size=(8, 8)) - smaller.rot90(1, (2, 3))).norm() > 1


def test_a_network_for_one_size_is_converted() -> None:
    class OneSize(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(16, 1, 1)
            self.up = nn.Upsample(size=16, mode="bilinear")

        def forward(self, x):
            y = self.first(x)
            return self.last(torch.cat([self.up(functional.avg_pool2d(y, 2)), y], 1))

    check(OneSize(), "C4", (16, 16))


def test_an_unknown_size_is_refused() -> None:
    class OneSize(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(16, 1, 1)
            self.up = nn.Upsample(size=16, mode="bilinear")

        def forward(self, x):
            y = self.first(x)
            y = torch.cat([self.up(functional.avg_pool2d(y, 2)), y], 1)
            return interpolate(self.last(y), size=x.shape[2:])

    with pytest.raises(ConversionError, match="has an unknown size: compute it"):
        to_equivariant(OneSize(), parse_group("C4"))
