"""Names of the files that are written: their endings, and that nothing is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from napari_redenoise.errors import OutputError
from napari_redenoise.io._ome_zarr_writing import check_zarr_output, is_zarr
from napari_redenoise.io._safe_writing import refuse_existing

OutputKind = Literal["tiff", "model", "program", "bioimageio"]

_ENDINGS: dict[OutputKind, tuple[str, ...]] = {
    "tiff": (".tif", ".tiff"),
    "model": (".safetensors",),
    "program": (".pt2",),
    "bioimageio": (".zip",),
}
_REFUSALS: dict[OutputKind, str] = {
    "tiff": "the result cannot be written as {0.name}: give a name that ends in .tif or .zarr",
    "model": "the model cannot be written as {0.name}: give a name that ends in .safetensors",
    "program": "the exported network cannot be written as {0}: give a name that ends in .pt2",
    "bioimageio": "the package of the BioImage Model Zoo cannot be written as {0}: give a name "
    "that ends in .zip",
}


def check_output(
    path: str | Path, kind: OutputKind | None = None, *, overwrite: bool = False
) -> None:
    """Check that a file can be written under a name.

    Parameters
    ----------
    path : path
    kind : str, optional
        Default a result, by the ending of its name a TIFF or an OME-Zarr.
    overwrite : bool

    Raises
    ------
    OutputError
        When the file exists and ``overwrite`` is not set, or its name is of another kind.
    """
    path = Path(path)
    if kind is None and is_zarr(path):
        check_zarr_output(path, overwrite=overwrite)
        return
    kind = kind or "tiff"
    # torch expects small letters.
    ending = path.suffix if kind == "program" else path.suffix.lower()
    if ending not in _ENDINGS[kind]:
        raise OutputError(_REFUSALS[kind].format(path))
    refuse_existing(path, overwrite=overwrite)
