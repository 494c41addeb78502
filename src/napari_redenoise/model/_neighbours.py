"""Whether neighbouring planes help to denoise a stack: asked of the pretrained network."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_redenoise.config import Config
from napari_redenoise.data import NetworkInput, Planes, mask_missing, measure, middle_window
from napari_redenoise.errors import InputError
from napari_redenoise.inference import normalised_context
from napari_redenoise.model._pretrained import for_image, pretrained_network
from napari_redenoise.nn import DenoisingNetwork
from napari_redenoise.objectives import Noise2Self

SIDE, WINDOWS = 96, 6
"""Pixels a side, and how many windows, each of a plane of its own."""


def settle_context(asked: Config, planes: Planes, device: torch.device) -> Config:
    """Settle what follows from an image alone: see `for_image`.

    Neighbours are seen where they help, unless the user said how many.

    Raises
    ------
    ConfigError
        As `for_image`.
    """
    config = for_image(asked, planes)
    is_open = asked.network.context == "auto" and config.network.neighbours
    if not is_open or config.training.start == "random":
        return config
    network = pretrained_network(config.network).to(device)
    if neighbours_help(network, planes.with_context(config.network.neighbours // 2)):
        return config
    return for_image(asked.replace({"network.context": 0}), planes)


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
    every = list(planes.indices())
    count = min(WINDOWS, len(every))
    chosen = [every[(2 * number + 1) * len(every) // (2 * count)] for number in range(count)]
    found = []
    for sample in chosen:
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
