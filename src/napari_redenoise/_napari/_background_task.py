"""Short work beside the viewer's thread, of which nobody hears when the viewer is gone."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Signal

_tasks: set[Task] = set()


class Task(QObject):
    """Calls a function in a thread and tells the viewer's thread how it ended.

    For what cannot be interrupted and takes seconds at most. The thread does not keep the process
    from ending, and what it has to say when the viewer has been closed is lost without a word.

    Parameters
    ----------
    function : callable
        Touches no widget and no layer.
    returned, errored : callable, optional
        Told the result, or the exception, in the thread that made the task.
    finished : callable, optional
        Told last, in any case.
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
        except Exception as failure:  # noqa: BLE001 - told, not swallowed
            error = failure
        # A RuntimeError: the viewer has been closed, and with it went this object.
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
