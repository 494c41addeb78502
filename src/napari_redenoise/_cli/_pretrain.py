"""``redenoise pretrain``: pretrained weights, from clean scenes with synthetic noise."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from napari_redenoise._cli._app import Backbone, Device, Overwrite, app
from napari_redenoise._cli._interruption import interruption
from napari_redenoise.config import Config
from napari_redenoise.errors import OutputError
from napari_redenoise.io import check_folder, check_output
from napari_redenoise.recipes import SIDE, Pretraining, Recipe

CHECKPOINT_SECONDS = 300.0
"""Seconds between two checkpoints."""


@app.command()
def pretrain(
    model: Annotated[Path, typer.Argument(help="Model file to write: .safetensors")],
    backbone: Annotated[Backbone, typer.Option(help="Network.")] = "adarenet",
    group: Annotated[str, typer.Option(help="Symmetry group: C4, D4, ...")] = "C4",
    neighbours: Annotated[
        int, typer.Option(help="Neighbouring planes of a stack on either side.", min=0, max=2)
    ] = 0,
    steps: Annotated[int, typer.Option(help="Training steps.", min=1)] = 12000,
    seed: Annotated[int, typer.Option(help="Seed of weights, scenes and noise.", min=0)] = 0,
    learning_rate: Annotated[float, typer.Option(help="Initial learning rate.")] = 2e-3,
    batch_size: Annotated[int, typer.Option(help="Patches per step.", min=1)] = 4,
    patch_size: Annotated[
        int, typer.Option(help="Side of a patch in pixels.", min=16, max=SIDE)
    ] = 96,
    scenes: Annotated[int, typer.Option(help="Largest number of clean scenes.", min=1)] = 100_000,
    photographs: Annotated[
        float, typer.Option(help="Share of photographs, 0 to 1.", min=0, max=1)
    ] = 0.3,
    begin_with: Annotated[
        Path | None,
        typer.Option(
            help="Model to start from: the network, with or without neighbours, or its branch."
        ),
    ] = None,
    keep: Annotated[
        float, typer.Option(help="Share of its weights in the result, 0 to 1.", min=0, max=1)
    ] = 0.0,
    device: Device = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume from MODEL.checkpoint, with the same settings.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Train a network on freely usable scenes with synthetic noise, and write MODEL."""
    checkpoint = model.with_suffix(".checkpoint")
    check_output(model, "model", overwrite=overwrite)
    check_folder(model)
    if checkpoint.exists() and not resume and not overwrite:
        raise OutputError(f"{checkpoint} exists: add --resume to continue its training")
    config = Config().replace(
        {
            "network.kind": backbone,
            "network.group": group,
            "network.context": neighbours,
            "training.start": "random",
            "training.steps": steps,
            "training.seed": seed,
            "training.learning_rate": learning_rate,
            "training.batch_size": batch_size,
            "training.patch_size": patch_size,
            "training.warmup_steps": 200,
            "training.ema_decay": 0.999,
        }
    )
    recipe = Recipe(scenes=scenes, photographs=photographs, kept_share=keep)
    training = Pretraining(config, recipe, device)
    if begin_with is not None:
        training.begin_with(begin_with)
    training.check()
    if resume:
        training.resume(checkpoint)
    _run(training, checkpoint)
    typer.echo(f"wrote {training.save(model, overwrite=overwrite)}")
    checkpoint.unlink(missing_ok=True)


def _run(training: Pretraining, checkpoint: Path) -> None:
    saved = time.monotonic()
    total = training.config.training.total_steps
    with interruption() as asked_to_stop, tqdm(total=total, initial=training.state.step) as bar:
        for event in training.events():
            bar.update()
            if event.note is not None:
                typer.echo(event.note, err=True)
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                training.save_checkpoint(checkpoint)
                recent = training.state.losses[-500:]
                tqdm.write(f"step {event.step}: loss {sum(recent) / len(recent):.4f}")
                saved = time.monotonic()
            if asked_to_stop.is_set():
                break
    if training.state.step < total:
        training.save_checkpoint(checkpoint)
        typer.echo(f"stopped at step {training.state.step}; continue with --resume", err=True)
        raise typer.Exit(asked_to_stop.exit_code)
