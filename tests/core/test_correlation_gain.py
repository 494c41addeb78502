"""What the initial weights do to the size of a signal in depth."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from napari_redenoise.nn import Group, GroupConv2d, GroupConvTranspose2d, parse_group
from napari_redenoise.nn.layers._correlation_gain import correlation_gain

DEPTH = 20
NAMES = (
    *("C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "C12"),
    *("D1", "D2", "D3", "D4", "D5", "D6", "D8"),
)


def layer_ratios(group: Group, kernel_size: int, fields: int, seed: int, scale=None) -> list[float]:
    """What each of 20 layers with ReLU does to the second moment; periodic, so without borders.

    ``scale`` is that of the published code: coefficients uniform with ``scale**2 * 2`` for their
    variance times inputs and functions, orientations of the input not counted.
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, fields * len(group), 8, 8, generator=generator)
    ratios = []
    for _ in range(DEPTH):
        layer = GroupConv2d(group, fields, fields, kernel_size, generator, padding_mode="circular")
        with torch.no_grad():
            if scale is not None:
                bound = scale * math.sqrt(6 / (fields * layer.basis.shape[1]))
                layer.weight.uniform_(-bound, bound, generator=generator).mul_(layer.damping)
            y = functional.relu(layer(x))
        before = float(x.square().mean())
        # A signal that no field has let through has no ratio any more.
        ratios.append(float(y.square().mean()) / before if before else math.nan)
        x = y
    return ratios


def second_moment(group: Group, kernel_size: int, scale=None) -> float:
    """Expected second moment after 20 layers over that of the white noise before them.

    Averaged over seeds layer by layer: behind 20 layers so narrow it is a product of 20 numbers
    that scatter, and a few seeds would tell its median, which lies below its mean. The logarithm
    of the average has a standard error of about sqrt(20 * 5 / (fields * seeds)), that is 0.6.
    """
    fields = max(6, 64 // len(group))
    seeds = range(-(-256 // fields))
    ratios = [layer_ratios(group, kernel_size, fields, seed, scale) for seed in seeds]
    return float(np.nanmean(ratios, axis=0).prod())


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
@pytest.mark.parametrize("name", NAMES)
def test_the_second_moment_survives_twenty_layers(name: str, kernel_size: int) -> None:
    assert 1 / 5 <= second_moment(parse_group(name), kernel_size) <= 5


@pytest.mark.parametrize("name", ["C4", "C8", "D4"])
def test_with_the_published_scale_the_signal_does_not_survive(reference_layers, name: str) -> None:
    # The published weights, without their damping: 3 outputs of 2 inputs, orientations, functions.
    weights = reference_layers["group_k3_n4/weights"]
    basis = reference_layers["group_k3_n4/basis"]
    undamped = weights / np.linalg.norm(basis.reshape(-1, basis.shape[-1]), axis=0)
    scale = np.abs(undamped).max() / math.sqrt(6 / (2 * 9))
    assert scale == pytest.approx(0.4, rel=0.03)
    assert second_moment(parse_group(name), 3, scale=0.4) < 1e-3


@pytest.mark.parametrize("kernel_size", [2, 3, 5, 7])
@pytest.mark.parametrize("name", ["C1", "C2", "C4", "D1", "D2", "D4"])
def test_taps_are_independent_where_every_turn_maps_the_grid(name: str, kernel_size: int) -> None:
    assert correlation_gain(kernel_size, parse_group(name)) == pytest.approx(1, abs=1e-9)


def test_without_the_gain_a_deep_network_would_explode() -> None:
    assert correlation_gain(5, parse_group("C8")) ** DEPTH > 1e5


@pytest.mark.parametrize("name", ["C4", "C8", "D4"])
@pytest.mark.parametrize(("kernel_size", "stride"), [(2, 2), (4, 2), (4, 1)])
def test_transposed_layers_keep_the_second_moment(name: str, kernel_size: int, stride: int) -> None:
    generator = torch.Generator().manual_seed(0)
    group = parse_group(name)
    layer = GroupConvTranspose2d(group, 24, 48, kernel_size, generator, stride=stride)
    x = torch.randn(2, 24 * len(group), 16, 16, generator=generator)
    y = functional.relu(layer(x))[..., 4:-4, 4:-4].detach()
    assert float(y.square().mean()) == pytest.approx(1, rel=0.1)
