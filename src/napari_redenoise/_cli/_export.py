"""``redenoise export``: a model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_redenoise._cli._app import Overwrite, app
from napari_redenoise.io import check_place
from napari_redenoise.model import (
    ExportFormat,
    Redenoiser,
    check_export,
    export_cautions,
    export_denoiser,
)


@app.command()
def export(
    model: Annotated[Path, typer.Argument(help="Trained model: .safetensors")],
    output: Annotated[
        Path, typer.Argument(help="File to write: .pt2, or .zip for the BioImage Model Zoo")
    ],
    form: Annotated[
        ExportFormat | None,
        typer.Option(
            "--format",
            help="program: runs with torch alone; bioimageio: package of the BioImage Model Zoo; "
            "default: by the ending.",
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write MODEL as OUTPUT, which denoises grey levels in other programs.

    In Python, a program is run by: torch.export.load("OUTPUT").module()(image)
    """
    check_export(output, form, overwrite=overwrite)
    check_place(output)
    denoiser = Redenoiser.load(model, "cpu")
    for caution in export_cautions(denoiser.session.trained_plan().config):
        typer.echo(f"note: {caution}", err=True)
    words = export_denoiser(denoiser, output, form, overwrite=overwrite)
    typer.echo(f"wrote {output}: {words}")
