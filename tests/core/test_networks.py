import pytest
import torch
from torch import nn

from napari_redenoise.config import NetworkConfig
from napari_redenoise.nn import (
    EquivariantLayers,
    GroupConv2d,
    LiftingConv2d,
    ProjectionConv2d,
    StandardLayers,
    UNet,
    build_network,
    parse_group,
    receptive_radius,
    total_stride,
)
from napari_redenoise.nn.testing import assert_equivariant, equivariance_error

CONVOLUTIONS = nn.Conv2d | GroupConv2d | LiftingConv2d | ProjectionConv2d
KINDS = ("standard", "equivariant", "adarenet")
every_kind = pytest.mark.parametrize("kind", KINDS)
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def network(seed: int = 0, **settings: object) -> nn.Module:
    """A network with random weights and biases, its correction included."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = build_network(NetworkConfig.model_validate(settings))
        for name, parameter in made.named_parameters():
            if name.endswith("bias"):
                nn.init.normal_(parameter, std=0.1)
        if settings.get("kind") == "adarenet":
            nn.init.normal_(made.correction_network[-1].weight, std=0.1)
    return made.eval()


def small(kind: str, **settings: object) -> nn.Module:
    sizes = {"levels": 2, "encoder_width": 8, "decoder_width": 16}
    return network(kind=kind, **{**sizes, **settings})


def image(*size: int, channels: int = 1, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(size))
    return torch.randn(1, channels, *size, generator=generator, dtype=torch.float64).to(dtype)


@both_dtypes
@pytest.mark.parametrize("name", ["C4", "C8", "D4"])
def test_equivariant_unet_is_equivariant_on_even_sizes(use_dtype, dtype, name: str) -> None:
    use_dtype(dtype)
    made = small("equivariant", group=name, levels=3)
    for height in range(16, 71, 6):
        width = 16 + (5 * height) % 54 // 2 * 2
        for size in ((height, height), (height, width)):
            assert_equivariant(
                lambda x: made(x).denoised, image(*size, dtype=dtype), parse_group(name)
            )


@both_dtypes
@pytest.mark.parametrize(("name", "size"), [("C4", (70, 58)), ("D4", (64, 64)), ("C8", (36, 50))])
def test_equivariant_unet_of_full_size_is_equivariant(use_dtype, dtype, name, size) -> None:
    use_dtype(dtype)
    made = network(kind="equivariant", group=name)
    x = image(*size, dtype=dtype)
    assert_equivariant(lambda x: made(x).denoised, x, parse_group(name))


@pytest.mark.parametrize("kernel_size", [5, 7])
def test_a_colour_unet_with_large_kernels_is_equivariant(kernel_size) -> None:
    made = small("equivariant", kernel_size=kernel_size, channels=3)
    assert_equivariant(lambda x: made(x).denoised, image(34, 26, channels=3), parse_group("C4"))


@pytest.mark.parametrize("kind", ["standard", "adarenet"])
def test_networks_with_an_ordinary_branch_are_not_equivariant(kind: str) -> None:
    made = small(kind)
    error = equivariance_error(lambda x: made(x).denoised, image(48, 48), parse_group("C4"), 1)
    assert error > 0.05
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(lambda x: made(x).denoised, image(48, 48), parse_group("C4"))


def test_only_the_equivariant_branch_is_equivariant() -> None:
    made = small("adarenet")
    assert_equivariant(lambda x: made(x).equivariant, image(48, 38), parse_group("C4"))
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(lambda x: made(x).standard, image(48, 38), parse_group("C4"))


@every_kind
@pytest.mark.parametrize("size", [(17, 16), (33, 47), (1, 5), (65, 31)])
def test_any_size_gives_a_finite_result_of_that_size(kind: str, size) -> None:
    made = small(kind, channels=2)
    prediction = made(image(*size, channels=2))
    assert prediction.denoised.shape == (1, 2, *size)
    assert all(part.isfinite().all() for part in prediction if part is not None)


@every_kind
def test_the_input_is_not_modified(kind: str) -> None:
    x = image(32, 32)
    before = x.clone()
    small(kind)(x)
    torch.testing.assert_close(x, before, rtol=0, atol=0)


def test_a_single_branch_says_nothing_of_a_mask() -> None:
    prediction = small("equivariant")(image(32, 32))
    assert prediction.mask is prediction.standard is prediction.equivariant is None


def test_adarenet_fuses_its_parts_by_the_formula() -> None:
    made = small("adarenet", channels=3)
    x = image(36, 28, channels=3)  # multiples of the stride: nothing is padded
    prediction = made(x)
    mask = 1 / (1 + torch.exp(-made.mask_network(x)))
    standard, equivariant = made.standard_branch(x), made.equivariant_branch(x)
    fused = mask * standard + (1 - mask) * equivariant
    torch.testing.assert_close(prediction.mask, mask)
    torch.testing.assert_close(prediction.standard, standard)
    torch.testing.assert_close(prediction.equivariant, equivariant)
    torch.testing.assert_close(prediction.denoised, fused + made.correction_network(fused))
    assert prediction.mask.shape == (1, 1, 36, 28)
    assert not torch.allclose(prediction.denoised, fused, atol=1e-2)


def test_the_mask_is_between_zero_and_one_and_varies() -> None:
    mask = small("adarenet")(5 * image(40, 40)).mask
    assert 0 <= mask.min().item() < 0.4 < 0.6 < mask.max().item() <= 1


def test_a_fresh_correction_network_adds_nothing_and_can_learn() -> None:
    made = build_network(NetworkConfig(levels=2, encoder_width=8, decoder_width=16))
    prediction = made(image(32, 32))
    fused = prediction.standard * prediction.mask + prediction.equivariant * (1 - prediction.mask)
    torch.testing.assert_close(prediction.denoised, fused, rtol=0, atol=0)
    prediction.denoised.square().sum().backward()
    assert made.correction_network[-1].weight.grad.abs().max() > 0


def conv_weights(inputs: int, outputs: int, taps: int = 9) -> int:
    return inputs * outputs * taps + outputs


def test_the_standard_unet_has_the_published_number_of_weights() -> None:
    # Encoder 48 and decoder 96 with five poolings, counted convolution by convolution.
    expected = (
        conv_weights(1, 48) + 6 * conv_weights(48, 48)
        + 5 * conv_weights(96, 96) + 3 * conv_weights(144, 96)
        + conv_weights(97, 64) + conv_weights(64, 32) + conv_weights(32, 1)
    )  # fmt: skip
    made = UNet(StandardLayers())
    assert sum(parameter.numel() for parameter in made.parameters()) == expected


def test_the_c4_unet_has_a_quarter_of_the_channels_as_fields() -> None:
    # Fields 12, 24, 16 and 8; nine functions per filter, and four filters per pair of fields.
    expected = (
        conv_weights(1, 12) + 6 * conv_weights(12, 12, 36)
        + 5 * conv_weights(24, 24, 36) + 3 * conv_weights(36, 24, 36)
        + conv_weights(25, 16, 36) + conv_weights(16, 8, 36) + conv_weights(8, 1)
    )  # fmt: skip
    made = UNet(EquivariantLayers(parse_group("C4")))
    assert sum(parameter.numel() for parameter in made.parameters()) == expected


@pytest.mark.parametrize(("channels", "fields"), [(96, 12), (8, 1), (3, 1), (12, 2)])
def test_fields_are_a_rounded_share_of_channels_at_least_one(channels, fields) -> None:
    assert EquivariantLayers(parse_group("D4")).width(channels) == fields


def reach(made: nn.Module, radius: int, stride: int, axis: int) -> int:
    """Largest distance along one axis to an output pixel that one input pixel changes."""
    side = -(-(2 * radius + 2 * stride) // stride) * stride
    x = image(*((side, 2 * stride) if axis == 0 else (2 * stride, side)), dtype=torch.float64)
    # The last pixel of a pooling window is read from the farthest left, the first from the right.
    middle = side // 2 // stride * stride
    found = 0
    with torch.no_grad():
        plain = made(x).denoised
        for position in (middle - 1, middle):
            touched = x.clone()
            touched.select(2 + axis, position)[..., stride] += 100.0
            changed = (made(touched).denoised != plain)[0, 0].nonzero()[:, axis]
            found = max(found, int((changed - position).abs().max()))
    return found


@every_kind
@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_the_receptive_radius_bounds_the_reach_of_a_pixel(
    use_dtype, kind: str, levels: int, kernel_size: int
) -> None:
    use_dtype(torch.float64)
    config = NetworkConfig(kind=kind, levels=levels, kernel_size=kernel_size, encoder_width=16)
    radius, stride = receptive_radius(config), total_stride(config)
    made = network(**config.model_dump())
    for axis in (0, 1):
        assert 0.9 * radius <= reach(made, radius, stride, axis) <= radius


def test_the_default_receptive_radius_fits_in_a_halo_of_160(use_dtype) -> None:
    use_dtype(torch.float64)
    config = NetworkConfig(kind="adarenet", encoder_width=16, decoder_width=16)
    made = network(**config.model_dump())
    assert receptive_radius(config) == 160
    assert 144 < reach(made, 160, 32, axis=0) <= 160


@pytest.mark.parametrize("channels", [1, 3])
def test_every_convolution_sees_channels_last(channels: int) -> None:
    made = build_network(NetworkConfig(channel_mode="together", channels=channels))
    made = made.to(memory_format=torch.channels_last)
    inputs = []
    for module in made.modules():
        if isinstance(module, CONVOLUTIONS):
            module.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    given = image(64, 64, channels=channels).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        made(given)
    several = [one for one in inputs if one.shape[1] > 1]
    slow = [one.shape for one in several if one.stride(1) != 1]
    assert len(several) > 30
    assert slow == []
