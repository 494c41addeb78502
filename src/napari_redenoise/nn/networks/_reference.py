"""The authors' published network: differences in its architecture and initial weights.

Tests compare them with outputs of the published code; see docs/published-code.md for numbers.

References
----------
H. Liu, J. Fu, Q. Xie, D. Meng, "Rotation-Equivariant Self-Supervised Method in Image Denoising",
CVPR 2025, arXiv 2505.19618.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from napari_redenoise.nn.layers._conv import LiftingConv2d
from napari_redenoise.nn.layers._fourier import FourierConv2d
from napari_redenoise.nn.networks._unet import EquivariantLayers

_INITIAL_SCALE = 0.4


@dataclass(frozen=True)
class ReferenceLayers(EquivariantLayers):
    """The layers of the published equivariant U-Net, which is not equivariant.

    Its last block treats the orientations of the feature maps as trivial channels and lifts them
    again, together with the image. A rotation of the image permutes orientations, so it changes
    more than the orientation of the result.
    """

    def beside_image(self, fields: int, channels: int, out_fields: int) -> nn.Module:
        """Lifting convolution of all orientations and the image as trivial channels."""
        inputs = fields * len(self.group) + channels
        return LiftingConv2d(self.group, inputs, out_fields, self.kernel_size, self.generator)

    def lift(self, image: Tensor) -> Tensor:
        """The unchanged image."""
        return image


@torch.no_grad()
def reset_unet(unet: nn.Module, generator: torch.Generator | None = None) -> None:
    """Draw the weights of a U-Net as the published code does; biases are zero.

    Standard convolutions, including the last one, follow He et al. 2015 for ReLU. Fourier
    coefficients are uniform in ``+- 0.4 sqrt(6 / (inputs * functions))``, times the damping. The
    inputs do not include orientations.

    Parameters
    ----------
    unet : Module
        Changed in place.
    generator : torch.Generator, optional
        Default that of torch.
    """
    for module in unet.modules():
        if isinstance(module, FourierConv2d):
            _, inputs, _, functions = module.weight.shape
            bound = _INITIAL_SCALE * math.sqrt(6 / (inputs * functions))
            module.weight.uniform_(-bound, bound, generator=generator).mul_(module.damping)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                module.bias.zero_()


@torch.no_grad()
def reset_small_network(network: nn.Module, generator: torch.Generator | None = None) -> None:
    """Draw weights and biases uniformly in ``+- 1 / sqrt(fan_in)``, the default of torch.

    Parameters
    ----------
    network : Module
        Changed in place: the mask network or the correction network.
    generator : torch.Generator, optional
        Default that of torch.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            bound = 1 / math.sqrt(module.weight[0].numel())
            for parameter in module.parameters():
                parameter.uniform_(-bound, bound, generator=generator)
