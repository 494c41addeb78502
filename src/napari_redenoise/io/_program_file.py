"""Networks as files that torch runs alone."""

from __future__ import annotations

import io
import json
from pathlib import Path

from napari_redenoise.config import NetworkConfig
from napari_redenoise.data import Normalisation
from napari_redenoise.errors import OutputError
from napari_redenoise.io._safe_writing import refuse_existing, write_atomically
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

    ``torch.export.load(path).module()`` takes grey levels and returns denoised grey levels, see
    `DeployedNetwork`, and needs torch alone. The file appears under its name only when it is complete.

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
        What the program takes and gives, in words; also in the file, as ``readme.txt``.

    Raises
    ------
    OutputError
        When the name does not end in ``.pt2``, or the file exists and ``overwrite`` is not set.
    """
    # Not at the top: it brings the compiler, which is slow to import.
    import torch.export

    path = Path(path)
    check_program(path, overwrite=overwrite)
    model = DeployedNetwork(network, normalisation.mean, normalisation.std).eval()
    shortest = model.stride + 1
    sides = {
        axis: torch.export.Dim(name, min=shortest, max=_LONGEST)
        for axis, name in ((2, "height"), (3, "width"))
    }
    batch = torch.export.Dim("batch", min=1, max=_LONGEST)
    # Any size but those of torch's special cases, 0 and 1.
    shape = (2, config.channels, 2 * shortest + 1, 2 * shortest + 3)
    example = torch.zeros(shape, dtype=torch.float32)
    program = torch.export.export(model, (example,), dynamic_shapes=({0: batch, **sides},))
    for node in program.graph.nodes:
        # Would tell where this package lies on this computer.
        node.meta.pop("stack_trace", None)
    words = _words(config, shortest)
    details = {"readme.txt": words, "network.json": json.dumps(config.model_dump(mode="json"))}
    # Not to the file, since torch tells a full disk by no OSError.
    data = io.BytesIO()
    torch.export.save(program, data, extra_files=details)
    with write_atomically(path, overwrite=overwrite, needs=data.tell()) as partial:
        partial.write_bytes(data.getbuffer())
    return words


def check_program(path: Path, *, overwrite: bool) -> None:
    """Refuse names under which `export_model` would not write.

    Raises
    ------
    OutputError
        See `export_model`.
    """
    if path.suffix != ".pt2":
        raise OutputError(f"{path} is not a name for an exported network: let it end in .pt2")
    refuse_existing(path, overwrite=overwrite)


def _words(config: NetworkConfig, shortest: int) -> str:
    return (
        f"takes and gives grey levels, float32 of shape (batch, {config.channels}, height, width), "
        f"height and width {shortest} or more"
    )
