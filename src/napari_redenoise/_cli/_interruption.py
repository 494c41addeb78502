"""How a command ends before its time, and keeps what it has."""

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

# SIGHUP is a terminal that was closed, SIGBREAK the same on Windows.
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
_UNREAD = (errno.EPIPE, errno.EIO, errno.EINVAL)
# As shells name what a signal ended; there is no SIGPIPE on Windows.
_OF_SIGNALS, _SIGPIPE = 128, 13


class Interruption:
    """Whether a command is to end: by a signal, or since nobody reads any more what it says.

    Attributes
    ----------
    keeps : bool
        Whether there is something to keep, with which the command ends itself once ``is_set()``.
        Otherwise, and by a second Ctrl-C, a signal ends it at once.
    exit_code : int
        128 and the number of the signal, as shells have it; 0 while there was none.
    ends_at_once : bool
        Whether the command is left by a `KeyboardInterrupt`.
    """

    def __init__(self, *, keeps: bool) -> None:
        self.keeps = keeps
        self.exit_code = 0
        self.ends_at_once = False
        self._is_unread = False

    def is_set(self) -> bool:
        """Whether the command is to end."""
        # Whose reader is gone wants no less of what comes soon, and at least a step is kept.
        if self.keeps and not self.exit_code and self._has_no_reader():
            self.exit_code = _OF_SIGNALS + _SIGPIPE
        return self.exit_code != 0

    def handle(self, number: int, _: FrameType | None) -> None:
        """Take note of a signal."""
        # A terminal that is closed sends several; a person who insists presses Ctrl-C.
        insists = self.exit_code != 0 and number == signal.SIGINT
        self.exit_code = self.exit_code or _OF_SIGNALS + number
        if insists or not self.keeps:
            self.ends_at_once = True
            raise KeyboardInterrupt

    def say(self, sentence: str, *, err: bool = False) -> None:
        """Print a line, if anybody reads it."""
        with self._noticing(sys.stderr if err else sys.stdout):
            typer.echo(sentence, err=err)

    def bar_stream(self) -> Any:
        """Where a progress bar is drawn: standard error, for as long as anybody reads it."""
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
    """A stream that takes it quietly when nobody reads it."""

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
def interruption(*, keeps: bool = True) -> Iterator[Interruption]:
    """Let signals be asked for, so that training ends between two steps and not within one.

    Those that are ignored, as by ``nohup``, stay so. `KeyboardInterrupt` ends the command here.
    """
    asked = Interruption(keeps=keeps)
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


def _handlers() -> dict[int, Any]:
    """What handles the signals now; of those that are to be handled."""
    if threading.current_thread() is not threading.main_thread():
        # Python hands signals to no other thread.
        return {}
    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    handlers = {number: signal.getsignal(number) for number in numbers}
    # None is a handler that is none of Python's and could not be set again.
    return {n: known for n, known in handlers.items() if known not in (signal.SIG_IGN, None)}


def _is_unread(stream: TextIO | None) -> bool:
    """Whether a stream is a pipe or a socket with nobody at its other end, where that is told."""
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
    """Let the rest of what goes to a stream go nowhere, also what it holds already."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
