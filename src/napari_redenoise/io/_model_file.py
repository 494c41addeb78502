"""Model files: safetensors with the configuration as JSON in the header.

Nothing is unpickled. The filter bases are stored with the weights, since the coefficients depend
on them.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from napari_redenoise.config import Config
from napari_redenoise.data import Normalisation
from napari_redenoise.errors import ConfigError, ModelFileError, error_text
from napari_redenoise.io._output_names import check_output
from napari_redenoise.io._safe_writing import write_atomically
from napari_redenoise.nn import DenoisingNetwork, build_network

FORMAT = "napari-redenoise/1"


def save_model(
    path: str | Path,
    network: DenoisingNetwork,
    config: Config,
    normalisation: Normalisation,
    provenance: dict[str, Any] | None = None,
    *,
    plan: dict[str, Any] | None = None,
    overwrite: bool = False,
    half: bool = False,
) -> Path:
    """Write a network, its configuration and its normalisation.

    The file appears under its name when it is complete.

    Parameters
    ----------
    path : path
        Ends in ``.safetensors``.
    network : DenoisingNetwork
    config : Config
        Settings of the training; they describe the network.
    normalisation : Normalisation
    provenance : dict, optional
        Origin of the weights, as plain values.
    plan : dict, optional
        The training plan, as plain values.
    overwrite : bool
    half : bool
        Store weights in half precision. Filter bases keep theirs, so the network remains exactly
        equivariant. Loaded networks compute in float32.

    Raises
    ------
    OutputError
        When the file exists and ``overwrite`` is not set, or its name does not end in
        ``.safetensors``.
    """
    path = Path(path)
    check_output(path, "model", overwrite=overwrite)
    tensors = {name: value.contiguous().cpu() for name, value in network.state_dict().items()}
    if half:
        halved = ((name, value.detach().half()) for name, value in network.named_parameters())
        tensors |= {name: value.contiguous().cpu() for name, value in halved}
    header = {
        "format": FORMAT,
        "config": config.model_dump_json(),
        "normalisation": json.dumps(asdict(normalisation)),
        "provenance": json.dumps(provenance or {}),
        "plan": json.dumps(plan),
    }
    size = sum(value.nbytes for value in tensors.values())
    with write_atomically(path, overwrite=overwrite, needs=size) as partial:
        save_file(tensors, partial, header)
    return path


class ModelFile(NamedTuple):
    """Content of a model file, see `save_model`."""

    network: DenoisingNetwork
    config: Config
    normalisation: Normalisation
    provenance: dict[str, Any]
    plan: dict[str, Any] | None


def load_model(path: str | Path) -> ModelFile:
    """Read a model file; the network is on the CPU, in evaluation mode.

    Raises
    ------
    ModelFileError
        When the file is missing, damaged, or not a model of this package.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"there is no model file {path}: check the name")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelFileError(
            f"{path} cannot be read as a safetensors file ({error_text(error)}): copy it again"
        ) from error
    if header.get("format") != FORMAT:
        raise ModelFileError(
            f"{path} is not a model of this version of napari-redenoise "
            f"(format {header.get('format')!r}, expected {FORMAT!r}): choose another file"
        )
    try:
        config = Config.from_json(header["config"])
        normalisation = _normalisation(header["normalisation"], config.network.channels)
        provenance = dict(json.loads(header["provenance"]))
        plan = json.loads(header.get("plan", "null"))
        network = build_network(config.network, torch.Generator(), torch.float32)
        network.load_state_dict(tensors)
    except (ConfigError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelFileError(
            f"{path} does not fit its own description ({error_text(error)}): save the model again"
        ) from error
    return ModelFile(network.eval(), config, normalisation, provenance, plan)


def _normalisation(text: str, channels: int) -> Normalisation:
    """Read a normalisation, one mean and standard deviation per channel."""
    values = json.loads(text)
    mean, std = (tuple(float(value) for value in values[key]) for key in ("mean", "std"))
    if not len(mean) == len(std) == channels:
        raise ValueError(
            f"expected a mean and a standard deviation for each of {channels} channel(s)"
        )
    return Normalisation(mean, std)
