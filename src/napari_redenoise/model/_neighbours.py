"""Whether neighbouring planes are used: their noise must be independent, and they must help."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_redenoise.config import Config
from napari_redenoise.data import (
    NetworkInput,
    Planes,
    mask_missing,
    measure,
    spread_evenly,
    spread_window,
)
from napari_redenoise.errors import InputError
from napari_redenoise.inference import normalised_context
from napari_redenoise.model._judge import PROBE, cells, noise_by_level, probe
from napari_redenoise.model._noise_reports import has_pairs_alone, noise_reports, shares_noise
from napari_redenoise.model._pretrained import for_image, pretrained_network
from napari_redenoise.nn import DenoisingNetwork, Prediction
from napari_redenoise.noise import NoiseReport, diagnose
from napari_redenoise.objectives import Noise2Void

SIDE, WINDOWS = 160, 6
"""Pixels a side, and how many windows, each of a plane of its own and at another place."""

CHANCE = 0.5
"""Standard errors by which neighbours must be better. On nine movies of cells it is right: 0.3 dB
gained at 5 photons, up to 0.15 dB lost at 20. One standard error would refuse a gain."""

SHARED = (
    "part of their noise is that of the plane itself (averaged, interpolated or repeated planes)"
)
ALIKE = "two planes do not tell whether they share noise or fine texture"
NO_HELP = "the expected error is not lower with them"


@dataclass(frozen=True)
class Settled:
    """What follows from an image alone, and why neighbours are not used, if so."""

    config: Config
    no_neighbours: str = ""
    reports: tuple[NoiseReport, ...] = ()
    """Noise of the image, if it was measured for this."""


def settle(
    asked: Config,
    images: Sequence[Planes],
    device: torch.device,
    should_stop: Callable[[], bool] | None = None,
) -> Settled:
    """Decide what follows from the images of a training alone: see `for_image`.

    Neighbours are used where their noise is independent in every stack and they help, unless the
    user chose. Single images have none, and one network serves both.

    Raises
    ------
    ConfigError
        As `for_image`.
    Interrupted
        When stopped.
    """
    stacks = [planes for planes in images if planes.context_axes]
    config = for_image(asked, (stacks or images)[0])
    if asked.network.context != "auto" or not config.network.neighbours:
        return Settled(config)
    stacks = [planes.with_context(config.network.neighbours // 2) for planes in stacks]
    alone = for_image(asked.replace({"network.context": 0}), stacks[0])
    sharing = [planes for planes in stacks if shares_noise(planes, should_stop)]
    if sharing:
        return Settled(alone, ALIKE if all(map(has_pairs_alone, sharing)) else SHARED)
    if config.training.start == "pretrained":
        with_neighbours, single = (
            pretrained_network(one.network).to(device) for one in (config, alone)
        )
        reports = _reports(stacks[0])
        known = reports if images[0].context_axes else ()
        blind = _blind_spot(reports)
        if not neighbours_help(with_neighbours, single, stacks, blind):
            return Settled(alone, NO_HELP, known)
        return Settled(config, reports=known)
    return Settled(config)


def _reports(planes: Planes) -> tuple[NoiseReport, ...]:
    try:
        return noise_reports(planes)
    except InputError:
        return ()


def _blind_spot(reports: Sequence[NoiseReport]) -> Noise2Void | None:
    """Hides pixels whose noise is correlated; None where it is not."""
    diagnosis = diagnose(reports, fine_tuning=True)
    if diagnosis.case != "correlated":
        return None
    return Noise2Void(mask_shape=diagnosis.mask_shape)


@torch.no_grad()
def neighbours_help(
    beside: DenoisingNetwork,
    alone: DenoisingNetwork,
    stacks: Sequence[Planes],
    blind: Noise2Void | None = None,
) -> bool:
    """Whether the expected error is lower with neighbouring planes than without.

    Parameters
    ----------
    beside, alone : DenoisingNetwork
        The network that is shown neighbours, and that of single planes.
    stacks : sequence of Planes
        With neighbours.
    blind : Noise2Void, optional
        Compares hidden pixels instead: of correlated noise a residual holds too little.

    Notes
    -----
    By Stein's unbiased risk estimate, with a random probe (S. Ramani et al., "Monte-Carlo SURE",
    IEEE Trans. Image Process. 17, 2008). Hidden pixels alone would overrate neighbours: they
    replace the pixel that is hidden, which the network is shown otherwise.
    """
    beside, alone = beside.eval(), alone.eval()
    generator = torch.Generator().manual_seed(0)
    found = [_gained(beside, alone, *window, generator, blind) for window in _windows(stacks)]
    if not found:
        return False
    cells = torch.cat([gained for gained, _ in found])
    weights = torch.cat([weight for _, weight in found])
    mean = cells.sum() / weights.sum().clamp(min=1)
    error = ((cells - mean * weights) ** 2).sum().sqrt() / weights.sum().clamp(min=1)
    return bool(mean + CHANCE * error < 0)


def _gained(
    beside: DenoisingNetwork,
    alone: DenoisingNetwork,
    noisy: Tensor,
    context: Tensor,
    usable: Tensor,
    generator: torch.Generator,
    blind: Noise2Void | None,
) -> tuple[Tensor, Tensor]:
    """Change of the squared error by neighbours, and pixels, in every cell of a window."""
    device = next(alone.parameters()).device

    def denoised(network: DenoisingNetwork, shown: Tensor) -> Tensor:
        prediction: Prediction = network(shown.to(device))
        return prediction.denoised.cpu()

    def with_neighbours(shown: Tensor) -> Tensor:
        return denoised(beside, torch.cat([shown, context], 1))

    def without(shown: Tensor) -> Tensor:
        return denoised(alone, shown)

    if blind is not None:
        sample = blind(noisy, generator)
        one, other = with_neighbours(sample.input), without(sample.input)
        gained = (one - sample.target) ** 2 - (other - sample.target) ** 2
        return _in_cells(gained, usable & (sample.mask > 0))
    one, other = with_neighbours(noisy), without(noisy)
    middle = (one + other) / 2
    std = noise_by_level(noisy, middle, usable)
    drawn = probe(noisy - middle, std, usable, generator)
    shown = noisy + PROBE * drawn
    responses = [
        drawn * (after - before) / PROBE
        for after, before in ((with_neighbours(shown), one), (without(shown), other))
    ]
    gained = (one - noisy) ** 2 - (other - noisy) ** 2 + 2 * (responses[0] - responses[1])
    return _in_cells(gained, usable)


def _in_cells(gained: Tensor, usable: Tensor) -> tuple[Tensor, Tensor]:
    pixels = usable.expand_as(gained)
    return cells(torch.where(pixels, gained, 0.0)), cells(pixels.float())


def _windows(stacks: Sequence[Planes]) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Normalised windows of planes spread over the stacks, what is shown beside, usable pixels."""
    each = max(1, WINDOWS // len(stacks))
    return [
        window
        for planes in stacks
        for window in _windows_of(planes, spread_evenly([*planes.indices()], each))
    ]


def _windows_of(
    planes: Planes, samples: Sequence[tuple[int, ...]]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    places = [
        (sample, *spread_window(planes, sample, SIDE, number))
        for number, sample in enumerate(samples)
    ]
    windows = [planes.read(*place) for place in places]
    try:
        # One for all, as of an image: the background of one window counts as little as it is.
        normalisation = measure([mask_missing(window) for window in windows])
    except InputError:
        return
    for (sample, rows, columns), window in zip(places, windows, strict=True):
        around = [
            None if one is None else planes.read(one, rows, columns)
            for one in planes.neighbours(sample)
        ]
        context = normalised_context(around, window, normalisation)
        inputs = NetworkInput.of(window, normalisation)
        usable = ~inputs.replaced.any(0)
        if context is not None and usable.any():
            noisy, known = torch.from_numpy(inputs.image), torch.from_numpy(usable)
            yield noisy[None], context[None], known[None, None]
