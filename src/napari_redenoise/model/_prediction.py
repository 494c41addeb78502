"""Prediction of a whole image, and its result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from napari_redenoise.config import Config
from napari_redenoise.data import Normalisation, Planes
from napari_redenoise.devices import training_dtype
from napari_redenoise.inference import Draws, Interrupted, TileDone
from napari_redenoise.model._corrections import Corrections, correct
from napari_redenoise.model._tiled import predict_in_tiles
from napari_redenoise.nn import DenoisingNetwork


@dataclass(frozen=True)
class Result:
    """Result of `Redenoiser.predict`.

    Attributes
    ----------
    denoised : ndarray, float32
        Denoised image in the grey levels and shape of the image; float64 where float32 cannot
        resolve the grey levels.
    mask : ndarray, float32, or None
        Fusion mask without the channel axis: 1 is the standard branch, 0 the equivariant branch.
        ``None`` for networks of one branch.
    standard, equivariant : ndarray, float32, or None
        Outputs of the branches, if requested.
    provenance : dict
        Settings and training of the model, as plain values.
    """

    denoised: np.ndarray
    mask: np.ndarray | None = None
    standard: np.ndarray | None = None
    equivariant: np.ndarray | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


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
    corrections: Corrections,
    samples: Sequence[tuple[int, ...]] | None = None,
    window: tuple[slice, slice] | None = None,
) -> Iterator[TileDone]:
    """Denoise all planes, some samples or a window into ``outputs``, after the corrections."""
    predict = partial(
        predict_in_tiles,
        network,
        normalisation=normalisation,
        outputs=outputs,
        config=config,
        device=device,
        draws=draws,
        should_stop=should_stop,
        tta=tta,
        dtype=training_dtype(device, config.tiling.precision),
        window=window,
    )
    samples = list(planes.indices() if samples is None else samples)
    if not corrections:
        yield from predict(planes, samples=samples)
        return
    # Those of a plane are needed again until its last neighbour is denoised.
    known: dict[tuple[int, ...], Any] = {}
    most = (2 * planes.context + 1) * planes.planes_between_neighbours if planes.context else 1
    for number, sample in enumerate(samples):
        if number and should_stop is not None and should_stop():
            return
        needed = [sample, *(one for one in planes.neighbours(sample) if one is not None)]
        try:
            corrected = correct(planes, corrections, device, should_stop, needed, known)
        except Interrupted:
            return
        for one in needed:
            known[one] = known.pop(one)
        while len(known) > most:
            del known[next(iter(known))]
        for done in predict(corrected, samples=[sample]):
            yield TileDone(number * done.tiles + done.tile, len(samples) * done.tiles, sample)
