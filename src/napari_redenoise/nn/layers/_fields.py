"""Layers that act on whole fields: pooling over orientations, norms, dropout, slopes, factors.

A layer that treats all orientations of a field alike is equivariant. Pointwise layers (ReLU, ...)
and spatial pooling need no counterpart. Regular feature maps are (B, fields * len(group), H, W),
orientation fastest.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_redenoise.errors import ConfigError
from napari_redenoise.nn.layers._group import Group


class GroupPool(nn.Module):
    """Regular to trivial: maximum or mean over the orientations of every field.

    Parameters
    ----------
    group : Group
    mode : {"max", "mean"}

    Input (B, fields * len(group), H, W), output (B, fields, H, W).
    """

    def __init__(self, group: Group, mode: Literal["max", "mean"] = "max") -> None:
        super().__init__()
        if mode not in ("max", "mean"):
            raise ConfigError(f"the pooling mode {mode!r} is unknown: give 'max' or 'mean'")
        self.group, self.mode = group, mode

    def forward(self, x: Tensor) -> Tensor:
        batch, _, *size = x.shape
        fields = x.reshape(batch, -1, len(self.group), *size)
        return fields.amax(2) if self.mode == "max" else fields.mean(2)

    def extra_repr(self) -> str:
        return f"{self.group.name}, {self.mode}"


class FieldBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation with statistics and parameters shared by the orientations of a field.

    Parameters
    ----------
    group : Group
    fields : int
    eps, momentum, affine, track_running_stats
        As in `torch.nn.BatchNorm2d`.
    """

    def __init__(
        self,
        group: Group,
        fields: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__(fields, eps, momentum, affine, track_running_stats)
        self.group = group

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, fields * len(group), H, W)."""
        fields = input.unflatten(1, (self.num_features, len(self.group)))
        return super().forward(fields.flatten(2, 3)).reshape(input.shape)

    def extra_repr(self) -> str:
        return f"{self.group.name}, {super().extra_repr()}"  # type: ignore[no-untyped-call]


class FieldGroupNorm(nn.Module):
    """Normalisation of every sample over groups of whole fields, with parameters per field.

    Parameters
    ----------
    group : Group
    num_groups : int
        1 is layer normalisation over all fields; ``fields`` is instance normalisation.
    fields : int
    eps : float
    affine : bool

    Raises
    ------
    ConfigError
        When ``num_groups`` does not divide ``fields``.
    """

    def __init__(
        self, group: Group, num_groups: int, fields: int, eps: float = 1e-5, affine: bool = True
    ) -> None:
        super().__init__()
        if num_groups < 1 or fields % num_groups:
            raise ConfigError(
                f"{fields} fields cannot be divided into {num_groups} groups: give a divisor"
            )
        self.group, self.num_groups, self.fields, self.eps = group, num_groups, fields, eps
        self.weight = nn.Parameter(torch.ones(fields)) if affine else None
        self.bias = nn.Parameter(torch.zeros(fields)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = (per_orientation(p, self.group) for p in (self.weight, self.bias))
        return functional.group_norm(x, self.num_groups, weight, bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.group.name}, {self.fields} fields, num_groups={self.num_groups}"


class FieldInstanceNorm2d(FieldGroupNorm):
    """Normalisation of every field of every sample over its pixels and orientations.

    Parameters
    ----------
    group : Group
    fields : int
    eps : float
    affine : bool, default False
        As in `torch.nn.InstanceNorm2d`.
    """

    def __init__(self, group: Group, fields: int, eps: float = 1e-5, affine: bool = False) -> None:
        super().__init__(group, fields, fields, eps, affine)


class FieldDropout2d(nn.Module):
    """Dropout of whole fields with all their orientations.

    Parameters
    ----------
    group : Group
    p : float
        Probability that a field is dropped.
    generator : torch.Generator, optional
        Default that of torch.
    """

    def __init__(
        self, group: Group, p: float = 0.5, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ConfigError(f"the probability {p} is out of range: give one from 0 to 1")
        self.group, self.p, self.generator = group, p, generator

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        device = x.device if self.generator is None else self.generator.device
        shape = (x.shape[0], x.shape[1] // len(self.group))
        drawn = torch.rand(shape, generator=self.generator, device=device) >= self.p
        kept = drawn.to(x) / max(1 - self.p, torch.finfo(x.dtype).tiny)
        return x * kept.repeat_interleave(len(self.group), 1)[..., None, None]

    def extra_repr(self) -> str:
        return f"{self.group.name}, p={self.p}"


class FieldPReLU(nn.Module):
    """Leaky ReLU with a learned slope per field.

    Parameters
    ----------
    group : Group
    fields : int
    init : float
        Initial slope.
    """

    def __init__(self, group: Group, fields: int, init: float = 0.25) -> None:
        super().__init__()
        self.group = group
        self.weight = nn.Parameter(torch.full((fields,), init))

    def forward(self, x: Tensor) -> Tensor:
        return functional.prelu(x, self.weight.repeat_interleave(len(self.group)))

    def extra_repr(self) -> str:
        return f"{self.group.name}, {self.weight.numel()} fields"


class FieldAffine(nn.Module):
    """Learned factor and optional offset per field.

    Parameters
    ----------
    group : Group
    fields : int
    init : float
        Initial factor; initial offsets are zero.
    bias : bool
        Whether to learn an offset.
    """

    def __init__(self, group: Group, fields: int, init: float = 1.0, bias: bool = False) -> None:
        super().__init__()
        self.group, self.fields = group, fields
        self.weight = nn.Parameter(torch.full((fields,), init))
        self.bias = nn.Parameter(torch.zeros(fields)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Scale (B, fields * len(group), H, W)."""
        scaled = x * self.weight.repeat_interleave(len(self.group))[:, None, None]
        offset = per_orientation(self.bias, self.group)
        return scaled if offset is None else scaled + offset[:, None, None]

    def extra_repr(self) -> str:
        return f"{self.group.name}, {self.fields} fields, bias={self.bias is not None}"


def per_orientation(values: Tensor | None, group: Group) -> Tensor | None:
    """Repeat one value per field for every plain channel."""
    return None if values is None else values.repeat_interleave(len(group))
