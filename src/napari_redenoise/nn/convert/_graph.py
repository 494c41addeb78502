"""Helpers to read and change the graph of a traced network."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx
from torch.fx.node import map_arg


def attribute(traced: fx.GraphModule, node: fx.Node) -> torch.Tensor:
    """The parameter or buffer that a node reads."""
    owner, _, name = str(node.target).rpartition(".")
    value: torch.Tensor = getattr(traced.get_submodule(owner), name)
    return value


def call(node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
    """Evaluate a function or method node for values of its inputs; None for other nodes."""
    args = map_arg(node.args, values.__getitem__)
    kwargs = map_arg(node.kwargs, values.__getitem__)
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    return node.target(*args, **kwargs) if callable(node.target) else None


def free_name(traced: fx.GraphModule, name: str) -> str:
    """A name that is not used in a network."""
    number = 0
    free = name
    while hasattr(traced, free):
        number += 1
        free = f"{name}_{number}"
    return free


def is_only_caller(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node is the only one that calls its layer."""
    calls = [other for other in traced.graph.nodes if other.target == node.target]
    return len(calls) == 1


def drop_unused(traced: fx.GraphModule) -> None:
    """Delete layers, parameters and buffers that the graph does not use."""
    traced.delete_all_unused_submodules()
    read = {str(node.target) for node in traced.graph.nodes if node.op == "get_attr"}
    called = {str(node.target) for node in traced.graph.nodes if node.op == "call_module"}
    tensors = itertools.chain(traced.named_parameters(), traced.named_buffers())
    for name in [name for name, _ in tensors if name not in read]:
        owner, _, own_name = name.rpartition(".")
        if not any(f"{owner}.".startswith(f"{layer}.") for layer in called):
            delattr(traced.get_submodule(owner), own_name)


def tensor_of(module: torch.nn.Module) -> torch.Tensor | None:
    """A floating-point parameter or buffer with the device and dtype of a module, or None."""
    tensors = itertools.chain(module.parameters(), module.buffers())
    # Counters, as in batch norms, are integers.
    return next((tensor for tensor in tensors if tensor.is_floating_point()), None)


def copy_modes(module: torch.nn.Module, traced: fx.GraphModule) -> None:
    """Restore training and evaluation modes, which tracing does not copy."""
    modes = {name: part.training for name, part in module.named_modules()}
    for name, part in traced.named_modules():
        part.training = modes.get(name, module.training)
