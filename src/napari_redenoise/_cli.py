"""The command line: ``redenoise``."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import skimage.io
import typer
from skimage.color import rgb2gray
from tqdm import tqdm

from napari_redenoise import __version__
from napari_redenoise._denoiser import Redenoiser, Result
from napari_redenoise.config import Config
from napari_redenoise.errors import ConfigError, OutputError, RedenoiseError
from napari_redenoise.io import (
    ImageFile,
    check_folder,
    check_output,
    read_image,
    refuse_existing,
    write_tiff,
)
from napari_redenoise.metrics import psnr
from napari_redenoise.noise import poisson_gaussian

app = typer.Typer(
    help="Denoise microscopy images with networks trained on their own noisy pixels.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Backbone = Literal["adarenet", "equivariant", "standard"]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing results.")]
Device = Annotated[str | None, typer.Option(help="cuda:0, mps or cpu; default the fastest.")]
Seed = Annotated[
    int | None, typer.Option(help="Seed of weights, patches and masks; default 0.", min=0)
]
Steps = Annotated[int | None, typer.Option(help="Training steps; default 270.", min=1)]


def main() -> None:
    """Run the command line; errors that a user can mend end it with one sentence."""
    try:
        app()
    except RedenoiseError as error:
        typer.echo(f"redenoise: {error}", err=True)
        sys.exit(1)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def denoise(
    image: Annotated[Path, typer.Argument(help="Noisy image or stack: TIFF, PNG or JPEG.")],
    output: Annotated[Path, typer.Argument(help="Denoised image to write: .tif")],
    axes: Annotated[
        str | None,
        typer.Option(help="One letter per axis, e.g. TYX, ZCYX; Y, X: plane; C: channels."),
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="Also write the fusion mask: .tif")] = None,
    model: Annotated[
        Path | None, typer.Option(help="Use this trained model and do not train.")
    ] = None,
    save_model: Annotated[
        Path | None, typer.Option(help="Keep the trained model: .safetensors")
    ] = None,
    backbone: Annotated[Backbone | None, typer.Option(help="Network; default adarenet.")] = None,
    steps: Steps = None,
    seed: Seed = None,
    device: Device = None,
    overwrite: Overwrite = False,
) -> None:
    """Train on the noisy pixels of IMAGE and write the denoised image to OUTPUT."""
    _check_targets(image, [output, mask], save_model, overwrite=overwrite)
    if model is not None:
        if steps is not None or backbone is not None or seed is not None or save_model is not None:
            raise ConfigError(
                "--model does not train: leave --backbone, --steps, --seed and --save-model out"
            )
        denoiser = Redenoiser.load(model, device)
    else:
        denoiser = Redenoiser(_config(backbone, steps, seed), device)
    if mask is not None and denoiser.config.network.kind != "adarenet":
        raise ConfigError("only the adarenet has a fusion mask: leave --mask out")
    source = read_image(image, axes)
    if model is None:
        _train(denoiser, source)
    if save_model is not None:
        typer.echo(f"wrote {denoiser.save(save_model, overwrite=overwrite)}")
    result = _predict(denoiser, source)
    write_tiff(output, result.denoised, source, overwrite=overwrite)
    typer.echo(f"wrote {output}")
    if mask is not None and result.mask is not None:
        write_tiff(mask, result.mask, source, overwrite=overwrite)
        typer.echo(f"wrote {mask}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo-output"),
    steps: Steps = None,
    seed: Seed = None,
    device: Device = None,
    overwrite: Overwrite = False,
    viewer: Annotated[
        bool, typer.Option(help="Open napari with the results where there is a display.")
    ] = True,
) -> None:
    """Add noise to a picture of scikit-image, denoise it, and write before and after."""
    names = ("noisy", "denoised", "fusion-mask")
    paths = [out / f"{name}.tif" for name in names]
    picture = out / "before-after.png"
    for path in [*paths, picture]:
        refuse_existing(path, overwrite=overwrite)
        check_folder(path)
    clean, noisy = demo_picture(seed or 0)
    source = ImageFile(noisy, "YX")
    denoiser = Redenoiser(_config(None, steps, seed), device)
    _train(denoiser, source)
    result = _predict(denoiser, source)
    for path, array in zip(paths, (noisy, result.denoised, result.mask), strict=True):
        write_tiff(path, np.asarray(array), source, overwrite=overwrite)
    scale = float(clean.max() - clean.min())
    before, after = (psnr(shown, clean, scale) for shown in (noisy, result.denoised))
    skimage.io.imsave(picture, _side_by_side(noisy, result.denoised, clean), check_contrast=False)
    for path in [*paths, picture]:
        typer.echo(f"wrote {path}")
    typer.echo(f"PSNR against the clean picture: {before:.2f} dB noisy, {after:.2f} dB denoised")
    if viewer and _has_display() and find_spec("napari") is not None:
        noisy_path, denoised_path, mask_path = paths
        _open_napari([mask_path, noisy_path, denoised_path])


def _open_napari(paths: list[Path]) -> None:
    """Show files in napari, the last on top, in a process of its own: there is no Qt here."""
    dock = ["--with", "napari-redenoise", "Denoise"]
    done = subprocess.run([sys.executable, "-m", "napari", *map(str, paths), *dock], check=False)
    if done.returncode:
        typer.echo("napari could not open a window here; the files are complete.", err=True)


def demo_picture(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Picture inside the scikit-image wheel, clean and as a camera with few photons saw it."""
    path = files("skimage") / "data" / "ihc.png"
    clean = 255.0 - rgb2gray(skimage.io.imread(str(path))) * 255.0
    gain, offset, read_noise = 4.0, 100.0, 8.0
    photons = 1.0 + clean / clean.max() * 40.0
    rng = np.random.default_rng(seed)
    noisy = poisson_gaussian(photons, rng, gain=gain, offset=offset, read_noise=read_noise)
    return photons * gain + offset, np.clip(np.rint(noisy), 0, 65535).astype(np.uint16)


def _config(backbone: str | None, steps: int | None, seed: int | None) -> Config:
    given = {"network.kind": backbone, "training.steps": steps, "training.seed": seed}
    return Config().changed(**{name: value for name, value in given.items() if value is not None})


def _train(denoiser: Redenoiser, source: ImageFile) -> None:
    steps = denoiser.config.training.steps
    with tqdm(total=steps, desc=f"training on {denoiser.device}", unit="step") as bar:
        for _ in denoiser.fit_events(source.array, source.axes):
            bar.set_postfix(loss=f"{denoiser.provenance['loss']:.4f}", refresh=False)
            bar.update()


def _predict(denoiser: Redenoiser, source: ImageFile) -> Result:
    outputs = denoiser.allocate(source.array, source.axes)
    with tqdm(desc="denoising", unit="tile") as bar:
        for event in denoiser.predict_events(source.array, source.axes, outputs=outputs):
            bar.total = event.tiles
            bar.update(event.tile - bar.n)
    return Result(**outputs, provenance=denoiser.provenance)


def _check_targets(
    image: Path, results: list[Path | None], model: Path | None, *, overwrite: bool
) -> None:
    """Refuse, before any work, names under which something would be lost or not written."""
    images = [path for path in results if path is not None]
    targets = [*images, *([model] if model is not None else [])]
    if len({path.resolve() for path in targets}) < len(targets):
        raise OutputError("two results have the same name: give each its own")
    for path in targets:
        # Not even with --overwrite.
        if path.resolve() == image.resolve() or (
            path.exists() and image.exists() and path.samefile(image)
        ):
            raise OutputError(f"{path} is the noisy image itself: choose another name")
        if path in images:
            check_output(path, overwrite=overwrite)
        refuse_existing(path, overwrite=overwrite)
        check_folder(path)


def _side_by_side(*pictures: np.ndarray) -> np.ndarray:
    """Pictures in one row, on the grey scale of the last."""
    low, high = np.percentile(pictures[-1], (0.1, 99.9))
    scaled = [np.clip((picture - low) / (high - low), 0, 1) for picture in pictures]
    return (np.concatenate(scaled, axis=1) * 255).astype(np.uint8)


def _has_display() -> bool:
    return sys.platform in ("win32", "darwin") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
