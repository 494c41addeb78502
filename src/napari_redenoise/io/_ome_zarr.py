"""Reading of OME-Zarr: versions 0.1 to 0.5, in folders, zip files and remote stores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import zarr

from napari_redenoise.data import default_axes
from napari_redenoise.errors import InputError
from napari_redenoise.io._channels import omero_channels
from napari_redenoise.io._image_file import ImageFile
from napari_redenoise.io._lazy_images import lazy_image
from napari_redenoise.io._ome_metadata import OmeMetadata, imagej_scale, parse_multiscales
from napari_redenoise.io._zarr_source import ZarrSource

_Image = tuple[zarr.Array[Any], OmeMetadata, tuple[str, ...]]

_MOST_NAMED = 3


def read_ome_zarr(source: ZarrSource) -> ImageFile:
    """Read the finest level of an image; its pixels are read when they are indexed.

    Raises
    ------
    InputError
        When there is no image, or more than one.
    """
    node = source.open()
    if isinstance(node, zarr.Array):
        return _plain_image(node, source.name)
    try:
        array, metadata, notes = _image_of(node, _ome_of(node), source.name)
    except InputError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"the OME metadata of {source.name} is damaged ({error!r}): give one of its arrays, "
            f"as {source.name}/0"
        ) from error
    pixels = lazy_image(array, source.name, metadata.letters)
    channels = omero_channels(metadata.omero or {})
    scale = imagej_scale(metadata)
    return ImageFile(pixels, metadata.letters, *scale, notes=notes, ome=metadata, channels=channels)


def _image_of(group: Any, ome: Mapping[str, Any], name: str) -> _Image:
    """The finest level of a group, its metadata and notes."""
    if not ome.get("multiscales"):
        return _image_inside(group, ome, name)
    path = str(ome["multiscales"][0]["datasets"][0]["path"])
    array = group.get(path)
    if not isinstance(array, zarr.Array):
        raise InputError(
            f"{name} lacks the level {path}, which its multiscales name: copy it again completely"
        )
    _check_separator(array, f"{name}/{path}")
    metadata, notes = parse_multiscales(ome, array.ndim)
    others = len(ome["multiscales"]) - 1
    if others:
        notes += (f"only the first of its {others + 1} multiscales is read",)
    return array, metadata, notes


def _plain_image(array: zarr.Array[Any], name: str) -> ImageFile:
    """An array without OME metadata, such as one level."""
    _check_separator(array, name)
    axes = default_axes(array.ndim)
    named = getattr(array.metadata, "dimension_names", None) or ()
    letters = "".join(str(one).upper() for one in named)
    if len(letters) == len(set(letters)) == array.ndim and {"Y", "X"} <= set(letters):
        axes = letters
    return ImageFile(lazy_image(array, name, axes), axes)


def _image_inside(group: Any, ome: Mapping[str, Any], name: str) -> _Image:
    """The only image of a group of images.

    Raises
    ------
    InputError
        When there are several, or none.
    """
    if "bioformats2raw.layout" in {**ome, **group.attrs}:
        images = {path: node for path in _converted(group) if _is_image(node := group.get(path))}
        if len(images) == 1:
            ((path, node),) = images.items()
            return _image_of(node, _ome_of(node), f"{name}/{path}")
        raise InputError(f"{name} holds {len(images)} images: {_give(name, [*images])}")
    for kind, paths_of in (("plate", _of_plate), ("well", _of_well), ("labels", _of_labels)):
        if kind in ome:
            what = "labels and no image" if kind == "labels" else f"a {kind} and not one image"
            verb = "holds" if kind == "labels" else "is"
            raise InputError(f"{name} {verb} {what}: {_give(name, paths_of(group, ome[kind]))}")
    paths = [path for path, member in group.members() if _is_image(member)]
    raise InputError(f"{name} has no multiscales, so it is no image: {_give(name, paths)}")


def _converted(group: Any) -> list[str]:
    """Names of the images of a converted file, in its order."""
    listed = _ome_of(group["OME"]).get("series") if "OME" in group else None
    if isinstance(listed, list) and listed:
        return [str(path) for path in listed]
    return sorted((path for path in group if path.isdecimal()), key=int)


def _ome_of(group: Any) -> Mapping[str, Any]:
    attributes = dict(group.attrs)
    found = attributes.get("ome", attributes)
    return found if isinstance(found, Mapping) else {}


def _is_image(node: Any) -> bool:
    if isinstance(node, zarr.Array):
        return node.ndim >= 2
    return isinstance(node, zarr.Group) and "multiscales" in _ome_of(node)


def _of_plate(group: Any, plate: Mapping[str, Any]) -> list[str]:
    """Images of a plate; only the wells that are named are opened."""
    wells = [str(well["path"]) for well in plate["wells"]]
    named = []
    for path in wells[:_MOST_NAMED]:
        well = group.get(path)
        images = [] if well is None else _of_well(well, _ome_of(well).get("well", {}))
        named += [f"{path}/{image}" for image in images[:1]]
    return [*named, *wells[_MOST_NAMED:]]


def _of_well(_: Any, well: Mapping[str, Any]) -> list[str]:
    return [str(image["path"]) for image in well.get("images", ())]


def _of_labels(_: Any, labels: Iterable[Any]) -> list[str]:
    return [str(path) for path in labels]


def _give(name: str, paths: list[str]) -> str:
    """Advice that names some images."""
    if not paths:
        return "give another file"
    named = ", ".join(f"{name}/{path}" for path in paths[:_MOST_NAMED])
    more = f", ... ({len(paths)} in all)" if len(paths) > _MOST_NAMED else ""
    return f"give {'one of ' if len(paths) > 1 else ''}{named}{more}"


def _check_separator(array: zarr.Array[Any], name: str) -> None:
    """Refuse chunks that zarr would not find, and take for missing ones.

    Version 2 separates the numbers of a chunk by a dot unless the metadata says otherwise.
    """
    separator = getattr(array.metadata, "dimension_separator", None)
    root = getattr(array.store, "root", None)
    if separator != "." or array.ndim < 2 or not isinstance(root, Path):
        return
    if any(one.name.isdecimal() for one in (root / array.path).iterdir() if one.is_dir()):
        raise InputError(
            f"the chunks of {name} are in nested folders and its .zarray does not say so: add "
            '"dimension_separator": "/" to it'
        )
