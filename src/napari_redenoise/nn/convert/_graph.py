"""Reading and changing the graph of a traced network."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx
from torch.fx.node import map_arg


def attribute(traced: fx.GraphModule, node: fx.Node) -> torch.Tensor:
    """Parameter or buffer that a node reads."""
    owner, _, name = str(node.target).rpartition(".")
    value: torch.Tensor = getattr(traced.get_submodule(owner), name)
    return value


def call(node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
    """Result of a function or method for these values of its inputs; None of other nodes."""
    args = map_arg(node.args, values.__getitem__)
    kwargs = map_arg(node.kwargs, values.__getitem__)
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    return node.target(*args, **kwargs) if callable(node.target) else None


def free_name(traced: fx.GraphModule, name: str) -> str:
    """Name that no part of a network has yet."""
    number = 0
    free = name
    while hasattr(traced, free):
        number += 1
        free = f"{name}_{number}"
    return free


def is_only_caller(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether no other node calls the same layer."""
    calls = [other for other in traced.graph.nodes if other.target == node.target]
    return len(calls) == 1


def drop_unused(traced: fx.GraphModule) -> None:
    """Delete layers, parameters and buffers that the graph has no use for."""
    traced.delete_all_unused_submodules()
    read = {str(node.target) for node in traced.graph.nodes if node.op == "get_attr"}
    called = {str(node.target) for node in traced.graph.nodes if node.op == "call_module"}
    tensors = itertools.chain(traced.named_parameters(), traced.named_buffers())
    for name in [name for name, _ in tensors if name not in read]:
        owner, _, own_name = name.rpartition(".")
        if not any(f"{owner}.".startswith(f"{layer}.") for layer in called):
            delattr(traced.get_submodule(owner), own_name)


def tensor_of(module: torch.nn.Module) -> torch.Tensor | None:
    """A parameter or else a buffer, which shows the device and dtype of a module, if any does."""
    tensors = itertools.chain(module.parameters(), module.buffers())
    # Counters, as those of batch norms, are whole numbers in every dtype.
    return next((tensor for tensor in tensors if tensor.is_floating_point()), None)


def copy_modes(module: torch.nn.Module, traced: fx.GraphModule) -> None:
    """Training or evaluation of every part as in the original, which tracing forgets."""
    modes = {name: part.training for name, part in module.named_modules()}
    for name, part in traced.named_modules():
        part.training = modes.get(name, module.training)
