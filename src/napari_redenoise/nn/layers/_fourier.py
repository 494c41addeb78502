"""Base classes of Fourier-series convolutions: coefficients, basis, bias, filters."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_redenoise.errors import ConfigError
from napari_redenoise.nn.layers._basis import filter_basis
from napari_redenoise.nn.layers._correlation_gain import correlation_gain
from napari_redenoise.nn.layers._group import Group, Representation

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class FourierConv2d(nn.Module):
    """Convolution between two representations, see `_conv` for the subclasses.

    The basis is a buffer and part of the ``state_dict``, see `filter_basis`.
    """

    inputs: ClassVar[Representation]
    outputs: ClassVar[Representation]
    basis: Tensor
    damping: Tensor
    relative: Tensor

    def __init__(
        self,
        group: Group,
        in_fields: int,
        out_fields: int,
        kernel_size: int = 3,
        generator: torch.Generator | None = None,
        *,
        stride: int = 1,
        padding: int | None = None,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__()
        _check(in_fields, out_fields, groups, padding_mode)
        self.group = group
        self.in_fields, self.out_fields, self.groups = in_fields, out_fields, groups
        self.kernel_size, self.stride, self.dilation = kernel_size, stride, dilation
        self.padding = dilation * (kernel_size - 1) // 2 if padding is None else padding
        self.padding_mode = padding_mode
        basis, damping = filter_basis(kernel_size, group)
        # (|G|, k, k, functions) -> (|G|, functions, k*k): ready to be multiplied from the left.
        flat = basis.reshape(len(group), kernel_size**2, -1).transpose(0, 2, 1)
        dtype = torch.get_default_dtype()
        self.register_buffer("basis", torch.tensor(np.ascontiguousarray(flat), dtype=dtype))
        self.register_buffer("damping", torch.tensor(damping, dtype=dtype))
        filters = 1
        if self.inputs == self.outputs == "regular":
            filters = len(group)
            relative = torch.tensor(group.relative.ravel())
            self.register_buffer("relative", relative, persistent=False)
        self.weight = nn.Parameter(
            torch.empty(out_fields, in_fields // groups, filters, self.basis.shape[1])
        )
        self.bias = nn.Parameter(torch.empty(out_fields)) if bias else None
        self.reset_parameters(generator=generator)

    @property
    def in_channels(self) -> int:
        """Plain channels of the input."""
        return self.in_fields * (len(self.group) if self.inputs == "regular" else 1)

    @property
    def out_channels(self) -> int:
        """Plain channels of the output."""
        return self.out_fields * (len(self.group) if self.outputs == "regular" else 1)

    def reset_parameters(
        self, gain: float = math.sqrt(2.0), generator: torch.Generator | None = None
    ) -> None:
        """Draw coefficients so that ``Var(output) = gain**2 * E[input**2]``; biases are zero.

        The default gain keeps the variance through the depth of a ReLU network (He et al. 2015).
        The energy of the damped basis replaces the number of taps. Coefficients are damped again,
        so that functions that rotate badly on the grid start small. The input is assumed to be a
        feature map inside such a network, see `correlation_gain`.
        """
        with torch.no_grad():
            energy = (self.damping**2 * (self.basis**2).sum(2).mean(0)).sum()
            std = gain / torch.sqrt(self.in_channels / self.groups * energy * self._moment_gain())
            self.weight.normal_(generator=generator).mul_(self.damping * std)
            if self.bias is not None:
                self.bias.zero_()

    def filters(self) -> Tensor:
        """Plain filters for `torch.nn.functional.conv2d`, (out, in / groups, k, k)."""
        if self.outputs == "trivial":
            taps = torch.einsum("oib,hbk->oihk", self.weight[:, :, 0], self.basis)
        elif self.inputs == "trivial":
            taps = torch.einsum("oib,gbk->ogik", self.weight[:, :, 0], self.basis)
        else:
            by_pair = self.weight.index_select(2, self.relative)
            by_pair = by_pair.unflatten(2, (len(self.group), -1))
            taps = torch.einsum("oighb,gbk->ogihk", by_pair, self.basis)
        k = self.kernel_size
        return taps.reshape(self.out_channels, self.in_channels // self.groups, k, k)

    def expanded_bias(self) -> Tensor | None:
        """Bias per plain output channel."""
        if self.bias is None or self.outputs == "trivial":
            return self.bias
        return self.bias.repeat_interleave(len(self.group))

    def forward(self, x: Tensor) -> Tensor:
        padding = self.padding
        if padding and self.padding_mode != "zeros":
            x, padding = functional.pad(x, (padding,) * 4, self.padding_mode), 0
        return functional.conv2d(
            x,
            self.filters(),
            self.expanded_bias(),
            self.stride,
            padding,
            self.dilation,
            self.groups,
        )

    def extra_repr(self) -> str:
        numbers = sum(p.numel() for p in self.parameters())
        options = {"stride": 1, "dilation": 1, "groups": 1, "padding_mode": "zeros"}
        changed = (
            f", {name}={getattr(self, name)}"
            for name, usual in options.items()
            if getattr(self, name) != usual
        )
        return (
            f"{self.group.name}, {self.in_fields} -> {self.out_fields} fields, "
            f"kernel_size={self.kernel_size}, {numbers} weights" + "".join(changed)
        )

    def _moment_gain(self) -> float:
        """Ratio of the second moment of the output to that for uncorrelated input."""
        return correlation_gain(self.kernel_size, self.group)


class FourierConvTranspose2d(FourierConv2d):
    """Transposed convolution with the same filters."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv_transpose2d(
            x,
            self.transposed_filters(),
            self.expanded_bias(),
            self.stride,
            self.padding,
            0,
            self.groups,
            self.dilation,
        )

    def transposed_filters(self) -> Tensor:
        """Plain filters for `torch.nn.functional.conv_transpose2d`, (in, out / groups, k, k)."""
        k = self.kernel_size
        shape = (self.groups, self.out_channels // self.groups, -1, k, k)
        return self.filters().reshape(shape).transpose(1, 2).flatten(0, 1)

    def _moment_gain(self) -> float:
        # An output pixel uses one tap in stride^2, at distant input pixels.
        return 1 / self.stride**2


def _check(in_fields: int, out_fields: int, groups: int, padding_mode: str) -> None:
    if in_fields % groups or out_fields % groups:
        raise ConfigError(
            f"{in_fields} -> {out_fields} fields cannot be divided into {groups} groups: give a "
            "number that divides both"
        )
    if padding_mode not in PADDING_MODES:
        raise ConfigError(f"padding mode {padding_mode!r} is unknown: give one of {PADDING_MODES}")
