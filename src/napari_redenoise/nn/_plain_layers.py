"""Networks as plain torch layers, for use without this package."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

from napari_redenoise.nn.layers._conv import Lift
from napari_redenoise.nn.layers._fields import (
    FieldAffine,
    FieldBatchNorm2d,
    FieldDropout2d,
    FieldGroupNorm,
    FieldPReLU,
    GroupPool,
    per_orientation,
)
from napari_redenoise.nn.layers._fourier import FourierConv2d, FourierConvTranspose2d

_Network = TypeVar("_Network", bound=nn.Module)


def export(module: _Network) -> _Network:
    """Copy a network with every equivariant layer folded into plain layers of `torch.nn`.

    Filters are computed once and stored in `torch.nn.Conv2d` and `torch.nn.ConvTranspose2d`.
    Parameters of norms are repeated. The result is faster, can be traced and exported, and has no
    basis in its ``state_dict``.

    Parameters
    ----------
    module : Module
        `AdaReNet`, `SingleBranch`, a result of `to_equivariant`, any module of these layers, or a
        single layer. Not modified.

    Returns
    -------
    Module
        Of the same class (a layer: its plain counterpart), in evaluation mode, on the same
        device. Its output equals that of ``module.eval()`` to rounding. Further training loses the
        equivariance.
    """
    copied = copy.deepcopy(module).eval()
    with torch.no_grad():
        folded: _Network = _fold(copied, {})
    return folded.eval()


def _fold(module: Any, done: dict[nn.Module, nn.Module]) -> Any:
    """Plain counterpart of a module; ``done`` preserves shared layers."""
    if module not in done:
        fold = next((f for kind, f in _FOLDS.items() if isinstance(module, kind)), None)
        done[module] = module if fold is None else fold(module)
        if fold is None:
            for name, child in list(module._modules.items()):
                if child is not None:
                    setattr(module, name, _fold(child, done))
    return done[module]


def _convolution(layer: FourierConv2d) -> nn.Module:
    options: dict[str, Any] = {"bias": layer.bias is not None, "device": "meta"}
    for name in ("stride", "padding", "dilation", "groups", "padding_mode"):
        options[name] = getattr(layer, name)
    form = nn.ConvTranspose2d if isinstance(layer, FourierConvTranspose2d) else nn.Conv2d
    plain = form(layer.in_channels, layer.out_channels, layer.kernel_size, **options)
    # On the meta device the constructor draws no weights.
    if isinstance(layer, FourierConvTranspose2d):
        filters = layer.transposed_filters()
    else:
        filters = layer.filters()
    plain.weight = nn.Parameter(filters.clone())
    bias = layer.expanded_bias()
    plain.bias = None if bias is None else nn.Parameter(bias.clone())
    return plain


def _batch_norm(layer: FieldBatchNorm2d) -> nn.Module:
    channels = layer.num_features * len(layer.group)
    plain = nn.BatchNorm2d(
        channels, layer.eps, layer.momentum, layer.affine, layer.track_running_stats
    )
    tensors = dict(layer.state_dict())
    count = tensors.pop("num_batches_tracked", None)
    repeated = {name: per_orientation(value, layer.group) for name, value in tensors.items()}
    if count is not None:
        repeated["num_batches_tracked"] = count
    return _load(plain, repeated)


def _group_norm(layer: FieldGroupNorm) -> nn.Module:
    channels = layer.fields * len(layer.group)
    plain = nn.GroupNorm(layer.num_groups, channels, layer.eps, layer.weight is not None)
    return _load(plain, {k: per_orientation(v, layer.group) for k, v in layer.state_dict().items()})


def _slope(layer: FieldPReLU) -> nn.Module:
    weight = per_orientation(layer.weight, layer.group)
    return _load(nn.PReLU(layer.weight.numel() * len(layer.group)), {"weight": weight})


def _affine(layer: FieldAffine) -> nn.Module:
    channels = layer.fields * len(layer.group)
    repeated = {k: per_orientation(v, layer.group) for k, v in layer.state_dict().items()}
    repeated["weight"] = repeated["weight"][:, None, None, None]  # type: ignore[index]
    options = {"groups": channels, "bias": layer.bias is not None, "device": "meta"}
    return _load(nn.Conv2d(channels, channels, 1, **options), repeated)  # type: ignore[arg-type]


def _load(plain: nn.Module, tensors: dict[str, Any]) -> nn.Module:
    """Assign tensors to a plain layer, with their dtype and device."""
    plain.load_state_dict(tensors, assign=True)
    return plain


def _pool(layer: GroupPool) -> nn.Module:
    size = (len(layer.group), 1, 1)
    pool = nn.MaxPool3d(size) if layer.mode == "max" else nn.AvgPool3d(size)
    return nn.Sequential(nn.Unflatten(1, (-1, len(layer.group))), pool, nn.Flatten(1, 2))


def _lift(layer: Lift) -> nn.Module:
    repeat = nn.Upsample(scale_factor=(len(layer.group), 1, 1))
    return nn.Sequential(nn.Unflatten(1, (-1, 1)), repeat, nn.Flatten(1, 2))


_FOLDS: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    FourierConv2d: _convolution,
    FieldBatchNorm2d: _batch_norm,
    FieldGroupNorm: _group_norm,
    FieldPReLU: _slope,
    FieldAffine: _affine,
    FieldDropout2d: lambda layer: nn.Identity(),
    GroupPool: _pool,
    Lift: _lift,
}
