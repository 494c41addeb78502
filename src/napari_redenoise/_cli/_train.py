"""``redenoise train``: train a network on a folder of clean images with added noise."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from tqdm import tqdm

from napari_redenoise._cli._app import AsJson, Backbone, Device, app
from napari_redenoise._cli._folders import Subfolders, left_out, refuse_among_images
from napari_redenoise._cli._interruption import Interruption, interruption
from napari_redenoise._cli._json_events import event_fields, finite_or_none, with_json_events
from napari_redenoise.config import Config, FolderConfig, NoiseKind, TrainedObjective
from napari_redenoise.devices import get_device
from napari_redenoise.errors import ConfigError, OutputError
from napari_redenoise.io import check_folder, write_atomically
from napari_redenoise.recipes import EpochDone, FolderTraining
from napari_redenoise.training import StepDone

CHECKPOINT = "training-checkpoint.safetensors"
MODEL = "model.safetensors"
STATISTICS = "statistics.csv"
PLOTS = {"loss": "loss.png", "psnr": "psnr.png"}
COLUMNS = ("epoch", "loss", "noisy_psnr", "psnr", "learning_rate", "seconds")


@app.command()
@with_json_events
def train(
    train_dir: Annotated[Path, typer.Option(help="Folder of clean images: png, jpg, tif.")],
    ckpt_save_path: Annotated[
        Path, typer.Option(help="Folder for models, checkpoint and statistics.")
    ],
    train_size: Annotated[int, typer.Option(help="Largest number of images.", min=1)] = 50000,
    valid_dir: Annotated[
        Path | None, typer.Option(help="Folder of clean images for validation.")
    ] = None,
    valid_size: Annotated[
        int, typer.Option(help="Largest number of validation images.", min=1)
    ] = 24,
    ckpt_overwrite: Annotated[
        bool, typer.Option(help="Keep the model of the last epoch, not one per epoch.")
    ] = False,
    nb_epochs: Annotated[
        int,
        typer.Option(
            help="Epochs, of one crop per image each. With --resume, more epochs extend the run.",
            min=1,
        ),
    ] = 40,
    batch_size: Annotated[int, typer.Option(help="Crops per step.", min=1)] = 4,
    crop_size: Annotated[int, typer.Option(help="Side of the crops in pixels.", min=8)] = 256,
    loss: Annotated[Literal["l1", "l2"], typer.Option(help="Training loss.")] = "l2",
    learning_rate: Annotated[
        float | None, typer.Option(help="Default: 2e-3, for the standard backbone 1e-3.")
    ] = None,
    noise_type: Annotated[NoiseKind, typer.Option(help="Kind of the added noise.")] = "gaussian",
    noise_param: Annotated[
        float,
        typer.Option(
            help="UPPER END of the noise level, drawn for every crop: standard deviation "
            "(gaussian), grey levels per photon (poisson), or both; grey levels are 0 to 255."
        ),
    ] = 50.0,
    valid_noise_param: Annotated[
        float | None,
        typer.Option(help="Noise level of the validation; default: half of --noise-param."),
    ] = None,
    clean_targets: Annotated[
        bool, typer.Option("--clean-targets", help="Train with the clean crops as targets.")
    ] = False,
    objective: Annotated[
        TrainedObjective, typer.Option(help="Objective on the noisy crops.")
    ] = "noise2noise",
    backbone: Annotated[Backbone, typer.Option(help="Network.")] = "adarenet",
    group: Annotated[str, typer.Option(help="Symmetry group: C4, C8, D4, ...")] = "C4",
    seed: Annotated[int, typer.Option(help="Seed of weights, crops and noise.", min=0)] = 0,
    cuda: Annotated[
        bool, typer.Option("--cuda", help="Use a CUDA device if there is one.")
    ] = False,
    device: Device = None,
    plot_stats: Annotated[
        bool, typer.Option("--plot-stats", help="Also plot loss and PSNR by epoch.")
    ] = False,
    report_interval: Annotated[
        int, typer.Option(help="Steps between two reports of the loss.", min=1)
    ] = 1250,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the training in --ckpt-save-path.")
    ] = False,
    subfolders: Subfolders = False,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Threads that read images and add noise; results do not depend on it. "
            "Default: 4, at most the cores minus 1.",
            min=0,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train on a folder of clean images with added noise, as in the AdaReNet paper."""
    if cuda and device is not None:
        raise ConfigError("--cuda and --device both name a device: omit one of them")
    config = Config().replace(
        {
            "network.kind": backbone,
            "network.group": group,
            "objective.kind": objective,
            "training.batch_size": batch_size,
            "training.patch_size": crop_size,
            "training.loss": loss,
            "training.learning_rate": learning_rate,
            "training.seed": seed,
        }
    )
    folder = FolderConfig(
        epochs=nb_epochs,
        train_size=train_size,
        valid_size=valid_size,
        noise_type=noise_type,
        noise_param=noise_param,
        valid_noise_param=valid_noise_param,
        clean_targets=clean_targets,
        subfolders=subfolders,
    )
    if cuda and get_device().type != "cuda":
        # As in the authors' code; --device cuda fails instead.
        typer.echo(f"there is no CUDA device: training on {get_device()}", err=True)
    for images in (train_dir, valid_dir):
        if images is not None:
            refuse_among_images(ckpt_save_path, images, subfolders=subfolders)
    training = FolderTraining(config, folder, train_dir, valid_dir, device, workers)
    _prepare(training, ckpt_save_path, resume=resume)
    with interruption(as_json=as_json) as asked:
        _introduce(training, asked)
        _run(
            training,
            ckpt_save_path,
            report_interval,
            asked,
            one_model=ckpt_overwrite,
            plot=plot_stats,
        )
        if training.state.step < training.config.training.total_steps:
            asked.say(f"stopped at step {training.state.step}; continue with --resume", err=True)
            raise typer.Exit(asked.exit_code)
        asked.say(f"wrote {ckpt_save_path}")


def _prepare(training: FolderTraining, folder: Path, *, resume: bool) -> None:
    """Resume a training, or refuse a folder that holds one."""
    check_folder(folder / CHECKPOINT)
    if resume:
        training.resume(folder / CHECKPOINT)
        finished = training.state.step // training.steps_per_epoch
        _write_statistics(
            folder, [row for row in _statistics(folder) if row["epoch"] in _numbers(finished)]
        )
        return
    names = (CHECKPOINT, STATISTICS, MODEL, *PLOTS.values())
    if any((folder / name).exists() for name in names) or any(folder.glob("epoch-*.safetensors")):
        raise OutputError(
            f"{folder} holds a training: choose another folder, or add --resume to continue it"
        )


def _introduce(training: FolderTraining, asked: Interruption) -> None:
    folder, config = training.folder, training.config
    images, steps = training.images, config.training.total_steps
    asked.emit("plan", plan=_plan(training))
    asked.say(
        f"{len(images)} images of {images.channels} channel(s), "
        f"{training.steps_per_epoch} steps per epoch, {steps} in all; "
        f"{config.objective.kind}, {config.network.kind}, on {training.device}"
    )
    asked.say(
        f"{folder.noise_type} noise of level 0 to {folder.noise_param:g} in training, "
        f"{folder.valid_level:g} in validation"
    )
    skipped = [
        why for part in (images, training.validation) if part for why in part.skipped.values()
    ]
    if skipped:
        asked.say(left_out("skipped", skipped), err=True)
    if training.state.step >= steps:
        asked.say(f"all {folder.epochs} epochs are done: give more --nb-epochs to extend the run")


def _plan(training: FolderTraining) -> dict[str, Any]:
    """Settings and sizes of a training, as plain values."""
    return {
        "config": training.config.model_dump(mode="json"),
        "folder": training.folder.model_dump(mode="json"),
        "images": len(training.images),
        "channels": training.images.channels,
        "steps_per_epoch": training.steps_per_epoch,
        "device": str(training.device),
    }


def _run(
    training: FolderTraining,
    folder: Path,
    interval: int,
    asked: Interruption,
    *,
    one_model: bool,
    plot: bool,
) -> None:
    steps = training.config.training.total_steps
    stream = asked.bar_stream()
    with tqdm(total=steps, initial=training.state.step, unit="step", file=stream) as bar:
        for event in training.events():
            if isinstance(event, StepDone):
                bar.update()
                _report_step(training, event, interval, asked)
                # Not after the last step of an epoch: its validation follows.
                if asked.is_set() and event.step % training.steps_per_epoch:
                    break
                continue
            bar.clear()
            _report_epoch(event, asked)
            asked.emit("written", path=str(_keep(training, event, folder, one_model=one_model)))
            if plot:
                plot_statistics(folder)
            if asked.is_set():
                break
    training.save_checkpoint(folder / CHECKPOINT)


def _report_step(
    training: FolderTraining, event: StepDone, interval: int, asked: Interruption
) -> None:
    asked.emit(**event_fields(event))
    if event.note is not None:
        asked.say(event.note, err=True)
    if event.step % interval == 0 and not asked.as_json:
        recent = training.state.losses[-interval:]
        tqdm.write(f"step {event.step}: loss {sum(recent) / len(recent):.4f}")


def _report_epoch(event: EpochDone, asked: Interruption) -> None:
    numbers = {name: finite_or_none(float(getattr(event, name))) for name in COLUMNS[1:]}
    asked.emit("epoch", epoch=event.epoch, epochs=event.epochs, **numbers)
    if not asked.as_json:
        tqdm.write(_sentence(event))
    if event.unreadable:
        asked.say(left_out("unreadable and replaced by others", event.unreadable), err=True)


def _sentence(event: EpochDone) -> str:
    valid = (
        ""
        if math.isnan(event.psnr)
        else f", PSNR {event.noisy_psnr:.2f} dB noisy, {event.psnr:.2f} dB denoised"
    )
    return (
        f"epoch {event.epoch} of {event.epochs}: loss {event.loss:.4f}{valid}, "
        f"{event.seconds:.0f} s"
    )


def _keep(training: FolderTraining, event: EpochDone, folder: Path, *, one_model: bool) -> Path:
    """Write the model, which is returned, the statistics, and the checkpoint to resume from."""
    name = MODEL if one_model else f"epoch-{event.epoch:03d}.safetensors"
    model = training.save_model(folder / name, overwrite=True)
    row = {column: f"{getattr(event, column):.6g}" for column in COLUMNS}
    _write_statistics(folder, [*_statistics(folder), row])
    training.save_checkpoint(folder / CHECKPOINT)
    return model


def _numbers(epochs: int) -> list[str]:
    return [str(number) for number in range(1, epochs + 1)]


def _statistics(folder: Path) -> list[dict[str, str]]:
    path = folder / STATISTICS
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _write_statistics(folder: Path, rows: list[dict[str, str]]) -> None:
    with write_atomically(folder / STATISTICS) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def plot_statistics(folder: Path) -> None:
    """Draw loss and PSNR by epoch from the statistics."""
    # Not at the top, because matplotlib takes longer to load than most commands take to run.
    from matplotlib.figure import Figure

    found = _statistics(folder)
    epochs = [float(row["epoch"]) for row in found]
    for name, columns, label in (
        ("loss", ("loss",), "training loss"),
        ("psnr", ("noisy_psnr", "psnr"), "PSNR of the validation images (dB)"),
    ):
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.add_subplot(xlabel="epoch", ylabel=label)
        for column, words in zip(columns, ("noisy", "denoised"), strict=False):
            values = [float(row[column]) for row in found]
            axes.plot(epochs, values, marker="o", markersize=3, label=words)
        if len(columns) > 1:
            axes.legend(frameon=False)
        axes.grid(alpha=0.3)
        figure.savefig(folder / PLOTS[name], dpi=150)
