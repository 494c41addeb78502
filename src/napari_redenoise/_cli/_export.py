"""``redenoise export``: a model that runs with torch alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_redenoise._cli._app import Overwrite, app
from napari_redenoise.io import check_folder, check_program, export_model, load_model
from napari_redenoise.model import should_recorrupt


@app.command()
def export(
    model: Annotated[Path, typer.Argument(help="Trained model: .safetensors")],
    output: Annotated[Path, typer.Argument(help="Program to write: .pt2")],
    overwrite: Overwrite = False,
) -> None:
    """Write MODEL as OUTPUT, a program that denoises grey levels with torch alone.

    In Python: torch.export.load("OUTPUT").module()(image)
    """
    check_program(output, overwrite=overwrite)
    check_folder(output)
    network, config, normalisation, *_ = load_model(model)
    if should_recorrupt(config):
        typer.echo(
            f"note: this model averages predictions over {config.objective.draws} draws of noise, "
            "but the exported network predicts once: its result is slightly noisier",
            err=True,
        )
    if config.objective.lines not in ("auto", "none"):
        typer.echo(
            "note: this model was trained after line correction, which the exported network does "
            "not include: use it for images without line offsets",
            err=True,
        )
    words = export_model(output, network, config.network, normalisation, overwrite=overwrite)
    typer.echo(f"wrote {output}: {words}")
