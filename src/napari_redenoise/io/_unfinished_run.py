"""Results of a run that are kept until they are complete, to continue a killed run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from napari_redenoise.errors import OutputError
from napari_redenoise.io._ome_companion import ome_files
from napari_redenoise.io._safe_writing import check_folder, explain_os_error
from napari_redenoise.io._temporary_folders import LOCK, TemporaryFolder
from napari_redenoise.io._zarr_source import ZarrSource, is_address

_OF_FILE_MANAGERS = (".DS_Store", "Thumbs.db", "desktop.ini")
_IDENTITY, _MODEL = "run.json", "model.safetensors"


class UnfinishedRun:
    """The folder of a run beside its result, which is removed when the run is complete.

    A run with the same identity continues it; any other one begins anew.

    Parameters
    ----------
    output : Path
        The result.
    identity : mapping
        Everything that determines the results, as plain values.

    Attributes
    ----------
    path : Path
        The folder.
    model : Path
        File of the trained model in it.
    is_continued : bool
        Whether the folder holds the model of an earlier run of the same identity.

    Raises
    ------
    OutputError
        When the folder cannot be written to, or another process is writing the same result.
    """

    def __init__(self, output: Path, identity: Mapping[str, Any]) -> None:
        self.path = _folder_of(output)
        self.model = self.path / _MODEL
        self.is_continued = False
        self._identity = json.dumps(identity, sort_keys=True, default=str)
        self._folders: list[TemporaryFolder] = []
        self.is_continued = self._open(output) and self.model.is_file()
        if not self.is_continued:
            self._clear(output)

    def folder_for(self, path: Path) -> Path:
        """Folder that keeps an incomplete result: beside it, because its disk may be another.

        Parameters
        ----------
        path : Path
            The result.

        Raises
        ------
        OutputError
            When the folder cannot be written to, or another process is writing the same result.
        """
        if os.path.realpath(path.parent) == os.path.realpath(self.path.parent):
            return self.path
        if not (self._open(path) and self.is_continued):
            self._clear(path)
        return _folder_of(path)

    def _open(self, output: Path) -> bool:
        """Open the folder beside a result, and tell whether it is of this identity."""
        check_folder(output)
        with explain_os_error(output):
            folder = TemporaryFolder.keep(_folder_of(output))
            if folder is None:
                raise OutputError(
                    f"another process is writing {output}: wait for it, or choose another name"
                )
            self._folders.append(folder)
            file = folder.path / _IDENTITY
            return file.is_file() and file.read_text(encoding="utf-8") == self._identity

    def _clear(self, output: Path) -> None:
        with explain_os_error(output):
            for one in _folder_of(output).iterdir():
                if one.is_dir():
                    shutil.rmtree(one)
                elif one.name != LOCK:
                    one.unlink()
            (_folder_of(output) / _IDENTITY).write_text(self._identity, encoding="utf-8")

    def close(self) -> None:
        """Keep the folders for a later run if there is a model; else remove them."""
        is_kept = self.model.is_file()
        for folder in self._folders:
            folder.release() if is_kept else folder.remove()

    def remove(self) -> None:
        """Remove the folders, since the run is complete."""
        for folder in self._folders:
            folder.remove()


def _folder_of(output: Path) -> Path:
    return output.with_name(f".{output.name}.unfinished")


def run_mark(folder: Path) -> str | None:
    """Describe the run whose results a folder keeps, so that another process recognises it.

    Parameters
    ----------
    folder : Path
        ``UnfinishedRun.path``.

    Returns
    -------
    str or None
        The same for continued runs. None where there is no run, or the folder is not visible.
    """
    try:
        return hashlib.sha256((folder / _IDENTITY).read_bytes()).hexdigest()
    except OSError:
        return None


def fingerprint(path: Path | None) -> list[Any] | None:
    """Describe a file, or the files of a folder: a change of them changes the description.

    Returns
    -------
    list or None
        Path, number of files, bytes, and time of the last change. Files that OME metadata names
        count, too.
    """
    if path is None:
        return None
    stats = [one.stat() for one in _files(path)]
    newest = max((one.st_mtime_ns for one in stats), default=0)
    found = [str(path.absolute()), len(stats), sum(one.st_size for one in stats), newest]
    return [*found, _remote_state(path)] if is_address(path) else found


def _files(path: Path) -> Iterator[Path]:
    """The files of an image, without those that file managers add to folders."""
    if os.path.isdir(path):
        for one in path.rglob("*"):
            is_added = one.name in _OF_FILE_MANAGERS or one.name.startswith("._")
            if one.is_file() and not is_added:
                yield one
    elif os.path.exists(path):
        yield path
        yield from ome_files(path)
    else:
        # An image inside of a zip file.
        yield from (one for one in path.parents if os.path.isfile(one))


def _remote_state(path: Path) -> str:
    """What the metadata of a remote store are."""
    source = ZarrSource.find(path)
    node = None if source is None else source.open()
    metadata = "" if node is None else json.dumps(node.metadata.to_dict(), default=str)
    return hashlib.sha256(metadata.encode()).hexdigest()
