"""Conversion of convolutions next to pixel shuffles to transposed and strided ones.

A k x k convolution followed by a pixel shuffle of factor r is a transposed convolution with stride
r and kernel k r. A convolution after the inverse shuffle is a strided convolution. Both have an
equivariant counterpart (W. Shi et al., "Is the deconvolution layer the same as a convolutional
layer?", 2016).
"""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from napari_redenoise.nn.convert._graph import is_only_caller
from napari_redenoise.nn.convert._roles import (
    POINTWISE,
    SHUFFLES,
    argument,
    is_pointwise,
    name_of,
    padding_of,
    square,
)


def merge_shuffles(traced: fx.GraphModule) -> None:
    """Merge every pixel shuffle with the plain convolution next to it, if any."""
    for node in list(traced.graph.nodes):
        up, factor = _shuffle(traced, node)
        if factor is None:
            continue
        (source,) = node.all_input_nodes
        convolutions = [_convolution_before(traced, source)] if up else list(node.users)
        merged = [(found, _merged(traced, found, up, factor)) for found in convolutions]
        if not merged or not all(layer for _, layer in merged):
            continue
        for convolution, layer in merged:
            traced.add_submodule(str(convolution.target), layer)  # type: ignore[union-attr, arg-type]
        node.replace_all_uses_with(source)
        traced.graph.erase_node(node)


def _shuffle(traced: fx.GraphModule, node: fx.Node) -> tuple[bool, int | None]:
    """Whether a node moves channels to pixels, and its factor; None for other nodes."""
    factor: Any = None
    up = False
    if node.op == "call_module":
        layer = traced.get_submodule(str(node.target))
        up = isinstance(layer, nn.PixelShuffle)
        factor = getattr(layer, "upscale_factor" if up else "downscale_factor", None)
    elif name_of(node) in SHUFFLES:
        up = name_of(node) == "pixel_shuffle"
        factor = argument(node, 1, "upscale_factor" if up else "downscale_factor")
    return up, factor if isinstance(factor, int) else None


def _convolution_before(traced: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """The layer before a shuffle, with only pointwise functions between them."""
    while len(node.users) == 1:
        if node.op == "call_module":
            layer = traced.get_submodule(str(node.target))
            if not isinstance(layer, POINTWISE):
                return node
        elif not is_pointwise(node):
            return None
        (node,) = node.all_input_nodes
    return None


def _merged(
    traced: fx.GraphModule, node: fx.Node | None, up: bool, factor: int
) -> nn.Module | None:
    """An uninitialised convolution that replaces another one and a shuffle, or None."""
    if node is None or node.op != "call_module" or not is_only_caller(traced, node):
        return None
    layer: Any = traced.get_submodule(str(node.target))
    # Computed weights change the type of the layer, or add hooks.
    if type(layer) is not nn.Conv2d or layer._forward_pre_hooks or layer.groups != 1:
        return None
    numbers = (layer.kernel_size, layer.stride, layer.dilation)
    kernel, stride, dilation = (square(number) for number in numbers)
    padding = padding_of(layer)
    if kernel is None or stride is None or padding is None or dilation != 1:
        return None
    shuffled = layer.out_channels if up else layer.in_channels
    if layer.padding_mode != "zeros" or shuffled % factor**2:
        return None
    if not up:
        return _strided(layer, factor, kernel * factor, stride * factor, padding * factor)
    if stride > 1 or padding >= kernel:
        return None
    return _transposed(layer, factor, kernel * factor, factor * (kernel - 1 - padding))


def _strided(layer: nn.Conv2d, factor: int, kernel: int, stride: int, padding: int) -> nn.Module:
    channels = (layer.in_channels // factor**2, layer.out_channels)
    return _uninitialised(layer, nn.Conv2d, *channels, kernel, stride, padding)


def _transposed(layer: nn.Conv2d, factor: int, kernel: int, padding: int) -> nn.Module:
    channels = (layer.in_channels, layer.out_channels // factor**2)
    return _uninitialised(layer, nn.ConvTranspose2d, *channels, kernel, factor, padding)


def _uninitialised(layer: nn.Conv2d, form: type[nn.Module], *numbers: int) -> nn.Module:
    options = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    made: nn.Module = nn.utils.skip_init(form, *numbers, bias=layer.bias is not None, **options)
    return made.train(layer.training)
