"""Writing files so that nothing of a user's is lost."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_redenoise.errors import OutputError


def refuse_existing(path: str | Path, *, overwrite: bool = False) -> None:
    """Refuse to write over a file.

    Raises
    ------
    OutputError
        When the file exists and ``overwrite`` is not set.
    """
    if Path(path).exists() and not overwrite:
        raise OutputError(f"{path} exists already: choose another name, or allow overwriting")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that takes its name when the block ends well.

    Raises
    ------
    OutputError
        When the file system refuses, in place of an OSError.
    """
    check_folder(path)
    with (
        _in_words(path),
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".redenoise-") as folder,
    ):
        partial = Path(folder) / path.name
        # Some writers make files that nobody else may read: take the usual permissions.
        partial.touch()
        mode = partial.stat().st_mode
        yield partial
        partial.chmod(mode)
        os.replace(partial, path)


def check_folder(path: str | Path) -> None:
    """Try whether a file can be written at ``path``, before the work whose result it takes.

    Raises
    ------
    OutputError
        When its folder cannot be made or written to.
    """
    with _in_words(Path(path)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=Path(path).parent, prefix=".redenoise-"):
            pass


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}): choose another folder, or "
            "free some space"
        ) from error
