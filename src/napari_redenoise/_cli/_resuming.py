"""Continuation of a killed run that writes OME-Zarr."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from napari_redenoise import __version__
from napari_redenoise._cli._results import Targets
from napari_redenoise.io import UnfinishedRun, fingerprint, is_zarr
from napari_redenoise.model import Redenoiser


def unfinished_run(
    denoiser: Redenoiser,
    targets: Targets,
    inputs: Sequence[Path | None],
    *options: object,
    by_workers: bool = False,
) -> UnfinishedRun | None:
    """Open the unfinished run of a command, new or continued; None where a result is a TIFF.

    A run is continued if everything that determines its results is the same. ``by_workers`` says
    that workers denoise, of which a continued run may have others.
    """
    if not all(map(is_zarr, targets.by_name.values())):
        return None
    identity: dict[str, Any] = {
        "versions": [__version__, torch.__version__],
        # Sums of floats depend on both.
        "device": (["workers"] if by_workers else [str(denoiser.device), torch.get_num_threads()]),
        "config": denoiser.config.model_dump(mode="json"),
        "inputs": [fingerprint(path) for path in inputs],
        "outputs": {name: str(path) for name, path in targets.by_name.items()},
        "as_source": targets.as_source,
        "options": options,
    }
    return UnfinishedRun(targets.output, identity)
