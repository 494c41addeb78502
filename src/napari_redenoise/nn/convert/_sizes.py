"""Checks of sizes that a network computes from the image, on meta tensors."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from napari_redenoise.nn.convert._roles import (
    FIXED_SHAPE,
    NEAREST,
    OF_ONE_SIDE,
    OFF_CENTRE,
    SIZED_NAMES,
    UNEVEN_PAD,
    UNKNOWN_SIZE,
    UPSAMPLINGS,
    argument,
    name_of,
)

SIDES = (1920, 2688)
"""Multiples of 128, which few total strides exceed; neither is a multiple of the other."""


@dataclass(frozen=True)
class _Call:
    """Arguments of an operation, and the size of its feature map before and after."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    numbers: list[Any]
    before: tuple[int, int]
    after: tuple[int, int]


def size_refusals(
    traced: fx.GraphModule, inputs: dict[fx.Node, Tensor], numbers: set[fx.Node]
) -> dict[fx.Node, str]:
    """Reason and remedy for every operation with computed sizes that are not exact.

    Parameters
    ----------
    traced : GraphModule
    inputs : dict
        An example of every input; its sides do not matter.
    numbers : set
        Nodes computed from sizes, without feature maps.

    Returns
    -------
    dict
    """
    computed = [
        node
        for node in traced.graph.nodes
        if node not in numbers and not numbers.isdisjoint(node.all_input_nodes)
    ]
    if not computed:
        return {}
    plain = copy.deepcopy(traced).to("meta").eval()
    calls = [_run(plain, _images(inputs, sides)) for sides in (SIDES, SIDES[::-1])]
    reasons = {node: _reason(node, *(seen.get(node.name) for seen in calls)) for node in computed}
    return {node: reason for node, reason in reasons.items() if reason is not None}


def _images(inputs: dict[fx.Node, Tensor], sides: tuple[int, int]) -> list[Tensor]:
    return [image.new_empty((*image.shape[:2], *sides), device="meta") for image in inputs.values()]


class _Recorder(fx.Interpreter):
    """Runs a network and records by name the calls that return a feature map."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.seen: dict[str, _Call] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        given = [self.env[source] for source in n.all_input_nodes]
        maps = [value for value in given if isinstance(value, Tensor) and value.dim() > 1]
        if maps and isinstance(result, Tensor):
            numbers = [value for value in given if not isinstance(value, Tensor)]
            self.seen[n.name] = _Call(args, kwargs, numbers, _size(maps[0]), _size(result))
        return result


def _size(x: Tensor) -> tuple[int, int]:
    rows, columns = x.shape[-2:]
    return rows, columns


def _run(traced: fx.GraphModule, images: list[Tensor]) -> dict[str, _Call]:
    recorder = _Recorder(traced)
    try:
        with torch.no_grad():
            recorder.run(*images)
    except (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError):
        pass  # A network for images of one size: keep the calls recorded so far.
    return recorder.seen


def _reason(node: fx.Node, upright: _Call | None, rotated: _Call | None) -> str | None:
    if upright is None or rotated is None:
        return UNKNOWN_SIZE
    name = name_of(node)
    if name == "pad" and not (_is_even_padding(upright) and _is_even_padding(rotated)):
        return UNEVEN_PAD
    if name not in SIZED_NAMES:
        return None if upright.numbers == rotated.numbers else OF_ONE_SIDE
    by_factor = name in UPSAMPLINGS and argument(upright, 1, "size") is None
    if not by_factor and upright.after != rotated.after[::-1]:
        return FIXED_SHAPE
    nearest = name in UPSAMPLINGS and argument(upright, 3, "mode", "nearest") in NEAREST
    if nearest and not (_is_integer_factor(upright) and _is_integer_factor(rotated)):
        return OFF_CENTRE
    return None


def _is_even_padding(call: _Call) -> bool:
    widths = argument(call, 1, "pad")
    return len(widths) == 4 and widths[0] == widths[1] and widths[2] == widths[3]


def _is_integer_factor(call: _Call) -> bool:
    """Whether both sides grow by the same integer factor."""
    (rows, columns), (high, wide) = call.before, call.after
    return high % rows == 0 and wide % columns == 0 and high // rows == wide // columns
