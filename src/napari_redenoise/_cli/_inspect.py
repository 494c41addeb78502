"""``redenoise inspect``: what a file holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_redenoise._cli._app import Series, app
from napari_redenoise._cli._interruption import print_result
from napari_redenoise._cli._json_events import json_text
from napari_redenoise.io import format_bytes, inspect_file, unit_symbol


@app.command()
def inspect(
    file: Annotated[
        Path, typer.Argument(help="Model (.safetensors), TIFF, OME-Zarr, PNG or JPEG.")
    ],
    series: Series = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Say what FILE holds: a model and its training, or an image, its axes and pixel sizes."""
    described = inspect_file(file, series)
    if as_json:
        print_result(json_text(described, indent=2))
        return
    lines = _model_lines if described["kind"] == "model" else _image_lines
    print_result("\n".join(f"{name}: {words}" for name, words in lines(described) if words))


def _model_lines(model: dict[str, Any]) -> Iterator[tuple[str, str]]:
    config = model["config"] or {}
    network, objective = config.get("network") or {}, config.get("objective") or {}
    training, made = config.get("training") or {}, model["provenance"] or {}
    yield "model", model["file"]
    yield "format", f"{model['format']}, {format_bytes(model['bytes'])}"
    yield (
        "network",
        f"{network.get('kind')}, group {network.get('group')}, "
        f"{network.get('levels')} levels, {network.get('channels')} channel(s), "
        f"{model['parameters']} values",
    )
    if network.get("context") in (1, 2):
        yield "neighbours", f"{network['context']} planes on either side"
    yield "objective", _objective(objective)
    yield (
        "training",
        f"{made.get('steps', 'unknown number of')} steps, from {training.get('start')} weights, "
        f"seed {training.get('seed')}",
    )
    yield "noise", _noise(objective.get("noise"))
    lines = objective.get("lines")
    yield "line correction", "" if lines in (None, "none") else str(lines)
    scales = objective.get("smooth_scales")
    yield "coarser scales of smooth noise", "" if scales in (None, "auto", 0) else str(scales)
    yield "normalisation", _normalisation(model["normalisation"] or {})
    yield "trained on", _trained_on(made)
    yield "version", _version(made)


def _objective(objective: dict[str, Any]) -> str:
    shape = "/".join(objective.get("mask_shape") or ())
    is_shaped = objective.get("kind") == "noise2void" and shape
    return str(objective.get("kind", "")) + (f", mask {shape}" if is_shaped else "")


def _noise(noise: dict[str, Any] | None) -> str:
    if not noise:
        return ""
    named = (("gain", "gain"), ("offset", "offset"), ("read noise", "read_noise"))
    return ", ".join(f"{words} {_numbers(noise.get(name))}" for words, name in named)


def _normalisation(values: dict[str, Any]) -> str:
    return f"mean {_numbers(values.get('mean'))}, standard deviation {_numbers(values.get('std'))}"


def _trained_on(made: dict[str, Any]) -> str:
    if "shape" not in made:
        return str(made.get("imported_from", ""))
    region = ", in a training region" if made.get("region") else ""
    return f"{_shape(made['shape'])} pixels, axes {made.get('axes')}{region}"


def _version(made: dict[str, Any]) -> str:
    known = {"napari-redenoise": made.get("version"), "torch": made.get("torch")}
    return ", ".join(f"{name} {number}" for name, number in known.items() if number)


def _image_lines(image: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "image", image["file"]
    size = f", {format_bytes(image['bytes'])}" if "bytes" in image else ""
    big = ", BigTIFF" if image.get("is_bigtiff") else ""
    yield "format", f"{image['format']}{big}{size}"
    yield "shape", f"{_shape(image['shape'])}, axes {image['axes']}, {image['dtype']}"
    for axis, known in image.get("pixel_size", {}).items():
        yield f"size of a pixel along {axis}", _size(known)
    yield "channels", ", ".join(image.get("channels", ()))
    yield "compression", image.get("compression", "")
    yield "chunks", _shape(image.get("chunks", ()))
    yield "shards", _shape(image.get("shards", ()))
    yield "levels", ", ".join(map(_shape, image.get("levels", ())))
    series = image.get("series", ())
    for one in series if len(series) > 1 else ():
        read = ", read" if one["number"] == image["series_read"] else ""
        words = f"{_shape(one['shape'])}, axes {one['axes']}, {one['dtype']}{read}"
        yield f"series {one['number']}", words
    yield "display", "0 is white" if image.get("displayed_inverted") else ""
    made = image.get("provenance") or {}
    if made:
        yield "denoised by", _version(made) or "napari-redenoise"
        config = made.get("config") or {}
        yield "network", str((config.get("network") or {}).get("kind", ""))
        yield "objective", _objective(config.get("objective") or {})
        yield "training", f"{made['steps']} steps" if "steps" in made else ""
    for note in image.get("notes", ()):
        yield "note", note


def _size(known: dict[str, Any]) -> str:
    unit = unit_symbol(known["unit"]) if known["unit"] else None
    return f"{known['size']:.6g} {unit or '(unit unknown)'}"


def _shape(sizes: Any) -> str:
    return " × ".join(map(str, sizes))


def _numbers(values: Any) -> str:
    return ", ".join(f"{value:.6g}" for value in values or ())
