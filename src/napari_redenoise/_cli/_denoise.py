"""``redenoise denoise``: train on one image or stack, or on each of many, and denoise it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from napari_redenoise._cli._app import (
    AsJson,
    Backbone,
    Device,
    Overwrite,
    Seed,
    Series,
    Steps,
    app,
    assigned,
    check_targets,
    read_noted,
    train_on,
)
from napari_redenoise._cli._batch import denoise_batch, refuse_in_batch, refuse_single
from napari_redenoise._cli._folders import Subfolders
from napari_redenoise._cli._interruption import Interruption, interruption
from napari_redenoise._cli._json_events import with_json_events
from napari_redenoise._cli._results import Delivery, Targets
from napari_redenoise._cli._resuming import unfinished_run
from napari_redenoise._cli._workers import chosen_cluster, predict_by_workers, refuse_draws
from napari_redenoise.assessment import as_denoiser, assess, pixel_size_of
from napari_redenoise.config import MASK_SHAPES, Config, ObjectiveKind
from napari_redenoise.errors import ConfigError
from napari_redenoise.inference import Interrupted
from napari_redenoise.io import ImageFile
from napari_redenoise.model import Redenoiser, TrainingPlan, should_recorrupt
from napari_redenoise.recipes import BatchSettings, OutputFormat


@app.command()
@with_json_events
def denoise(
    image: Annotated[Path, typer.Argument(help="Noisy image: TIFF, OME-Zarr, PNG or JPEG.")],
    output: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Denoised image to write: .tif or .zarr; with --out-dir further images."
        ),
    ] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option(
            help="Denoise all of IMAGE, which are files, patterns such as 'raw/*.tif', or folders, "
            "into this folder. Results that are up to date are skipped."
        ),
    ] = None,
    trained_on: Annotated[
        str | None,
        typer.Option(
            "--train-on",
            metavar="IMAGE",
            help="With --out-dir: train once on this image, or with 'all' on a sample of all, "
            "and denoise all with that model; default: one training per image.",
        ),
    ] = None,
    subfolders: Subfolders = False,
    output_format: Annotated[
        OutputFormat | None,
        typer.Option(
            "--format",
            help="With --out-dir: format of the results; default: OME-Zarr for an OME-Zarr and for "
            "results beyond 4 GiB, TIFF for others.",
        ),
    ] = None,
    axes: Annotated[
        str | None,
        typer.Option(help="One letter per axis, e.g. TYX, ZCYX; Y, X: plane; C: channels."),
    ] = None,
    series: Series = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            help="Also write the fusion mask: .tif, .zarr; with --out-dir a folder for them."
        ),
    ] = None,
    branches: Annotated[
        bool,
        typer.Option(
            "--branches",
            help="Also write the outputs of both branches of the adarenet: "
            "OUTPUT-standard.tif, OUTPUT-equivariant.tif.",
        ),
    ] = False,
    model: Annotated[
        Path | None, typer.Option(help="Denoise with this trained model, without training.")
    ] = None,
    save_model: Annotated[
        Path | None, typer.Option(help="Also write the trained model: .safetensors")
    ] = None,
    backbone: Annotated[Backbone | None, typer.Option(help="Network; default: adarenet.")] = None,
    objective: Annotated[
        ObjectiveKind | None,
        typer.Option(help="Training objective; default: auto, chosen by the noise."),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(
            help="noise2noise: second shot of the same scene; default: neighbouring frames."
        ),
    ] = None,
    region: Annotated[
        Path | None,
        typer.Option(
            help="Training region: where this image is not 0, in the shape of a plane or of IMAGE "
            "without channels."
        ),
    ] = None,
    mask_shape: Annotated[
        str | None,
        typer.Option(
            help="noise2void: shape of the blind spot; horizontal, vertical, or rows such as "
            "010/111/010."
        ),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(help="r2r: GAIN,OFFSET,READ_NOISE in grey levels; default: estimated."),
    ] = None,
    instant: Annotated[
        bool,
        typer.Option(
            "--instant",
            help="Denoise with the pretrained network, without training, in seconds. As --steps 0.",
        ),
    ] = False,
    steps: Steps = None,
    stop_after: Annotated[
        int | None, typer.Option(help="Stop the training after this step.", min=1)
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Start from random weights.")
    ] = False,
    neighbours: Annotated[
        Literal["auto", "none"] | None,
        typer.Option(help="Neighbouring planes of a stack: used where they help, or not."),
    ] = None,
    seed: Seed = None,
    device: Device = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Denoise into OME-Zarr by so many processes on this computer.", min=1),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Denoise into OME-Zarr by the workers of this dask scheduler, e.g. "
            "tcp://node1:8786.",
        ),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Set a field of the configuration, e.g. network.group=D4; may be repeated.",
        ),
    ] = None,
    as_source: Annotated[
        bool, typer.Option("--as-source", help="Round to the integer type of IMAGE.")
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Also print the quality checks, as redenoise check.")
    ] = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Train on IMAGE alone, and write the denoised image to OUTPUT or into a folder."""
    if instant:
        _refuse_training(
            model=model,
            objective=objective,
            target=target,
            region=region,
            mask_shape=mask_shape,
            noise=noise,
            steps=steps,
            stop_after=stop_after,
            from_scratch=from_scratch or None,
            seed=seed,
            train_on=trained_on,
        )
    settings = {
        "network.kind": backbone,
        "training.steps": 0 if instant else steps,
        "network.context": 0 if neighbours == "none" else neighbours,
        "training.start": "random" if from_scratch else None,
        "training.seed": seed,
        "objective.kind": objective,
        "objective.mask_shape": None if mask_shape is None else _shape_rows(mask_shape),
        "objective.noise": None if noise is None else _noise(noise),
    }
    chosen = {field: value for field, value in settings.items() if value is not None}
    given = {**chosen, **assigned(assignments or [], chosen)}
    if model is not None and (
        given or any(o is not None for o in (save_model, target, region, stop_after, trained_on))
    ):
        raise ConfigError(
            "--model does not train: omit --save-model and all options of the training"
        )
    if out_dir is not None:
        refuse_in_batch(
            target=target, region=region, series=series, workers=workers, scheduler=scheduler
        )
        batch = BatchSettings(
            Config().replace(given),
            axes,
            model,
            _training_image(trained_on),
            save_model,
            stop_after,
            as_source,
            mask,
            branches,
            overwrite,
            output_format,
        )
        images = [image, *(output or ())]
        wishes = {"subfolders": subfolders, "report": report, "as_json": as_json}
        denoise_batch(images, out_dir, batch, device, **wishes)
        return
    refuse_single(train_on=trained_on, subfolders=subfolders, output_format=output_format)
    inputs = (target, region, model)
    targets = Targets(_only(output), mask, save_model, overwrite, as_source, has_branches=branches)
    check_targets(image, targets.images(), save_model, overwrite=overwrite, others=inputs)
    cluster = chosen_cluster(workers, scheduler, targets.by_name)
    denoiser = (
        Redenoiser.load(model, device) if model else Redenoiser(Config().replace(given), device)
    )
    if denoiser.config.network.kind != "adarenet":
        _refuse_branches(mask, branches=branches)
    with interruption(keeps=False, as_json=as_json) as asked:
        source = read_noted(image, axes, series, asked.say)
        for line in targets.check(denoiser, source):
            asked.say(line)
        loaded = denoiser.session.plan
        if loaded is not None and should_recorrupt(loaded.config):
            asked.say(loaded.noise_sentence())
        if loaded is not None and cluster is not None:
            refuse_draws(loaded.config)
        again = _command(image, targets, axes, series, device)
        run = unfinished_run(
            denoiser,
            targets,
            (image, *inputs),
            axes,
            series,
            stop_after,
            by_workers=cluster is not None,
        )
        if run is not None and run.is_continued:
            denoiser, model = Redenoiser.load(run.model, device), run.model
        delivery = Delivery(denoiser, source, targets, asked, again, run)
        if cluster is not None and run is not None:
            place = image, axes, series
            delivery.by_workers = lambda streams: predict_by_workers(
                denoiser, cluster, source, place, run, streams, device, asked
            )
        try:
            if model is None:
                shots = _read(target, source.axes, asked), _read(region, None, asked)
                plan = _plan(denoiser, source, *shots, asked)
                if plan is not None:
                    asked.emit("plan", plan=plan.as_json())
                if plan is not None and cluster is not None:
                    refuse_draws(plan.config)
                for line in () if plan is None else plan.sentences():
                    asked.say(line)
                train_on(denoiser, source, *shots, plan, stop_after, asked)
                delivery.save_model()
            result = delivery.denoise()
        finally:
            delivery.close()
            # After errors, too, but not where a second Ctrl-C insists.
            if (model is None or cluster is not None) and not asked.ends_at_once:
                delivery.keep_model()
        if report and result is not None:
            _report(denoiser, source, result.denoised, asked)
    if delivery.exit_code:
        raise typer.Exit(delivery.exit_code)


def _only(outputs: list[Path] | None) -> Path:
    """The one output file of a single image."""
    hint = "'OUTPUT'"
    if not outputs:
        raise typer.BadParameter("missing: give a file, or a folder by --out-dir", param_hint=hint)
    if len(outputs) > 1:
        raise typer.BadParameter(
            "several: add --out-dir to denoise several images", param_hint=hint
        )
    return outputs[0]


def _training_image(name: str | None) -> Path | Literal["all"] | None:
    return "all" if name == "all" else None if name is None else Path(name)


def _plan(
    denoiser: Redenoiser,
    source: ImageFile,
    target: ImageFile | None,
    region: ImageFile | None,
    asked: Interruption,
) -> TrainingPlan | None:
    """The plan of the run; None after an interruption."""
    try:
        return denoiser.plan(
            source.array,
            source.axes,
            target=None if target is None else target.array,
            mask=None if region is None else region.array != 0,
            should_stop=asked.is_set,
        )
    except Interrupted:
        return None


def _refuse_training(**given: object) -> None:
    """Refuse other networks and options of a training where the pretrained network denoises."""
    names = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]
    if names:
        raise ConfigError(
            "--instant denoises with the pretrained network, without training: omit it, or "
            f"{' and '.join(names)}"
        )


def _refuse_branches(mask: Path | None, *, branches: bool) -> None:
    if mask is not None:
        raise ConfigError("only the adarenet has a fusion mask: omit --mask")
    if branches:
        raise ConfigError("only the adarenet has two branches: omit --branches")


def _command(
    image: Path, targets: Targets, axes: str | None, series: int | None, device: str | None
) -> list[str]:
    """Arguments of the command that makes the same files with a model."""
    words = ["redenoise", "denoise", str(image), str(targets.output)]
    given = {"--axes": axes, "--series": series, "--mask": targets.mask, "--device": device}
    for option, value in given.items():
        words += [] if value is None else [option, str(value)]
    words += ["--branches"] if targets.has_branches else []
    words += ["--as-source"] if targets.as_source else []
    return words + (["--overwrite"] if targets.overwrite else [])


def _report(
    denoiser: Redenoiser, source: ImageFile, denoised: np.ndarray, asked: Interruption
) -> None:
    """Print the quality checks of a result."""
    report = assess(
        source.array,
        denoised,
        source.axes,
        denoiser=as_denoiser(denoiser),
        pixel_size=pixel_size_of(source),
    )
    asked.emit("quality", report=report.as_dict())
    if not asked.as_json:
        asked.say("\n".join(report.sentences()))


def _read(path: Path | None, axes: str | None, asked: Interruption) -> ImageFile | None:
    return None if path is None else read_noted(path, axes, say=asked.say)


def _shape_rows(text: str) -> tuple[str, ...]:
    """Rows of the shape of a blind spot, from its name or as given."""
    return MASK_SHAPES.get(text) or tuple(text.split("/"))


def _noise(text: str) -> dict[str, tuple[float]]:
    """Gain, offset and read noise from three numbers."""
    try:
        gain, offset, read_noise = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            f"--noise {text} is not gain, offset and read noise: give three numbers, as 2.1,100,5"
        ) from None
    return {"gain": (gain,), "offset": (offset,), "read_noise": (read_noise,)}
