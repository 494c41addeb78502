"""Short work in a thread, whose outcome is dropped once the viewer is closed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Signal

_tasks: set[Task] = set()


class Task(QObject):
    """Calls a function in a thread and reports the outcome in the viewer's thread.

    For work that cannot be interrupted and takes a few seconds. The thread does not keep the
    process alive, and its outcome is dropped once the viewer is closed.

    Parameters
    ----------
    function : callable
        Must not use widgets or layers.
    returned, errored : callable, optional
        Called with the result, or the exception, in the thread that made the task.
    finished : callable, optional
        Called last, in any case.
    """

    _ended = Signal(object, object)

    def __init__(
        self,
        function: Callable[[], Any],
        *,
        returned: Callable[[Any], None] | None = None,
        errored: Callable[[Exception], None] | None = None,
        finished: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self._function = function
        self._returned, self._errored, self._finished = returned, errored, finished
        self._ended.connect(self._on_ended)
        _tasks.add(self)
        name = f"napari_redenoise {getattr(function, '__name__', 'task')}"
        threading.Thread(target=self._run, name=name, daemon=True).start()

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
