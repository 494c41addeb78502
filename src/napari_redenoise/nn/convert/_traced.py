"""A traced copy of a network, or the reasons why it cannot be traced."""

from __future__ import annotations

import copy
import inspect
import itertools
from collections.abc import Callable
from typing import Any

from torch import Tensor, fx, nn
from torch.fx.proxy import TraceError

from napari_redenoise.errors import ConversionError

NORMALISED = "has computed weights, for example by weight normalisation: remove that first"


def traced_copy(module: nn.Module) -> fx.GraphModule:
    """Copy a network and trace the copy; arguments keep their default values.

    Parameters
    ----------
    module : Module

    Returns
    -------
    GraphModule

    Raises
    ------
    ConversionError
        When the network cannot be copied or traced.
    """
    _refuse_computed_weights(module)
    tracer = _Tracer()
    try:
        graph = tracer.trace(copy.deepcopy(module))
    except (TraceError, TypeError, RuntimeError, ValueError, AttributeError) as error:
        raise ConversionError((_untraceable(module, error),)) from error
    traced = fx.GraphModule(tracer.root, graph, type(module).__name__)
    traced.graph.eliminate_dead_code()
    return traced


class _Tracer(fx.Tracer):
    """Traces a network with its required arguments, so that branches on options are resolved."""

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Callable[..., Any], list[Any]]:
        names = _required(root_fn)
        if not names:  # all in one *args
            return super().create_args_for_root(root_fn, is_module, concrete_args)

        def call(root: nn.Module, *given: fx.Proxy) -> Any:
            return root_fn(root, **dict(zip(names, given, strict=True)))

        inputs = [self.create_proxy("placeholder", name, (), {}) for name in names]
        return call, [self.root, *inputs]


def _required(forward: Callable[..., Any]) -> list[str]:
    """Names of the first argument, the image, and of others without default values."""
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    known = list(inspect.signature(forward).parameters.values())[1:]
    known = [parameter for parameter in known if parameter.kind not in variable]
    return [
        parameter.name
        for number, parameter in enumerate(known)
        if number == 0 or parameter.default is parameter.empty
    ]


def _untraceable(module: nn.Module, error: Exception) -> str:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    remedy = "remove branches that depend on values or sizes of the image"
    if others := _required(type(module).forward)[1:]:
        remedy += f", and give default values to all inputs but the image ({', '.join(others)})"
    return f"forward ({type(module).__name__}) cannot be traced ({reason}): {remedy}"


def _refuse_computed_weights(module: nn.Module) -> None:
    """Refuse layers with computed tensors, which torch cannot copy."""
    problems = tuple(
        f"{name or 'the network'} ({type(part).__name__}) {NORMALISED}"
        for name, part in module.named_modules()
        if any(
            isinstance(value, Tensor) and not value.is_leaf
            for value in itertools.chain(vars(part).values(), part.buffers(recurse=False))
        )
    )
    if problems:
        raise ConversionError(problems)
