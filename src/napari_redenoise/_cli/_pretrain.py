"""``redenoise pretrain``: the weights of the warm start, from synthetic noise over clean scenes."""

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
from napari_redenoise.io import check_folder, check_model
from napari_redenoise.recipes import SIDE, Pretraining, Recipe

KEEP_EVERY = 300.0
"""Seconds between two saved states."""


@app.command()
def pretrain(
    model: Annotated[Path, typer.Argument(help="Model file to write: .safetensors")],
    backbone: Annotated[Backbone, typer.Option(help="Network.")] = "adarenet",
    group: Annotated[str, typer.Option(help="Its symmetry: C4, D4, ...")] = "C4",
    steps: Annotated[int, typer.Option(help="Training steps.", min=1)] = 12000,
    seed: Annotated[int, typer.Option(help="Of weights, scenes and noise.", min=0)] = 0,
    learning_rate: Annotated[float, typer.Option(help="Before it falls.")] = 2e-3,
    batch_size: Annotated[int, typer.Option(help="Patches per step.", min=1)] = 4,
    patch_size: Annotated[int, typer.Option(help="Side of a patch.", min=16, max=SIDE)] = 96,
    scenes: Annotated[int, typer.Option(help="Clean scenes at most.", min=1)] = 100_000,
    pictures: Annotated[float, typer.Option(help="Share of photographs among them.")] = 0.3,
    begin_with: Annotated[
        Path | None,
        typer.Option(help="Model to begin with: the same network, or its equivariant branch."),
    ] = None,
    keep: Annotated[
        float, typer.Option(help="Share of it in the result, 0 to 1.", min=0, max=1)
    ] = 0.0,
    device: Device = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from MODEL.state, with the same settings.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Train a network on synthetic noise over scenes that anyone may train on, and write MODEL."""
    state = model.with_suffix(".state")
    check_model(model, overwrite=overwrite)
    check_folder(model)
    if state.exists() and not resume and not overwrite:
        raise OutputError(f"{state} holds a training: add --resume to go on with it")
    config = Config().replace(
        {
            "network.kind": backbone,
            "network.group": group,
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
    recipe = Recipe(scenes=scenes, pictures=pictures, kept_share=keep)
    training = Pretraining(config, recipe, device)
    if begin_with is not None:
        training.begin_with(begin_with)
    training.check()
    if resume:
        training.resume(state)
    _run(training, state)
    typer.echo(f"wrote {training.save(model, overwrite=overwrite)}")
    state.unlink(missing_ok=True)


def _run(training: Pretraining, state: Path) -> None:
    kept = time.monotonic()
    total = training.config.training.total_steps
    with interruption() as asked_to_stop, tqdm(total=total, initial=training.state.step) as bar:
        for event in training.events():
            bar.update()
            if event.note is not None:
                typer.echo(event.note, err=True)
            if time.monotonic() - kept > KEEP_EVERY:
                training.save_checkpoint(state)
                recent = training.state.losses[-500:]
                tqdm.write(f"step {event.step}: loss {sum(recent) / len(recent):.4f}")
                kept = time.monotonic()
            if asked_to_stop.is_set():
                break
    if training.state.step < total:
        training.save_checkpoint(state)
        typer.echo(f"stopped at step {training.state.step}; go on with --resume", err=True)
        raise typer.Exit(asked_to_stop.exit_code)
