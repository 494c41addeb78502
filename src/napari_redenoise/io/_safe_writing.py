"""Safe writing: files are complete, and no existing file is lost."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from napari_redenoise.errors import NameTakenError, OutputError
from napari_redenoise.io._temporary_folders import TemporaryFolder, remove_leftovers

PREFIX = ".redenoise-"
_SHORT_WRITE = " requested and "
FULL_DISK = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))


def refuse_existing(path: str | Path, *, overwrite: bool = False) -> None:
    """Refuse to overwrite a file.

    Raises
    ------
    NameTakenError
        When the file exists and ``overwrite`` is not set.
    OutputError
        When the path is a folder.
    """
    if os.path.isdir(path):
        raise OutputError(f"{path} is a folder: choose another name")
    if os.path.lexists(path) and not overwrite:
        raise NameTakenError(f"{path} exists already: choose another name, or allow overwriting")


@contextmanager
def write_atomically(
    path: Path, *, overwrite: bool = True, needs: int | None = None
) -> Iterator[Path]:
    """Provide a temporary path that is renamed to ``path`` when the block succeeds.

    Parameters
    ----------
    path : Path
    overwrite : bool
        Replace an existing file, even one that was created meanwhile.
    needs : int, optional
        Size of the file in bytes, for the error message.

    Raises
    ------
    NameTakenError
        When the file exists at the end, and ``overwrite`` is not set.
    OutputError
        When the file cannot be written, in place of an OSError.
    """
    check_folder(path)
    with explain_os_error(path, needs):
        folder = TemporaryFolder.make(path.parent, PREFIX)
        try:
            partial = folder.path / path.name
            # Some writers set private permissions: restore the default ones.
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
    """Rename a file unless the name is taken, which os.replace would not notice."""
    try:
        try:
            # A process may be killed at any moment: the name never belongs to an empty file.
            os.link(partial, path)
        except FileExistsError:
            raise
        except (OSError, NotImplementedError):
            # Some file systems know no second name of a file.
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
    """Write a file, with a number appended to its name if that is taken.

    Parameters
    ----------
    path : Path
    write : callable
        Writes the file to the path that it receives, and raises `NameTakenError` if that is taken.

    Returns
    -------
    Path
        ``path``, or for ``out.tif`` the first free one of ``out-1.tif``, ``out-2.tif``, ...
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


@contextmanager
def restored_after_errors(path: Path) -> Iterator[None]:
    """Keep what has a name, and give it its name again when the block fails.

    Parameters
    ----------
    path : Path
        It keeps its name meanwhile, where the file system knows second names. When the block
        fails, what it has left there is replaced.

    Raises
    ------
    OutputError
        When nothing can be kept in the folder of the path.
    """
    with explain_os_error(path):
        folder = TemporaryFolder.make(path.parent, PREFIX)
    old = folder.path / path.name
    try:
        with explain_os_error(path):
            _keep(path, old)
        try:
            yield
        except BaseException:
            if os.path.lexists(old):
                if old.is_dir() and path.is_dir():
                    shutil.rmtree(path)
                os.replace(old, path)
            raise
    finally:
        folder.remove()


def _keep(path: Path, old: Path) -> None:
    if not os.path.lexists(path):
        return
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, old, symlinks=True, copy_function=os.link)
        else:
            os.link(path, old, follow_symlinks=False)
    except (OSError, NotImplementedError):
        # Some file systems know no second names.
        shutil.rmtree(old, ignore_errors=True)
        path.rename(old)


def check_folder(path: str | Path) -> None:
    """Check that a file can be written at ``path``, and remove leftovers of killed processes.

    Parameters
    ----------
    path : path
        Its folder is created if necessary.

    Raises
    ------
    OutputError
        When the folder cannot be created or written to, or does not support the name.
    """
    path = Path(path)
    with explain_os_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, PREFIX)
        folder = TemporaryFolder.make(path.parent, PREFIX)
        try:
            (folder.path / path.name).touch()
        finally:
            folder.remove()


def check_place(path: str | Path) -> None:
    """Check that a file can be written at ``path``, and leave no folder.

    Parameters
    ----------
    path : path
        Its folder is created by what writes the file.

    Raises
    ------
    OutputError
        As `check_folder`.
    """
    path = Path(path)
    missing = [folder for folder in path.parents if not folder.exists()]
    try:
        check_folder(path)
    finally:
        for folder in missing:
            # Of another process, which writes into it meanwhile, it is not empty.
            with contextlib.suppress(OSError):
                folder.rmdir()


def check_space(needs: Mapping[Path, int]) -> None:
    """Check that the results fit on their disks.

    Parameters
    ----------
    needs : mapping
        Bytes of every result, by its path or its folder.

    Raises
    ------
    OutputError
        When a disk has less free space than its results need.
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
                f"the results need {format_bytes(total)} in {folder} and {format_bytes(free)} are "
                "free: free some space, or choose another folder"
            )


def format_bytes(size: int) -> str:
    """Format a number of bytes with a unit."""
    for unit, value in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= value:
            return f"{size / value:.1f} {unit}"
    return f"{size} bytes"


def _existing(path: Path) -> Path:
    """The nearest existing folder of a path."""
    # os.path instead of Path: it returns False for invalid names.
    return next((folder for folder in (path, *path.parents) if os.path.isdir(folder)), Path.cwd())


def _free(folder: Path) -> int | None:
    """Free bytes, or None if the file system does not report them."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.free if usage.total else None


@contextmanager
def explain_os_error(path: Path, needs: int | None = None) -> Iterator[None]:
    """Replace an OSError by an error with a remedy.

    Parameters
    ----------
    path : Path
        The file to write.
    needs : int, optional
        Its bytes, for the message of a full disk.

    Raises
    ------
    OutputError
        In place of the OSError.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        # Safetensors and numpy report a full disk by errors without a number; numpy in pixels.
        number = getattr(error, "errno", None)
        is_short = number is None and _SHORT_WRITE in str(error)
        reason = "the disk takes no more" if is_short else getattr(error, "strerror", None) or error
        is_full = number is None or number in FULL_DISK
        space = _space(path, needs) if is_full else ""
        remedy = "folder, or free some space" if is_full else "folder or name"
        raise OutputError(
            f"{path} cannot be written ({reason}{space}): choose another {remedy}"
        ) from error


def _space(path: Path, needs: int | None) -> str:
    free = _free(_existing(path.parent))
    if needs is None or free is None:
        return ""
    return f"; it needs {format_bytes(needs)}, and {format_bytes(free)} are free"
