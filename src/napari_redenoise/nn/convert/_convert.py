"""Conversion of a network to its rotation-equivariant counterpart.

References
----------
T. Cohen, M. Welling, "Group Equivariant Convolutional Networks", ICML 2016 (fields and norms).
H. Liu, J. Fu, Q. Xie, D. Meng, "Rotation-Equivariant Self-Supervised Method in Image Denoising",
CVPR 2025 (a network of equivariant layers is equivariant).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.lazy import LazyModuleMixin

from napari_redenoise.errors import ConfigError, ConversionError
from napari_redenoise.nn.convert._channels_last import put_channels_first
from napari_redenoise.nn.convert._factors import make_factors_layers
from napari_redenoise.nn.convert._graph import copy_modes, drop_unused, free_name, tensor_of
from napari_redenoise.nn.convert._representations import (
    ConversionPlan,
    NotConvertible,
    depthwise_multiplier,
    describe,
)
from napari_redenoise.nn.convert._roles import (
    Role,
    argument,
    is_fractional,
    is_sampling_centred,
    padding_of,
    square,
)
from napari_redenoise.nn.convert._shuffles import merge_shuffles
from napari_redenoise.nn.convert._sizes import size_refusals
from napari_redenoise.nn.convert._traced import NORMALISED, traced_copy
from napari_redenoise.nn.layers import _conv
from napari_redenoise.nn.layers._fields import (
    FieldAffine,
    FieldBatchNorm2d,
    FieldDropout2d,
    FieldGroupNorm,
    FieldInstanceNorm2d,
    FieldPReLU,
)
from napari_redenoise.nn.layers._fourier import FourierConv2d
from napari_redenoise.nn.layers._group import Group

_FORMS: dict[tuple[bool, bool, bool], type[FourierConv2d]] = {
    # transposed, from a regular map, to a regular map
    (False, False, True): _conv.LiftingConv2d,
    (False, True, True): _conv.GroupConv2d,
    (False, True, False): _conv.ProjectionConv2d,
    (True, False, True): _conv.LiftingConvTranspose2d,
    (True, True, True): _conv.GroupConvTranspose2d,
    (True, True, False): _conv.ProjectionConvTranspose2d,
}


def to_equivariant(
    module: nn.Module,
    group: Group,
    *,
    kernel_size: int | None = None,
    keep_fields: bool = False,
    widen: bool = True,
    generator: torch.Generator | None = None,
) -> fx.GraphModule:
    """Convert an image-to-image network to its rotation-equivariant counterpart.

    The network is traced, and representations are propagated from the image to the output. The
    first convolutions lift, inner ones are group convolutions, and those whose results are
    outputs, or are broadcast over channels, project. Norms, dropout and learned slopes act on whole
    fields. Images that are added to feature maps, or concatenated with them, are lifted.

    Parameters
    ----------
    module : Module
        Takes images (B, C, H, W), traceable by `torch.fx`; not modified. Supported layers are
        Conv2d, ConvTranspose2d, BatchNorm2d, InstanceNorm2d, GroupNorm, Dropout2d, PReLU, pooling
        and upsampling. Supported functions are pointwise ones, symmetric padding and cropping,
        sums, products, powers, concatenations, and learned factors per channel. LayerNorm and
        Linear over the channels are supported between ``permute(0, 2, 3, 1)`` and its inverse,
        PixelShuffle after a convolution, and PixelUnshuffle before one. Other inputs of its forward
        keep their default values, or are images that a convolution takes.
    group : Group
    kernel_size : int, optional
        Odd size for convolutions that keep the size of their image, except 1 x 1; default their
        own. Filters of 5 pixels rotate better by 45 degrees than those of 3.
    keep_fields : bool
        Whether a feature map of C channels gets C fields. By default it gets
        ``max(1, round(C / len(group)))``: about the same plain channels, with about
        ``1 / len(group)`` of the weights.
    widen : bool
        Whether to widen by one pixel strided convolutions that sample even sizes off centre, and
        transposed ones with output padding. Results keep their size. Otherwise the former are
        exact on other sizes only (see `_conv`), and the latter are refused.
    generator : torch.Generator, optional
        For the weights; default that of torch.

    Returns
    -------
    GraphModule
        With the same mode, dtype and device. It is exactly equivariant under the rotations by
        multiples of 90 degrees (and flips) of the group. Sizes must be multiples of the total
        stride.

    Raises
    ------
    ConversionError
        When parts have no equivariant counterpart; names each with a reason and a remedy.
    ConfigError
        When ``kernel_size`` is not an odd number.

    Notes
    -----
    Weights and statistics are reset, since learned filters cannot be converted. Functional dropout
    becomes a layer that follows ``train()`` and ``eval()``. Sizes computed from the image, such as
    that of a skip connection, are kept if they are exact on multiples of 128 pixels. A factor
    computed from one side of the image is exact on square images only. Resampling by a fraction
    computes positions from both sizes (``recompute_scale_factor``), so rounding does not shift the
    image.
    """
    _check_size(kernel_size)
    traced = traced_copy(module)
    for rewrite in (put_channels_first, make_factors_layers, merge_shuffles):
        rewrite(traced)
        traced.graph.eliminate_dead_code()
    width = (lambda channels: channels) if keep_fields else _plain_width(group)
    plan = ConversionPlan(traced, width)
    convert = _Conversion(plan, group, kernel_size, widen, generator)
    convert.check()
    _raise_if_any(plan)
    plan.problems |= size_refusals(traced, convert.examples(), plan.sizes())
    _raise_if_any(plan)
    specs = {node: convert.spec(node) for node in list(plan.channels)}
    _raise_if_any(plan)
    for node, spec in specs.items():
        convert.apply(node, spec)
    traced.graph.lint()
    drop_unused(traced)
    copy_modes(module, traced)
    traced.recompile()
    return traced


def _check_size(kernel_size: int | None) -> None:
    if kernel_size is None:
        return
    if not isinstance(kernel_size, Integral) or kernel_size < 1 or kernel_size % 2 == 0:
        raise ConfigError(
            f"kernel_size {kernel_size} is not an odd number, so images would not keep their size: "
            "give 3, 5, 7, ..."
        )


def _plain_width(group: Group) -> Callable[[int], int]:
    return lambda channels: max(1, round(channels / len(group)))


@dataclass(frozen=True)
class _Spec:
    """Specification of a layer; equal for layers that can be shared."""

    make: Callable[..., nn.Module]
    arguments: tuple[Any, ...]
    options: tuple[tuple[str, Any], ...] = ()


@dataclass
class _Conversion:
    """Specifies the layer of each node, then replaces it."""

    plan: ConversionPlan
    group: Group
    kernel_size: int | None
    widen: bool
    generator: torch.Generator | None

    def __post_init__(self) -> None:
        self._made: dict[str, _Spec] = {}
        self._like = tensor_of(self.plan.traced)

    def check(self) -> None:
        """Record convolutions that cannot be converted for any feature map."""
        for node, role in self.plan.roles.items():
            if role is Role.CONVOLUTION:
                module = self.plan.module(node)
                try:
                    self._geometry(module, isinstance(module, nn.ConvTranspose2d))
                except NotConvertible as reason:
                    self.plan.problems[node] = str(reason)

    def examples(self) -> dict[fx.Node, Tensor]:
        """A small example image for every input."""
        inputs = [node for node, role in self.plan.roles.items() if role is Role.INPUT]
        dtype = torch.get_default_dtype() if self._like is None else self._like.dtype
        return {
            node: torch.empty(1, self.plan.channels[node] or 1, 1, 1, dtype=dtype)
            for node in inputs
        }

    def spec(self, node: fx.Node) -> _Spec | None:
        """The layer that replaces that of a node, if any; problems are recorded in the plan."""
        try:
            return self._spec(node)
        except NotConvertible as reason:
            self.plan.problems[node] = str(reason)
            return None

    def apply(self, node: fx.Node, spec: _Spec | None) -> None:
        """Lift inputs where necessary and replace the layer."""
        for source in self.plan.lifted(node):
            self._insert_lift(node, source)
        if is_fractional(node, self.plan.module(node)):
            self._centre(node)
        if spec is None:
            return
        if node.op == "call_module":
            self._replace(str(node.target), spec)
        else:
            self._replace_function(node, spec)

    def _spec(self, node: fx.Node) -> _Spec | None:
        role, module = self.plan.roles[node], self.plan.module(node)
        for source in self.plan.lifted(node):
            self.plan.plain_channels(source)
        spec = None
        if role is Role.CONVOLUTION:
            spec = self._convolution(node, module)
        elif role is Role.NORM:
            spec = self._norm(node, module)
        elif role is Role.SLOPE and module.num_parameters > 1 and self.plan.is_regular(node):  # type: ignore[union-attr, operator]
            slope = float(module.weight.detach().mean())  # type: ignore[union-attr, operator]
            spec = _Spec(FieldPReLU, (self.group, self.plan.fields(node), slope))
        elif role is Role.SCALE and self.plan.is_regular(node):
            spec = self._affine(node, module)
        elif role is Role.DROP_CHANNELS or (role is Role.DROP_PIXELS and module is None):
            spec = self._dropout(node, module)
        if spec is not None and node.op == "call_module":
            first = self._made.setdefault(str(node.target), spec)
            if first != spec:
                raise NotConvertible("is used for different feature maps: make a layer for each")
        return spec

    def _convolution(self, node: fx.Node, module: Any) -> _Spec:
        (source,) = self.plan.inputs(node)
        regular = self.plan.is_regular(node)
        transposed = isinstance(module, nn.ConvTranspose2d)
        in_fields = self.plan.fields(source)
        out_fields = self.plan.fields(node) if regular else module.out_channels
        groups = in_fields if depthwise_multiplier(module) else module.groups
        if in_fields % groups or out_fields % groups:
            raise NotConvertible(
                f"divides {in_fields} -> {out_fields} fields into {groups} groups: choose a number "
                "of groups that divides both, or keep_fields=True"
            )
        form = _FORMS[transposed, self.plan.is_regular(source) or not regular, regular]
        options = self._geometry(module, transposed)
        options |= {"groups": groups, "bias": module.bias is not None}
        kernel = options.pop("kernel_size")
        return _Spec(form, (self.group, in_fields, out_fields, kernel), tuple(options.items()))

    def _geometry(self, module: Any, transposed: bool) -> dict[str, Any]:
        """Kernel, stride, padding and dilation, the same on both axes."""
        if isinstance(module, LazyModuleMixin):
            raise NotConvertible("has no weights yet: run the network on an image first")
        if nn.utils.parametrize.is_parametrized(module):
            raise NotConvertible(NORMALISED)
        if module._forward_pre_hooks:
            raise NotConvertible("has hooks, possibly of normalised weights: remove them first")
        names = ("kernel_size", "stride", "dilation")
        found: dict[str, Any] = {name: square(getattr(module, name)) for name in names}
        found["padding"] = padding_of(module)
        if None in found.values():
            raise NotConvertible(
                "treats rows and columns, or opposite sides, differently: use equal numbers"
            )
        kernel, stride, dilation, padding = found.values()
        keeps = stride == 1 and kernel > 1 and 2 * padding == dilation * (kernel - 1)
        if transposed:
            found["kernel_size"] += self._output_padding(module)
            return found
        if keeps and self.kernel_size is not None:
            found["kernel_size"] = self.kernel_size
            found["padding"] = dilation * (self.kernel_size - 1) // 2
        elif self.widen and not is_sampling_centred(kernel, stride, padding, dilation):
            if not is_sampling_centred(kernel + 1, stride, padding, dilation):
                raise NotConvertible(
                    "samples off centre on multiples of its stride: choose a padding with which "
                    "(2 * padding - kernel_size) is a multiple of the stride"
                )
            found["kernel_size"] += 1
        return found | {"padding_mode": module.padding_mode}

    def _output_padding(self, module: Any) -> int:
        extra = square(module.output_padding)
        if extra == 0:
            return 0
        if extra is None or not self.widen or square(module.dilation) != 1:
            raise NotConvertible(
                "adds pixels on one side only: use kernel 2 or 4, no output padding"
            )
        return extra

    def _norm(self, node: fx.Node, module: Any) -> _Spec:
        if not self.plan.is_regular(node):
            return _Spec(_fresh_norm, (module,))
        fields = self.plan.fields(node)
        if isinstance(module, nn.GroupNorm):
            blocks = math.gcd(module.num_groups, fields)
            return _Spec(FieldGroupNorm, (self.group, blocks, fields, module.eps, module.affine))
        if isinstance(module, nn.InstanceNorm2d):
            return _Spec(FieldInstanceNorm2d, (self.group, fields, module.eps, module.affine))
        options = (module.eps, module.momentum, module.affine, module.track_running_stats)
        return _Spec(FieldBatchNorm2d, (self.group, fields, *options))

    def _affine(self, node: fx.Node, module: Any) -> _Spec:
        factor = float(module.weight.detach().mean())
        bias = module.bias is not None
        return _Spec(FieldAffine, (self.group, self.plan.fields(node), factor, bias))

    def _dropout(self, node: fx.Node, module: Any) -> _Spec | None:
        whole = self.plan.roles[node] is Role.DROP_CHANNELS
        p = argument(node, 1, "p", 0.5) if module is None else module.p
        if whole and self.plan.is_regular(node):
            return _Spec(FieldDropout2d, (self.group, p))
        if module is not None:
            return None
        return _Spec(nn.Dropout2d if whole else nn.Dropout, (p,))

    def _build(self, spec: _Spec) -> nn.Module:
        options: dict[str, Any] = dict(spec.options)
        if isinstance(spec.make, type) and issubclass(spec.make, FourierConv2d):
            options["generator"] = self.generator
        layer = spec.make(*spec.arguments, **options)
        if isinstance(layer, FourierConv2d) and layer.outputs == "trivial":
            layer.reset_parameters(1.0, self.generator)
        return layer

    def _replace(self, target: str, spec: _Spec) -> None:
        if self._made.pop(target, None) is None:
            return  # A shared layer that has been replaced.
        old = self.plan.traced.get_submodule(target)
        like = tensor_of(old)
        like = self._like if like is None else like
        new = self._build(spec)
        self.plan.traced.add_submodule(target, new if like is None else new.to(like))

    def _replace_function(self, node: fx.Node, spec: _Spec) -> None:
        traced = self.plan.traced
        name = free_name(traced, node.name)
        traced.add_submodule(name, self._build(spec))
        with traced.graph.inserting_before(node):
            layer = traced.graph.call_module(name, (self.plan.inputs(node)[0],))
        node.replace_all_uses_with(layer)
        traced.graph.erase_node(node)

    def _centre(self, node: fx.Node) -> None:
        """Align the resampling with the borders of both images, not with the upper left corner."""
        module = self.plan.module(node)
        if isinstance(module, nn.Upsample):
            module.recompute_scale_factor = True
        else:
            node.kwargs = {**node.kwargs, "recompute_scale_factor": True}

    def _insert_lift(self, node: fx.Node, source: fx.Node) -> None:
        traced = self.plan.traced
        name = free_name(traced, "lift")
        traced.add_submodule(name, _conv.Lift(self.group))
        with traced.graph.inserting_before(node):
            lifted = traced.graph.call_module(name, (source,))
        node.replace_input_with(source, lifted)


def _raise_if_any(plan: ConversionPlan) -> None:
    if not plan.problems:
        return
    # Problems of other nodes follow from an input that is not an image.
    inputs = {node: why for node, why in plan.problems.items() if node.op == "placeholder"}
    raise ConversionError(
        tuple(describe(plan, node, why) for node, why in (inputs or plan.problems).items())
    )


def _fresh_norm(module: Any) -> nn.Module:
    fresh = copy.deepcopy(module)
    fresh.reset_parameters()
    made: nn.Module = fresh
    return made
