"""Networks exported as programs of torch.export."""

from __future__ import annotations

import io
import json
from pathlib import Path

from napari_redenoise.config import NetworkConfig
from napari_redenoise.data import Normalisation
from napari_redenoise.io._output_names import check_output
from napari_redenoise.io._safe_writing import write_atomically
from napari_redenoise.nn import DenoisingNetwork, DeployedNetwork

_LONGEST = 2**16


def export_model(
    path: str | Path,
    network: DenoisingNetwork,
    config: NetworkConfig,
    normalisation: Normalisation,
    *,
    overwrite: bool = False,
) -> str:
    """Write a trained network with its normalisation as a program of `torch.export`.

    ``torch.export.load(path).module()`` maps grey levels to denoised grey levels and needs only
    torch, see `DeployedNetwork`. The file appears under its name when it is complete.

    Parameters
    ----------
    path : str or Path
        Ends in ``.pt2``.
    network : AdaReNet or SingleBranch
        On the CPU.
    config : NetworkConfig
    normalisation : Normalisation
    overwrite : bool

    Returns
    -------
    str
        A description of input and output; the file holds it as ``readme.txt``.

    Raises
    ------
    OutputError
        When the name does not end in ``.pt2``, or the file exists and ``overwrite`` is not set.
    """
    # Imports the compiler, which is slow.
    import torch.export

    path = Path(path)
    check_output(path, "program", overwrite=overwrite)
    model = DeployedNetwork(network, normalisation.mean, normalisation.std).eval()
    shortest = model.stride + 1
    sides = {
        axis: torch.export.Dim(name, min=shortest, max=_LONGEST)
        for axis, name in ((2, "height"), (3, "width"))
    }
    batch = torch.export.Dim("batch", min=1, max=_LONGEST)
    # Not 0 or 1, which torch treats as special cases.
    shape = (2, config.channels, 2 * shortest + 1, 2 * shortest + 3)
    example = torch.zeros(shape, dtype=torch.float32)
    program = torch.export.export(model, (example,), dynamic_shapes=({0: batch, **sides},))
    for node in program.graph.nodes:
        # Contains paths of this computer.
        node.meta.pop("stack_trace", None)
    description = _description(config, shortest)
    details = {
        "readme.txt": description,
        "network.json": json.dumps(config.model_dump(mode="json")),
    }
    # To memory first, since torch raises no OSError for a full disk.
    data = io.BytesIO()
    torch.export.save(program, data, extra_files=details)
    with write_atomically(path, overwrite=overwrite, needs=data.tell()) as partial:
        partial.write_bytes(data.getbuffer())
    return description


def _description(config: NetworkConfig, shortest: int) -> str:
    return (
        f"input and output are grey levels, float32 of shape (batch, {config.channels}, height, "
        f"width), height and width at least {shortest} pixels"
    )
