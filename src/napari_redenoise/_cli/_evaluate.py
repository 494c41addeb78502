"""``redenoise evaluate``: scores and montages of a model on clean images with added noise."""

from __future__ import annotations

import csv
import math
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
import skimage.io
import typer

from napari_redenoise._cli._app import Device, Overwrite, app
from napari_redenoise._cli._folders import Subfolders, left_out, refuse_among_images
from napari_redenoise.config import NoiseKind
from napari_redenoise.data import FULL_SCALE, ImageFolder
from napari_redenoise.devices import get_device
from napari_redenoise.errors import ConfigError
from napari_redenoise.io import check_folder, load_model, refuse_existing, write_atomically
from napari_redenoise.recipes import ImageDone, evaluate, noise_config, scale_normalisation

TABLE = "table.csv"


@app.command("evaluate")
def evaluate_model(
    model: Annotated[Path, typer.Argument(help="Trained model: .safetensors")],
    test_dir: Annotated[Path, typer.Option(help="Folder of clean images: png, jpg, tif.")],
    noise_param: Annotated[
        float, typer.Option(help="Noise level, the same for all images.", min=0.1, max=255.0)
    ],
    noise_type: Annotated[NoiseKind, typer.Option(help="Kind of the added noise.")] = "gaussian",
    test_size: Annotated[int, typer.Option(help="Largest number of images.", min=1)] = 1000,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the table and a montage per image.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise.", min=0)] = 0,
    grey_range: Annotated[
        float | None,
        typer.Option("--range", help="Grey level of white for MODEL; default: stored in MODEL."),
    ] = None,
    subfolders: Subfolders = False,
    device: Device = None,
    overwrite: Overwrite = False,
) -> None:
    """Add noise to clean images, denoise them with MODEL, and compute PSNR and SSIM."""
    network, config, normalisation, provenance, _ = load_model(model)
    network = network.to(get_device(device))
    channels = config.network.channels
    images = ImageFolder.open(test_dir, test_size, channels, subfolders=subfolders)
    white = _white(model, provenance, grey_range)
    normalisation = scale_normalisation(normalisation, FULL_SCALE / white)
    montages = _montage_names(images)
    if out is not None:
        refuse_among_images(out, test_dir, subfolders=subfolders)
        for name in (TABLE, *montages.values()):
            refuse_existing(out / name, overwrite=overwrite)
        check_folder(out / TABLE)
    names = {path: images.name(number) for number, path in enumerate(images.paths)}
    width = max(map(len, names.values()))
    typer.echo(f"{noise_type} noise of level {noise_param:g}, seed {seed}")
    typer.echo(f"{'':{width}}   PSNR (dB)           SSIM")
    typer.echo(f"{'image':{width}}   noisy  denoised   noisy  denoised")
    rows = []
    noise = noise_config(noise_type, noise_param)
    for done in evaluate(network, config, normalisation, images, noise, seed):
        scores = (done.noisy_psnr, done.psnr, done.noisy_ssim, done.ssim)
        rows.append((names[done.path], *scores))
        typer.echo(_line(names[done.path], scores, width))
        if out is not None:
            (out / montages[done.path]).parent.mkdir(parents=True, exist_ok=True)
            with write_atomically(out / montages[done.path], overwrite=overwrite) as partial:
                skimage.io.imsave(partial, montage(done), check_contrast=False)
    means = tuple(float(np.mean([row[part] for row in rows])) for part in range(1, 5))
    typer.echo(_line("mean", means, width))
    skipped = [*images.skipped.values(), *images.unreadable.values()]
    if skipped:
        typer.echo(left_out("skipped", skipped), err=True)
    if out is not None:
        _write_table(out / TABLE, [*rows, ("mean", *means)], overwrite=overwrite)
        typer.echo(f"wrote {out}")


def _white(model: Path, provenance: dict[str, Any], given: float | None) -> float:
    """Grey level of white in the images of a model."""
    # `train` and `import-checkpoint` store it under these names. A model of one image has none.
    known = (given, provenance.get("white"), provenance.get("grey_range"))
    white = next((value for value in known if value is not None), None)
    if white is None:
        raise ConfigError(
            f"{model} does not store the grey level of white: give --range, which is 255 for 8-bit "
            "images"
        )
    if not (isinstance(white, (int, float)) and math.isfinite(white) and white > 0):
        raise ConfigError(f"the range is {white}: give --range, the grey level of white")
    return float(white)


def montage(done: ImageDone) -> np.ndarray:
    """Noisy, denoised and clean image in one row, as uint8 grey levels of the files."""
    gap = np.full((*done.clean.shape[:2], 4), FULL_SCALE, np.float32)
    row = np.concatenate([done.noisy, gap, done.denoised, gap, done.clean], axis=2)
    shown: np.ndarray = np.clip(np.rint(row), 0, FULL_SCALE).astype(np.uint8)
    return shown[0] if len(shown) == 1 else shown.transpose(1, 2, 0)


def _montage_names(images: ImageFolder) -> dict[Path, str]:
    """A file name per image; images that differ in their suffix alone keep it."""
    names = [PurePosixPath(images.name(number)) for number in range(len(images))]
    counts = Counter(name.with_suffix("") for name in names)
    return {
        path: f"{name.with_suffix('') if counts[name.with_suffix('')] == 1 else name}.png"
        for path, name in zip(images.paths, names, strict=True)
    }


def _line(name: str, scores: tuple[float, ...], width: int) -> str:
    noisy, denoised, noisy_ssim, denoised_ssim = scores
    return (
        f"{name:{width}}   {noisy:5.2f}     {denoised:5.2f}   {noisy_ssim:.3f}     "
        f"{denoised_ssim:.3f}"
    )


def _write_table(path: Path, rows: list[tuple[str | float, ...]], *, overwrite: bool) -> None:
    header = ("image", "noisy_psnr", "psnr", "noisy_ssim", "ssim")
    with (
        write_atomically(path, overwrite=overwrite) as partial,
        partial.open("w", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([name, *(f"{score:.4f}" for score in scores)] for name, *scores in rows)
