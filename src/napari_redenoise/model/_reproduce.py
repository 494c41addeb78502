"""Python script and command that reproduce a run.

They reproduce it on the same machine with the same number of threads. Otherwise sums are rounded
differently, and training amplifies the difference.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from napari_redenoise.config import Config, ObjectiveConfig, TrainingConfig
from napari_redenoise.data import IMAGE_SUFFIXES

_READABLE = (*IMAGE_SUFFIXES, ".btf", ".tf8", ".tf2", ".lsm", ".stk")
_IMAGE, _TARGET = "image.tif", "target.tif"
_OUT, _MASK = "denoised.tif", "denoised-mask.tif"

_OPTIONS = {
    "network.kind": "--backbone",
    "objective.kind": "--objective",
    "training.steps": "--steps",
    "training.seed": "--seed",
}
"""Fields that have an option of `redenoise denoise`."""


@dataclass(frozen=True)
class RunAsCode:
    """A run, and the code that reproduces it.

    Attributes
    ----------
    config : Config
        Configuration as the user gave it: ``asked`` in the result's provenance.
    source : str or None
        File of the noisy image. None, or a file that `read_image` cannot read, becomes
        ``image.tif``, with a comment to save the layer there.
    axes : str
        One letter per axis of the image.
    target : str or None
        File of the other shot, for Noise2Noise.
    device : str or None
        Default the fastest available.
    stop_after : int or None
        Step after which the training was stopped.
    model : str or None
        File of a trained model, which is not trained again.
    as_source : bool
        Whether the result has the integer dtype of its source.
    series : int or None
        Series of the file. Default the largest.
    """

    config: Config
    source: str | None
    axes: str
    target: str | None = None
    device: str | None = None
    stop_after: int | None = None
    model: str | None = None
    as_source: bool = False
    series: int | None = None

    def script(self) -> str:
        """Write the Python script."""
        image, other, lines = _files(self.source, self.target)
        number = "" if self._series is None else f", series={self._series}"
        writers = ["cast_like"] if self.as_source else []
        lines += [
            "from napari_redenoise import Config, Redenoiser",
            f"from napari_redenoise.io import {', '.join([*writers, 'read_image', 'write_tiff'])}",
            "",
            f"image = read_image({image!r}, {self.axes!r}{number})",
        ]
        if self.model is not None:
            lines += [f"model = Redenoiser.load({self.model!r}{self._device_argument()})"]
        else:
            lines += self._training(other)
        lines += ["result = model.predict(image.array, image.axes)"]
        denoised = "result.denoised"
        if self.as_source:
            denoised = "cast_like(image.array, image.axes, result.denoised)"
        lines += [f"write_tiff({_OUT!r}, {denoised}, image)"]
        if self.config.network.kind == "adarenet":
            lines += [f"write_tiff({_MASK!r}, result.mask, image)"]
        return "\n".join(lines) + "\n"

    def _training(self, target: str | None) -> list[str]:
        """Write the lines that train a model on the image."""
        changed = _changes(self.config).items()
        changes = [f"        {field!r}: {value!r}," for field, value in changed]
        lines = ["config = Config().replace(", "    {", *changes, "    }", ")"] if changes else []
        arguments = "image.array, image.axes"
        if target is not None:
            lines += [f"target = read_image({target!r}, {self.axes!r})"]
            arguments += ", target=target.array"
        settings = "config" if changes else "Config()"
        lines += [f"model = Redenoiser({settings}{self._device_argument()})"]
        if self.stop_after is None:
            return [*lines, f"model.fit({arguments})"]
        return [
            *lines,
            f"for event in model.fit_events({arguments}):",
            f"    if event.step == {self.stop_after}:",
            "        break",
        ]

    def _device_argument(self) -> str:
        return "" if self.device is None else f", device={self.device!r}"

    @property
    def _series(self) -> int | None:
        """The series, unless the layer has to be saved first, in a file of one."""
        return self.series if self.source is not None and _is_readable(self.source) else None

    def command(self) -> str:
        """Write the command ``redenoise denoise``, quoted for a POSIX shell."""
        image, other, lines = _files(self.source, self.target)
        # A name that begins with a dash would be an option.
        image = f"./{image}" if image.startswith("-") else image
        words = ["redenoise", "denoise", image, _OUT, "--axes", self.axes]
        words += [] if self._series is None else ["--series", str(self._series)]
        if self.config.network.kind == "adarenet":
            words += ["--mask", _MASK]
        if self.model is not None:
            given = {"--model": self.model, "--device": self.device}
        else:
            given = {"--target": other, "--device": self.device}
            given["--stop-after"] = None if self.stop_after is None else str(self.stop_after)
        for option, value in given.items():
            words += [] if value is None else [option, value]
        words += ["--as-source"] if self.as_source else []
        changes = {} if self.model is not None else _changes(self.config)
        if _is_instant(self.config) and "training.steps" in changes:
            del changes["training.steps"]
            words += ["--instant"]
        for field, value in changes.items():
            words += _option(field, value)
        return "\n".join([*lines, shlex.join(words)]) + "\n"


def _files(source: str | None, target: str | None) -> tuple[str, str | None, list[str]]:
    """File names of the image and its target, with comments on those that are not saved yet."""
    comments = []
    image = source if source is not None and _is_readable(source) else _IMAGE
    if image != source:
        comments.append(f"# Save the image layer as {_IMAGE} first.")
    other = target if target is None or _is_readable(target) else _TARGET
    if other != target:
        comments.append(f"# Save the target layer as {_TARGET} first.")
    return image, other, comments


def _is_readable(path: str) -> bool:
    return PurePath(path).suffix.lower() in _READABLE


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
