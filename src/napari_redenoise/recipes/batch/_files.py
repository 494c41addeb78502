"""Files of a batch: which images are denoised, and where their results are written."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from napari_redenoise.data import IMAGE_SUFFIXES, list_images
from napari_redenoise.errors import InputError, OutputError
from napari_redenoise.recipes.batch._manifest import Manifest

_TIFF_SUFFIXES = (".tif", ".tiff")


@dataclass(frozen=True, eq=False)
class BatchFile:
    """An image of a batch, and the files of its results.

    Attributes
    ----------
    image : Path
    results : dict
        Path by the name of an output of `Redenoiser.predict`; the first one is ``denoised``.
    """

    image: Path
    results: Mapping[str, Path]

    @property
    def output(self) -> Path:
        """File of the denoised image."""
        return self.results["denoised"]


def find_images(
    inputs: Iterable[str | Path], folders: Sequence[Path] = (), *, subfolders: bool = False
) -> dict[Path, Path]:
    """Find the images to denoise.

    Parameters
    ----------
    inputs : iterable of path
        Image files, folders of images, or patterns such as ``raw/*.tif`` and ``raw/**/*.tif``.
    folders : sequence of Path
        Folders for results. Results of this and of earlier runs are no images to denoise.
    subfolders : bool
        Whether to include images in subfolders of a folder.

    Returns
    -------
    dict
        By image, in the order of the inputs: its path relative to the common folder of all.

    Raises
    ------
    InputError
        When there are no images, or a pattern matches nothing.
    """
    inputs = list(inputs)
    found: dict[str, tuple[Path, str]] = {}
    for text in inputs:
        for image, folder in _expanded(Path(text).expanduser(), subfolders=subfolders):
            found.setdefault(os.path.abspath(image), (image, os.path.abspath(folder)))
    common = _common(folder for _, folder in found.values())
    is_result = _result_test(common, folders)
    kept = {path: one for path, one in found.items() if not is_result(Path(path).resolve())}
    if not kept:
        raise InputError(
            f"there are no images to denoise in {', '.join(map(str, inputs))}: give files, "
            f"patterns, or folders of files ending in {', '.join(IMAGE_SUFFIXES)}"
        )
    common = _common(folder for _, folder in kept.values())
    return {image: Path(os.path.relpath(path, common)) for path, (image, _) in kept.items()}


def name_results(
    images: Mapping[Path, Path],
    folder: Path,
    *,
    masks: Path | None = None,
    branches: Sequence[str] = (),
    read: Sequence[Path] = (),
) -> tuple[BatchFile, ...]:
    """Name the results of every image: the folders and names of the images, as TIFF.

    Parameters
    ----------
    images : mapping
        Result of `find_images`.
    folder : Path
        For the denoised images.
    masks : Path, optional
        Folder for the fusion masks.
    branches : sequence of str
        Branches whose outputs are written beside the denoised image.
    read : sequence of Path
        Further files that are read.

    Returns
    -------
    tuple of BatchFile

    Raises
    ------
    OutputError
        When two results have the same name, or a result would replace a file that is read.
    """
    files = tuple(
        BatchFile(image, _results(_as_tiff(relative), folder, masks, branches))
        for image, relative in images.items()
    )
    results = [path for file in files for path in file.results.values()]
    for path, count in Counter(path.resolve() for path in results).items():
        if count > 1:
            raise OutputError(
                f"two results would be written as {path}: rename one of the images, or choose "
                "another folder"
            )
    inputs = {_identity(path) for path in (*images, *read)}
    for path in results:
        if _identity(path) in inputs:
            raise OutputError(f"{path} is read by this run: choose another folder")
    return files


def _expanded(path: Path, *, subfolders: bool) -> Iterator[tuple[Path, Path]]:
    """Images of an input, each with the folder from which its place is counted."""
    # os.path instead of Path: it returns False for invalid names.
    if os.path.isdir(path):
        for image in list_images(path, subfolders=subfolders):
            yield image, path
    # An existing file may have a name like a pattern. A missing one is reported when it is read.
    elif os.path.exists(path) or not glob.has_magic(str(path)):
        yield path, path.parent
    else:
        yield from _matching(path, subfolders=subfolders)


def _matching(pattern: Path, *, subfolders: bool) -> Iterator[tuple[Path, Path]]:
    matches = sorted(map(Path, glob.glob(str(pattern), recursive=True)))
    if not matches:
        raise InputError(f"no file matches {pattern}: check the pattern")
    fixed = next(one for one in pattern.parents if not glob.has_magic(str(one)))
    for match in matches:
        for image, _ in _expanded(match, subfolders=subfolders):
            yield image, fixed


def _common(folders: Iterable[str]) -> str:
    try:
        return os.path.commonpath(list(folders) or [os.curdir])
    except ValueError as error:
        raise InputError(
            "the images lie on several drives: denoise those of each drive on their own"
        ) from error


def _result_test(common: str, folders: Sequence[Path]) -> Callable[[Path], bool]:
    """Make a test of whether a file is a result: by its folder, or by a manifest above it."""
    top, listed = Path(common).resolve(), cache(_listed_results)
    # Images below a folder for results are told from results by its manifest alone.
    inside = [one for one in (folder.resolve() for folder in folders) if top in one.parents]

    def is_result(path: Path) -> bool:
        if any(folder in path.parents for folder in inside):
            return True
        return any(path in listed(folder) for folder in path.parents)

    return is_result


def _listed_results(folder: Path) -> set[Path]:
    try:
        return Manifest(folder).results()
    except OutputError:
        # Of others: a manifest that this user may not read.
        return set()


def _as_tiff(relative: Path) -> Path:
    """The name of a result; endings are kept, because a.png and a.tif are two images."""
    is_tiff = relative.suffix.lower() in _TIFF_SUFFIXES
    return relative if is_tiff else relative.with_name(f"{relative.name}.tif")


def _results(
    relative: Path, folder: Path, masks: Path | None, branches: Sequence[str]
) -> dict[str, Path]:
    output = folder / relative
    results = {"denoised": output}
    if masks is not None:
        results["mask"] = masks / relative
    for name in branches:
        results[name] = output.with_name(f"{output.stem}-{name}{output.suffix}")
    return results


def _identity(path: Path) -> object:
    """Equal for two names of one file."""
    try:
        status = path.stat()
    except OSError:
        return path.resolve()
    return status.st_dev, status.st_ino
