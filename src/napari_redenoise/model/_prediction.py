"""What a prediction gives, and the way of a whole image through it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from napari_redenoise.config import Config, Lines, NetworkKind
from napari_redenoise.data import Normalisation, Planes, result_dtype
from napari_redenoise.inference import Draws, Interrupted, TileDone
from napari_redenoise.io import result_array
from napari_redenoise.model._line_correction import correct_lines
from napari_redenoise.model._tiled import predict_in_tiles
from napari_redenoise.nn import DenoisingNetwork

RESULTS = ("denoised", "mask", "standard", "equivariant")


@dataclass(frozen=True)
class Result:
    """What `Redenoiser.predict` returns.

    Attributes
    ----------
    denoised : ndarray, float32
        In the grey levels and the shape of the image; float64 where float32 could not tell its
        grey levels apart.
    mask : ndarray, float32, or None
        Fusion mask, 1 where the standard branch decides and 0 where the equivariant one does;
        without the channel axis. ``None`` for networks of one branch.
    standard, equivariant : ndarray, float32, or None
        The outputs of the branches, where asked for.
    provenance : dict
        What was run, as plain values.
    """

    denoised: np.ndarray
    mask: np.ndarray | None = None
    standard: np.ndarray | None = None
    equivariant: np.ndarray | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


def allocate(
    planes: Planes, kind: NetworkKind, *, branches: bool = False, denoised: Any = None
) -> dict[str, Any]:
    """Make the arrays that a prediction fills, by name; large ones are zarr on disk.

    They are float32, or float64 where that could not tell the grey levels apart.
    """
    names = ["denoised"]
    if kind == "adarenet":
        names += RESULTS[1:] if branches else ["mask"]
    outputs = {} if denoised is None else {"denoised": denoised}
    for name in names:
        if name not in outputs:
            dtype = np.float32 if name == "mask" else result_dtype(planes)
            outputs[name] = result_array(planes, channels=name != "mask", dtype=dtype)
    return outputs


def predict_planes(
    network: DenoisingNetwork,
    planes: Planes,
    normalisation: Normalisation,
    outputs: dict[str, Any],
    config: Config,
    device: torch.device,
    draws: Draws | None,
    should_stop: Callable[[], bool] | None,
    *,
    tta: bool,
    lines: Lines,
) -> Iterator[TileDone]:
    """Denoise every plane into ``outputs``, each after its line correction.

    Raises
    ------
    DeviceError
        When even the smallest tile does not fit the device's memory.
    OutputError
        When results that lie on disk do not fit it.
    """
    predict = partial(
        predict_in_tiles,
        network,
        normalisation=normalisation,
        outputs=outputs,
        config=config,
        device=device,
        draws=draws,
        should_stop=should_stop,
        mirrored=tta,
    )
    if lines == "none":
        yield from predict(planes)
        return
    samples = list(planes.indices())
    offsets: dict[tuple[int, ...], Any] = {}
    for number, sample in enumerate(samples):
        if number and should_stop is not None and should_stop():
            return
        needed = [sample, *(one for one in planes.neighbours(sample) if one is not None)]
        try:
            corrected = correct_lines(planes, lines, device, should_stop, needed, offsets)
        except Interrupted:
            return
        for done in predict(corrected, samples=[sample]):
            yield TileDone(number * done.tiles + done.tile, len(samples) * done.tiles, sample)
