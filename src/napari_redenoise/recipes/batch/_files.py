"""Files of a batch: which images are denoised, and where their results are written."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from napari_redenoise.data import IMAGE_SUFFIXES
from napari_redenoise.errors import InputError, OutputError
from napari_redenoise.io import (
    exceeds_tiff,
    is_address,
    is_own_result,
    is_store,
    is_zarr,
    ome_files,
    result_paths,
)
from napari_redenoise.recipes.batch._manifest import Manifest
from napari_redenoise.recipes.batch._settings import BatchSettings, OutputFormat

_TIFF_SUFFIXES = (".tif", ".tiff")
_SUFFIXES = (*IMAGE_SUFFIXES, ".zarr", ".nd2", ".lif", ".czi")


class NoImagesError(InputError):
    """No name in the folders ends as those of images do."""


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
    inputs: Iterable[str | Path],
    folders: Sequence[Path] = (),
    *,
    subfolders: bool = False,
    pattern: str | None = None,
) -> dict[Path, Path]:
    """Find the images to denoise.

    Parameters
    ----------
    inputs : iterable of path
        Image files, folders of images, or patterns such as ``raw/*.tif`` and ``raw/**/*.tif``.
    folders : sequence of Path
        Folders for results. Results of this and of earlier runs are no images to denoise, and of
        these folders only images that ``inputs`` names.
    subfolders : bool
        Whether to include images in subfolders of a folder.
    pattern : str, optional
        Names of the images in a folder, such as ``*.tif``, in small or capital letters. By default
        those that end as images do.

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
    named = set()
    for text in inputs:
        # A file may have such a name, and a name may be of no user.
        path = Path(text if os.path.lexists(text) else os.path.expanduser(text))
        for image, folder in _expanded(path, subfolders, pattern):
            found.setdefault(os.path.abspath(image), (image, os.path.abspath(folder)))
            if image == path:
                named.add(os.path.abspath(image))
    common = _common(folder for _, folder in found.values())
    is_result = _result_test(common, folders)
    kept = {
        path: one
        for path, one in found.items()
        if not is_result(Path(os.path.realpath(path)), path in named)
    }
    if not kept:
        places = ", ".join(map(str, inputs))
        if pattern is not None:
            raise InputError(
                f"there are no images to denoise in {places} whose names match {pattern}: check "
                "the pattern"
            )
        raise NoImagesError(
            f"there are no images to denoise in {places}: give files, patterns, or folders of "
            f"files ending in {', '.join(_SUFFIXES)}"
        )
    common = _common(folder for _, folder in kept.values())
    return {image: Path(os.path.relpath(path, common)) for path, (image, _) in kept.items()}


def name_results(
    images: Mapping[Path, Path], folder: Path, settings: BatchSettings
) -> tuple[BatchFile, ...]:
    """Name the results of every image: the folders and names of the images, in their format.

    Parameters
    ----------
    images : mapping
        Result of `find_images`.
    folder : Path
        For the denoised images.
    settings : BatchSettings

    Raises
    ------
    OutputError
        When two results have the same name, or a result would replace a file that is read.
    """
    files = tuple(
        _named(image, _renamed(relative, _format(image, settings)), folder, settings)
        for image, relative in images.items()
    )
    results = [path for file in files for path in file.results.values()]
    for name, count in Counter(map(os.path.realpath, results)).items():
        if count > 1:
            raise OutputError(
                f"two results would be written as {name}: rename one of the images, or choose "
                "another folder"
            )
    inputs = {_identity(path) for path in _all_read((*images, *settings.read_files), results)}
    for path in results:
        if _identity(path) in inputs:
            raise OutputError(f"{path} is read by this run: choose another folder")
    return files


def _all_read(read: Sequence[Path], results: Sequence[Path]) -> Iterator[Path]:
    """Files that are read, with the further ones of their images that results might replace."""
    yield from read
    places = {os.path.realpath(path.parent) for path in results if os.path.lexists(path)}
    for path in read:
        if os.path.realpath(path.parent) in places:
            yield from ome_files(path)


def _expanded(path: Path, subfolders: bool, pattern: str | None) -> Iterator[tuple[Path, Path]]:
    """Images of an input, each with the folder from which its place is counted."""
    # os.path instead of Path: it returns False for invalid names.
    if is_address(path):
        raise InputError(
            f"{path} is an address, and a batch takes files: denoise it on its own, redenoise "
            "denoise ADDRESS RESULT"
        )
    if os.path.isdir(path) and not is_store(path):
        for image in _listed(path, subfolders, pattern):
            yield image, path
    # An existing file may have a name like a pattern. A missing one is reported when it is read.
    elif os.path.exists(path) or not glob.has_magic(str(path)):
        yield path, path.parent
    else:
        yield from _matching(path, subfolders, pattern)


def _matching(names: Path, subfolders: bool, pattern: str | None) -> Iterator[tuple[Path, Path]]:
    # Folders that exist may have names like patterns.
    fixed = next(one for one in names.parents if os.path.isdir(one) or one == one.parent)
    rest = str(names.relative_to(fixed))
    matches = sorted(Path(fixed, one) for one in glob.glob(rest, root_dir=fixed, recursive=True))
    if not matches:
        raise InputError(f"no file matches {names}: check the pattern")
    for match in matches:
        for image, _ in _expanded(match, subfolders, pattern):
            yield image, fixed


def _listed(folder: Path, subfolders: bool, pattern: str | None) -> list[Path]:
    """Images of a folder, sorted, without hidden ones; an OME-Zarr is one image."""
    found: list[Path] = []
    for top, inside, files in os.walk(folder, onerror=_refuse_folder):
        stores = [name for name in inside if is_store(Path(top, name))]
        found += [
            Path(top, name)
            for name in (*files, *stores)
            if _is_image(name, pattern, is_store=name in stores)
        ]
        inside[:] = [
            name
            for name in inside
            if subfolders and name not in stores and not name.startswith(".")
        ]
    return sorted(found)


def _refuse_folder(error: OSError) -> None:
    raise InputError(
        f"{error.filename} cannot be listed ({error.strerror}): check its permissions"
    ) from error


def _is_image(name: str, pattern: str | None, *, is_store: bool) -> bool:
    if name.startswith("."):
        return False
    if pattern is not None:
        return fnmatchcase(name.lower(), pattern.lower())
    return is_store or name.lower().endswith(_SUFFIXES)


def _common(folders: Iterable[str]) -> str:
    try:
        return os.path.commonpath(list(folders) or [os.curdir])
    except ValueError as error:
        raise InputError(
            "the images lie on several drives: denoise those of each drive on their own"
        ) from error


def _result_test(common: str, folders: Sequence[Path]) -> Callable[[Path, bool], bool]:
    """Make a test of whether a file is a result, which knows the folders and manifests above it.

    A file that was named is not taken for a result by its folder alone.
    """
    top, listed = Path(os.path.realpath(common)), cache(_listed_results)
    # Images below a folder for results are told from results by its manifest alone.
    inside = [one for one in map(Path, map(os.path.realpath, folders)) if top in one.parents]

    def is_result(path: Path, is_named: bool) -> bool:
        is_inside = any(folder in path.parents for folder in inside)
        if is_inside and (not is_named or is_own_result(path)):
            return True
        return any(path in listed(folder) for folder in path.parents)

    return is_result


def _listed_results(folder: Path) -> set[Path]:
    try:
        return Manifest(folder).results()
    except OutputError:
        # Of others: a manifest that this user may not read.
        return set()


def _format(image: Path, settings: BatchSettings) -> OutputFormat | None:
    if settings.output_format is not None:
        return settings.output_format
    is_large = exceeds_tiff(image, settings.axes, as_source=settings.as_source)
    return "zarr" if os.path.isdir(image) or is_large else None


def _renamed(relative: Path, output_format: OutputFormat | None) -> Path:
    """The name of a result; other endings are kept, because a.png and a.tif are two images."""
    is_tiff = relative.suffix.lower() in _TIFF_SUFFIXES
    if is_zarr(relative):
        return relative.with_name(f"{relative.name}.tif") if output_format == "tiff" else relative
    if output_format == "zarr":
        return relative.with_name(f"{relative.stem if is_tiff else relative.name}.zarr")
    return relative if is_tiff else relative.with_name(f"{relative.name}.tif")


def _named(image: Path, relative: Path, folder: Path, settings: BatchSettings) -> BatchFile:
    mask = None if settings.masks is None else settings.masks / relative
    paths = result_paths(folder / relative, mask, has_branches=settings.has_branches)
    return BatchFile(image, paths)


def _identity(path: Path) -> object:
    """Equal for two names of one file."""
    try:
        status = path.stat()
    except OSError:
        return os.path.realpath(path)
    return status.st_dev, status.st_ino
