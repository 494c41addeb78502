"""What a package of the BioImage Model Zoo holds beside its description and weights."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from napari_redenoise.data import Normalisation
from napari_redenoise.nn import DeployedNetwork

_SPOTS = 60
_NOISE_TO_SIGNAL = 0.5
_COVER_SIDE = 256
_CLIPPED_PERCENT = (0.5, 99.5)


def sample_image(normalisation: Normalisation, side: int) -> npt.NDArray[np.float32]:
    """Draw noisy spots in the grey levels of a model, the same every time.

    Parameters
    ----------
    normalisation : Normalisation
    side : int
        Pixels.

    Returns
    -------
    ndarray
        (1, channels, side, side), float32.
    """
    generator = np.random.default_rng(0)
    places = generator.uniform(0, side, (_SPOTS, 2))
    widths = generator.uniform(0.01, 0.06, _SPOTS) * side
    y, x = np.mgrid[:side, :side]
    spots = sum(
        np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * width**2))
        for (row, column), width in zip(places, widths, strict=True)
    )
    structure = (spots - np.mean(spots)) / np.std(spots)
    mean, std = (
        np.reshape(values, (1, -1, 1, 1)) for values in (normalisation.mean, normalisation.std)
    )
    noise = generator.normal(0, _NOISE_TO_SIGNAL, (1, mean.size, side, side))
    return np.asarray(mean + std * (structure + noise), np.float32)


def torchscript(network: DeployedNetwork, image: torch.Tensor) -> bytes:
    """Trace a network as TorchScript; its operations are recorded for every size.

    Parameters
    ----------
    network : DeployedNetwork
    image : Tensor
        Example of its input.

    Returns
    -------
    bytes
        A file of TorchScript without paths of this computer.
    """
    with warnings.catch_warnings(), torch.no_grad():
        # It is deprecated, and what other programs read. The comparisons are of fixed numbers.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, (image,), check_trace=False)
        saved, stripped = io.BytesIO(), io.BytesIO()
        torch.jit.save(traced, saved)
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(stripped, "w") as target:
        for name in source.namelist():
            if not name.endswith(".debug_pkl"):
                target.writestr(name, source.read(name))
    return stripped.getvalue()


def write_cover(path: Path, noisy: npt.NDArray[Any], denoised: npt.NDArray[Any]) -> None:
    """Write the cover: the noisy sample on the left, and the denoised one on the right.

    Parameters
    ----------
    path : Path
        Ends in ``.png``.
    noisy, denoised : ndarray
        (1, channels, side, side); the first channel is shown.
    """
    black, white = np.percentile(noisy[0, 0], _CLIPPED_PERCENT)
    pair = np.concatenate([noisy[0, 0], denoised[0, 0]], axis=1)
    scaled = np.clip((pair - black) / max(white - black, np.finfo(float).tiny), 0, 1) * 255
    image = Image.fromarray(scaled.astype(np.uint8))
    image.resize((2 * _COVER_SIDE, _COVER_SIDE), Image.Resampling.LANCZOS).save(path)


def documentation(
    words: str, provenance: dict[str, Any], plan: dict[str, Any] | None, cautions: tuple[str, ...]
) -> str:
    """Write the documentation of a package in Markdown.

    Parameters
    ----------
    words : str
        Description of input and output.
    provenance, plan : dict
        As in a model file.
    cautions : tuple of str
        What the package does not do.
    """
    listed = "".join(f"- {caution}\n" for caution in cautions) or "None are known."
    made = json.dumps({"provenance": provenance, "plan": plan}, indent=2, default=str)
    return f"""# Denoising with AdaReNet

Trained by napari-redenoise on the noisy pixels of an image, without clean images.
{words[0].upper()}{words[1:]}. The normalisation is a part of the network.
The output has the grey levels of the input.

## Limits

{listed.rstrip()}
The network is for images of the same kind and noise as those of its training.

## Validation

Denoise an image that was not used in the training. The residual (noisy minus denoised) has to look
like noise, without structure: compare its variance and autocorrelation with those of the noise.
`redenoise check NOISY DENOISED` of napari-redenoise does so. With a clean image, measure PSNR.

## Training

```json
{made}
```
"""
