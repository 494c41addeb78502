"""Short work in a thread, whose outcome is dropped once the viewer is closed."""

from __future__ import annotations

import atexit
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Signal

LONGEST_END = 5.0
"""Seconds in which the threads of tasks may end before the interpreter does."""

_tasks: set[Task] = set()


class Task(QObject):
    """Calls a function in a thread and reports the outcome in the viewer's thread.

    For work that takes a few seconds. The process waits for the thread no longer than
    `LONGEST_END`, and its outcome is dropped once the viewer is closed.

    Parameters
    ----------
    function : callable
        Must not use widgets or layers.
    returned, errored : callable, optional
        Called with the result, or the exception, in the thread that made the task.
    finished : callable, optional
        Called last, in any case.
    stop : threading.Event, optional
        Is set where the interpreter ends: the function returns early then.
    must_end : bool
        Whether the interpreter waits for the end without limit, as for files that are written.
    """

    _ended = Signal(object, object)

    def __init__(
        self,
        function: Callable[[], Any],
        *,
        returned: Callable[[Any], None] | None = None,
        errored: Callable[[Exception], None] | None = None,
        finished: Callable[[], None] | None = None,
        stop: threading.Event | None = None,
        must_end: bool = False,
    ) -> None:
        super().__init__()
        self._function, self._must_end = function, must_end
        self._stop = stop or threading.Event()
        self._returned, self._errored, self._finished = returned, errored, finished
        self._ended.connect(self._on_ended)
        _tasks.add(self)
        name = f"napari_redenoise {getattr(function, '__name__', 'task')}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        result, error = None, None
        try:
            result = self._function()
        except Exception as failure:  # noqa: BLE001 - passed on to ``errored``
            error = failure
        # Qt raises RuntimeError where this object was deleted with the viewer.
        with contextlib.suppress(RuntimeError):
            self._ended.emit(result, error)

    def _on_ended(self, result: Any, error: Exception | None) -> None:
        _tasks.discard(self)
        if error is None and self._returned is not None:
            self._returned(result)
        if error is not None and self._errored is not None:
            self._errored(error)
        if self._finished is not None:
            self._finished()

    def stop(self) -> None:
        """Ask the function to return early."""
        self._stop.set()

    def wait(self, seconds: float) -> None:
        """Wait for the thread, without limit if it must end."""
        self._thread.join(None if self._must_end else max(0.0, seconds))


@atexit.register
def _end_all() -> None:
    """Stop all tasks: the interpreter kills their threads, and within torch that aborts it."""
    tasks, end = tuple(_tasks), time.monotonic() + LONGEST_END
    for task in tasks:
        task.stop()
    for task in tasks:
        task.wait(end - time.monotonic())
