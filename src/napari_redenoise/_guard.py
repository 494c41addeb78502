"""Guard against harm: has an adaptation helped, judged by pixels that it does not learn from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from napari_redenoise.data import Pool
from napari_redenoise.inference import Interrupted, interruptible
from napari_redenoise.nn import DenoisingNetwork
from napari_redenoise.objectives import Objective, Sample

MOST_HELD = 1 / 16
"""Share of a window's pixels that may be held out; of those that an objective compares, half."""

SIDE, MOST_WINDOWS = 128, 16
CELL = 32
"""Errors of neighbours go together: their mean over such a cell counts as one observation."""

STANDARD_ERRORS = 2.0
"""A difference is acted upon only beyond so many of them."""

TESTS = 4
"""In the course of a training."""


@dataclass(frozen=True)
class WentBack:
    """A training has become worse on held-out pixels, and what it was before that is kept.

    Attributes
    ----------
    step : int
        At which the training was worse than its beginning.
    to : int
        Step of the weights that are kept: the last that were not.
    """

    step: int
    to: int

    def in_words(self) -> str:
        """What happened, in one sentence."""
        kept = f"what was learned up to step {self.to}" if self.to else "the shipped network"
        return (
            f"At step {self.step} the training was worse than the shipped network on pixels that "
            f"it had not seen; kept is {kept}"
        )


@dataclass(frozen=True)
class Comparison:
    """A paired test of two networks on the same held-out noisy pixels.

    Attributes
    ----------
    step : int
        At which the network was compared with the one that the training began with.
    difference : float
        Mean squared error now less that at the beginning, in units of the image's variance. The
        noise of the pixels is part of both and cancels.
    error : float
        Standard error of the difference.
    """

    step: int
    difference: float
    error: float

    @property
    def is_worse(self) -> bool:
        """Whether the network has become worse, beyond doubt; or says no numbers any more."""
        return not self.difference <= STANDARD_ERRORS * self.error

    def describe(self) -> dict[str, Any]:
        """As JSON has it."""
        figures = {"difference": self.difference, "error": self.error}
        known = {name: value if math.isfinite(value) else None for name, value in figures.items()}
        return {"step": self.step, **known}


class Guard:
    """Holds out pixels of an image, and compares networks on them.

    Parameters
    ----------
    pool : Pool
        What is learned from.
    objective : Objective
        By which it is learned; it says what is predicted from what.
    seed : int
        Chooses windows and pixels.
    dtype : torch.dtype
        ``torch.bfloat16`` computes the networks under autocast.

    Attributes
    ----------
    pool : Pool
        The same with a further channel: 1 where a pixel is held out.
    """

    def __init__(
        self,
        pool: Pool,
        objective: Objective,
        seed: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._dtype = dtype
        self._samples: list[Sample] = []
        held = [torch.zeros_like(block[:1]) for block in pool.blocks]
        for number, rows, columns in _windows(pool, objective.scale, generator):
            window = pool.blocks[number][None, :, rows, columns]
            sample = objective(window, generator)._replace(penalty=None)
            chosen = _some(sample.mask, generator)
            inside = pool.inside[number]
            if inside is not None:
                within = inside[None, None, rows, columns].to(chosen)
                chosen = chosen * _shrunk(within, objective.scale)
            self._samples.append(sample._replace(mask=chosen))
            spread = functional.interpolate(chosen, scale_factor=float(objective.scale))
            held[number][:, rows, columns] = spread[0]
        blocks = (torch.cat(both) for both in zip(pool.blocks, held, strict=True))
        self.pool = replace(pool, blocks=tuple(blocks))
        self._before: list[Tensor] | None = None

    def begin(self, network: DenoisingNetwork, should_stop: Callable[[], bool]) -> None:
        """Remember the errors of the network that the training begins with."""
        self._before = self._errors(network, should_stop)

    def compare(
        self, network: DenoisingNetwork, step: int, should_stop: Callable[[], bool]
    ) -> Comparison | None:
        """Test a network against the one of `begin`; None when stopped, or nothing is held out."""
        now = None if self._before is None else self._errors(network, should_stop)
        if now is None or self._before is None:
            return None
        sums, counts = [], []
        for after, before, sample in zip(now, self._before, self._samples, strict=True):
            mask = sample.mask.expand_as(after)
            sums.append(_cells((after - before) * mask))
            counts.append(_cells(mask))
        total, count = torch.cat(sums), torch.cat(counts)
        seen = count > 0
        if int(seen.sum()) < 2:
            return None
        total, count = total[seen].double(), count[seen].double()
        mean = total.sum() / count.sum()
        # Of a ratio of two sums over cells that hold different numbers of pixels.
        spread = ((total - mean * count) ** 2).sum() * len(count) / (len(count) - 1)
        return Comparison(step, float(mean), math.sqrt(float(spread)) / float(count.sum()))

    @torch.no_grad()
    def _errors(
        self, network: DenoisingNetwork, should_stop: Callable[[], bool]
    ) -> list[Tensor] | None:
        """Squared errors of every window; None when stopped."""
        device = next(network.parameters()).device
        found = []
        try:
            with interruptible(network, should_stop):
                for sample in self._samples:
                    source = sample.input.to(device).contiguous(memory_format=torch.channels_last)
                    enabled = self._dtype != torch.float32
                    with torch.autocast(device.type, self._dtype, enabled=enabled):
                        denoised = network(source).denoised
                    found.append((denoised.float().cpu() - sample.target) ** 2)
        except Interrupted:
            return None
        return found


def sparing(objective: Objective) -> Callable[[Tensor, torch.Generator], Sample]:
    """The objective for patches of a guarded pool: held-out pixels are not compared."""

    def spared(patches: Tensor, generator: torch.Generator) -> Sample:
        sample = objective(patches[:, :-1], generator)
        free = _shrunk(1 - patches[:, -1:], objective.scale)
        return sample._replace(mask=sample.mask * free)

    return spared


def _windows(pool: Pool, scale: int, generator: torch.Generator) -> list[tuple[int, slice, slice]]:
    """Some windows that do not overlap: number of the block, rows, columns."""
    found = []
    for number, block in enumerate(pool.blocks):
        height, width = (min(SIDE, size - size % scale) for size in block.shape[1:])
        for top in range(0, block.shape[1] - height + 1, height):
            for left in range(0, block.shape[2] - width + 1, width):
                found.append((number, slice(top, top + height), slice(left, left + width)))
    chosen = torch.randperm(len(found), generator=generator)[:MOST_WINDOWS].tolist()
    return [found[number] for number in chosen]


def _some(mask: Tensor, generator: torch.Generator) -> Tensor:
    """Some of the pixels that are compared: others have to be left to learn from."""
    share = min(0.5, MOST_HELD / max(float(mask.mean()), 1e-6))
    return mask * (torch.rand(mask.shape, generator=generator) < share)


def _shrunk(mask: Tensor, scale: int) -> Tensor:
    """A mask of pixels for a picture with so many times fewer: 1 where all of them are."""
    return mask if scale == 1 else -functional.max_pool2d(-mask, scale)


def _cells(values: Tensor) -> Tensor:
    """Sums over cells, and channels, as one list."""
    pooled = functional.avg_pool2d(
        values, CELL, ceil_mode=True, count_include_pad=False, divisor_override=1
    )
    return pooled.sum(1).flatten()
