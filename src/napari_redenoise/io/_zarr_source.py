"""Where an OME-Zarr is stored: a folder, a zip file, or a remote address."""

from __future__ import annotations

import os
import posixpath
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import url2pathname

import zarr
from zarr import storage

from napari_redenoise.errors import InputError, error_text

MARKERS = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
"""Files that make a folder a zarr group or array."""

# A path has lost the second slash of an address; drives of Windows have one letter.
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.+)")


_MOST_NAMED = 3


@dataclass(frozen=True)
class ZarrSource:
    """A store, and the path of a group or array in it.

    Attributes
    ----------
    name : str
        For messages.
    location : Path or str
        A folder, a zip file, or an address.
    inside : str
        Path in the store.
    """

    name: str
    location: Path | str
    inside: str = ""

    @classmethod
    def find(cls, path: str | Path) -> ZarrSource | None:
        """Recognise a zarr by its content; None where there is none.

        Parameters
        ----------
        path : path or str
            A folder, a zip file, an address such as ``https://...``, or an image inside.

        Raises
        ------
        InputError
            When a zip file holds several.
        """
        path = local_path(path)
        # os.path instead of Path: it returns False for names that are too long.
        if os.path.isdir(path):
            return cls(str(path), path) if is_zarr_folder(path) else None
        if os.path.exists(path):
            # Nothing comes from a pipe that no one writes to.
            return _in_zip(path, path) if os.path.isfile(path) else None
        address = _ADDRESS.fullmatch(path.as_posix())
        if address is not None:
            whole = f"{address[1]}://{address[2]}"
            return cls(whole, whole)
        archive = next((parent for parent in path.parents if os.path.isfile(parent)), None)
        return None if archive is None else _in_zip(path, archive)

    def open(self) -> zarr.Group | zarr.Array[Any]:
        """Open the group or array.

        Raises
        ------
        InputError
            When there is none, or a package for the address is missing.
        """
        try:
            return zarr.open(self._store(), path=self.inside, mode="r")
        except ImportError as error:
            raise InputError(
                f"{self.name} cannot be read ({error_text(error)}): install the package that it "
                "names"
            ) from error
        except Exception as error:
            raise InputError(
                f"{self.name} cannot be opened as an OME-Zarr ({error_text(error)}): check the "
                "name, and copy it again completely"
            ) from error

    def _store(self) -> Any:
        if isinstance(self.location, str):
            return storage.FsspecStore.from_url(self.location, read_only=True)
        if self.location.is_dir():
            return storage.LocalStore(self.location, read_only=True)
        return storage.ZipStore(self.location, mode="r")


def local_path(path: str | Path) -> Path:
    """The path of a local file, which may be given as ``file:///...``; other names as they are."""
    address = _ADDRESS.fullmatch(Path(path).as_posix())
    is_local = address is not None and address[1].lower() == "file"
    return Path(url2pathname(f"/{address[2]}")) if address and is_local else Path(path)


def is_address(path: str | Path) -> bool:
    """Whether a name is an address, such as ``https://...``."""
    return _ADDRESS.fullmatch(local_path(path).as_posix()) is not None


def is_store(path: Path) -> bool:
    """Whether a folder is an image: it ends in ``.zarr``, or is a zarr group or array."""
    return os.path.isdir(path) and (path.suffix.lower() == ".zarr" or is_zarr_folder(path))


def is_zarr_folder(path: Path) -> bool:
    """Whether a folder is a zarr group or array."""
    return any((path / marker).is_file() for marker in MARKERS)


def _in_zip(path: Path, archive: Path) -> ZarrSource | None:
    """The group of a zip file, which may be in a folder of it."""
    if not zipfile.is_zipfile(archive):
        return None
    wanted = path.relative_to(archive).as_posix() if path != archive else ""
    try:
        with zipfile.ZipFile(archive) as file:
            names = file.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        # Pixels may look like the end of a zip file.
        return None
    groups = {posixpath.dirname(name) for name in names if posixpath.basename(name) in MARKERS}
    tops = sorted(group for group in groups if not groups.intersection(_parents(group)))
    if not tops:
        return None
    if any(wanted == top or top in _parents(wanted) for top in tops):
        return ZarrSource(str(path), archive, wanted)
    if len(tops) > 1:
        named = ", ".join(f"{archive}/{top}" for top in tops[:_MOST_NAMED])
        raise InputError(f"{archive} holds {len(tops)} images: give one of {named}")
    return ZarrSource(str(path), archive, posixpath.join(tops[0], wanted).rstrip("/"))


def _parents(name: str) -> list[str]:
    """The folders above a name in a zip file; that of all is empty."""
    found = []
    while name:
        name = posixpath.dirname(name)
        found.append(name)
    return found
