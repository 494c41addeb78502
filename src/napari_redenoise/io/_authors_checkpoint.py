"""Checkpoint files of the authors' published code, written by torch.save."""

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
# Raised by torch for damaged archives and pickles.
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
    """Read a checkpoint of the published code.

    Parameters
    ----------
    path : path
        A file written by torch.save that holds only weights.
    grey_range : float
        Grey level that the network sees as 1; black is 0. The published code divides 8-bit images
        by 255.

    Returns
    -------
    network, config, normalisation, provenance
        As in `load_model`.

    Raises
    ------
    ConfigError
        When the range is not a positive number.
    ModelFileError
        When the file is missing or damaged, holds more than weights, or fits another network.
    """
    if not (math.isfinite(grey_range) and grey_range > 0):
        raise ConfigError(
            f"the grey range {grey_range} is not positive: give the grey level of white, for "
            "example 255"
        )
    path = Path(path)
    checkpoint = _read(path)
    try:
        network, config = load_authors_checkpoint(checkpoint), authors_config(checkpoint)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error
    channels = config.channels
    normalisation = Normalisation((0.0,) * channels, (float(grey_range),) * channels)
    provenance = {"imported_from": path.name, "grey_range": float(grey_range)}
    # As in the published code: without test-time augmentation.
    as_published = Config(network=config, tiling=TilingConfig(tta=False))
    return network, as_published, normalisation, provenance


def _read(path: Path) -> Mapping[str, object]:
    """Load tensors and plain containers; refuse anything else that a pickle may hold."""
    if not path.is_file():
        raise ModelFileError(f"there is no checkpoint {path}: check the name")
    try:
        with path.open("rb") as file:
            # Only zip archives of torch 1.6 and later: for the older tar files weights_only is not
            # safe up to torch 2.5 (CVE-2025-32434).
            if file.read(len(_ZIP)) != _ZIP:
                raise ValueError("not a zip archive")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelFileError(
            f"{path} is damaged or holds more than weights, and unpickling it could run any "
            f"program: {_REMEDY}"
        ) from error
    except _DAMAGE as error:
        raise ModelFileError(
            f"{path} cannot be read as a torch.save file: copy it again, or {_REMEDY}"
        ) from error
    if not isinstance(checkpoint, Mapping):
        raise ModelFileError(f"{path} holds no state_dict: {_REMEDY}")
    return checkpoint
