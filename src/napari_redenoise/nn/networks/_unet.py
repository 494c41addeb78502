"""U-Nets with standard or rotation-equivariant convolutions.

References
----------
J. Lehtinen et al., "Noise2Noise", ICML 2018 (the architecture).
H. Liu, J. Fu, Q. Xie, D. Meng, "Rotation-Equivariant Self-Supervised Method in Image Denoising",
CVPR 2025 (the equivariant version).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_redenoise.nn.layers._conv import GroupConv2d, LiftingConv2d, ProjectionConv2d, lift
from napari_redenoise.nn.layers._group import Group
from napari_redenoise.nn.layers._padding import pad_to_multiple

_TAIL = (64, 32)


class _UninitialisedConv2d(nn.Conv2d):
    """A convolution that does not draw weights from the global generator.

    `torch.nn.utils.skip_init` does the same, but needs half a second to import.
    """

    def reset_parameters(self) -> None:
        """Keep the parameters uninitialised."""


@dataclass(frozen=True)
class StandardLayers:
    """Standard convolutions: every channel is trivial.

    ``generator`` draws the initial weights; default that of torch.
    """

    kernel_size: int = 3
    generator: torch.Generator | None = None

    def width(self, channels: int) -> int:
        """Number of fields for a nominal number of channels: the same."""
        return channels

    def first(self, channels: int, fields: int) -> nn.Module:
        """Convolution from the image."""
        return self.inner(channels, fields)

    def inner(self, in_fields: int, out_fields: int) -> nn.Module:
        """Convolution between feature maps, initialised for ReLU."""
        return self._conv(in_fields, out_fields, "relu")

    def beside_image(self, fields: int, channels: int, out_fields: int) -> nn.Module:
        """Convolution of feature maps concatenated with the lifted image."""
        return self.inner(fields + channels, out_fields)

    def last(self, fields: int, channels: int) -> nn.Module:
        """Convolution to the image, initialised for a linear output."""
        return self._conv(fields, channels, "linear")

    def lift(self, image: Tensor) -> Tensor:
        """The image as feature maps."""
        return image

    def _conv(
        self, inputs: int, outputs: int, nonlinearity: Literal["relu", "linear"]
    ) -> nn.Conv2d:
        conv: nn.Conv2d = _UninitialisedConv2d(
            inputs, outputs, self.kernel_size, padding=self.kernel_size // 2
        )
        conv.__class__ = nn.Conv2d
        nn.init.kaiming_normal_(conv.weight, nonlinearity=nonlinearity, generator=self.generator)
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)
        return conv


@dataclass(frozen=True)
class EquivariantLayers:
    """Fourier-series convolutions of one group; widths count plain channels.

    ``generator`` draws the initial weights; default that of torch.
    """

    group: Group
    kernel_size: int = 3
    generator: torch.Generator | None = None

    def width(self, channels: int) -> int:
        """Number of fields for a nominal number of channels, at least one."""
        return max(1, round(channels / len(self.group)))

    def first(self, channels: int, fields: int) -> nn.Module:
        """Lifting convolution from the image."""
        return LiftingConv2d(self.group, channels, fields, self.kernel_size, self.generator)

    def inner(self, in_fields: int, out_fields: int) -> nn.Module:
        """Group convolution between regular feature maps."""
        return GroupConv2d(self.group, in_fields, out_fields, self.kernel_size, self.generator)

    def beside_image(self, fields: int, channels: int, out_fields: int) -> nn.Module:
        """Group convolution of feature maps concatenated with the lifted image."""
        return self.inner(fields + channels, out_fields)

    def last(self, fields: int, channels: int) -> nn.Module:
        """Projection to the image, initialised for a linear output."""
        conv = ProjectionConv2d(self.group, fields, channels, self.kernel_size, self.generator)
        conv.reset_parameters(1.0, self.generator)
        return conv

    def lift(self, image: Tensor) -> Tensor:
        """The image repeated for every orientation."""
        return lift(image, self.group)


class UNet(nn.Module):
    """U-Net with max-pooling, nearest upsampling and skips by concatenation.

    Parameters
    ----------
    layers : StandardLayers or EquivariantLayers
    channels : int
        Channels of input and output.
    levels : int
        Number of poolings; the total stride is ``2**levels``.
    encoder_width, decoder_width : int
        Plain channels of the feature maps.
    inputs : int, optional
        Channels of the input, where these are more than those of the image.

    Input and output are (B, channels, H, W) of any size. Sizes that are not multiples of the stride
    are padded symmetrically by reflection, and the result is cropped.
    """

    def __init__(
        self,
        layers: StandardLayers | EquivariantLayers,
        channels: int = 1,
        levels: int = 5,
        encoder_width: int = 48,
        decoder_width: int = 96,
        inputs: int | None = None,
    ) -> None:
        super().__init__()
        inputs = channels if inputs is None else inputs
        encoder, decoder = layers.width(encoder_width), layers.width(decoder_width)
        self.stride = 2**levels
        self._lift = layers.lift
        self.encoder = nn.ModuleList(
            [_chain(layers.first(inputs, encoder), layers.inner(encoder, encoder))]
        )
        self.encoder.extend(_chain(layers.inner(encoder, encoder)) for _ in range(levels - 1))
        self.bottom = _chain(layers.inner(encoder, encoder))
        self.decoder = nn.ModuleList()
        below = encoder
        for _ in range(levels - 1):
            self.decoder.append(
                _chain(layers.inner(below + encoder, decoder), layers.inner(decoder, decoder))
            )
            below = decoder
        wide, narrow = (layers.width(width) for width in _TAIL)
        self.tail = _chain(layers.beside_image(below, inputs, wide), layers.inner(wide, narrow))
        self.last = layers.last(narrow, channels)

    def forward(self, image: Tensor) -> Tensor:
        image, crop = pad_to_multiple(image, self.stride)
        x = _channels_last_strides(image)
        skips = [_channels_last_strides(self._lift(image))]
        for block in self.encoder:
            x = functional.max_pool2d(block(x), 2)
            skips.append(x)
        x = self.bottom(skips.pop())
        for block in [*self.decoder, self.tail]:
            x = functional.interpolate(x, scale_factor=2, mode="nearest")
            x = block(torch.cat([x, skips.pop().to(x.dtype)], 1))
        result: Tensor = self.last(x)
        return result[..., crop[0], crop[1]]


def _channels_last_strides(x: Tensor) -> Tensor:
    """The same values with the strides of channels_last, also where there is a single channel.

    torch does not give them to a single channel, whose layout is ambiguous; then a concatenation
    with feature maps is computed in the slow layout, and so is the convolution after it: a third of
    a branch's time in bfloat16.
    """
    by_pixel = x.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format)
    return by_pixel.permute(0, 3, 1, 2)


def _chain(*convolutions: nn.Module) -> nn.Sequential:
    """Convolutions, each followed by a ReLU."""
    chain = nn.Sequential()
    for convolution in convolutions:
        chain.extend([convolution, nn.ReLU(inplace=True)])
    return chain
