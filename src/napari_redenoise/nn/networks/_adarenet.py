"""AdaReNet: a standard and an equivariant U-Net, fused by a learned mask.

References
----------
H. Liu, J. Fu, Q. Xie, D. Meng, "Rotation-Equivariant Self-Supervised Method in Image Denoising",
CVPR 2025, arXiv 2505.19618.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_redenoise.config import NetworkConfig
from napari_redenoise.nn.layers._group import parse_group
from napari_redenoise.nn.layers._padding import pad_to_multiple
from napari_redenoise.nn.networks._reference import ReferenceLayers, reset_small_network, reset_unet
from napari_redenoise.nn.networks._unet import EquivariantLayers, StandardLayers, UNet


class Prediction(NamedTuple):
    """The outputs of a network, of shape (B, channels, H, W); the mask is (B, 1, H, W).

    ``mask`` is from 0 to 1: 1 selects the standard branch, 0 the equivariant one. A network with a
    single branch has only ``denoised``.
    """

    denoised: Tensor
    standard: Tensor | None = None
    equivariant: Tensor | None = None
    mask: Tensor | None = None


class AdaReNet(nn.Module):
    """Adaptive rotation-equivariant network.

    ``fused = standard * mask + equivariant * (1 - mask)``,
    ``denoised = fused + correction_network(fused)``.

    Parameters
    ----------
    standard_branch, equivariant_branch : UNet
        With the same channels and stride.
    channels : int
        Channels of the image.
    inputs : int, optional
        Channels of the input, where these are more than those of the image.
    generator : torch.Generator, optional
        For the initial weights of the two small networks; default that of torch.
    reference : bool
        As in the published code: the correction network ends in a ReLU and has random weights.

    Notes
    -----
    The correction network has no final ReLU, which would only allow positive corrections. It starts
    at zero, so training begins with the fused image.
    """

    def __init__(
        self,
        standard_branch: UNet,
        equivariant_branch: UNet,
        channels: int = 1,
        generator: torch.Generator | None = None,
        *,
        inputs: int | None = None,
        reference: bool = False,
    ) -> None:
        super().__init__()
        self.standard_branch = standard_branch
        self.equivariant_branch = equivariant_branch
        layers = StandardLayers(generator=generator)
        self.mask_network = _small_network(layers, inputs or channels, 32, 64, 1)
        self.correction_network = _small_network(layers, channels, 32, channels)
        if reference:
            reset_small_network(self.mask_network, generator)
            reset_small_network(self.correction_network, generator)
            self.correction_network.append(nn.ReLU())
        else:
            for parameter in self.correction_network[-1].parameters():
                nn.init.zeros_(parameter)
        self.stride = standard_branch.stride
        self.inputs = inputs or channels

    def forward(self, image: Tensor) -> Prediction:
        image, crop = pad_to_multiple(_alone(image, self.inputs), self.stride)
        mask = torch.sigmoid(self.mask_network(image))
        standard = self.standard_branch(image)
        equivariant = self.equivariant_branch(image)
        fused = standard * mask + equivariant * (1 - mask)
        denoised = fused + self.correction_network(fused)
        return Prediction(
            *(part[..., crop[0], crop[1]] for part in (denoised, standard, equivariant, mask))
        )


class SingleBranch(nn.Module):
    """A single U-Net with the interface of `AdaReNet`."""

    def __init__(self, branch: UNet, inputs: int = 1) -> None:
        super().__init__()
        self.branch = branch
        self.stride = branch.stride
        self.inputs = inputs

    def forward(self, image: Tensor) -> Prediction:
        return Prediction(self.branch(_alone(image, self.inputs)))


def _alone(image: Tensor, inputs: int) -> Tensor:
    """A plane whose neighbours are not given, with zeros for all that a network is shown."""
    missing = inputs - image.shape[1]
    return functional.pad(image, (0, 0, 0, 0, 0, missing)) if missing > 0 else image


class SeparateChannels(nn.Module):
    """Denoises each channel by itself, with the same network.

    Parameters
    ----------
    network : AdaReNet or SingleBranch
        Of one channel.
    channels : int
    neighbours : int
        Neighbouring planes that the network sees.

    Notes
    -----
    Input and outputs are as of a network of several channels; the mask is the mean of those of the
    channels.
    """

    def __init__(self, network: AdaReNet | SingleBranch, channels: int, neighbours: int) -> None:
        super().__init__()
        self.network = network
        self.channels = channels
        self.planes = 1 + neighbours
        self.stride = network.stride

    def forward(self, image: Tensor) -> Prediction:
        found: Prediction = self.network(self._split(image))
        others = (None if part is None else self._joined(part) for part in found[1:])
        standard, equivariant, mask = others
        mask = None if mask is None else mask.mean(1, keepdim=True)
        return Prediction(self._joined(found.denoised), standard, equivariant, mask)

    def _split(self, image: Tensor) -> Tensor:
        """Inputs of every channel: its plane, its neighbours, and the marks of these."""
        if image.shape[1] == self.channels:
            return image.flatten(0, 1)[:, None]
        levels, marks = image.tensor_split((self.channels * self.planes,), 1)
        levels = levels.unflatten(1, (self.planes, self.channels)).transpose(1, 2)
        marks = marks[:, None].expand(-1, self.channels, -1, -1, -1)
        return torch.cat([levels, marks], 2).flatten(0, 1)

    def _joined(self, part: Tensor) -> Tensor:
        # Not by reshape, which fixes the size of a batch in an exported network.
        joined: Tensor = part.unflatten(0, (-1, self.channels))
        return joined.squeeze(2)


DenoisingNetwork = AdaReNet | SingleBranch | SeparateChannels


def build_network(
    config: NetworkConfig,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
) -> DenoisingNetwork:
    """Build a network with random weights.

    Parameters
    ----------
    config : NetworkConfig
    generator : torch.Generator, optional
        Default that of torch.
    dtype : torch.dtype, optional
        Of the weights; default that of torch.

    Returns
    -------
    AdaReNet, SingleBranch or SeparateChannels
    """
    if config.is_separate:
        each = _build(config.of_one_channel, generator)
        network: DenoisingNetwork = SeparateChannels(each, config.channels, config.neighbours)
    else:
        network = _build(config, generator)
    return network.to(dtype or torch.get_default_dtype())


def _build(config: NetworkConfig, generator: torch.Generator | None) -> AdaReNet | SingleBranch:
    reference = config.variant == "reference"

    def branch(layers: StandardLayers | EquivariantLayers) -> UNet:
        unet = UNet(
            layers,
            config.channels,
            config.levels,
            config.encoder_width,
            config.decoder_width,
            config.inputs,
        )
        if reference:
            reset_unet(unet, generator)
        return unet

    standard = StandardLayers(config.kernel_size, generator)
    fourier = ReferenceLayers if reference else EquivariantLayers
    equivariant = fourier(parse_group(config.group), config.kernel_size, generator)
    if config.kind == "standard":
        return SingleBranch(branch(standard), config.inputs)
    if config.kind == "equivariant":
        return SingleBranch(branch(equivariant), config.inputs)
    return AdaReNet(
        branch(standard),
        branch(equivariant),
        config.channels,
        generator,
        inputs=config.inputs,
        reference=reference,
    )


def _small_network(layers: StandardLayers, *widths: int) -> nn.Sequential:
    """Standard 3 x 3 convolutions with ReLU between them."""
    network = nn.Sequential()
    for inputs, outputs in itertools.pairwise(widths[:-1]):
        network.extend([layers.inner(inputs, outputs), nn.ReLU(inplace=True)])
    network.append(layers.last(widths[-2], widths[-1]))
    return network
