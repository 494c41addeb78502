"""OME metadata in another file than the pixels."""

from __future__ import annotations

import re
from pathlib import Path
from xml.sax.saxutils import unescape

import tifffile

from napari_redenoise.errors import InputError
from napari_redenoise.io._unreadable import UNREADABLE, quiet

_METADATA_FILE = re.compile(r"<(?:\w+:)?BinaryOnly\b[^>]*?\bMetadataFile\s*=\s*[\"']([^\"']+)[\"']")
_FILE_NAME = re.compile(r"<(?:\w+:)?UUID\b[^>]*?\bFileName\s*=\s*[\"']([^\"']+)[\"']")
_BEGINNING = 4096


def companion_of(file: tifffile.TiffFile, path: Path) -> Path | None:
    """The file beside a TIFF that holds its OME metadata, which may be missing.

    Parameters
    ----------
    file : tifffile.TiffFile
    path : Path
        Of the TIFF.

    Returns
    -------
    Path or None
        None if the metadata are in the TIFF, or there are none.
    """
    found = _METADATA_FILE.search(file.pages.first.description)
    return None if found is None else _beside(path, found[1])


def companion_metadata(companion: Path) -> str:
    """OME metadata of a companion file, which may be a TIFF."""
    with companion.open("rb") as file:
        is_xml = file.read(1) == b"<"
    if is_xml:
        return companion.read_text(encoding="utf-8", errors="replace")
    with tifffile.TiffFile(companion) as tiff:
        return tiff.ome_metadata or ""


def is_companion(path: Path) -> bool:
    """Whether a file is OME metadata without pixels."""
    with path.open("rb") as file:
        begin = file.read(_BEGINNING)
    return begin.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<") and b"<OME" in begin


def first_tiff(companion: Path) -> Path:
    """The first TIFF that a companion file names and that is beside it.

    Raises
    ------
    InputError
        When there is none.
    """
    names = _FILE_NAME.findall(companion_metadata(companion))
    files = (_beside(companion, name) for name in dict.fromkeys(names))
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise InputError(
            f"it is OME metadata without pixels, and none of the {len(set(names))} files that it "
            "names is beside it: copy them into its folder"
        )
    return found


def ome_files(path: Path) -> list[Path]:
    """Further files of the image of a TIFF or companion file, as its OME metadata names them.

    Returns
    -------
    list of Path
        Those that exist; none if there are no readable OME metadata.
    """
    try:
        if is_companion(path):
            xml, beside = companion_metadata(path), []
        else:
            with quiet("tifffile"), tifffile.TiffFile(path) as file:
                companion = companion_of(file, path)
                xml = file.ome_metadata or ""
            beside = [companion] if companion is not None and companion.is_file() else []
            if beside:
                xml = companion_metadata(beside[0])
    except UNREADABLE:
        return []
    named = [_beside(path, name) for name in dict.fromkeys(_FILE_NAME.findall(xml))]
    return [one for one in (*beside, *named) if one.is_file() and one.name != path.name]


def _beside(path: Path, name: str) -> Path:
    return path.with_name(Path(unescape(name)).name)
