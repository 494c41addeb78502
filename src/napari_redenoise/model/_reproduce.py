"""Python script and command that reproduce a run.

They reproduce it on the same machine with the same number of threads. Otherwise sums are rounded
differently, and training amplifies the difference.
"""

from __future__ import annotations

import json
import shlex
from pathlib import PurePath
from typing import Any

from napari_redenoise.config import Config, ObjectiveConfig, TrainingConfig
from napari_redenoise.data import IMAGE_SUFFIXES

_READABLE = (*IMAGE_SUFFIXES, ".btf", ".tf8", ".tf2", ".lsm", ".stk")
PLACEHOLDER, TARGET_PLACEHOLDER = "image.tif", "target.tif"
OUT = "denoised.tif"

_OPTIONS = {
    "network.kind": "--backbone",
    "objective.kind": "--objective",
    "training.steps": "--steps",
    "training.seed": "--seed",
}
"""Fields that have an option of `redenoise denoise`."""


def as_python(
    config: Config,
    source: str | None,
    axes: str,
    *,
    target: str | None = None,
    device: str | None = None,
    region: str | None = None,
    stop_after: int | None = None,
    model: str | None = None,
    as_source: bool = False,
    series: int | None = None,
    out: str = OUT,
) -> str:
    """Write the script that reproduces a run.

    Parameters
    ----------
    config : Config
        Configuration as the user gave it: ``asked`` in the result's provenance.
    source : str or None
        File of the noisy image. None, or a file that `read_image` cannot read, becomes
        ``image.tif``, with a comment to save the layer there.
    axes : str
        One letter per axis of the image.
    target : str, optional
        File of the other shot, for Noise2Noise.
    device : str, optional
        Default the fastest available.
    region : str, optional
        File of a mask that is nonzero in the training region.
    stop_after : int, optional
        Step after which the training was stopped.
    model : str, optional
        File of a trained model, which is not trained again.
    as_source : bool
        Whether the result has the integer dtype of its source.
    series : int, optional
        Series of the file. Default the largest.
    out : str
        File for the denoised image, .tif; the fusion mask is saved beside it.
    """
    image, other, lines = _files(source, target)
    series = series if image == source else None
    number = "" if series is None else f", series={series}"
    writers = ["cast_like"] if as_source else []
    lines += [
        "from napari_redenoise import Config, Redenoiser",
        f"from napari_redenoise.io import {', '.join([*writers, 'read_image', 'write_tiff'])}",
        "",
        f"image = read_image({image!r}, {axes!r}{number})",
    ]
    if model is not None:
        lines += [f"model = Redenoiser.load({model!r}{_device(device)})"]
    else:
        lines += _training(config, device, axes, other, region, stop_after)
    lines += ["result = model.predict(image.array, image.axes)"]
    denoised = "result.denoised"
    if as_source:
        denoised = "cast_like(image.array, image.axes, result.denoised)"
    lines += [f"write_tiff({out!r}, {denoised}, image)"]
    if config.network.kind == "adarenet":
        lines += [f"write_tiff({_mask_name(out)!r}, result.mask, image)"]
    return "\n".join(lines) + "\n"


def _training(
    config: Config,
    device: str | None,
    axes: str,
    target: str | None,
    region: str | None,
    stop_after: int | None,
) -> list[str]:
    """Write the lines that train a model on the image."""
    changes = [f"        {field!r}: {value!r}," for field, value in _changes(config).items()]
    lines = ["config = Config().replace(", "    {", *changes, "    }", ")"] if changes else []
    arguments = "image.array, image.axes"
    if target is not None:
        lines += [f"target = read_image({target!r}, {axes!r})"]
        arguments += ", target=target.array"
    if region is not None:
        lines += [f"region = read_image({region!r}).array != 0"]
        arguments += ", mask=region"
    settings = "config" if changes else "Config()"
    lines += [f"model = Redenoiser({settings}{_device(device)})"]
    if stop_after is None:
        return [*lines, f"model.fit({arguments})"]
    return [
        *lines,
        f"for event in model.fit_events({arguments}):",
        f"    if event.step == {stop_after}:",
        "        break",
    ]


def _device(device: str | None) -> str:
    return "" if device is None else f", device={device!r}"


def as_command(
    config: Config,
    source: str | None,
    axes: str,
    *,
    target: str | None = None,
    device: str | None = None,
    region: str | None = None,
    stop_after: int | None = None,
    model: str | None = None,
    as_source: bool = False,
    series: int | None = None,
    out: str = OUT,
) -> str:
    """Write the ``redenoise denoise`` command, quoted for a POSIX shell, that reproduces a run.

    The parameters are those of `as_python`.
    """
    image, other, lines = _files(source, target)
    series = series if image == source else None
    # A name that begins with a dash would be an option.
    names = (f"./{name}" if name.startswith("-") else name for name in (image, out))
    words = ["redenoise", "denoise", *names, "--axes", axes]
    words += [] if series is None else ["--series", str(series)]
    if config.network.kind == "adarenet":
        words += ["--mask", _mask_name(out)]
    if model is not None:
        given = {"--model": model, "--device": device}
    else:
        given = {"--target": other, "--region": region, "--device": device}
        given["--stop-after"] = None if stop_after is None else str(stop_after)
    for option, value in given.items():
        words += [] if value is None else [option, value]
    words += ["--as-source"] if as_source else []
    changes = {} if model is not None else _changes(config)
    if _is_instant(config) and "training.steps" in changes:
        del changes["training.steps"]
        words += ["--instant"]
    for field, value in changes.items():
        words += _option(field, value)
    return "\n".join([*lines, shlex.join(words)]) + "\n"


def _files(source: str | None, target: str | None) -> tuple[str, str | None, list[str]]:
    """File names of the image and its target, with comments on those that are not saved yet."""
    comments = []
    image = source if source is not None and _is_readable(source) else PLACEHOLDER
    if image != source:
        comments.append(f"# Save the image layer as {PLACEHOLDER} first.")
    other = target if target is None or _is_readable(target) else TARGET_PLACEHOLDER
    if other != target:
        comments.append(f"# Save the target layer as {TARGET_PLACEHOLDER} first.")
    return image, other, comments


def _is_readable(path: str) -> bool:
    return PurePath(path).suffix.lower() in _READABLE


def _mask_name(out: str) -> str:
    path = PurePath(out)
    return str(path.with_name(f"{path.stem}-mask{path.suffix}"))


def _changes(config: Config) -> dict[str, Any]:
    """Dotted fields that differ from the default, as plain values."""
    default = Config().model_dump(mode="json", exclude={"version"})
    return {
        f"{section}.{name}": value
        for section, fields in config.model_dump(mode="json", exclude={"version"}).items()
        for name, value in fields.items()
        if value != default[section][name]
    }


def _is_instant(config: Config) -> bool:
    """Whether the pretrained network denoises, and no option of a training is given."""
    return config.objective == ObjectiveConfig() and config.training == TrainingConfig(steps=0)


def _option(field: str, value: Any) -> list[str]:
    """Write the option of a field."""
    if field in _OPTIONS:
        return [_OPTIONS[field], str(value)]
    if field == "training.start" and value == "random":
        return ["--from-scratch"]
    if field == "objective.mask_shape":
        return ["--mask-shape", "/".join(value)]
    plain = field == "objective.noise" and value["skewed"] == [0.0]
    if plain and all(len(channels) == 1 for channels in value.values()):
        numbers = (value[name][0] for name in ("gain", "offset", "read_noise"))
        # In one word, since a negative offset would be an option.
        return [f"--noise={','.join(map(repr, numbers))}"]
    return ["--set", f"{field}={_text(value)}"]


def _text(value: Any) -> str:
    """Write JSON, or the bare word of a string that is not JSON itself."""
    if isinstance(value, str) and value.isidentifier() and value not in ("true", "false", "null"):
        return value
    return json.dumps(value)
