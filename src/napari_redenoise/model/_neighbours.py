"""Whether neighbouring planes are used: their noise must be independent, and they must help."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_redenoise.config import Config
from napari_redenoise.data import (
    NetworkInput,
    Planes,
    mask_missing,
    measure,
    middle_window,
    spread_evenly,
)
from napari_redenoise.errors import InputError
from napari_redenoise.inference import normalised_context
from napari_redenoise.model._noise_reports import shares_noise
from napari_redenoise.model._pretrained import for_image, pretrained_network
from napari_redenoise.nn import DenoisingNetwork
from napari_redenoise.objectives import Noise2Self, Sample

SIDE, WINDOWS = 96, 6
"""Pixels a side, and how many windows, each of a plane of its own."""

SHARED = (
    "part of their noise is that of the plane itself (averaged, interpolated or repeated planes)"
)
NO_HELP = "they do not improve the prediction of hidden pixels"


@dataclass(frozen=True)
class Settled:
    """What follows from an image alone, and why neighbours are not used, if so."""

    config: Config
    no_neighbours: str = ""


def settle(
    asked: Config,
    planes: Planes,
    device: torch.device,
    should_stop: Callable[[], bool] | None = None,
) -> Settled:
    """Decide what follows from an image alone: see `for_image`.

    Neighbours are used where their noise is independent and they help, unless the user chose.

    Raises
    ------
    ConfigError
        As `for_image`.
    Interrupted
        When stopped.
    """
    config = for_image(asked, planes)
    if asked.network.context != "auto" or not config.network.neighbours:
        return Settled(config)
    planes = planes.with_context(config.network.neighbours // 2)
    alone = for_image(asked.replace({"network.context": 0}), planes)
    if shares_noise(planes, should_stop):
        return Settled(alone, SHARED)
    if config.training.start == "pretrained":
        with_neighbours, single = (
            pretrained_network(one.network).to(device) for one in (config, alone)
        )
        if not neighbours_help(with_neighbours, single, planes):
            return Settled(alone, NO_HELP)
    return Settled(config)


@torch.no_grad()
def neighbours_help(beside: DenoisingNetwork, alone: DenoisingNetwork, planes: Planes) -> bool:
    """Whether hidden pixels are predicted better with neighbouring planes than without.

    Parameters
    ----------
    beside, alone : DenoisingNetwork
        The network that is shown neighbours, and that of single planes.
    planes : Planes
        With neighbours.

    Notes
    -----
    The noise of a hidden pixel is independent of all that the network is shown, so the difference
    of both squared errors is that of the errors against the signal (J. Batson, L. Royer,
    "Noise2Self", ICML 2019).
    """
    beside, alone = beside.eval(), alone.eval()
    generator = torch.Generator().manual_seed(0)
    difference = 0.0
    for noisy, context in _windows(planes):
        sample = Noise2Self()(noisy, generator)
        difference += _error(beside, torch.cat([sample.input, context], 1), sample)
        difference -= _error(alone, sample.input, sample)
    return difference < 0


def _error(network: DenoisingNetwork, shown: Tensor, sample: Sample) -> float:
    """Squared error at the hidden pixels."""
    device = next(network.parameters()).device
    denoised = network(shown.to(device)).denoised.cpu()
    return float((((denoised - sample.target) ** 2) * sample.mask).sum())


def _windows(planes: Planes) -> list[tuple[Tensor, Tensor]]:
    """Normalised windows of planes spread over the stack, and what is shown beside them."""
    found = []
    for sample in spread_evenly(list(planes.indices()), WINDOWS):
        rows, columns = middle_window(planes, sample, SIDE)
        window = planes.read(sample, rows, columns)
        try:
            normalisation = measure([mask_missing(window)])
        except InputError:
            continue
        around = [
            None if one is None else planes.read(one, rows, columns)
            for one in planes.neighbours(sample)
        ]
        context = normalised_context(around, window, normalisation)
        if context is not None:
            noisy = torch.from_numpy(NetworkInput.of(window, normalisation).image)
            found.append((noisy[None], context[None]))
    return found
