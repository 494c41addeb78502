"""Leaving a forward pass that has become unwanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident

from torch import nn


class Interrupted(Exception):
    """The forward pass was left because it was told to stop."""


@contextmanager
def interruptible(network: nn.Module, should_stop: Callable[[], bool]) -> Iterator[None]:
    """Within this context a forward pass raises `Interrupted` once ``should_stop()`` is true.

    It is asked before every convolution, so that stopping does not wait for a large tile. Only
    forward passes of the thread that entered the context are left: others may share the network.
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
