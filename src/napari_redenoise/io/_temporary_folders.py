"""Temporary folders; the next run removes those of killed processes."""

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
    """A folder that counts as in use while this process runs.

    The operating system releases the lock when the process ends. A process number would be reused.
    """

    path: Path
    lock: FileLock | None

    @classmethod
    def make(cls, parent: Path | None, prefix: str) -> TemporaryFolder:
        """Make a new folder; parent None selects the folder for temporary files.

        Raises
        ------
        OSError
            When the folder cannot be created.
        """
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        lock = _lock(path)
        try:
            lock.acquire(blocking=False)
        except (OSError, NotImplementedError, Timeout):
            # Without locks nobody can tell later whether the folder is in use.
            return cls(path, None)
        # Last, since folders without an owner are kept. Locks of other computers may be invisible
        # on shared file systems, so only the owner's computer removes a folder.
        with contextlib.suppress(OSError):
            (path / OWNER).write_text(_this_computer(), encoding="utf-8")
        return cls(path, lock)

    @classmethod
    def keep(cls, path: Path) -> TemporaryFolder | None:
        """Make or reopen a folder that outlives the process; None if another process uses it.

        Raises
        ------
        OSError
            When the folder cannot be created.
        """
        path.mkdir(exist_ok=True)
        lock = _lock(path)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return None
        except (OSError, NotImplementedError):
            return cls(path, None)
        return cls(path, lock)

    def release(self) -> None:
        """Let other processes use the folder."""
        if self.lock is not None:
            self.lock.release()

    def remove(self) -> None:
        """Remove the folder and its content."""
        if self.lock is not None:
            # First, since Windows cannot remove open files.
            self.lock.release()
        shutil.rmtree(self.path, ignore_errors=True)


def remove_leftovers(parent: Path | None, prefix: str) -> None:
    """Remove the folders of ended processes; parent None selects the folder for temporary files.

    Folders of running processes, other computers and unknown owners are kept.
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
    # Held by the process, not by the thread.
    return FileLock(path / LOCK, thread_local=False)


def _this_computer() -> str:
    return platform.node()
