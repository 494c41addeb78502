"""Prediction in tiles that fit the available memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch

from napari_redenoise.config import Config
from napari_redenoise.data import Normalisation, Planes
from napari_redenoise.errors import DeviceError, is_out_of_memory
from napari_redenoise.inference import (
    Draws,
    Interrupted,
    TileDone,
    interruptible,
    predict,
    tile_sizes,
)
from napari_redenoise.io import explain_full_disk
from napari_redenoise.nn import DenoisingNetwork


def predict_in_tiles(
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
    dtype: torch.dtype = torch.float32,
    samples: list[tuple[int, ...]] | None = None,
    window: tuple[slice, slice] | None = None,
) -> Iterator[TileDone]:
    """Denoise every plane into ``outputs``, with smaller tiles when memory runs out."""
    network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    tile, halo, smallest = tile_sizes(config.network, config.tiling)
    stopping = interruptible(network, should_stop) if should_stop else nullcontext()
    with stopping, explain_full_disk():
        while True:
            try:
                yield from predict(
                    network,
                    planes,
                    normalisation,
                    outputs,
                    tile=tile,
                    halo=halo,
                    draws=draws,
                    tta=tta,
                    dtype=dtype,
                    samples=samples,
                    window=window,
                )
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                # Tiles rewrite the same pixels, so starting again is harmless.
                tile //= 2
                if tile < smallest:
                    raise DeviceError(
                        f"{device} ran out of memory: close other programs that use it, or choose "
                        "the device 'cpu'"
                    ) from error
                continue
            except Interrupted:
                if should_stop is None or not should_stop():
                    raise
            return
