"""Whether the results of a file are up to date, new, or may be replaced."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from napari_redenoise.errors import NameTakenError
from napari_redenoise.io import check_output, is_zarr
from napari_redenoise.recipes.batch._files import BatchFile
from napari_redenoise.recipes.batch._manifest import Manifest, Record
from napari_redenoise.recipes.batch._settings import BatchSettings, file_state

Standing = Literal["current", "new", "replaceable"]


@dataclass(frozen=True)
class Standings:
    """Decides the standing of files by the manifest and their results.

    Parameters
    ----------
    manifest : Manifest
    settings : BatchSettings
    model : str or None
        SHA-256 of the shared model; empty before its training.
    """

    manifest: Manifest
    settings: BatchSettings
    model: str | None

    def of(self, file: BatchFile) -> Standing:
        """Decide the standing of a file.

        Returns
        -------
        str
            Results are ``current`` if the manifest says so; ``new`` if none exists; ``replaceable``
            if some are missing, a process was killed while it wrote them, or files may be replaced.

        Raises
        ------
        OutputError
            When a file exists that must not be replaced.
        """
        existing = [path for path in file.results.values() if os.path.lexists(path)]
        if not existing:
            return "new"
        record = self.manifest.latest(file.output)
        difference = self._difference(file, record, existing)
        if difference is None:
            return "current" if len(existing) == len(file.results) else "replaceable"
        for path in existing:
            # Folders of others are refused in any case.
            check_output(path, overwrite=True)
        if not self.settings.overwrite and not self._is_incomplete(record, existing):
            raise NameTakenError(
                f"{existing[0]} exists already{difference}: choose another folder, or allow "
                "overwriting"
            )
        return "replaceable"

    def _difference(
        self, file: BatchFile, record: Record | None, existing: Iterable[Path]
    ) -> str | None:
        """Why existing results are not up to date; None if they are."""
        if record is None or record["state"] != "done":
            return ""
        state = {"input": self.manifest.name(file.image), **file_state(file.image)}
        if any(record.get(name) != value for name, value in state.items()):
            return ", of another state of the image"
        if record.get("settings") != self.settings.of_result(self.model):
            return ", of other settings"
        sizes = record.get("results", {})
        if any(sizes.get(self.manifest.name(path)) != _size(path) for path in existing):
            return ", written by another program"
        return None

    def _is_incomplete(self, record: Record | None, existing: Iterable[Path]) -> bool:
        """Whether a process was killed while it wrote these files."""
        if record is None or record["state"] != "writing":
            return False
        return {self.manifest.name(path) for path in existing} <= set(record.get("results", {}))


def _size(path: Path) -> int | None:
    """Bytes of a file or OME-Zarr; None for anything else, such as a link that leads nowhere."""
    is_result = path.is_file() or (is_zarr(path) and path.is_dir())
    return file_state(path)["size"] if is_result else None
