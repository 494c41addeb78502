"""Files of the results of an image: their names, what they show, and their format."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_redenoise.data import ArrayLike, Planes
from napari_redenoise.io._image_file import ImageFile
from napari_redenoise.io._images import write_tiff
from napari_redenoise.io._ome_zarr_writing import is_zarr, write_ome_zarr

BRANCHES = ("standard", "equivariant")
"""Outputs of the branches in a `Result`."""

_MODEL_SUFFIX = ".redenoise.safetensors"
_LONGEST_NAME = 255
"""Bytes, of the common file systems."""


def result_paths(
    output: Path, mask: Path | None = None, *, has_branches: bool = False
) -> dict[str, Path]:
    """Files of the results by name in a `Result`; the branches lie beside the denoised image."""
    paths = {"denoised": output} if mask is None else {"denoised": output, "mask": mask}
    for name in BRANCHES if has_branches else ():
        paths[name] = output.with_name(f"{output.stem}-{name}{output.suffix}")
    return paths


def model_beside(image: Path) -> Path:
    """File of the model that is kept for an image."""
    # A free name may get a number, too.
    most = _LONGEST_NAME - len(f"-999{_MODEL_SUFFIX}")
    stem = image.stem
    if len(os.fsencode(stem)) > most:
        stem = os.fsencode(stem)[:most].decode(errors="ignore")
    return image.with_name(f"{stem}{_MODEL_SUFFIX}")


def result_type(source: ArrayLike, *, as_source: bool) -> np.dtype[Any]:
    """The type of a denoised image: float32, or as requested the integer type of its source."""
    dtype = np.dtype(source.dtype)
    return dtype if as_source and dtype.kind in "ui" else np.dtype(np.float32)


def result_like(name: str, source: ImageFile, *, as_source: bool = False) -> ImageFile:
    """The source as a result of this name shows it, with an array that takes no memory.

    A mask has no grey levels of the image, which may be displayed inverted.
    """
    shape, is_mask = source.array.shape, name == "mask"
    dtype = result_type(source.array, as_source=as_source and not is_mask)
    if is_mask:
        shape = Planes(source.array, source.axes).shape_without_channels
        source = source.without_channels()
    return replace(source, array=np.broadcast_to(np.zeros((), dtype), shape))


def bytes_needed(path: Path, like: ImageFile) -> int:
    """Bytes of a result on its disk, see `result_like`."""
    size = int(like.array.nbytes)
    # Coarser levels add a third.
    return size * 4 // 3 if is_zarr(path) else size


def lack_in_words(path: Path, lost: Iterable[str]) -> str:
    """Say what metadata a result lacks."""
    kind = "OME-Zarr" if is_zarr(path) else "TIFF"
    return f"the results lack {', '.join(lost)}, which {kind} cannot store"


def write_result(
    path: Path,
    array: ArrayLike,
    like: ImageFile,
    *,
    overwrite: bool = False,
    is_denoised: bool = False,
    provenance: dict[str, Any] | None = None,
) -> Path:
    """Write a result by the ending of its name, see `write_tiff` and `write_ome_zarr`."""
    if is_zarr(path):
        return write_ome_zarr(path, array, like, overwrite=overwrite, provenance=provenance)
    return write_tiff(path, array, like, overwrite=overwrite, is_denoised=is_denoised)
