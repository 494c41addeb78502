"""Assertions about equivariance, for tests and users."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from napari_redenoise.nn.layers._group import Group, Representation

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


def transform(
    x: Tensor, group: Group, element: int, representation: Representation = "trivial"
) -> Tensor:
    """Apply a grid-preserving element to a feature map of shape (B, channels, H, W).

    For regular maps the orientations are permuted, too: orientation g of the result is orientation
    ``element^-1 g`` of the input.

    Parameters
    ----------
    x : Tensor
    group : Group
    element : int
        One of ``group.exact_elements``.
    representation : {"trivial", "regular"}

    Returns
    -------
    Tensor
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
    """``||f(R x) - R f(x)||_2 / ||f(x)||_2`` for one grid-preserving element of the group.

    Parameters
    ----------
    function : callable
    x : Tensor
        Of shape (B, channels, H, W).
    group : Group
    element : int
        One of ``group.exact_elements``.
    inputs, outputs : {"trivial", "regular"}
        Representations of the input and the output.

    Returns
    -------
    float
    """
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
    """Assert equivariance under every grid-preserving element of a group.

    Parameters
    ----------
    function : callable
    x : Tensor
        Of shape (B, channels, H, W).
    group : Group
    inputs, outputs : {"trivial", "regular"}
        Representations of the input and the output.
    tolerance : float, optional
        Default 1e-5 in float32 and 1e-12 in float64.

    Raises
    ------
    AssertionError
        When an error exceeds the tolerance; names the element.
    """
    limit = TOLERANCE[x.dtype] if tolerance is None else tolerance
    for element in group.exact_elements:
        error = equivariance_error(function, x, group, element, inputs=inputs, outputs=outputs)
        if not error <= limit:
            raise AssertionError(
                f"not equivariant under element {element} of {group.name}: "
                f"relative error {error:.2e} > {limit:.0e}"
            )
