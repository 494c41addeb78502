"""``redenoise demo``: add noise to a test image, and denoise it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import numpy as np
import skimage.io
import typer
from skimage.color import rgb2gray

from napari_redenoise._cli._app import (
    Device,
    Overwrite,
    Seed,
    Steps,
    app,
    predict_all,
    train_on,
)
from napari_redenoise.config import Config
from napari_redenoise.io import ImageFile, check_folder, refuse_existing, write_tiff
from napari_redenoise.metrics import psnr
from napari_redenoise.model import Redenoiser
from napari_redenoise.noise import poisson_gaussian


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo-output"),
    steps: Steps = None,
    seed: Seed = None,
    device: Device = None,
    overwrite: Overwrite = False,
    viewer: Annotated[
        bool, typer.Option(help="Open the results in napari where there is a display.")
    ] = True,
) -> None:
    """Add noise to an image of scikit-image, denoise it, and write both."""
    names = ("noisy", "denoised", "fusion-mask")
    paths = [out / f"{name}.tif" for name in names]
    montage = out / "before-after.png"
    for path in [*paths, montage]:
        refuse_existing(path, overwrite=overwrite)
        check_folder(path)
    clean, noisy = demo_image(seed or 0)
    source = ImageFile(noisy, "YX")
    config = Config().replace({"training.steps": steps, "training.seed": seed or 0})
    denoiser = Redenoiser(config, device)
    train_on(denoiser, source)
    result = predict_all(denoiser, source)
    for path, array in zip(paths, (noisy, result.denoised, result.mask), strict=True):
        write_tiff(path, np.asarray(array), source, overwrite=overwrite)
    scale = float(clean.max() - clean.min())
    before, after = (psnr(shown, clean, scale) for shown in (noisy, result.denoised))
    skimage.io.imsave(montage, _side_by_side(noisy, result.denoised, clean), check_contrast=False)
    for path in [*paths, montage]:
        typer.echo(f"wrote {path}")
    typer.echo(f"PSNR relative to the clean image: {before:.2f} dB noisy, {after:.2f} dB denoised")
    if viewer and _has_display() and find_spec("napari") is not None:
        noisy_path, denoised_path, mask_path = paths
        _open_napari([mask_path, noisy_path, denoised_path])


def _open_napari(paths: list[Path]) -> None:
    """Show files in napari, the last on top, in another process: this one has no Qt."""
    dock = ["--with", "napari-redenoise", "Denoise"]
    done = subprocess.run([sys.executable, "-m", "napari", *map(str, paths), *dock], check=False)
    if done.returncode:
        typer.echo("napari could not open a window: open the files in it later", err=True)


def demo_image(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An image of scikit-image in grey levels, clean and with photon and read noise."""
    path = files("skimage") / "data" / "ihc.png"
    clean = 255.0 - rgb2gray(skimage.io.imread(str(path))) * 255.0
    gain, offset, read_noise = 4.0, 100.0, 8.0
    photons = 1.0 + clean / clean.max() * 40.0
    rng = np.random.default_rng(seed)
    noisy = poisson_gaussian(photons, rng, gain=gain, offset=offset, read_noise=read_noise)
    return photons * gain + offset, np.clip(np.rint(noisy), 0, 65535).astype(np.uint16)


def _side_by_side(*images: np.ndarray) -> np.ndarray:
    """Images in one row, in the contrast limits of the last."""
    low, high = np.percentile(images[-1], (0.1, 99.9))
    scaled = [np.clip((image - low) / (high - low), 0, 1) for image in images]
    return (np.concatenate(scaled, axis=1) * 255).astype(np.uint8)


def _has_display() -> bool:
    return sys.platform in ("win32", "darwin") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
