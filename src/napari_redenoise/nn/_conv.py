"""Convolutions whose filters are Fourier series: lifting, group and projection.

Convention
----------
A *regular* feature map has shape (B, fields * len(group), H, W), orientation fastest. A *trivial*
one is an ordinary (B, channels, H, W). One bias per field, so orientations share it.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_redenoise.nn._basis import filter_basis
from napari_redenoise.nn._group import Group


class _FourierConv2d(nn.Module):
    """Shared part: coefficients, basis, bias, initialisation and the convolution itself.

    The basis is a buffer and travels in the ``state_dict``: see `filter_basis`.
    """

    basis: Tensor
    damping: Tensor

    def __init__(
        self,
        group: Group,
        in_fields: int,
        out_fields: int,
        kernel_size: int,
        relative_orientations: int,
        in_orientations: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.group = group
        self.in_fields, self.out_fields = in_fields, out_fields
        self.kernel_size = kernel_size
        self._in_orientations = in_orientations
        basis, damping = filter_basis(kernel_size, group)
        # (|G|, k, k, functions) -> (|G|, functions, k*k): ready to be multiplied from the left.
        flat = basis.reshape(len(group), kernel_size**2, -1).transpose(0, 2, 1)
        dtype = torch.get_default_dtype()
        self.register_buffer("basis", torch.tensor(np.ascontiguousarray(flat), dtype=dtype))
        self.register_buffer("damping", torch.tensor(damping, dtype=dtype))
        self.weight = nn.Parameter(
            torch.empty(out_fields, in_fields, relative_orientations, self.basis.shape[1])
        )
        self.bias = nn.Parameter(torch.empty(out_fields))
        self.reset_parameters(generator=generator)

    def reset_parameters(
        self, gain: float = math.sqrt(2.0), generator: torch.Generator | None = None
    ) -> None:
        """Draw coefficients so that ``Var(output) = gain**2 * E[input**2]``; biases are zero.

        With the default gain a ReLU network keeps its variance through depth (He et al. 2015).
        The energy of the damped basis takes the place of the number of taps, and coefficients
        are damped once more, so that functions which turn badly on the grid start small.
        """
        with torch.no_grad():
            energy = (self.basis**2).sum(2).mean(0)
            fan_in = self.in_fields * self._in_orientations * (self.damping**2 * energy).sum()
            std = gain / torch.sqrt(fan_in)
            self.weight.normal_(generator=generator).mul_(self.damping * std)
            self.bias.zero_()

    def filters(self) -> Tensor:
        """Plain filters for `torch.nn.functional.conv2d`, shape (out, in, k, k)."""
        raise NotImplementedError

    def expanded_bias(self) -> Tensor:
        """Bias per plain output channel."""
        return self.bias.repeat_interleave(len(self.group))

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(
            x, self.filters(), self.expanded_bias(), padding=self.kernel_size // 2
        )

    def extra_repr(self) -> str:
        numbers = sum(p.numel() for p in self.parameters())
        return (
            f"{self.group.name}, {self.in_fields} -> {self.out_fields} fields, "
            f"kernel_size={self.kernel_size}, {numbers} weights"
        )


class LiftingConv2d(_FourierConv2d):
    """Trivial to regular: output orientation g uses the filter turned by g.

    Parameters
    ----------
    group : Group
    in_channels, out_fields : int
    kernel_size : int, odd
    generator : torch.Generator, optional
        Draws the initial weights; default torch's own.

    Input (B, in_channels, H, W), output (B, out_fields * len(group), H, W).
    """

    def __init__(
        self,
        group: Group,
        in_channels: int,
        out_fields: int,
        kernel_size: int = 3,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(group, in_channels, out_fields, kernel_size, 1, 1, generator)

    def filters(self) -> Tensor:
        """Plain filters, shape (out_fields * |G|, in_channels, k, k)."""
        taps = torch.einsum("oib,gbk->ogik", self.weight[:, :, 0], self.basis)
        return taps.reshape(-1, self.in_fields, self.kernel_size, self.kernel_size)


class GroupConv2d(_FourierConv2d):
    """Regular to regular: orientation g sees h through filter g^-1 h, turned by g.

    Parameters
    ----------
    group : Group
    in_fields, out_fields : int
    kernel_size : int, odd
    generator : torch.Generator, optional
        Draws the initial weights; default torch's own.

    Input (B, in_fields * len(group), H, W), output (B, out_fields * len(group), H, W).
    """

    relative: Tensor

    def __init__(
        self,
        group: Group,
        in_fields: int,
        out_fields: int,
        kernel_size: int = 3,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            group, in_fields, out_fields, kernel_size, len(group), len(group), generator
        )
        self.register_buffer("relative", torch.tensor(group.relative.ravel()), persistent=False)

    def filters(self) -> Tensor:
        """Plain filters, shape (out_fields * |G|, in_fields * |G|, k, k)."""
        n, k = len(self.group), self.kernel_size
        by_pair = self.weight.index_select(2, self.relative)
        by_pair = by_pair.reshape(self.out_fields, self.in_fields, n, n, -1)
        taps = torch.einsum("oighb,gbk->ogihk", by_pair, self.basis)
        return taps.reshape(self.out_fields * n, self.in_fields * n, k, k)


class ProjectionConv2d(_FourierConv2d):
    """Regular to trivial: orientation h is seen through the filter turned by h, and summed.

    Parameters
    ----------
    group : Group
    in_fields, out_channels : int
    kernel_size : int, odd
    generator : torch.Generator, optional
        Draws the initial weights; default torch's own.

    Input (B, in_fields * len(group), H, W), output (B, out_channels, H, W).
    """

    def __init__(
        self,
        group: Group,
        in_fields: int,
        out_channels: int,
        kernel_size: int = 3,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(group, in_fields, out_channels, kernel_size, 1, len(group), generator)

    def filters(self) -> Tensor:
        """Plain filters, shape (out_channels, in_fields * |G|, k, k)."""
        taps = torch.einsum("oib,hbk->oihk", self.weight[:, :, 0], self.basis)
        return taps.reshape(self.out_fields, -1, self.kernel_size, self.kernel_size)

    def expanded_bias(self) -> Tensor:
        """Bias per output channel."""
        return self.bias


def lift(x: Tensor, group: Group) -> Tensor:
    """Turn trivial channels into fields that look alike in every orientation."""
    return x.repeat_interleave(len(group), dim=1)
