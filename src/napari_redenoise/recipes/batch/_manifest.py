"""The manifest of an output folder: one JSON object per line, appended during the run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from napari_redenoise.errors import OutputError

MANIFEST = "manifest.jsonl"

Record = dict[str, Any]


class Manifest:
    """Records of the files that were denoised into a folder.

    Paths are relative to the folder, so that images and results can be moved together.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / MANIFEST
        self._folder = Path(os.path.realpath(folder))
        self._records = _read(self.path)
        self._latest: dict[Any, Record] = {}
        self._done: dict[Any, Record] = {}
        for record in self._records:
            self._note(record)

    def latest(self, output: Path) -> Record | None:
        """The last record of an output file; of a failure, the one of the result before it."""
        return self._latest.get(self.name(output))

    def models(self) -> list[Record]:
        """Records of shared models, the last one first."""
        return [one for one in reversed(self._records) if one["state"] == "trained"]

    def results(self) -> set[Path]:
        """All files that were written as results.

        Returns
        -------
        set of Path
            Resolved paths.
        """
        names = (name for one in self._records for name in one.get("results", ()))
        return {Path(os.path.realpath(self._folder / name)) for name in names}

    def name(self, path: Path) -> str:
        """The name of a file in the manifest.

        Returns
        -------
        str
            With slashes on every system; absolute for a file on another drive.
        """
        # A link is a file of its own, wherever it leads.
        path = Path(os.path.realpath(path.parent), path.name)
        try:
            return Path(os.path.relpath(path, self._folder)).as_posix()
        except ValueError:
            return path.as_posix()

    def append(self, record: Record) -> None:
        """Write a record.

        Raises
        ------
        OutputError
            When the file cannot be written.
        """
        line = json.dumps(record).encode()
        try:
            with self.path.open("ab+") as file:
                file.write(_separator(file) + line + b"\n")
        except OSError as error:
            raise OutputError(
                f"{self.path} cannot be written ({error.strerror}): choose another folder, or free "
                "some space"
            ) from error
        self._records.append(json.loads(line))
        self._note(self._records[-1])

    def _note(self, record: Record) -> None:
        output = record.get("output")
        if record["state"] == "done":
            self._done[output] = record
        # A failure leaves the result as it was: another run may have written it.
        is_failure = record["state"] == "failed"
        self._latest[output] = self._done.get(output, record) if is_failure else record


def _separator(file: Any) -> bytes:
    """A line break after a line that a killed process left incomplete."""
    if file.seek(0, os.SEEK_END) == 0:
        return b""
    file.seek(-1, os.SEEK_END)
    return b"" if file.read(1) == b"\n" else b"\n"


def _read(path: Path) -> list[Record]:
    """The records of a file; damaged lines are ignored, their files count as not done."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OutputError(
            f"{path} cannot be read ({error.strerror}): choose another folder"
        ) from error
    records = map(_parsed, lines)
    return [record for record in records if record is not None]


def _parsed(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    kinds = {"state": str, "output": str, "results": dict}
    is_record = isinstance(record, dict) and "state" in record
    if not is_record or any(
        not isinstance(record.get(k, kind()), kind) for k, kind in kinds.items()
    ):
        return None
    return dict(record)
