"""``redenoise denoise``: train on one image or stack, or on each of many, and denoise it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import typer

from napari_redenoise._cli._app import (
    AsJson,
    Axes,
    Backbone,
    Device,
    Overwrite,
    Seed,
    Series,
    Steps,
    app,
    assigned,
)
from napari_redenoise._cli._batch import denoise_batch, refuse_in_batch, refuse_single
from napari_redenoise._cli._folders import Subfolders
from napari_redenoise._cli._json_events import with_json_events
from napari_redenoise._cli._results import Targets
from napari_redenoise._cli._single_image import SingleImage
from napari_redenoise._cli._workers import chosen_cluster
from napari_redenoise.config import MASK_SHAPES, Config, ObjectiveKind
from napari_redenoise.errors import ConfigError
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
    axes: Axes = None,
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
        typer.Option(
            help="GAIN,OFFSET,READ_NOISE in grey levels, with --objective r2r; default: estimated."
        ),
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
    targets = Targets(_only(output), mask, save_model, overwrite, as_source, has_branches=branches)
    single = SingleImage(
        image,
        targets,
        Config().replace(given),
        model=model,
        axes=axes,
        series=series,
        target=target,
        region=region,
        stop_after=stop_after,
        device=device,
        cluster=chosen_cluster(workers, scheduler, targets.by_name),
        has_report=report,
    )
    exit_code = single.denoise(as_json=as_json)
    if exit_code:
        raise typer.Exit(exit_code)


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


def _refuse_training(**given: object) -> None:
    """Refuse other networks and options of a training where the pretrained network denoises."""
    names = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]
    if names:
        raise ConfigError(
            "--instant denoises with the pretrained network, without training: omit it, or "
            f"{' and '.join(names)}"
        )


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
    finite = all(map(math.isfinite, (gain, offset, read_noise)))
    if not finite or min(gain, read_noise) < 0 or gain == read_noise == 0:
        raise ConfigError(
            f"--noise {text}: gain and read noise cannot be negative, or both 0: give them in "
            "grey levels, as 2.1,100,5"
        )
    return {"gain": (gain,), "offset": (offset,), "read_noise": (read_noise,)}
