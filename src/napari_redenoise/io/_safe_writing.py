"""Writing files so that nothing of a user's is lost."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from napari_redenoise.errors import NameTakenError, OutputError
from napari_redenoise.io._temporary_folders import TemporaryFolder, remove_leftovers

_PREFIX = ".redenoise-"


def refuse_existing(path: str | Path, *, overwrite: bool = False) -> None:
    """Refuse to write over a file.

    Raises
    ------
    NameTakenError
        When the file exists and ``overwrite`` is not set.
    OutputError
        When it is a folder.
    """
    if os.path.isdir(path):
        raise OutputError(f"{path} is a folder: choose another name")
    if os.path.lexists(path) and not overwrite:
        raise NameTakenError(f"{path} exists already: choose another name, or allow overwriting")


@contextmanager
def write_atomically(
    path: Path, *, overwrite: bool = True, needs: int | None = None
) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that takes its name when the block ends well.

    Parameters
    ----------
    path : Path
    overwrite : bool
        Replace what has the name then, also what came to it meanwhile.
    needs : int, optional
        Bytes of the file, to be told where they do not fit.

    Raises
    ------
    NameTakenError
        When there is such a file at the end, and ``overwrite`` is not set.
    OutputError
        When the file system refuses, in place of an OSError.
    """
    check_folder(path)
    with _in_words(path, needs):
        folder = TemporaryFolder.make(path.parent, _PREFIX)
        try:
            partial = folder.path / path.name
            # Some writers make files that nobody else may read: take the usual permissions.
            partial.touch()
            mode = partial.stat().st_mode
            yield partial
            partial.chmod(mode)
            if overwrite:
                os.replace(partial, path)
            else:
                _move_to_free(partial, path)
        finally:
            folder.remove()


def _move_to_free(partial: Path, path: Path) -> None:
    """Give a file its name, unless that is taken: replacing would not notice."""
    try:
        path.open("x").close()
    except FileExistsError:
        refuse_existing(path)
        raise
    try:
        os.replace(partial, path)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def write_under_free_name(path: Path, write: Callable[[Path], object]) -> Path:
    """Write a file, under a name with a number where the name is taken by now.

    Parameters
    ----------
    path : Path
    write : callable
        Writes the file under the name that it is given, and raises `NameTakenError` where that
        name is taken.

    Returns
    -------
    Path
        Where it is: ``path``, or for ``out.tif`` the first of ``out-1.tif``, ``out-2.tif``, ...
        that was free.
    """
    name, numbers = path, itertools.count(1)
    while True:
        if not os.path.lexists(name):
            try:
                write(name)
            except NameTakenError:
                pass
            else:
                return name
        name = path.with_name(f"{path.stem}-{next(numbers)}{path.suffix}")


def check_folder(path: str | Path) -> None:
    """Try whether a file can be written at ``path``, before the work whose result it takes.

    What killed processes have left in the folder is removed.

    Raises
    ------
    OutputError
        When its folder cannot be made or written to, or does not take such a name.
    """
    path = Path(path)
    with _in_words(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, _PREFIX)
        folder = TemporaryFolder.make(path.parent, _PREFIX)
        try:
            (folder.path / path.name).touch()
        finally:
            folder.remove()


def check_space(needs: Mapping[Path, int]) -> None:
    """Refuse where the disk has no room for results, before the work.

    Parameters
    ----------
    needs : mapping
        Bytes of every result, by its path or by the folder that takes it.

    Raises
    ------
    OutputError
        When there is less than they need together, on any of their disks.
    """
    disks: dict[int, tuple[Path, int]] = {}
    for path, size in needs.items():
        folder = _existing(path)
        disk = folder.stat().st_dev
        first, total = disks.get(disk, (folder, 0))
        disks[disk] = (first, total + size)
    for folder, total in disks.values():
        free = _free(folder)
        if free is not None and free < total:
            raise OutputError(
                f"the results need {format_bytes(total)} in {folder} and {format_bytes(free)} are free: "
                "free some space, or choose another folder"
            )


def format_bytes(size: int) -> str:
    """A number of bytes, in words."""
    for unit, value in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= value:
            return f"{size / value:.1f} {unit}"
    return f"{size} bytes"


def _existing(path: Path) -> Path:
    """The folder that a path is, or will be, in."""
    return next((folder for folder in (path, *path.parents) if folder.is_dir()), Path.cwd())


def _free(folder: Path) -> int | None:
    """Free bytes, where the file system tells them."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.free if usage.total else None


@contextmanager
def _in_words(path: Path, needs: int | None = None) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        # Safetensors tells a full disk in a way of its own.
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"{path} cannot be written ({reason}{_space(path, needs)}): choose another folder, or "
            "free some space"
        ) from error


def _space(path: Path, needs: int | None) -> str:
    free = _free(_existing(path.parent))
    if needs is None or free is None:
        return ""
    return f"; it needs {format_bytes(needs)}, and {format_bytes(free)} are free"
