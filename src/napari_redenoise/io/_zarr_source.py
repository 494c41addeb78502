"""Where an OME-Zarr is stored: a folder, a zip file, or a remote address."""

from __future__ import annotations

import posixpath
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr
from zarr import storage

from napari_redenoise.errors import InputError, error_text

MARKERS = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
"""Files that make a folder a zarr group or array."""

# A path has lost the second slash of an address; drives of Windows have one letter.
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.+)")


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

        Returns
        -------
        ZarrSource or None
        """
        path = Path(path)
        if path.is_dir():
            return cls(str(path), path) if is_zarr_folder(path) else None
        if path.exists():
            return _in_zip(path, path)
        address = _ADDRESS.fullmatch(path.as_posix())
        if address is not None:
            whole = f"{address[1]}://{address[2]}"
            return cls(whole, whole)
        archive = next((parent for parent in path.parents if parent.is_file()), None)
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
        except (LookupError, OSError, TypeError, ValueError, NotImplementedError) as error:
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


def is_zarr_folder(path: Path) -> bool:
    """Whether a folder is a zarr group or array."""
    return any((path / marker).is_file() for marker in MARKERS)


def _in_zip(path: Path, archive: Path) -> ZarrSource | None:
    """The group of a zip file, which may be in a folder of it."""
    if not zipfile.is_zipfile(archive):
        return None
    wanted = path.relative_to(archive).as_posix() if path != archive else ""
    with zipfile.ZipFile(archive) as file:
        groups = {
            posixpath.dirname(name)
            for name in file.namelist()
            if posixpath.basename(name) in MARKERS
        }
    if not groups:
        return None
    top = min(groups, key=len)
    inside = posixpath.join(top, "" if wanted == "." else wanted).rstrip("/")
    return ZarrSource(str(path), archive, inside)
