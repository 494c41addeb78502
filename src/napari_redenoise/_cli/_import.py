"""``redenoise import-checkpoint``: a checkpoint of the authors' code becomes a model file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_redenoise._cli._app import Overwrite, app
from napari_redenoise.errors import OutputError
from napari_redenoise.io import check_output, check_place, load_authors_model, save_model


@app.command("import-checkpoint")
def import_checkpoint(
    checkpoint: Annotated[
        Path, typer.Argument(help="Checkpoint of the published AdaReNet code: .pt")
    ],
    model: Annotated[Path, typer.Argument(help="Model file to write: .safetensors")],
    grey_range: Annotated[
        float,
        typer.Option("--range", help="Grey level of white in the images to denoise."),
    ] = 255.0,
    overwrite: Overwrite = False,
) -> None:
    """Read CHECKPOINT of the published AdaReNet code and write it as MODEL."""
    if model.exists() and checkpoint.exists() and model.samefile(checkpoint):
        raise OutputError(f"{model} is the checkpoint itself: choose another name")
    check_output(model, "model", overwrite=overwrite)
    check_place(model)
    network, config, normalisation, provenance = load_authors_model(checkpoint, grey_range)
    save_model(model, network, config, normalisation, provenance, overwrite=overwrite)
    typer.echo(f"wrote {model}")
