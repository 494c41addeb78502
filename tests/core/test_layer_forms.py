import copy

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn
from torch.nn import functional

from napari_redenoise.config import NetworkConfig
from napari_redenoise.errors import ConfigError
from napari_redenoise.nn import (
    Group,
    GroupConv2d,
    GroupConvTranspose2d,
    Lift,
    LiftingConv2d,
    LiftingConvTranspose2d,
    ProjectionConv2d,
    ProjectionConvTranspose2d,
    build_network,
    filter_basis,
    lift,
    parse_group,
)
from napari_redenoise.nn.testing import TOLERANCE, assert_equivariant, equivariance_error

PLAIN = (LiftingConv2d, GroupConv2d, ProjectionConv2d)
TRANSPOSED = (LiftingConvTranspose2d, GroupConvTranspose2d, ProjectionConvTranspose2d)
NAMES = ("C1", "C2", "C3", "C5", "C6", "C8", "C12", "D1", "D2", "D3", "D4", "D6", "D8")
each_plain = pytest.mark.parametrize("form", PLAIN)
each_transposed = pytest.mark.parametrize("form", TRANSPOSED)
each_form = pytest.mark.parametrize("form", PLAIN + TRANSPOSED)
each_dtype = pytest.mark.parametrize("dtype", TOLERANCE)


def made(form, group: Group, kernel_size: int, fields=(2, 4), **options: object) -> nn.Module:
    generator = torch.Generator().manual_seed(kernel_size)
    layer = form(group, *fields, kernel_size, generator, **options)
    if layer.bias is not None:
        nn.init.normal_(layer.bias, generator=generator)
    return layer


def image(layer: nn.Module, *size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, layer.in_channels, *size, generator=generator)


def check(layer: nn.Module, *size: int) -> None:
    assert_equivariant(
        layer, image(layer, *size), layer.group, inputs=layer.inputs, outputs=layer.outputs
    )


def worst_error(layer: nn.Module, *size: int) -> float:
    x = image(layer, *size)
    representations = {"inputs": layer.inputs, "outputs": layer.outputs}
    return max(
        equivariance_error(layer, x, layer.group, element, **representations)
        for element in layer.group.exact_elements
    )


@each_form
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("name", NAMES)
def test_every_form_is_equivariant_for_every_group(form, kernel_size: int, name: str) -> None:
    check(made(form, parse_group(name), kernel_size, (1, 2)), 8, 9)


@each_plain
@each_dtype
@pytest.mark.parametrize("name", ["C4", "C8", "D4"])
@pytest.mark.parametrize("kernel_size", [2, 4, 6])
def test_strided_even_kernels_are_exact_on_even_sizes(
    use_dtype, form, dtype, kernel_size: int, name: str
) -> None:
    use_dtype(dtype)
    layer = made(form, parse_group(name), kernel_size, stride=2)
    assert layer(image(layer, 12, 18)).shape[2:] == (6, 9)
    check(layer, 12, 18)
    assert worst_error(layer, 12, 13) > 0.1


@each_plain
@each_dtype
@pytest.mark.parametrize("name", ["C4", "C8", "D4"])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_strided_odd_kernels_are_exact_on_odd_sizes(
    use_dtype, form, dtype, kernel_size: int, name: str
) -> None:
    use_dtype(dtype)
    layer = made(form, parse_group(name), kernel_size, stride=2)
    assert layer(image(layer, 13, 17)).shape[2:] == (7, 9)
    check(layer, 13, 17)
    assert worst_error(layer, 12, 16) > 0.1


@each_transposed
@each_dtype
@pytest.mark.parametrize("name", ["C4", "C8", "D4"])
@pytest.mark.parametrize(("kernel_size", "size"), [(2, (12, 18)), (4, (12, 18)), (3, (11, 17))])
def test_transposed_forms_are_exact_on_every_size(
    use_dtype, form, dtype, kernel_size: int, size, name: str
) -> None:
    use_dtype(dtype)
    layer = made(form, parse_group(name), kernel_size, stride=2)
    assert layer(image(layer, 6, 9)).shape[2:] == size
    check(layer, 6, 9)


@each_form
@pytest.mark.parametrize("name", ["C4", "C8", "D4"])
@pytest.mark.parametrize(
    "options",
    [
        {"bias": False},
        {"padding": 0},
        {"padding": 2},
        {"dilation": 2},
        {"groups": 2},
        {"stride": 3, "padding": 0},
    ],
)
def test_options_keep_every_form_equivariant(form, name: str, options) -> None:
    layer = made(form, parse_group(name), 3, **options)
    check(layer, 12, 9)
    assert (layer.bias is None) == (options == {"bias": False})


@each_plain
@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_every_padding_mode_is_equivariant_and_that_of_torch(form, mode: str) -> None:
    layer = made(form, parse_group("D4"), 5, padding_mode=mode)
    check(layer, 8, 9)
    plain = nn.Conv2d(layer.in_channels, layer.out_channels, 5, padding=2, padding_mode=mode)
    plain.load_state_dict({"weight": layer.filters(), "bias": layer.expanded_bias()})
    x = image(layer, 8, 9)
    torch.testing.assert_close(layer(x), plain(x))


@each_form
def test_groups_of_fields_do_not_see_each_other(form) -> None:
    layer = made(form, parse_group("C4"), 3, groups=2, bias=False)
    halves = [copy.deepcopy(layer) for _ in range(2)]
    x = image(layer, 8, 8)
    for part, (half, seen) in enumerate(zip(halves, x.chunk(2, 1), strict=True)):
        half.weight = nn.Parameter(layer.weight.chunk(2)[part])
        half.in_fields, half.out_fields, half.groups = 1, 2, 1
        torch.testing.assert_close(layer(x).chunk(2, 1)[part], half(seen))


@each_transposed
@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_forms_are_the_adjoint_of_plain_ones(use_dtype, form, groups: int) -> None:
    # <A x, y> = <x, A^T y> for the plain convolution whose filters are the transposed ones.
    use_dtype(torch.float64)
    layer = made(form, parse_group("C8"), 4, groups=groups, bias=False, stride=2)
    x = image(layer, 5, 6)
    y = torch.randn(layer(x).shape, generator=torch.Generator().manual_seed(2))
    back = functional.conv2d(y, layer.transposed_filters(), stride=2, padding=1, groups=groups)
    torch.testing.assert_close((layer(x) * y).sum(), (x * back).sum())


@each_form
def test_a_layer_says_its_options(form) -> None:
    layer = made(form, parse_group("D4"), 3, stride=2, groups=2)
    assert "D4, 2 -> 4 fields" in repr(layer)
    assert "stride=2, groups=2" in repr(layer)
    assert "stride" not in repr(made(form, parse_group("D4"), 3))


@pytest.mark.parametrize(
    ("options", "words"),
    [({"groups": 3}, "cannot be divided into 3"), ({"padding_mode": "wrap"}, "give one of")],
)
def test_options_that_make_no_sense_are_refused(options, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        GroupConv2d(parse_group("C4"), 2, 4, **options)
    with pytest.raises(ConfigError, match="a kernel of 0 pixels"):
        GroupConv2d(parse_group("C4"), 2, 4, 0)


def test_lift_is_a_layer_too() -> None:
    group = parse_group("D2")
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(Lift(group)(x), lift(x, group))
    assert repr(Lift(group)) == "Lift(D2)"


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("name", ["C1", "C2", "C4", "D1", "D2", "D4"])
def test_grid_groups_span_all_filters_of_a_convolution(kernel_size, name) -> None:
    basis, damping = filter_basis(kernel_size, parse_group(name))
    pixels = basis[0].reshape(kernel_size**2, -1)
    # Every kernel can be had, all equally easily: the functions are orthogonal on the grid.
    assert pixels.shape == (kernel_size**2,) * 2
    expected = np.eye(kernel_size**2) / len(basis)
    np.testing.assert_allclose(pixels.T @ pixels, expected, atol=1e-10)
    np.testing.assert_allclose(damping, 1)


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("name", NAMES)
def test_no_basis_is_degenerate_in_any_orientation(kernel_size: int, name: str) -> None:
    basis, damping = filter_basis(kernel_size, parse_group(name))
    axis = torch.linspace(-1, 1, kernel_size) if kernel_size > 1 else torch.zeros(1)
    inside = (axis[:, None] ** 2 + axis**2 <= 1 + 1e-6) | (kernel_size == 2)
    for functions in torch.tensor(basis / damping):
        # Filters differ in every pixel, and inside the disc they can be had about equally well.
        rank = torch.linalg.matrix_rank(functions.flatten(0, 1), rtol=1e-5)
        assert rank == kernel_size**2
        values = torch.linalg.svdvals(functions[inside])
        assert values[0] < 15 * values[-1]


@pytest.mark.parametrize("name", NAMES)
def test_a_kernel_of_two_has_three_functions_that_rotate_exactly(name: str) -> None:
    basis, damping = filter_basis(2, parse_group(name))
    assert sum(weight > 0.999 for weight in damping) >= 3
    # A constant, and the linear ramps x and y, whose energy is the same in every orientation.
    for ramp in ([1.0, 1, 1, 1], [-1.0, 1, -1, 1], [-1.0, -1, 1, 1]):
        exact = torch.tensor(basis.copy())[..., torch.tensor(damping) > 0.999]
        for functions in exact.flatten(1, 2):
            wanted = torch.tensor(ramp, dtype=functions.dtype)[:, None]
            found = functions @ torch.linalg.lstsq(functions, wanted).solution
            torch.testing.assert_close(found, wanted)


def test_c1_of_three_pixels_can_be_any_ordinary_kernel() -> None:
    layer = GroupConv2d(parse_group("C1"), 2, 3)
    wanted = torch.randn(3, 2, 3, 3)
    with torch.no_grad():
        coefficients = torch.linalg.lstsq(layer.basis[0].T, wanted.reshape(6, 9).T).solution
        layer.weight.copy_(coefficients.T.reshape(3, 2, 1, 9))
        torch.testing.assert_close(layer.filters(), wanted)


@pytest.mark.parametrize("name", NAMES)
def test_networks_of_every_group_are_equivariant(name: str) -> None:
    config = NetworkConfig(
        kind="equivariant", group=name, levels=2, encoder_width=8, decoder_width=8
    )
    network = build_network(config, torch.Generator().manual_seed(0)).eval()
    x = torch.randn(1, 1, 20, 26, generator=torch.Generator().manual_seed(1))
    assert_equivariant(lambda x: network(x).denoised, x, parse_group(name))
    assert network(x).denoised.std() > 1e-3


def error_at_45_degrees(kernel_size: int) -> float:
    """Median relative error of small C8 networks on a smooth image rotated without resampling."""
    generator = np.random.default_rng(0)
    places, widths = generator.uniform(-18, 18, (40, 2)), generator.uniform(2, 4, 40)
    heights = generator.normal(size=40)
    y, x = np.mgrid[-32:33, -32:33].astype(float)
    u, v = (x - y) / np.sqrt(2), (x + y) / np.sqrt(2)

    def sampled(x: np.ndarray, y: np.ndarray) -> torch.Tensor:
        squared = (x[..., None] - places[:, 0]) ** 2 + (y[..., None] - places[:, 1]) ** 2
        return torch.tensor(np.exp(-squared / 2 / widths**2) @ heights)[None, None].float()

    errors = []
    for seed in range(6):
        draw, group = torch.Generator().manual_seed(seed), parse_group("C8")
        network = nn.Sequential(
            LiftingConv2d(group, 1, 8, kernel_size, draw),
            nn.ReLU(),
            GroupConv2d(group, 8, 8, kernel_size, draw),
            nn.ReLU(),
            ProjectionConv2d(group, 8, 1, kernel_size, draw),
        )
        with torch.no_grad():
            before, after = (network(sampled(*at))[0, 0].numpy() for at in ((x, y), (u, v)))
        expected = ndimage.map_coordinates(before, [v + 32, u + 32], order=5, mode="nearest")
        disc = x**2 + y**2 < 20**2
        errors.append(np.linalg.norm((after - expected)[disc]) / np.linalg.norm(expected[disc]))
    return float(np.median(errors))


def test_5_pixel_kernels_rotate_approximately_by_45_degrees() -> None:
    assert error_at_45_degrees(5) < 0.1
    assert error_at_45_degrees(5) < error_at_45_degrees(3) / 3
