"""Checkpoint files of the authors' published code, as torch.save has written them."""

from __future__ import annotations

import math
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from napari_redenoise.config import Config, TilingConfig
from napari_redenoise.data import Normalisation
from napari_redenoise.errors import ConfigError, ModelFileError
from napari_redenoise.nn import DenoisingNetwork, authors_config, load_authors_checkpoint

_REMEDY = "save the network's state_dict() alone, with torch.save"
_ZIP = b"PK\x03\x04"
# What damaged archives and damaged pickles have been seen to raise in torch.
_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


def load_authors_model(
    path: str | Path, grey_range: float = 255.0
) -> tuple[DenoisingNetwork, Config, Normalisation, dict[str, Any]]:
    """Read a checkpoint of the published code: the same four things as `load_model`.

    Parameters
    ----------
    path : path
        A file of torch.save, with weights alone.
    grey_range : float
        Grey level that the network is to see as 1; black is 0. The published code divides images
        of 8 bits by 255.

    Raises
    ------
    ConfigError
        When the range is not a positive number.
    ModelFileError
        When the file is missing, damaged, holds more than weights, or is of another network.
    """
    if not (math.isfinite(grey_range) and grey_range > 0):
        raise ConfigError(f"the range is {grey_range}: give the grey level of white, such as 255")
    path = Path(path)
    checkpoint = _read(path)
    try:
        network, config = load_authors_checkpoint(checkpoint), authors_config(checkpoint)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error
    channels = config.channels
    normalisation = Normalisation((0.0,) * channels, (float(grey_range),) * channels)
    provenance = {"imported_from": path.name, "grey_range": float(grey_range)}
    # It is to denoise as it did where it comes from: from the picture alone.
    as_published = Config(network=config, tiling=TilingConfig(mirrored=False))
    return network, as_published, normalisation, provenance


def _read(path: Path) -> Mapping[str, object]:
    """Load tensors and plain containers; whatever else a pickle can hold is refused."""
    if not path.is_file():
        raise ModelFileError(f"there is no checkpoint {path}: check the name")
    try:
        with path.open("rb") as file:
            # Only the zip archives of torch 1.6 and later, known as torch knows them: with the
            # tar files before them weights_only is not safe up to torch 2.5 (CVE-2025-32434).
            if file.read(len(_ZIP)) != _ZIP:
                raise ValueError("not a zip archive")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelFileError(
            f"{path} holds more than weights, whose unpickling could run any program, or is "
            f"damaged: {_REMEDY}"
        ) from error
    except _DAMAGE as error:
        raise ModelFileError(
            f"{path} cannot be read as a file of torch.save: copy it again, or {_REMEDY}"
        ) from error
    if not isinstance(checkpoint, Mapping):
        raise ModelFileError(f"{path} holds no state_dict: {_REMEDY}")
    return checkpoint
