"""``redenoise equivariance``: disagreement of a model under rotation of an image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from napari_redenoise._cli._app import (
    Axes,
    Device,
    Overwrite,
    Series,
    app,
    check_targets,
    read_noted,
)
from napari_redenoise.assessment import EquivarianceResult, percent
from napari_redenoise.assessment import equivariance as measure
from napari_redenoise.data import Planes
from napari_redenoise.errors import InputError
from napari_redenoise.io import ImageFile, write_tiff
from napari_redenoise.model import Redenoiser, Window


@app.command()
def equivariance(
    image: Annotated[Path, typer.Argument(help="Noisy image: TIFF, OME-Zarr, PNG or JPEG.")],
    model: Annotated[Path, typer.Argument(help="Trained model: .safetensors")],
    angle: Annotated[
        float, typer.Option(help="Degrees, counter-clockwise; multiples of 90 are exact.")
    ] = 90.0,
    axes: Axes = None,
    series: Series = None,
    plane: Annotated[int, typer.Option(help="Plane of a stack, counted from 0.", min=0)] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder for maps of the differences, one TIFF per output.")
    ] = None,
    device: Device = None,
    overwrite: Overwrite = False,
) -> None:
    """Rotate IMAGE, denoise it with MODEL, rotate it back, and compare with the denoised IMAGE."""
    denoiser = Redenoiser.load(model, device)
    adarenet = denoiser.config.network.kind == "adarenet"
    names = ("standard", "equivariant", "denoised") if adarenet else ("denoised",)
    maps = {} if out is None else {name: _map_path(out, image, angle, name) for name in names}
    check_targets(image, list(maps.values()), None, overwrite=overwrite)
    source = read_noted(image, axes, series)
    result = _measure(denoiser, source, _window(source, plane), angle)
    typer.echo("\n".join(_lines(result)))
    like = replace(source, axes="YX", white_is_zero=False)
    for name, path in maps.items():
        write_tiff(path, result.differences[name], like, overwrite=overwrite)
        typer.echo(f"wrote {path}")


def _map_path(folder: Path, image: Path, angle: float, name: str) -> Path:
    return folder / f"{image.stem}-rotated-{angle:g}-{name}.tif"


def _window(source: ImageFile, plane: int) -> Window:
    planes = Planes(source.array, source.axes)
    if plane >= len(planes):
        raise InputError(f"there is no plane {plane}: give one from 0 to {len(planes) - 1}")
    sample = list(planes.indices())[plane]
    return Window(sample, slice(0, planes.height), slice(0, planes.width))


def _measure(
    denoiser: Redenoiser, source: ImageFile, window: Window, angle: float
) -> EquivarianceResult:
    with tqdm(desc="denoising twice", unit="tile") as bar:
        return measure(
            denoiser,
            source.array,
            source.axes,
            angle=angle,
            window=window,
            progress=lambda *_: bar.update(),
        )


def _lines(result: EquivarianceResult) -> list[str]:
    """A small table, below a line on the compared pixels."""
    rows = [(result.labels[name], percent(error)) for name, error in result.errors.items()]
    if result.interpolation is not None:
        rows.append(("interpolation alone, without denoising", percent(result.interpolation)))
    width = max(len(name) for name, _ in rows)
    rows_, columns = result.window.rows, result.window.columns
    return [
        f"disagreement under rotation by {result.angle:g}°, "
        f"{rows_.stop - rows_.start} × {columns.stop - columns.start} pixels:",
        *(f"  {name:<{width}}  {value}" for name, value in rows),
    ]
