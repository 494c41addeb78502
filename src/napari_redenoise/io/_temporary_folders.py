"""Temporary folders, which the next run removes where the process that made them was killed."""

from __future__ import annotations

import contextlib
import platform
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

LOCK, OWNER = ".redenoise-lock", ".redenoise-owner"


@dataclass(frozen=True)
class TemporaryFolder:
    """A folder that counts as in use for as long as this process lives.

    The operating system gives the lock up when the process ends, however it ends: a number of a
    process would be given to another one in time.
    """

    path: Path
    lock: FileLock | None

    @classmethod
    def make(cls, parent: Path | None, prefix: str) -> TemporaryFolder:
        """Make a new folder; parent None takes that for temporary files.

        Raises
        ------
        OSError
            When the file system refuses.
        """
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        lock = _lock(path)
        try:
            lock.acquire(blocking=False)
        except (OSError, NotImplementedError, Timeout):
            # A file system without locks: nobody can tell later whether the folder is in use.
            return cls(path, None)
        # Last, since a folder without an owner is left alone. A lock of another computer on a
        # shared file system may not be seen here, so that only the owner's computer removes it.
        with contextlib.suppress(OSError):
            (path / OWNER).write_text(_this_computer(), encoding="utf-8")
        return cls(path, lock)

    def remove(self) -> None:
        """Remove the folder with all that it holds."""
        if self.lock is not None:
            # Not together: Windows removes no file that is open.
            self.lock.release()
        shutil.rmtree(self.path, ignore_errors=True)


def remove_leftovers(parent: Path | None, prefix: str) -> None:
    """Remove the folders whose process is gone; parent None takes that for temporary files.

    Those of living processes, of other computers, and what cannot be told stay.
    """
    with contextlib.suppress(OSError):
        for path in Path(parent or tempfile.gettempdir()).glob(f"{prefix}*"):
            if not path.is_symlink() and _is_left_over(path):
                shutil.rmtree(path, ignore_errors=True)


def _is_left_over(path: Path) -> bool:
    try:
        if (path / OWNER).read_text(encoding="utf-8") != _this_computer():
            return False
        lock = _lock(path)
        lock.acquire(blocking=False)
    except (OSError, ValueError, NotImplementedError, RuntimeError, Timeout):
        return False
    lock.release()
    return True


def _lock(path: Path) -> FileLock:
    # Held by the process and not by the thread that asked for it.
    return FileLock(path / LOCK, thread_local=False)


def _this_computer() -> str:
    return platform.node()
