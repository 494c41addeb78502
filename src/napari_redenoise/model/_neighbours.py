"""Whether neighbouring planes are used: their noise must be independent, and they must help."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_redenoise.config import Config
from napari_redenoise.data import NetworkInput, Planes, mask_missing, measure, middle_window
from napari_redenoise.errors import InputError
from napari_redenoise.inference import normalised_context
from napari_redenoise.model._noise_reports import shares_noise, spread_samples
from napari_redenoise.model._pretrained import for_image, pretrained_network
from napari_redenoise.nn import DenoisingNetwork
from napari_redenoise.objectives import Noise2Self

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
    if shares_noise(planes, should_stop):
        reason = SHARED
    elif config.training.start == "random" or neighbours_help(
        pretrained_network(config.network).to(device), planes
    ):
        return Settled(config)
    else:
        reason = NO_HELP
    return Settled(for_image(asked.replace({"network.context": 0}), planes), reason)


@torch.no_grad()
def neighbours_help(network: DenoisingNetwork, planes: Planes) -> bool:
    """Whether hidden pixels are predicted better with neighbouring planes than without.

    Parameters
    ----------
    network : DenoisingNetwork
    planes : Planes
        With neighbours.

    Notes
    -----
    The noise of a hidden pixel is independent of all that the network is shown, so the difference
    of both squared errors is that of the errors against the signal (J. Batson, L. Royer,
    "Noise2Self", ICML 2019).
    """
    network = network.eval()
    generator = torch.Generator().manual_seed(0)
    difference = 0.0
    for noisy, context in _windows(planes):
        sample = Noise2Self()(noisy, generator)
        alone, beside = (
            _error(network, sample.input, sample.target, sample.mask, around)
            for around in (torch.zeros_like(context), context)
        )
        difference += beside - alone
    return difference < 0


def _error(
    network: DenoisingNetwork, shown: Tensor, target: Tensor, mask: Tensor, context: Tensor
) -> float:
    device = next(network.parameters()).device
    denoised = network(torch.cat([shown, context], 1).to(device)).denoised.cpu()
    return float((((denoised - target) ** 2) * mask).sum())


def _windows(planes: Planes) -> list[tuple[Tensor, Tensor]]:
    """Normalised windows of planes spread over the stack, and what is shown beside them."""
    found = []
    for sample in spread_samples(planes, WINDOWS):
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
