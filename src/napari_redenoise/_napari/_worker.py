"""Long work in a thread, as a generator of events."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from superqt.utils import create_worker


class RunFailed(Exception):
    """An unexpected error ended a run; the error is the cause."""


def in_words(error: Exception) -> str:
    """Kind and text of an unexpected error."""
    return str(error) if isinstance(error, RunFailed) else f"{type(error).__name__}: {error}"


def start_worker(events: Generator[Any, None, Any], **connected: Any) -> Any:
    """Work through a generator in a thread; return superqt's worker.

    ``connected`` are slots for ``yielded``, ``returned``, ``errored`` and ``finished``. The error
    is a `RunFailed` in place of a RuntimeError, which superqt's workers do not report.
    """

    def reported() -> Generator[Any, None, Any]:
        try:
            return (yield from events)
        except RuntimeError as error:
            raise RunFailed(f"{type(error).__name__}: {error}") from error

    return create_worker(reported, _connect=connected)
