"""A traced copy of a network, or what stands in the way of one, in words."""

from __future__ import annotations

import copy
import itertools

from torch import Tensor, fx, nn
from torch.fx.proxy import TraceError

from napari_redenoise.errors import ConversionError

NORMALISED = (
    "has weights that are computed from others, as weight normalisation does: remove that first"
)


def traced_copy(module: nn.Module) -> fx.GraphModule:
    """Copy a network and trace the copy.

    Raises
    ------
    ConversionError
        When it cannot be copied or traced.
    """
    _refuse_computed_weights(module)
    try:
        traced = fx.symbolic_trace(copy.deepcopy(module))
    except (TraceError, TypeError, RuntimeError, ValueError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConversionError(
            (
                f"forward ({type(module).__name__}) cannot be traced ({reason}): let what it does "
                "not depend on values or sizes of the image",
            )
        ) from error
    traced.graph.eliminate_dead_code()
    return traced


def _refuse_computed_weights(module: nn.Module) -> None:
    """Name the layers with tensors that carry a gradient to others, of which torch has no copy."""
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
