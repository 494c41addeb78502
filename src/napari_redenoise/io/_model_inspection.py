"""What a model file says of itself, read from its header without torch."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from napari_redenoise.errors import ModelFileError, error_text

SUFFIX = ".safetensors"
_SECTIONS = ("config", "normalisation", "provenance", "plan")


def inspect_model(path: Path) -> dict[str, Any]:
    """Read the header of a model file.

    Parameters
    ----------
    path : Path
        Of any version of the format.

    Returns
    -------
    dict
        Plain values: ``format``, ``bytes``, number of ``parameters``, ``config``,
        ``normalisation``, ``plan`` and ``provenance``.

    Raises
    ------
    ModelFileError
        When the file is damaged, or not a model of this package.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            sizes = [math.prod(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelFileError(
            f"{path} cannot be read as a safetensors file ({error_text(error)}): copy it again"
        ) from error
    form = header.get("format", "")
    if not form.startswith("napari-redenoise/"):
        raise ModelFileError(f"{path} is not a model of napari-redenoise: choose another file")
    try:
        sections = {name: json.loads(header.get(name, "null")) for name in _SECTIONS}
    except ValueError as error:
        raise ModelFileError(
            f"the description in {path} is damaged ({error_text(error)}): save the model again"
        ) from error
    return {
        "kind": "model",
        "file": str(path),
        "bytes": path.stat().st_size,
        "format": form,
        "parameters": sum(sizes),
        **sections,
    }
