"""Options that commands share, and functions for them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from tqdm import tqdm

from napari_redenoise._cli._commands import app as app
from napari_redenoise._cli._interruption import Interruption
from napari_redenoise._cli._json_events import event_fields
from napari_redenoise.config import Config, NoiseConfig
from napari_redenoise.devices import get_device, refused_devices
from napari_redenoise.errors import ConfigError, OutputError
from napari_redenoise.io import (
    ImageFile,
    check_output,
    check_place,
    ome_files,
    read_image,
)
from napari_redenoise.model import Judgement, Redenoiser, Result, TrainingPlan
from napari_redenoise.training import StepDone

Backbone = Literal["adarenet", "equivariant", "standard"]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print events as JSON on standard output, one a line.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing results.")]


def _checked_device(name: str | None) -> str | None:
    """Check the device before any work, and report devices that cannot be used."""
    device = get_device(name)
    if name in (None, "auto"):
        for refused, reason in refused_devices().items():
            typer.echo(f"{refused} cannot be used, {reason}; computing on {device}", err=True)
    return name


Device = Annotated[
    str | None,
    typer.Option(
        help="cuda:0, mps or cpu; default: the fastest that works.", callback=_checked_device
    ),
]
Seed = Annotated[
    int | None, typer.Option(help="Seed of weights, patches and masks; default: 0.", min=0)
]
Steps = Annotated[
    int | None, typer.Option(help="Training steps; default: depends on the start.", min=0)
]
Axes = Annotated[
    str | None,
    typer.Option(help="One letter per axis, e.g. TYX, ZCYX; Y, X: plane; C: channels."),
]
Series = Annotated[
    int | None,
    typer.Option(
        help="Series of a TIFF with several, counted from 0; default: the largest.", min=0
    ),
]


def assigned(assignments: Sequence[str], given: Collection[str]) -> dict[str, object]:
    """Parse ``FIELD=VALUE`` into dotted fields and values, which are JSON or else strings.

    ``given`` are the fields that other options have set.

    Raises
    ------
    ConfigError
        When the text is no assignment, or its field is unknown or set twice.
    """
    found: dict[str, object] = {}
    for text in assignments:
        field, equals, value = text.partition("=")
        if not equals or not field:
            raise ConfigError(f"--set {text} is not an assignment: give FIELD=VALUE")
        if not _is_field(field):
            raise ConfigError(
                f"--set {text}: there is no field {field}: give e.g. network.group=D4"
            )
        if any(_overlap(field, other) for other in (*given, *found)):
            raise ConfigError(f"--set {text}: {field} is set twice: omit one of them")
        try:
            found[field] = json.loads(value)
        except ValueError:
            found[field] = value
        if field.startswith("objective.noise.") and isinstance(found[field], int | float):
            # Of all channels.
            found[field] = [found[field]]
    return found


def _is_field(dotted: str) -> bool:
    """Whether the configuration has a field, not a section, of this name."""
    section, _, name = dotted.partition(".")
    known = Config().model_dump()
    if dotted.startswith("objective.noise."):
        return dotted.removeprefix("objective.noise.") in NoiseConfig.model_fields
    return isinstance(known.get(section), dict) and name in known[section]


def _overlap(one: str, other: str) -> bool:
    """Whether two fields are the same, or one contains the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def read_noted(
    path: Path,
    axes: str | None = None,
    series: int | None = None,
    say: Callable[..., None] = typer.echo,
) -> ImageFile:
    """Read an image file, and print the notes of the reader."""
    image = read_image(path, axes, series)
    for note in image.notes:
        say(f"{path.name}: {note}", err=True)
    return image


def train_on(
    denoiser: Redenoiser,
    source: ImageFile,
    target: ImageFile | None = None,
    region: ImageFile | None = None,
    plan: TrainingPlan | None = None,
    stop_after: int | None = None,
    asked: Interruption | None = None,
) -> None:
    """Train on an image file, with a progress bar.

    ``target`` is a second shot of the scene; ``region`` is nonzero in the training region. The
    training ends early at the step ``stop_after`` and when ``asked`` is set.
    """
    asked = asked or Interruption(keeps=False)
    judgement: Judgement | None = None
    title = f"training on {denoiser.device}"
    with tqdm(desc=title, unit="step", file=asked.bar_stream()) as bar:
        events = denoiser.fit_events(
            source.array,
            source.axes,
            target=None if target is None else target.array,
            mask=None if region is None else region.array != 0,
            plan=plan,
            should_stop=asked.is_set,
        )
        for event in events:
            if isinstance(event, Judgement):
                judgement = event
            if isinstance(event, StepDone):
                asked.keeps = True
                asked.emit(**event_fields(event))
                bar.total = event.steps
                bar.set_postfix(loss=f"{event.loss:.4f}", refresh=False)
                bar.update()
                if event.note is not None:
                    typer.echo(event.note, err=True)
                if event.step == stop_after:
                    break
        events.close()
    judgement = judgement or denoiser.session.apply_judgement(asked.is_set)
    if judgement is not None:
        asked.emit(**event_fields(judgement))
        asked.say(f"{judgement.in_words()}.")


def predict_all(
    denoiser: Redenoiser,
    source: ImageFile,
    asked: Interruption | None = None,
    *,
    names: Sequence[str] | None = None,
    given: Mapping[str, Any] | None = None,
    samples: Sequence[tuple[int, ...]] | None = None,
) -> Result:
    """Denoise an image file, with a progress bar; tiles are missing after an interruption.

    ``names`` are the outputs to make, by default denoised image and mask, and ``given`` arrays to
    write some of them into. ``samples`` are the planes to denoise, by default all.
    """
    asked = asked or Interruption(keeps=False)
    outputs = dict(given or {})
    missing = None if names is None else [name for name in names if name not in outputs]
    outputs |= denoiser.session.allocate(source.array, source.axes, names=missing)
    events = denoiser.predict_events(
        source.array, source.axes, outputs=outputs, should_stop=asked.is_set, samples=samples
    )
    with tqdm(desc="denoising", unit="tile", file=asked.bar_stream()) as bar:
        for event in events:
            asked.emit(**event_fields(event))
            bar.total = event.tiles
            bar.update(event.tile - bar.n)
    return Result(**outputs, provenance=denoiser.session.provenance)


def check_targets(
    image: Path,
    results: list[Path | None],
    model: Path | None,
    *,
    overwrite: bool,
    others: Sequence[Path | None] = (),
) -> None:
    """Refuse output names that would overwrite an input or cannot be written, before any work.

    ``others`` are further input files: a second shot, a model.
    """
    images = [path for path in results if path is not None]
    read = [path for path in (image, *others) if path is not None]
    read += [one for path in read for one in ome_files(path)]
    targets = [*images, *([model] if model is not None else [])]
    if len({os.path.realpath(path) for path in targets}) < len(targets):
        raise OutputError("two results have the same name: give each its own")
    for path in targets:
        # Even with --overwrite.
        if _same(path, image):
            raise OutputError(f"{path} is the noisy image itself: choose another name")
        if any(_same(path, other) for other in read):
            raise OutputError(f"{path} is read by this command: choose another name")
        for other in (*read, *targets):
            if _are_nested(path, other):
                raise OutputError(f"{path} and {other} lie one in the other: choose another name")
        check_output(path, None if path in images else "model", overwrite=overwrite)
        check_place(path)


def _same(one: Path, other: Path) -> bool:
    """Whether two names are of the same file."""
    # Of a loop of links, Path.resolve raises an error of its own.
    return os.path.realpath(one) == os.path.realpath(other) or (
        # os.path instead of Path: it returns False for invalid names.
        os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)
    )


def _are_nested(one: Path, other: Path) -> bool:
    """Whether one path lies in the other, which may be the folder of an OME-Zarr."""
    one, other = Path(os.path.realpath(one)), Path(os.path.realpath(other))
    return one in other.parents or other in one.parents
