"""Tiled prediction as a generator of events."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_redenoise.data import NetworkInput, Normalisation, Planes
from napari_redenoise.inference._tiles import Span, Tile, tiles
from napari_redenoise.nn import DenoisingNetwork, Prediction, reflect_indices

Draws = Callable[[Tensor], Sequence[Tensor]]
"""Of a normalised picture (1, channels, Y, X): what the network is shown of it."""


@dataclass(frozen=True)
class TileDone:
    """One tile has been written; ``tile`` counts from 1 over all samples."""

    tile: int
    tiles: int
    sample: tuple[int, ...]


def predict(
    network: DenoisingNetwork,
    planes: Planes,
    normalisation: Normalisation,
    outputs: dict[str, Any],
    *,
    tile: int,
    halo: int,
    dtype: torch.dtype = torch.float32,
    samples: list[tuple[int, ...]] | None = None,
    draws: Draws | None = None,
    tta: bool = False,
) -> Iterator[TileDone]:
    """Denoise every plane and write the results into ``outputs``.

    Parameters
    ----------
    network : DenoisingNetwork
        In evaluation mode.
    planes : Planes
        The noisy image; only ever read.
    normalisation : Normalisation
    outputs : dict
        By name of a field of `Prediction`: arrays of the image's shape, for ``mask`` without the
        channel axis. Grey levels are those of the image.
    tile, halo : int
        Pixels. Tiled and whole prediction agree when the halo is at least the receptive radius.
    dtype : torch.dtype
        ``torch.bfloat16`` computes under autocast.
    samples : list of tuple, optional
        Sample indices to predict; default all.
    draws : Draws, optional
        What the network is shown instead of the picture itself; the predictions are averaged.
    tta : bool
        Average over mirror images, too, see `predict_window`.

    Yields
    ------
    TileDone
        After every tile.
    """
    cuts = tiles(planes.height, planes.width, tile, halo, network.stride)
    chosen = list(planes.indices()) if samples is None else samples
    done = 0
    for sample in chosen:
        for cut in cuts:
            window = _read(planes, sample, cut)
            prediction = predict_window(network, window, normalisation, dtype, draws, tta=tta)
            for name, target in outputs.items():
                part = getattr(prediction, name)[:, cut.rows.crop, cut.columns.crop]
                rows, columns = cut.rows.write, cut.columns.write
                planes.write(target, sample, rows, columns, part, channels=name != "mask")
            done += 1
            yield TileDone(done, len(cuts) * len(chosen), sample)


def predict_window(
    network: DenoisingNetwork,
    window: np.ndarray,
    normalisation: Normalisation,
    dtype: torch.dtype = torch.float32,
    draws: Draws | None = None,
    *,
    tta: bool = False,
) -> _Arrays:
    """Denoise one picture of shape (channels, Y, X), in grey levels in and out.

    ``mirrored`` averages over mirror images: of several draws, every second one is mirrored; of
    one picture, it and its mirror image are shown. Both branches learn mirrored patches, but only
    turning is built into one of them. Pixels without a measurement come out as they are: see
    `NetworkInput`.
    """
    device = next(network.parameters()).device
    seen = NetworkInput.of(window, normalisation)
    image = torch.from_numpy(seen.image)[None]
    shown = [image] if draws is None else draws(image)
    if tta and len(shown) == 1:
        shown = [*shown, *shown]

    def predicted(number: int, picture: Tensor) -> Prediction:
        is_flipped = tta and number % 2 == 1
        picture = picture.to(device)
        picture = picture.flip(-1) if is_flipped else picture
        prediction: Prediction = network(picture.contiguous(memory_format=torch.channels_last))
        if not is_flipped:
            return prediction
        others = (None if part is None else part.flip(-1) for part in prediction[1:])
        return Prediction(prediction.denoised.flip(-1), *others)

    with (
        torch.inference_mode(),
        torch.autocast(device.type, dtype, enabled=dtype != torch.float32),
    ):
        prediction = _mean(itertools.starmap(predicted, enumerate(shown)))
    arrays = _to_arrays(prediction, normalisation)
    for part in (arrays.denoised, arrays.standard, arrays.equivariant):
        if part is not None:
            # What was not shown is as it was, and where nothing was measured nothing is invented.
            part += seen.clipped.astype(part.dtype)
            part[seen.missing] = window[seen.missing]
    return arrays


def _mean(predictions: Iterable[Prediction]) -> Prediction:
    """Mean of predictions, field by field, in float32."""
    total: list[Tensor | None] = []
    count = 0
    for prediction in predictions:
        parts = [None if part is None else part.float() for part in prediction]
        total = parts if count == 0 else list(map(_sum, total, parts))
        count += 1
    denoised, *others = (None if part is None else part / count for part in total)
    if denoised is None:
        raise ValueError("there are no predictions to average")
    return Prediction(denoised, *others)


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return None if one is None or other is None else one + other


@dataclass(frozen=True)
class _Arrays:
    """A `Prediction` of one picture as arrays (channels, Y, X) in grey levels."""

    denoised: np.ndarray
    standard: np.ndarray | None
    equivariant: np.ndarray | None
    mask: np.ndarray | None


def _to_arrays(prediction: Prediction, normalisation: Normalisation) -> _Arrays:
    def plain(part: Tensor | None) -> np.ndarray | None:
        return None if part is None else part[0].float().cpu().numpy()

    def grey(part: Tensor | None) -> np.ndarray | None:
        array = plain(part)
        return None if array is None else normalisation.undo(array)

    return _Arrays(
        normalisation.undo(prediction.denoised[0].float().cpu().numpy()),
        grey(prediction.standard),
        grey(prediction.equivariant),
        plain(prediction.mask),
    )


def _read(planes: Planes, sample: tuple[int, ...], cut: Tile) -> np.ndarray:
    """Read a tile; what lies beyond the image is its reflection."""
    row_index, rows = _source(cut.rows, planes.height)
    column_index, columns = _source(cut.columns, planes.width)
    window = planes.read(sample, rows, columns)
    return window[:, row_index[:, None], column_index[None, :]]


def _source(span: Span, size: int) -> tuple[np.ndarray, slice]:
    """Pixels to read for a span, and how to pick the span's pixels from them."""
    index = reflect_indices(*span.read, size)
    first, last = int(index.min()), int(index.max()) + 1
    return index - first, slice(first, last)
