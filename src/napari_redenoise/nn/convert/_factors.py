"""Conversion of learned factors per channel (layer scale, affine norms) to layers."""

from __future__ import annotations

from torch import Tensor, fx, nn

from napari_redenoise.nn.convert._graph import attribute, call, free_name
from napari_redenoise.nn.convert._roles import name_of
from napari_redenoise.nn.layers._fields import FieldAffine
from napari_redenoise.nn.layers._group import CyclicGroup


def constants(traced: fx.GraphModule) -> dict[fx.Node, Tensor]:
    """Values of parameters and buffers, and of nodes computed from them alone."""
    known: dict[fx.Node, Tensor] = {}
    for node in traced.graph.nodes:
        if node.op == "get_attr":
            known[node] = attribute(traced, node)
        elif node.all_input_nodes and known.keys() >= set(node.all_input_nodes):
            value = call(node, known)
            if isinstance(value, Tensor):
                known[node] = value
    return known


def make_factors_layers(traced: fx.GraphModule) -> None:
    """Replace products with one number per channel, and sums after them, by a layer.

    Numbers of shape (C, 1, 1) or (1, C, 1, 1) act on channels as `FieldAffine` does on fields of
    the trivial group.
    """
    known = constants(traced)
    for node in list(traced.graph.nodes):
        source, factor = _operands(node, "mul", known)
        if source is None or factor is None:
            continue
        following = next(iter(node.users)) if len(node.users) == 1 else node
        _, offset = _operands(following, "add", known)
        last = node if offset is None else following
        layer = _affine(factor, offset)
        _replace(traced, last, layer, source)


def _operands(
    node: fx.Node, name: str, known: dict[fx.Node, Tensor]
) -> tuple[fx.Node | None, Tensor | None]:
    """The map and the numbers per channel that an operation combines, or None."""
    if node.op not in ("call_function", "call_method") or name_of(node) != name:
        return None, None
    maps = [source for source in node.all_input_nodes if source not in known]
    values = [known[source] for source in node.all_input_nodes if source in known]
    if len(maps) != 1 or len(values) != 1 or not _is_per_channel(values[0]):
        return None, None
    return maps[0], values[0]


def _is_per_channel(value: Tensor) -> bool:
    *batch, _, rows, columns = (1, 1, 1, *value.shape)
    return value.dim() >= 3 and set(batch) | {rows, columns} == {1} and value.numel() > 1


def _affine(factor: Tensor, offset: Tensor | None) -> FieldAffine:
    layer = FieldAffine(CyclicGroup(1), factor.numel(), bias=offset is not None)
    for name, value in (("weight", factor), ("bias", offset)):
        if value is not None:
            copied = value.detach().flatten().clone()
            setattr(layer, name, nn.Parameter(copied, value.requires_grad))
    return layer


def _replace(traced: fx.GraphModule, node: fx.Node, layer: nn.Module, source: fx.Node) -> None:
    name = free_name(traced, "factor")
    traced.add_submodule(name, layer)
    with traced.graph.inserting_before(node):
        made = traced.graph.call_module(name, (source,))
    node.replace_all_uses_with(made)
