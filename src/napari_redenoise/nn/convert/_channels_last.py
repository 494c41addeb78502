"""Conversion of channels-last operations, such as LayerNorm and Linear, to channels-first ones.

Operations between a permutation to channels last and its inverse act on every pixel alone. They
have channels-first equivalents: Linear is a 1 x 1 convolution, LayerNorm subtracts the mean over
channels and divides by the standard deviation.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn

from napari_redenoise.nn.convert._factors import constants
from napari_redenoise.nn.convert._graph import call
from napari_redenoise.nn.convert._roles import (
    COMBINATIONS,
    POINTWISE,
    argument,
    is_pointwise,
    name_of,
)

Axes = tuple[int, ...]
"""Positions of the axes of (B, C, H, W) after a permutation."""

_USUAL = (0, 1, 2, 3)
_SIZES = (2, 3, 5, 7)
_PERMUTATIONS = {"permute", "transpose", "movedim", "moveaxis", "swapaxes", "swapdims"}


def put_channels_first(traced: fx.GraphModule) -> None:
    """Replace operations on permuted maps by channels-first ones.

    Permutations that enclose unknown operations are kept.
    """
    known = constants(traced)
    axes, closing = _orders(traced, known)
    excluded = _connected({node for node in axes if not _is_known(traced, node, axes, known)}, axes)
    for node in [*axes, *closing]:
        if node in excluded or excluded.intersection(node.all_input_nodes):
            continue
        if node in closing or _is_permutation(node):
            node.replace_all_uses_with(node.all_input_nodes[0])
        else:
            _Rewriting(traced, node, axes[node], known).apply()


def _orders(
    traced: fx.GraphModule, known: dict[fx.Node, Tensor]
) -> tuple[dict[fx.Node, Axes], list[fx.Node]]:
    """Maps with permuted axes, and the permutations back."""
    axes: dict[fx.Node, Axes] = {}
    closing = []
    for node in traced.graph.nodes:
        moved = [axes[source] for source in node.all_input_nodes if source in axes]
        if _is_permutation(node) and node.all_input_nodes[0] not in known:
            order = _permuted(node, moved[0] if moved else _USUAL)
            if order == _USUAL:
                closing.append(node)
            else:
                axes[node] = order
        elif moved:
            axes[node] = moved[0]
    return axes, closing


def _is_permutation(node: fx.Node) -> bool:
    named = node.op in ("call_function", "call_method") and name_of(node) in _PERMUTATIONS
    return named and len(node.all_input_nodes) == 1


def _permuted(node: fx.Node, before: Axes) -> Axes:
    """Order of the axes after a permutation; empty for maps without four axes."""
    stand_in = torch.empty([_SIZES[axis] for axis in before], device="meta")
    try:
        after = call(node, {node.all_input_nodes[0]: stand_in}).shape
    except (RuntimeError, IndexError, TypeError):
        return ()
    return tuple(_SIZES.index(size) for size in after)


def _is_known(
    traced: fx.GraphModule, node: fx.Node, axes: dict[fx.Node, Axes], known: dict[fx.Node, Tensor]
) -> bool:
    """Whether an operation acts on every pixel alone and has a channels-first equivalent."""
    order = axes[node]
    maps = [source for source in node.all_input_nodes if source not in known]
    if _is_permutation(node):
        return bool(order)
    if any(axes.get(source) != order for source in maps):
        return False
    if node.op == "call_module":
        return _is_known_layer(traced.get_submodule(str(node.target)), order)
    if is_pointwise(node) or name_of(node) == "dropout":
        return True
    if name_of(node) == "layer_norm":
        return order[-1] == 1 and _is_over_last(argument(node, 1, "normalized_shape"))
    values = [known[source] for source in node.all_input_nodes if source in known]
    return name_of(node) in COMBINATIONS and all(_is_per_channel(value, order) for value in values)


def _is_known_layer(layer: nn.Module, order: Axes) -> bool:
    if isinstance(layer, nn.LayerNorm):
        return order[-1] == 1 and _is_over_last(layer.normalized_shape)
    return isinstance(layer, (*POINTWISE, nn.Dropout)) or (
        type(layer) is nn.Linear and order[-1] == 1
    )


def _is_over_last(shape: Any) -> bool:
    return isinstance(shape, int) or (isinstance(shape, (tuple, list)) and len(shape) == 1)


def _is_per_channel(value: Tensor, order: Axes) -> bool:
    """Whether a value that is combined with a map is a scalar, or one per channel."""
    return value.numel() == 1 or _usual_shape(value, order)[1] == value.numel()


def _usual_shape(value: Tensor, order: Axes) -> list[int]:
    """Shape of a value with its axes in the order (B, C, H, W)."""
    shape = [1] * (4 - value.dim()) + list(value.shape)
    return [shape[order.index(axis)] for axis in _USUAL]


def _connected(found: set[fx.Node], axes: dict[fx.Node, Axes]) -> set[fx.Node]:
    """All maps connected with the given ones."""
    waiting = list(found)
    while waiting:
        node = waiting.pop()
        near = {n for n in (*node.all_input_nodes, *node.users) if n in axes} - found
        found |= near
        waiting += near
    return found


class _Rewriting:
    """Rewrites an operation on permuted maps as a channels-first one."""

    def __init__(
        self, traced: fx.GraphModule, node: fx.Node, order: Axes, known: dict[fx.Node, Tensor]
    ) -> None:
        self.traced, self.graph, self.node = traced, traced.graph, node
        self.order, self.known = order, known

    def apply(self) -> None:
        """Change the graph, or the layer, in place."""
        layer: Any = None
        if self.node.op == "call_module":
            layer = self.traced.get_submodule(str(self.node.target))
        if isinstance(layer, nn.Linear):
            self.traced.add_submodule(str(self.node.target), _one_by_one(layer))
        elif isinstance(layer, nn.LayerNorm):
            with self.graph.inserting_before(self.node):
                affine = [
                    None if getattr(layer, name) is None else self._read(name)
                    for name in ("weight", "bias")
                ]
                self._normalise(layer.eps, *affine)
        elif name_of(self.node) == "layer_norm":
            affine = [argument(self.node, n, name) for n, name in ((2, "weight"), (3, "bias"))]
            with self.graph.inserting_before(self.node):
                self._normalise(argument(self.node, 4, "eps", 1e-5), *affine)
        else:
            self._reshape_numbers()

    def _read(self, name: str) -> fx.Node:
        return self.graph.get_attr(f"{self.node.target}.{name}")

    def _normalise(self, eps: float, weight: fx.Node | None, bias: fx.Node | None) -> None:
        """Subtract the mean over channels and divide by the standard deviation."""
        function = self.graph.call_function
        source = self.node.all_input_nodes[0]
        centred = function(torch.sub, (source, function(torch.mean, (source, 1, True))))
        variance = function(torch.mean, (function(torch.square, (centred,)), 1, True))
        scale = function(torch.sqrt, (function(torch.add, (variance, eps)),))
        made = function(torch.div, (centred, scale))
        for combine, numbers in ((torch.mul, weight), (torch.add, bias)):
            if numbers is not None:
                made = function(combine, (made, self._shaped(numbers, (1, -1, 1, 1))))
        self.node.replace_all_uses_with(made)

    def _shaped(self, numbers: fx.Node, shape: tuple[int, ...]) -> fx.Node:
        return self.graph.call_method("reshape", (numbers, shape))

    def _reshape_numbers(self) -> None:
        for source in self.node.all_input_nodes:
            value = self.known.get(source)
            if value is not None and value.numel() > 1:
                with self.graph.inserting_before(self.node):
                    shape = tuple(_usual_shape(value, self.order))
                    self.node.replace_input_with(source, self._shaped(source, shape))


def _one_by_one(layer: nn.Linear) -> nn.Module:
    """An uninitialised 1 x 1 convolution in place of a linear layer."""
    options = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    made: nn.Module = nn.utils.skip_init(
        nn.Conv2d, layer.in_features, layer.out_features, 1, bias=layer.bias is not None, **options
    )
    return made.train(layer.training)
