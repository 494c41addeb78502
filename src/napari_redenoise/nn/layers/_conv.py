"""Convolutions whose filters are Fourier series: lifting, group and projection.

Convention
----------
A *regular* feature map has shape (B, fields * len(group), H, W), orientation fastest. A *trivial*
one has shape (B, channels, H, W). The orientations of a field share one bias.

All layers have the same parameters:

group : Group
in_fields, out_fields : int
    Fields of a regular feature map, channels of a trivial one.
kernel_size : int, default 3
    Odd or even; 1 is a 1 x 1 convolution.
generator : torch.Generator, optional
    For the initial weights; default that of torch.
stride, dilation : int, default 1
padding : int, optional
    On each side; default ``dilation * (kernel_size - 1) // 2``.
groups : int, default 1
    Independent groups of fields; as many as there are fields for a depthwise convolution.
bias : bool, default True
padding_mode : str, default "zeros"
    Or ``"reflect"``, ``"replicate"``, ``"circular"``, as in torch.

Exact sizes
-----------
A rotation of the image by 90 degrees must map the sampling positions of a strided filter onto
themselves. This holds if ``size + 2 * padding - dilation * (kernel_size - 1) - 1`` is a multiple of
the stride. With stride 2 even kernels (2, 4, ...) with ``padding=0`` or the default are
exact on even sizes. Odd kernels with the default padding are exact on odd sizes only. With stride
1, and in transposed convolutions, every size is exact.

References
----------
Q. Xie, Q. Zhao, Z. Xu, D. Meng, "Fourier Series Expansion Based Filter Parametrization for
Equivariant Convolutions", TPAMI 2022.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from napari_redenoise.nn.layers._fourier import FourierConv2d, FourierConvTranspose2d
from napari_redenoise.nn.layers._group import Group, Representation


class LiftingConv2d(FourierConv2d):
    """Trivial to regular: output orientation g uses the filter rotated by g.

    Input (B, in_fields, H, W), output (B, out_fields * len(group), H', W'), with H' and W' as in
    `torch.nn.Conv2d`. Parameters and exact sizes: see the head of this module.
    """

    inputs: ClassVar[Representation] = "trivial"
    outputs: ClassVar[Representation] = "regular"


class GroupConv2d(FourierConv2d):
    """Regular to regular: orientation g sees h through filter g^-1 h, rotated by g.

    Input (B, in_fields * len(group), H, W), output (B, out_fields * len(group), H', W'), H' and
    W' as in `torch.nn.Conv2d`. Parameters and exact sizes: see the head of this module.
    """

    inputs: ClassVar[Representation] = "regular"
    outputs: ClassVar[Representation] = "regular"


class ProjectionConv2d(FourierConv2d):
    """Regular to trivial: a sum over orientations h, with the filter rotated by h.

    Input (B, in_fields * len(group), H, W), output (B, out_fields, H', W'), H' and W' as in
    `torch.nn.Conv2d`. Parameters and exact sizes: see the head of this module.
    """

    inputs: ClassVar[Representation] = "regular"
    outputs: ClassVar[Representation] = "trivial"


class LiftingConvTranspose2d(FourierConvTranspose2d):
    """`LiftingConv2d` as a transposed convolution; exact on every size.

    Output sizes are those of `torch.nn.ConvTranspose2d` without output padding, which would add
    pixels on one side only. Kernel 2 or 4 with stride 2 doubles a size.
    """

    inputs: ClassVar[Representation] = "trivial"
    outputs: ClassVar[Representation] = "regular"


class GroupConvTranspose2d(FourierConvTranspose2d):
    """`GroupConv2d` as a transposed convolution: see `LiftingConvTranspose2d`."""

    inputs: ClassVar[Representation] = "regular"
    outputs: ClassVar[Representation] = "regular"


class ProjectionConvTranspose2d(FourierConvTranspose2d):
    """`ProjectionConv2d` as a transposed convolution: see `LiftingConvTranspose2d`."""

    inputs: ClassVar[Representation] = "regular"
    outputs: ClassVar[Representation] = "trivial"


def lift(x: Tensor, group: Group) -> Tensor:
    """Repeat trivial channels for every orientation.

    Parameters
    ----------
    x : Tensor
        Of shape (B, channels, H, W).
    group : Group

    Returns
    -------
    Tensor
        Of shape (B, channels * len(group), H, W).
    """
    return x.repeat_interleave(len(group), dim=1)


class Lift(nn.Module):
    """`lift` as a layer."""

    def __init__(self, group: Group) -> None:
        super().__init__()
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        return lift(x, self.group)

    def extra_repr(self) -> str:
        return self.group.name
