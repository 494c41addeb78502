"""Interruption of a command by signals or a closed pipe."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO

import typer

from napari_redenoise._cli._json_events import write_event
from napari_redenoise.errors import OutputError

# SIGHUP comes from a closed terminal, SIGBREAK is its equivalent on Windows.
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
_UNREAD = (errno.EPIPE, errno.EIO, errno.EINVAL)
PARTIAL = 3
"""Exit code of a command that has written a part of its results."""

# Exit codes of shells are 128 plus the signal; Windows has no SIGPIPE.
_OF_SIGNALS, _SIGPIPE = 128, 13


class Interruption:
    """Whether a command should end, by a signal or because its output pipe is closed.

    Attributes
    ----------
    keeps : bool
        Whether the command has something to save and ends itself once ``is_set()``. Otherwise,
        and after a second Ctrl-C, a signal ends it at once.
    exit_code : int
        128 plus the number of the signal, as in shells; 0 without one.
    ends_at_once : bool
        Whether a `KeyboardInterrupt` ends the command.
    as_json : bool
        Whether standard output has an event in each line.
    """

    def __init__(self, *, keeps: bool, as_json: bool = False) -> None:
        self.keeps = keeps
        self.as_json = as_json
        self.exit_code = 0
        self.ends_at_once = False
        self._is_unread = False

    def is_set(self) -> bool:
        """Whether the command should end."""
        # A closed pipe ends the command only after the first step.
        if self.keeps and not self.exit_code and self._has_no_reader():
            self.exit_code = _OF_SIGNALS + _SIGPIPE
        return self.exit_code != 0

    def handle(self, number: int, _: FrameType | None) -> None:
        """Handle a signal."""
        # A closing terminal sends several signals: only a second Ctrl-C ends at once.
        insists = self.exit_code != 0 and number == signal.SIGINT
        self.exit_code = self.exit_code or _OF_SIGNALS + number
        if insists or not self.keeps:
            self.ends_at_once = True
            raise KeyboardInterrupt

    def say(self, sentence: str, *, err: bool = False) -> None:
        """Print a line, unless the pipe is closed."""
        if self.as_json and not err:
            self.emit("message", text=sentence)
            return
        with self._noticing(sys.stderr if err else sys.stdout):
            typer.echo(sentence, err=err)

    def emit(self, event: str, **fields: Any) -> None:
        """Print an event as a line of JSON, if requested and unless the pipe is closed."""
        if self.as_json:
            with self._noticing(sys.stdout):
                write_event(event, **fields)

    def bar_stream(self) -> Any:
        """Stream of a progress bar: standard error, unless its pipe is closed."""
        return None if sys.stderr is None else _Bars(self, sys.stderr)

    @contextmanager
    def _noticing(self, stream: TextIO) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._is_unread = self._is_unread or error.errno in _UNREAD
            _silence(stream)

    def _has_no_reader(self) -> bool:
        return self._is_unread or any(map(_is_unread, (sys.stdout, sys.stderr)))


class _Bars:
    """A stream that ignores a closed pipe."""

    def __init__(self, asked: Interruption, stream: TextIO) -> None:
        self._asked, self._stream = asked, stream

    def write(self, text: str) -> None:
        with self._asked._noticing(self._stream):
            self._stream.write(text)

    def flush(self) -> None:
        with self._asked._noticing(self._stream):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def interruption(*, keeps: bool = True, as_json: bool = False) -> Iterator[Interruption]:
    """Collect signals, so that training ends between two steps.

    Ignored signals, as with ``nohup``, stay ignored. `KeyboardInterrupt` ends the command here.
    """
    asked = Interruption(keeps=keeps, as_json=as_json)
    before = _handlers()
    for number in before:
        signal.signal(number, asked.handle)
    try:
        yield asked
    except KeyboardInterrupt:
        asked.say("redenoise: stopped", err=True)
        raise SystemExit(asked.exit_code or _OF_SIGNALS + signal.SIGINT) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def print_result(text: str) -> None:
    """Print what a command was asked for; a closed pipe ends it as in shells.

    Raises
    ------
    OutputError
        When standard output cannot be written.
    """
    try:
        typer.echo(text)
    except OSError as error:
        _silence(sys.stdout)
        if error.errno in _UNREAD:
            raise SystemExit(_OF_SIGNALS + _SIGPIPE) from None
        raise OutputError(
            f"standard output cannot be written ({error.strerror}): free some space, or write it "
            "to another file"
        ) from error


def _handlers() -> dict[int, Any]:
    """Current handlers of the signals to handle."""
    if threading.current_thread() is not threading.main_thread():
        # Python delivers signals to the main thread only.
        return {}
    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    handlers = {number: signal.getsignal(number) for number in numbers}
    # None is a handler outside Python, which could not be restored.
    return {n: known for n, known in handlers.items() if known not in (signal.SIG_IGN, None)}


def _is_unread(stream: TextIO | None) -> bool:
    """Whether a stream is a pipe or a socket whose other end is closed, if the system tells."""
    try:
        number = -1 if stream is None else stream.fileno()
        mode = os.fstat(number).st_mode
    except (OSError, ValueError):
        return False
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)) or not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(number, 0)
    return any(found & (select.POLLERR | select.POLLHUP) for _, found in poll.poll(0))


def _silence(stream: TextIO) -> None:
    """Discard all further output of a stream, including its buffer."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
