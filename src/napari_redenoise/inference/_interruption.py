"""Interruption of a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident

from torch import nn


class Interrupted(Exception):
    """The forward pass was interrupted on request."""


@contextmanager
def interruptible(network: nn.Module, should_stop: Callable[[], bool]) -> Iterator[None]:
    """Context in which a forward pass raises `Interrupted` once ``should_stop()`` is true.

    The check runs before every layer, so stopping does not wait for a large tile. Only forward
    passes of the thread that entered the context are interrupted: others may share the network.

    Raises
    ------
    Interrupted
    """
    thread = get_ident()

    def check(*_: object) -> None:
        if get_ident() == thread and should_stop():
            raise Interrupted

    leaves = [module for module in network.modules() if not list(module.children())]
    handles = [leaf.register_forward_pre_hook(check) for leaf in leaves]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
