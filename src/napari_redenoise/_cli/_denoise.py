"""``redenoise denoise``: one image or stack, trained on its own pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_redenoise._cli._app import (
    Backbone,
    Device,
    Overwrite,
    Seed,
    Steps,
    app,
    check_targets,
    make_config,
    predict_all,
    train_on,
)
from napari_redenoise._denoiser import Redenoiser
from napari_redenoise.errors import ConfigError
from napari_redenoise.io import read_image, write_tiff


@app.command()
def denoise(
    image: Annotated[Path, typer.Argument(help="Noisy image or stack: TIFF, PNG or JPEG.")],
    output: Annotated[Path, typer.Argument(help="Denoised image to write: .tif")],
    axes: Annotated[
        str | None,
        typer.Option(help="One letter per axis, e.g. TYX, ZCYX; Y, X: plane; C: channels."),
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="Also write the fusion mask: .tif")] = None,
    model: Annotated[
        Path | None, typer.Option(help="Use this trained model and do not train.")
    ] = None,
    save_model: Annotated[
        Path | None, typer.Option(help="Keep the trained model: .safetensors")
    ] = None,
    backbone: Annotated[Backbone | None, typer.Option(help="Network; default adarenet.")] = None,
    steps: Steps = None,
    seed: Seed = None,
    device: Device = None,
    overwrite: Overwrite = False,
) -> None:
    """Train on the noisy pixels of IMAGE and write the denoised image to OUTPUT."""
    check_targets(image, [output, mask], save_model, overwrite=overwrite)
    if model is not None:
        if steps is not None or backbone is not None or seed is not None or save_model is not None:
            raise ConfigError(
                "--model does not train: leave --backbone, --steps, --seed and --save-model out"
            )
        denoiser = Redenoiser.load(model, device)
    else:
        denoiser = Redenoiser(make_config(backbone, steps, seed), device)
    if mask is not None and denoiser.config.network.kind != "adarenet":
        raise ConfigError("only the adarenet has a fusion mask: leave --mask out")
    source = read_image(image, axes)
    if model is None:
        train_on(denoiser, source)
    if save_model is not None:
        typer.echo(f"wrote {denoiser.save(save_model, overwrite=overwrite)}")
    result = predict_all(denoiser, source)
    write_tiff(output, result.denoised, source, overwrite=overwrite)
    typer.echo(f"wrote {output}")
    if mask is not None and result.mask is not None:
        write_tiff(mask, result.mask, source, overwrite=overwrite)
        typer.echo(f"wrote {mask}")
