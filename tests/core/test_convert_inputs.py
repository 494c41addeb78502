"""What a network takes besides its image: default values are kept, anything else is refused."""

import math

import pytest
import torch
from torch import nn

from napari_redenoise.errors import ConversionError
from napari_redenoise.nn import parse_group, to_equivariant
from napari_redenoise.nn.testing import assert_equivariant


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)
        self.time = nn.Linear(4, 8)


class Embedded(Base):
    def forward(self, x, t):
        return self.last(self.first(x) + self.time(t)[:, :, None, None])


class Added(Base):
    def forward(self, x, noise_level):
        return self.last(self.first(x) + noise_level)


class Encoded(Base):
    def forward(self, x, t):
        phase = torch.cat([torch.sin(math.pi * t), torch.cos(math.pi * t)], 1)
        return self.last(torch.relu(self.first(x) * phase.view(-1, 8, 1, 1)))


class Unused(Base):
    def forward(self, x, flag):
        return self.last(self.first(x))


class ByName(Base):
    def forward(self, x, *, t):
        return self.last(self.first(x) * t)


class Switched(Base):
    def forward(self, x, deep):
        y = self.first(x)
        if deep:
            y = torch.relu(y)
        return self.last(y)


@pytest.mark.parametrize("network", [Embedded, Added, Encoded, Unused, ByName])
def test_an_input_that_is_no_image_is_refused(network) -> None:
    with pytest.raises(ConversionError, match="default value") as caught:
        to_equivariant(network(), parse_group("C4"))
    (problem,) = caught.value.problems
    assert problem.split(" ")[0] in {"t", "noise_level", "flag"}
    assert "(input) is not an image" in problem


def test_a_switch_without_a_default_is_named() -> None:
    with pytest.raises(ConversionError, match=r"default values to all inputs but .*\(deep\)"):
        to_equivariant(Switched(), parse_group("C4"))


class Optional(Base):
    """With every kind of option: absent, a switch, a number, names."""

    def forward(self, x, t=None, deep=True, scale=2.0, *more, names=("a",), **others):
        y = self.first(x)
        if t is not None:
            y = y + self.time(t)[:, :, None, None]
        if deep:
            y = torch.relu(y)
        return self.last(y) * scale if "a" in names else y


def test_options_keep_their_default_values() -> None:
    network = Optional()
    x = torch.randn(1, 1, 8, 12, generator=torch.Generator().manual_seed(0))
    made = to_equivariant(network, parse_group("C4"), generator=torch.Generator().manual_seed(0))
    assert_equivariant(made, x, parse_group("C4"))
    torch.testing.assert_close(made(x), 2 * made.last(torch.relu(made.first(x))))
    assert not hasattr(made, "time")
    with pytest.raises(TypeError):
        made(x, torch.zeros(1, 4))


def test_the_image_may_have_any_name_and_all_inputs_one() -> None:
    class Named(Base):
        def forward(self, image=None):
            return self.last(self.first(image))

    class Several(Base):
        def forward(self, *images):
            return self.last(self.first(images[0]))

    x = torch.randn(1, 1, 8, 12, generator=torch.Generator().manual_seed(0))
    assert_equivariant(to_equivariant(Named(), parse_group("C4")), x, parse_group("C4"))
    assert to_equivariant(Named(), parse_group("C4"))(image=x).shape == x.shape
    with pytest.raises(ConversionError):
        to_equivariant(Several(), parse_group("C4"))


def test_a_second_image_that_a_convolution_takes_is_converted() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(2, 8, 3, padding=1)
            self.last = nn.Conv2d(8, 1, 3, padding=1)

        def forward(self, x, guide):
            return self.last(torch.relu(self.a(x) + self.b(guide)))

    made = to_equivariant(Pair(), parse_group("C4"))
    draw = torch.Generator().manual_seed(0)
    x, guide = (torch.randn(1, n, 8, 12, generator=draw) for n in (1, 2))
    rotated = made(x.rot90(1, (2, 3)), guide.rot90(1, (2, 3)))
    torch.testing.assert_close(rotated, made(x, guide).rot90(1, (2, 3)), rtol=1e-4, atol=1e-5)
