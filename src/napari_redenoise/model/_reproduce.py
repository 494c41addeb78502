"""A run as text: the Python script and the command that make the same result again.

On the same machine, with as many threads: another processor or number of threads adds in another
order, and training multiplies that rounding.
"""

from __future__ import annotations

import json
import shlex
from pathlib import PurePath
from typing import Any

from napari_redenoise.config import Config

PLACEHOLDER, TARGET_PLACEHOLDER = "image.tif", "target.tif"
OUT = "denoised.tif"

# What `napari_redenoise.io.read_image` reads.
_READABLE = (".tif", ".tiff", ".png", ".jpg", ".jpeg")

_OPTIONS = {
    "network.kind": "--backbone",
    "objective.kind": "--objective",
    "training.steps": "--steps",
    "training.seed": "--seed",
}
"""Fields that `redenoise denoise` has a plain option for."""


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
    out: str = OUT,
) -> str:
    """Write the script that makes a run again.

    Parameters
    ----------
    config : Config
        As it was asked for: ``asked`` in the result's provenance.
    source : str or None
        File of the noisy image; None, or a file that `read_image` does not read, takes the
        placeholder ``image.tif`` and says in a comment to save the layer under it.
    axes : str
        One letter per axis of the image.
    target : str, optional
        File of the other shot, for Noise2Noise.
    device : str, optional
        Default the fastest there is.
    region : str, optional
        File of a mask that is nonzero where the network was trained.
    stop_after : int, optional
        Step after which the training was stopped; default not before its last.
    model : str, optional
        File of the model that denoised: nothing is trained.
    as_source : bool
        Whether the result has the integers of its source.
    out : str
        File for the denoised image, .tif; the fusion mask gets a name beside it.
    """
    image, other, lines = _files(source, target)
    writers = ["cast_like"] if as_source else []
    lines += [
        "from napari_redenoise import Config, Redenoiser",
        f"from napari_redenoise.io import {', '.join([*writers, 'read_image', 'write_tiff'])}",
        "",
        f"image = read_image({image!r}, {axes!r})",
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
    """Lines that train a model on the image."""
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
    out: str = OUT,
) -> str:
    """Write the ``redenoise denoise`` line, quoted for a POSIX shell, that makes a run again.

    The parameters are those of `as_python`.
    """
    image, other, lines = _files(source, target)
    # A name that begins with a dash would be taken for an option.
    names = (f"./{name}" if name.startswith("-") else name for name in (image, out))
    words = ["redenoise", "denoise", *names, "--axes", axes]
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
    for field, value in _changes(config).items() if model is None else ():
        words += _option(field, value)
    return "\n".join([*lines, shlex.join(words)]) + "\n"


def _files(source: str | None, target: str | None) -> tuple[str, str | None, list[str]]:
    """Names of the image and of its target, and comments on those that do not exist yet."""
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
    default = Config().model_dump(mode="json")
    found = {}
    for section, fields in config.model_dump(mode="json").items():
        if not isinstance(fields, dict):
            continue
        for name, value in fields.items():
            if value != default[section][name]:
                found[f"{section}.{name}"] = value
    return found


def _option(field: str, value: Any) -> list[str]:
    """Words of the command for a field."""
    if field in _OPTIONS:
        return [_OPTIONS[field], str(value)]
    if field == "training.start" and value == "random":
        return ["--from-scratch"]
    if field == "objective.mask_shape":
        return ["--mask-shape", "/".join(value)]
    plain = field == "objective.noise" and value["skewed"] == [0.0]
    if plain and all(len(numbers) == 1 for numbers in value.values()):
        figures = (value[name][0] for name in ("gain", "offset", "read_noise"))
        # Joined, since an offset below 0 would be taken for an option.
        return [f"--noise={','.join(map(repr, figures))}"]
    return ["--set", f"{field}={_text(value)}"]


def _text(value: Any) -> str:
    """JSON, or the bare word of a string that is no JSON itself."""
    if isinstance(value, str) and value.isidentifier() and value not in ("true", "false", "null"):
        return value
    return json.dumps(value)
