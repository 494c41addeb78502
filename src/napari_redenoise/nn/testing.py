"""Assertions about equivariance that ship with the layers, for tests and for users."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from napari_redenoise.nn.layers._group import Group, Representation

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


def transform(
    x: Tensor, group: Group, element: int, representation: Representation = "trivial"
) -> Tensor:
    """Act with a grid-preserving element on a feature map of shape (B, channels, H, W).

    Regular maps also have their orientations permuted: orientation g of the result is
    orientation ``element^-1 g`` of the input.
    """
    if representation == "regular":
        order = group.product[group.inverse[element]]
        batch, _, *size = x.shape
        x = x.reshape(batch, -1, len(group), *size)[:, :, torch.from_numpy(order).to(x.device)]
        x = x.reshape(batch, -1, *size)
    if group.is_reflection(element):
        x = x.flip(-1)
    return torch.rot90(x, group.quarter_turns(element), (-2, -1))


def equivariance_error(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    group: Group,
    element: int,
    *,
    inputs: Representation = "trivial",
    outputs: Representation = "trivial",
) -> float:
    """``||f(R x) - R f(x)||_2 / ||f(x)||_2`` for one grid-preserving element of the group."""
    with torch.no_grad():
        expected = transform(function(x), group, element, outputs)
        got = function(transform(x, group, element, inputs))
    return float((got - expected).norm() / expected.norm())


def assert_equivariant(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    group: Group,
    *,
    inputs: Representation = "trivial",
    outputs: Representation = "trivial",
    tolerance: float | None = None,
) -> None:
    """Check every grid-preserving element of a group.

    Parameters
    ----------
    tolerance : float, optional
        Default 1e-5 in float32 and 1e-12 in float64.

    Raises
    ------
    AssertionError
        Naming the element and its error.
    """
    limit = TOLERANCE[x.dtype] if tolerance is None else tolerance
    for element in group.exact_elements:
        error = equivariance_error(function, x, group, element, inputs=inputs, outputs=outputs)
        if not error <= limit:
            raise AssertionError(
                f"not equivariant under element {element} of {group.name}: "
                f"relative error {error:.2e} > {limit:.0e}"
            )
