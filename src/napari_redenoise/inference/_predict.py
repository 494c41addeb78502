"""Tiled prediction as a generator of events."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_redenoise.data import (
    NetworkInput,
    Normalisation,
    Planes,
    PlaneScales,
    context_of,
)
from napari_redenoise.inference._tiles import Span, Tile, tiles, within
from napari_redenoise.nn import DenoisingNetwork, Prediction, reflect_indices

Draws = Callable[[Tensor], Sequence[Tensor]]
"""Returns the network inputs for a normalised image (1, channels, Y, X)."""


@dataclass(frozen=True)
class TileDone:
    """A tile has been written; ``tile`` counts from 1 over all samples."""

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
    window: tuple[slice, slice] | None = None,
    draws: Draws | None = None,
    tta: bool = False,
) -> Iterator[TileDone]:
    """Denoise every plane and write the results into ``outputs``.

    Parameters
    ----------
    network : DenoisingNetwork
        In evaluation mode.
    planes : Planes
        The noisy image; never modified.
    normalisation : Normalisation
    outputs : dict
        Arrays by field name of `Prediction`, of the image's shape and grey scale. The array of
        ``mask`` lacks the channel axis.
    tile, halo : int
        Pixels. Tiled and whole predictions agree if the halo is at least the receptive radius.
    dtype : torch.dtype
        ``torch.bfloat16`` computes under autocast.
    samples : list of tuple, optional
        Sample indices to predict; default all.
    window : tuple of slice, optional
        Rows and columns to predict, with the pixels of the whole prediction, unless ``draws`` draw
        others; default all.
    draws : Draws, optional
        Network inputs in place of the image; the predictions are averaged.
    tta : bool
        Test-time augmentation by flips, see `predict_tile`.

    Yields
    ------
    TileDone
        After every tile.
    """
    layout = tiles(planes.height, planes.width, tile, halo, network.stride)
    layout = layout if window is None else within(layout, *window)
    scales = PlaneScales(planes, normalisation)
    context = _Context(planes, scales, layout)
    chosen = list(planes.indices()) if samples is None else samples
    done = 0
    for sample in chosen:
        # Draws are made for the normalisation of the whole image.
        scale = scales.normalisation(sample) if draws is None else normalisation
        for number, place in enumerate(layout):
            pixels = _read(planes, sample, place)
            beside = context.of(sample, number, place, scale)
            prediction = predict_tile(network, pixels, scale, dtype, draws, tta=tta, context=beside)
            for name, target in outputs.items():
                part = getattr(prediction, name)[:, place.rows.crop, place.columns.crop]
                rows, columns = place.rows.write, place.columns.write
                planes.write(target, sample, rows, columns, part, channels=name != "mask")
            done += 1
            yield TileDone(done, len(layout) * len(chosen), sample)


def predict_tile(
    network: DenoisingNetwork,
    window: np.ndarray,
    normalisation: Normalisation,
    dtype: torch.dtype = torch.float32,
    draws: Draws | None = None,
    *,
    tta: bool = False,
    context: Tensor | None = None,
) -> _Arrays:
    """Denoise one window of shape (channels, Y, X), in grey levels.

    Missing pixels keep their value, see `NetworkInput`.

    Parameters
    ----------
    network : DenoisingNetwork
        In evaluation mode.
    window : array of shape (channels, Y, X)
    normalisation : Normalisation
    dtype : torch.dtype
        ``torch.bfloat16`` computes under autocast.
    draws : Draws, optional
        Network inputs in place of the window; the predictions are averaged.
    tta : bool
        Average over flips: of the window and its flip, or with every second draw flipped. Flips
        are part of the training and not built into the network, unlike rotations.
    context : Tensor, optional
        Network inputs beside the window (inputs, Y, X), see `normalised_context`.

    Returns
    -------
    denoised, standard, equivariant, mask
        Attributes; arrays (channels, Y, X) in grey levels, or None.
    """
    device = next(network.parameters()).device
    prepared = NetworkInput.of(window, normalisation)
    image = torch.from_numpy(prepared.image)[None]
    if dtype == torch.bfloat16 and not _is_resolved(image):
        dtype = torch.float32
    inputs = [image] if draws is None else draws(image)
    if tta and len(inputs) == 1:
        inputs = [*inputs, *inputs]

    def predicted(number: int, noisy: Tensor) -> Prediction:
        is_flipped = tta and number % 2 == 1
        if context is not None:
            noisy = torch.cat([noisy, context[None].to(noisy)], 1)
        noisy = noisy.to(device)
        noisy = noisy.flip(-1) if is_flipped else noisy
        prediction: Prediction = network(noisy.contiguous(memory_format=torch.channels_last))
        if not is_flipped:
            return prediction
        others = (None if part is None else part.flip(-1) for part in prediction[1:])
        return Prediction(prediction.denoised.flip(-1), *others)

    with (
        torch.inference_mode(),
        torch.autocast(device.type, dtype, enabled=dtype != torch.float32),
    ):
        prediction = _mean(itertools.starmap(predicted, enumerate(inputs)))
    arrays = _to_arrays(prediction, normalisation)
    for part in (arrays.denoised, arrays.standard, arrays.equivariant):
        if part is not None:
            # Clipped grey levels are added back, and missing pixels keep their value.
            part += prepared.clipped.astype(part.dtype)
            part[prepared.missing] = window[prepared.missing]
    return arrays


_RESOLVED, _BFLOAT16_STEP = 4.0, 2.0**-8
"""Least median difference of neighbouring pixels, in steps of bfloat16 at the median level."""


def _is_resolved(image: Tensor) -> bool:
    """Whether bfloat16 resolves a normalised image; not the dim parts beside a bright object."""
    step = _BFLOAT16_STEP * float(image.abs().median())
    return float(image.diff(dim=-1).abs().median()) >= _RESOLVED * step


def _mean(predictions: Iterable[Prediction]) -> Prediction:
    """Mean of every field of the predictions, in float32."""
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
    """A `Prediction` of one window as arrays (channels, Y, X) in grey levels."""

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


def normalised_context(
    around: Sequence[np.ndarray | None], like: np.ndarray, normalisation: Normalisation
) -> Tensor | None:
    """Network inputs for the neighbours of a window; None without neighbours.

    Parameters
    ----------
    around : sequence of ndarray or None
        Neighbours in grey levels, None where one is missing.
    like : ndarray
        The window (channels, Y, X).
    normalisation : Normalisation
    """
    if not around:
        return None
    inputs = [None if one is None else _input(one, normalisation) for one in around]
    return context_of(inputs, torch.zeros(like.shape, dtype=torch.float32))


def _input(window: np.ndarray, normalisation: Normalisation) -> Tensor | None:
    """A normalised neighbour; None where all of it is missing."""
    inputs = NetworkInput.of(window, normalisation)
    return None if inputs.missing.all() else torch.from_numpy(inputs.image)


MOST_BYTES_PREPARED = 2**29
"""Of the tiles that are kept for the next planes. Of larger planes they are read again."""


class _Context:
    """Neighbours of the tiles of a stack, each prepared once while it is needed."""

    def __init__(self, planes: Planes, scales: PlaneScales, layout: list[Tile]) -> None:
        self._planes, self._scales = planes, scales
        self._prepared: OrderedDict[tuple[Any, ...], Tensor | None] = OrderedDict()
        pixels = sum(
            math.prod(stop - start for start, stop in (one.rows.read, one.columns.read))
            for one in layout
        )
        runs = 2 * planes.context + 1
        is_small = runs * pixels * planes.channels * 4 <= MOST_BYTES_PREPARED
        self._most = runs * len(layout) if is_small else 1

    def of(
        self, sample: tuple[int, ...], number: int, place: Tile, scale: Normalisation
    ) -> Tensor | None:
        """Network inputs beside a tile; None without neighbours."""
        neighbours = self._scales.neighbours(sample)
        if not neighbours:
            return None
        around = [
            None if one is None else self._tile(one, number, place, scale) for one in neighbours
        ]
        rows, columns = place.rows.read, place.columns.read
        shape = self._planes.channels, rows[1] - rows[0], columns[1] - columns[0]
        return context_of(around, torch.zeros(shape, dtype=torch.float32))

    def _tile(
        self, sample: tuple[int, ...], number: int, place: Tile, scale: Normalisation
    ) -> Tensor | None:
        key = sample, number, scale
        if key not in self._prepared:
            window = _read(self._planes, sample, place)
            self._prepared[key] = _input(window, scale)
            if len(self._prepared) > self._most:
                self._prepared.popitem(last=False)
        return self._prepared[key]


def _read(planes: Planes, sample: tuple[int, ...], place: Tile) -> np.ndarray:
    """Read a tile, padded by reflection beyond the image."""
    row_index, rows = _source(place.rows, planes.height)
    column_index, columns = _source(place.columns, planes.width)
    window = planes.read(sample, rows, columns)
    return window[:, row_index[:, None], column_index[None, :]]


def _source(span: Span, size: int) -> tuple[np.ndarray, slice]:
    """Pixels to read for a span, and the index of the span's pixels in them."""
    index = reflect_indices(*span.read, size)
    first, last = int(index.min()), int(index.max()) + 1
    return index - first, slice(first, last)
