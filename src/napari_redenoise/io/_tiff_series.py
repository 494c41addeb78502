"""Series of a TIFF: which images it holds, where its metadata cannot be believed, too."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tifffile

from napari_redenoise.errors import InputError, error_text
from napari_redenoise.io._ome_companion import companion_metadata, companion_of
from napari_redenoise.io._series_choice import choose_series, sizes_in_words
from napari_redenoise.io._tiff_planes import plane_count
from napari_redenoise.io._unreadable import UNREADABLE, quiet

# Without them, pages of one kind are a series.
_NO_METADATA: dict[str, Any] = {f"is_{name}": False for name in (
    "shaped", "mmstack", "ome", "imagej", "ndtiff", "fluoview", "sis", "scanimage", "nih", "mdgel",
    "uniform")}  # fmt: skip
_MERGING_KINDS = ("imagej", "ome", "uniform")
_MOST_DECLARED = 2**20
_METAMORPH_PLANES = 33629
_WITHOUT = "they are not used for its axes, name these with --axes"


@dataclass(frozen=True)
class OpenTiff:
    """An open TIFF and its series.

    Attributes
    ----------
    file : tifffile.TiffFile
    described : tifffile.TiffFile
        The same file with all its metadata.
    series : tuple of tifffile.TiffPageSeries
    notes : tuple of str
        Where the metadata cannot be believed.
    """

    file: tifffile.TiffFile
    described: tifffile.TiffFile
    series: tuple[tifffile.TiffPageSeries, ...]
    notes: tuple[str, ...]

    def choose(self, number: int | None) -> tuple[int, tuple[str, ...]]:
        """Choose a series, see `choose_series`."""
        count = len(self.series)
        here = [index for index in range(count) if _is_in(self.file, self.series[index])]
        return choose_series(
            number,
            count,
            lambda index: _pixels(self.series[index]),
            lambda index: _in_words(self.series[index]),
            here,
        )


@contextmanager
def open_tiff(path: Path, companion: Path | None = None) -> Iterator[OpenTiff]:
    """Open a TIFF and find its series.

    Parameters
    ----------
    path : Path
    companion : Path, optional
        File of its OME metadata, if the TIFF does not name it.

    Notes
    -----
    Metadata that are damaged, or do not fit the pages, are not used: each kind of page then is a
    series.
    """
    with quiet("tifffile"), _opened(path, companion) as (file, missing):
        series, why = _trusted_series(file)
        if missing and why:
            why = f"its OME metadata lie in {missing}, which is missing: {_WITHOUT}"
        notes: tuple[str, ...] = (why,) if why else ()
        if series:
            notes += _left_out(file, series) + _broken_chain(file)
            yield OpenTiff(file, file, series, notes)
            return
        with tifffile.TiffFile(path, **_NO_METADATA) as plain:
            series = tuple(plain.series)
            if not series:
                raise InputError("it holds no image: choose another file")
            yield OpenTiff(plain, file, series, notes + _broken_chain(plain))


@contextmanager
def _opened(path: Path, companion: Path | None) -> Iterator[tuple[tifffile.TiffFile, str]]:
    """Open a TIFF with the OME metadata of its companion file, or the name of a missing one."""
    with tifffile.TiffFile(path) as file:
        companion = companion_of(file, path) or companion
        if companion is None or not companion.is_file():
            yield file, companion.name if companion else ""
            return
    with tifffile.TiffFile(path, omexml=companion_metadata(companion)) as file:
        yield file, ""


def _trusted_series(
    file: tifffile.TiffFile,
) -> tuple[tuple[tifffile.TiffPageSeries, ...], str]:
    """Series as the metadata declare them; the reason, and often none, if they do not fit."""
    try:
        series = tuple(file.series)
        for level in (level for entry in series for level in entry.levels):
            if not _is_in(file, level, whole=True):
                # tifffile would look for the pixels of another file in this one.
                level.dataoffset = None
        declared = _declared_by_imagej(file, series)
        reason = "" if declared is not None else _mistrust(file, series)
    except UNREADABLE as error:
        damage = f"its metadata are damaged ({error_text(error)}): {_WITHOUT}"
        return _planes_of_metamorph(file), damage
    if declared is not None:
        return (declared,), ""
    return (() if reason else series), reason


def _mistrust(file: tifffile.TiffFile, series: tuple[tifffile.TiffPageSeries, ...]) -> str:
    """Reason why series do not fit the pages of a file; empty if they do."""
    if len(series) == 1 and series[0].kind in _MERGING_KINDS:
        count, pages = plane_count(series[0]), len(file.pages)
        if pages > count and _are_alike(file, range(pages)):
            return f"its metadata declare {count} planes but it holds {pages}: {_WITHOUT}"
    for entry in series:
        if entry.kind in _MERGING_KINDS and not _are_alike(file, _indices(file, entry)):
            return "its pages differ from each other: each kind of page is a series"
    # The shape of a file that was cut off: tifffile keeps the first page alone.
    is_shaped = all(entry.kind == "shaped" for entry in series)
    if is_shaped and _left_out(file, series) and _are_alike(file, range(len(file.pages))):
        return f"its metadata do not fit its {len(file.pages)} pages: {_WITHOUT}"
    has_ome = "<OME" in file.pages.first.description
    if has_ome and all(entry.kind != "ome" for entry in series):
        return f"its OME metadata are damaged or lie in another file: {_WITHOUT}"
    return ""


def _declared_by_imagej(
    file: tifffile.TiffFile, series: tuple[tifffile.TiffPageSeries, ...]
) -> tifffile.TiffPageSeries | None:
    """The series that ImageJ's metadata declare in a file that holds fewer planes."""
    found = file.imagej_metadata
    if not found or len(series) != 1 or series[0].kind not in ("generic", "uniform"):
        return None
    sizes = [found.get(name, 1) for name in ("frames", "slices", "channels")]
    page, pages = file.pages.first, list(series[0])
    count = math.prod(sizes)
    if not len(pages) < count <= _MOST_DECLARED or "S" in page.axes:
        return None
    # ImageJ stores large stacks as one page, before any other.
    following = _next_offset(file, page.offset)
    is_block = following == 0 or following >= page.dataoffsets[0] + count * page.nbytes
    if not (page.is_contiguous and is_block) or len(pages) > 1:
        pages += [None] * (count - len(pages))
    return tifffile.TiffPageSeries(
        pages, (*sizes, *page.shape), page.dtype, f"TZC{page.axes}", parent=file, kind="imagej"
    )


def _planes_of_metamorph(file: tifffile.TiffFile) -> tuple[tifffile.TiffPageSeries, ...]:
    """The series of an STK with damaged metadata, whose planes follow its only page."""
    page = file.pages.first
    planes = page.tags.get(_METAMORPH_PLANES)
    if not file.is_stk or planes is None or planes.count > _MOST_DECLARED:
        return ()
    shape, axes = (planes.count, *page.shape), f"I{page.axes}"
    return (tifffile.TiffPageSeries([page], shape, page.dtype, axes, parent=file, kind="stk"),)


def _is_in(
    file: tifffile.TiffFile, series: tifffile.TiffPageSeries, *, whole: bool = False
) -> bool:
    """Whether a file has a page of a series, or all that are known."""
    # tifffile opens a file again that its metadata name by another identifier.
    path = file.filehandle.path
    known = (page for page in series._pages if page is not None)
    is_here = [page.parent.filehandle.path == path for page in known]
    return all(is_here) if whole else any(is_here)


def _indices(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> list[int]:
    """Numbers of the pages of a series in a file, without those in other files."""
    if series.dataoffset is not None and len(file.pages) < plane_count(series):
        return []
    return [page.index for page in series if page is not None and page.parent is file]


def _are_alike(file: tifffile.TiffFile, indices: Any) -> bool:
    """Whether pages have one shape, dtype and encoding; tifffile looks at few of them."""
    return len({file.pages.get(index, aspage=True).hash for index in indices}) <= 1


def _left_out(
    file: tifffile.TiffFile, series: tuple[tifffile.TiffPageSeries, ...]
) -> tuple[str, ...]:
    """Say how many pages are in no series."""
    # Pages below another page have an index of two numbers.
    levels: list[Any] = [level for entry in series for level in entry.levels]
    used = sum(plane_count(level) for level in levels if isinstance(level.keyframe.index, int))
    left = len(file.pages) - used
    if left <= 0:
        return ()
    return (f"{left} of its {len(file.pages)} pages are not named in its metadata and left out",)


def _broken_chain(file: tifffile.TiffFile) -> tuple[str, ...]:
    """Say whether the last page refers to one that is not in the file."""
    count = len(file.pages)
    last = file.pages.get(count - 1).offset
    following = _next_offset(file, last) if last else 0
    if following == 0 or any(file.pages.get(i).offset == following for i in range(count)):
        return ()
    return (f"it is cut off after page {count}, further pages are missing: copy it again",)


def _next_offset(file: tifffile.TiffFile, offset: int) -> int:
    """Offset of the page after the one at an offset; 0 if there is none."""
    tiff, handle = file.tiff, file.filehandle
    try:
        handle.seek(offset)
        (tags,) = struct.unpack(tiff.tagnoformat, handle.read(tiff.tagnosize))
        handle.seek(offset + tiff.tagnosize + tags * tiff.tagsize)
        (following,) = struct.unpack(tiff.offsetformat, handle.read(tiff.offsetsize))
    except (OSError, struct.error):
        # The list itself is cut off.
        return -1
    return int(following)


def _pixels(series: tifffile.TiffPageSeries) -> int:
    sizes = zip(series.axes, series.shape, strict=True)
    return math.prod(size for axis, size in sizes if axis != "S")


def _in_words(series: tifffile.TiffPageSeries) -> str:
    return f"{sizes_in_words(series.shape)}, {series.dtype}"
