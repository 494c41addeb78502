"""Has fine-tuning helped? Judged on the result that is delivered, not by what was trained with.

The delivered weights lie between the pretrained and the fine-tuned ones, parameter by parameter:
``pretrained + share * (fine-tuned - pretrained)``. To first order the prediction moves along a line
as well, and its squared error against the unknown signal is a parabola in the share: its curvature
is the mean square of the change, which is known, and its slope is what the judges estimate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_redenoise.data import Pool
from napari_redenoise.inference import Interrupted, interruptible
from napari_redenoise.model._judgement import Estimate, Judgement, share_of
from napari_redenoise.nn import DenoisingNetwork
from napari_redenoise.objectives import PatchNoise, neighbour_mean

SIDE, MOST_WINDOWS = 128, 9
CELL = 32
"""Pixels; errors of neighbours go together, their mean over such a square is one observation."""

SPACING, PHASES = 4, 2
"""One pixel in 16 is hidden at a time, in so many of the 16 places."""

PROBE = 0.1
"""Of the noise: what is added to see how the network follows it."""

MOST_KEPT = 0.5
"""Share of the noise that a network is believed to keep."""

LEAST_ERROR = 0.005
"""Of the variance of the noise: the smallest error that a result is believed to have."""

LEVELS = 16
"""Ranges of grey levels whose noise is measured by itself."""

LAGS = 6
"""Pixels up to which noise may be correlated."""


class _Look(NamedTuple):
    """What a network makes of the windows: all (windows, channels, rows, columns).

    The prediction; how it follows the probe, times the probe; the prediction of hidden pixels.
    """

    plain: Tensor
    follows: Tensor
    hidden: Tensor


class Judge:
    """Holds out pixels of an image, and compares two networks on them.

    Parameters
    ----------
    pool : Pool
        Pixels of the training.
    channels : int
        Of one shot; of several the first is judged.
    seed : int
        Chooses windows and pixels.
    dtype : torch.dtype
        ``torch.bfloat16`` computes the networks under autocast.
    noise : PatchNoise, optional
        Of white noise, where the pretrained network does not know the structure of the image: what
        it takes away is not the noise then, and hidden pixels cannot be predicted.

    Attributes
    ----------
    pool : Pool
        The same without the pixels that are held out.
    """

    def __init__(
        self,
        pool: Pool,
        channels: int,
        seed: int,
        dtype: torch.dtype = torch.float32,
        noise: PatchNoise | None = None,
    ) -> None:
        self._noise = noise
        self._generator = torch.Generator().manual_seed(seed)
        self._dtype = dtype
        places = _windows(pool, self._generator)
        self._noisy = torch.stack(
            [pool.blocks[number][:channels, rows, columns] for number, rows, columns in places]
        )
        self._usable = torch.stack([_usable(pool, *place) for place in places])[:, None]
        order = torch.randperm(SPACING**2, generator=self._generator)[:PHASES].tolist()
        self._phases = [
            _phase(self._noisy.shape, divmod(number, SPACING)) & self._usable for number in order
        ]
        held = [torch.zeros(block.shape[1:], dtype=torch.bool) for block in pool.blocks]
        self._held = torch.stack(self._phases).any(0)
        for (number, rows, columns), chosen in zip(places, self._held, strict=True):
            held[number][rows, columns] = chosen[0]
        self.pool = pool.without(held)
        self._before: _Look | None = None
        self._std = self._probe = torch.zeros_like(self._noisy)

    def begin(self, network: DenoisingNetwork, should_stop: Callable[[], bool]) -> None:
        """Look at the network that the training begins with."""
        try:
            with interruptible(network, should_stop):
                plain = self._predict(network, self._noisy)
                self._measure_noise(network, plain)
                self._before = self._look(network, plain)
        except Interrupted:
            return

    def judge(
        self, network: DenoisingNetwork, step: int, should_stop: Callable[[], bool]
    ) -> Judgement | None:
        """Compare a network with the one of `begin`; None when stopped."""
        if self._before is None:
            return Judgement(step, share_of(()), math.nan, {})
        try:
            with interruptible(network, should_stop):
                after = self._look(network, self._predict(network, self._noisy))
        except Interrupted:
            return None
        return self._decide(self._before, after, step)

    def _decide(self, before: _Look, after: _Look, step: int) -> Judgement:
        y, held = self._noisy, self._held
        moved = (after.plain - before.plain) ** 2
        gained = (after.plain - y) ** 2 - (before.plain - y) ** 2
        unseen = [look.plain - look.hidden for look in (before, after)]
        figures = {
            "sure": (gained + 2 * (after.follows - before.follows), moved, self._usable),
            "leave-out": (gained + 2 * (y - before.hidden) * (unseen[1] - unseen[0]), moved, held),
            "blind": (
                (after.hidden - y) ** 2 - (before.hidden - y) ** 2,
                (after.hidden - before.hidden) ** 2,
                held,
            ),
        }
        if self._noise is not None:
            figures = {"sure": figures["sure"]}
        estimates = {name: estimate(*parts) for name, parts in figures.items()}
        error = _mean((before.plain - y) ** 2 + 2 * before.follows - self._std**2, self._usable)
        least = LEAST_ERROR * _mean(self._std**2, self._usable)
        change = _mean(moved, self._usable) / max(error, least, 1e-12)
        return Judgement(step, share_of(list(estimates.values()), change), change, estimates)

    def _measure_noise(self, network: DenoisingNetwork, plain: Tensor) -> None:
        if self._noise is not None:
            self._std = self._noise.std(plain)
            self._probe = self._std * white(plain.shape, self._generator)
            return
        self._std = noise_by_level(self._noisy, plain, self._usable)
        self._probe = probe(self._noisy - plain, self._std, self._usable, self._generator)
        more = self._left_by(network, plain)
        self._std, self._probe = more * self._std, more * self._probe

    def _left_by(self, network: DenoisingNetwork, plain: Tensor) -> float:
        """How many times as strong as what the network takes away the noise is.

        Notes
        -----
        A smoother that keeps a share h of the variance of white noise, and no structure, takes
        ``1 - h`` of it away (as in generalised cross-validation).
        """
        follows = self._follows(network, plain)
        kept = _mean(follows, self._usable) / max(_mean(self._std**2, self._usable), 1e-12)
        return 1 / math.sqrt(1 - min(max(kept, 0.0), MOST_KEPT))

    @torch.no_grad()
    def _follows(self, network: DenoisingNetwork, plain: Tensor) -> Tensor:
        """How the prediction follows the probe, times the probe."""
        shaken = self._predict(network, self._noisy + PROBE * self._probe)
        return self._probe * (shaken - plain) / PROBE

    @torch.no_grad()
    def _look(self, network: DenoisingNetwork, plain: Tensor) -> _Look:
        hidden = plain.clone()
        beside = neighbour_mean(self._noisy)
        for phase in self._phases:
            shown = torch.where(phase, beside, self._noisy)
            hidden = torch.where(phase, self._predict(network, shown), hidden)
        return _Look(plain, self._follows(network, plain), hidden)

    @torch.no_grad()
    def _predict(self, network: DenoisingNetwork, noisy: Tensor) -> Tensor:
        device = next(network.parameters()).device
        found = []
        for window in noisy:
            source = window[None].to(device).contiguous(memory_format=torch.channels_last)
            enabled = self._dtype != torch.float32
            with torch.autocast(device.type, self._dtype, enabled=enabled):
                found.append(network(source).denoised.float().cpu())
        return torch.cat(found)


def noise_by_level(noisy: Tensor, denoised: Tensor, usable: Tensor) -> Tensor:
    """Standard deviation of the noise at every pixel, by what a network takes away at its level.

    Parameters
    ----------
    noisy, denoised : (windows, channels, rows, columns)
    usable : (windows, 1, rows, columns) bool
    """
    found = torch.empty_like(noisy)
    inside = usable[:, 0]
    for channel in range(noisy.shape[1]):
        level, rest = denoised[:, channel], (noisy - denoised)[:, channel]
        ends = torch.quantile(level[inside][:: max(1, int(inside.sum()) // 10_000)], _steps())
        bins = torch.bucketize(level, ends)
        points = [(bins == number) & inside for number in range(LEVELS)]
        points = [chosen for chosen in points if chosen.any()]
        levels, variances = (
            np.array([float(values[chosen].mean()) for chosen in points])
            for values in (level, rest**2)
        )
        order = np.argsort(levels)
        variance = np.interp(level.numpy(), levels[order], variances[order])
        found[:, channel] = torch.from_numpy(np.sqrt(variance))
    return found


def _steps() -> Tensor:
    return torch.linspace(0, 1, LEVELS + 1, dtype=torch.float32)[1:-1]


def probe(rest: Tensor, std: Tensor, usable: Tensor, generator: torch.Generator) -> Tensor:
    """Noise like that of an image: as strong at every pixel, and as correlated between them.

    Parameters
    ----------
    rest : (windows, channels, rows, columns)
        What a network takes away.
    std : (windows, channels, rows, columns)
        Its standard deviation.
    usable : (windows, 1, rows, columns) bool
    generator : torch.Generator
    """
    unit = torch.where(usable, rest / std.clamp(min=1e-12), 0.0).clamp(-4, 4)
    spectrum = _spectrum(unit - unit.mean((2, 3), keepdim=True))
    drawn = torch.fft.rfft2(white(rest.shape, generator))
    shaped: Tensor = torch.fft.irfft2(drawn * spectrum.sqrt(), s=rest.shape[-2:])
    return std * shaped


def white(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """White noise of variance 1."""
    return torch.randn(shape, generator=generator, dtype=torch.float32)


def _spectrum(unit: Tensor) -> Tensor:
    """Power of noise of variance 1 by frequency, from its correlation up to some lags."""
    power = torch.fft.rfft2(unit).abs().square().mean((0, 1))
    correlation = torch.fft.irfft2(power, s=unit.shape[-2:])
    # What a network leaves of white noise makes neighbours of the rest look opposed.
    correlation = (correlation / correlation[0, 0].clamp(min=1e-12)).clamp(min=0)
    fades = [
        (1 - torch.fft.fftfreq(size, 1 / size, dtype=torch.float32).abs() / (LAGS + 1)).clamp(min=0)
        for size in unit.shape[-2:]
    ]
    tapered = correlation * fades[0][:, None] * fades[1]
    spectrum: Tensor = torch.fft.rfft2(tapered).real.clamp(min=1e-3)
    return spectrum


def estimate(gained: Tensor, moved: Tensor, chosen: Tensor) -> Estimate:
    """Where the squared error is least, from how it changes over the whole way.

    Parameters
    ----------
    gained : (windows, channels, rows, columns)
        Estimated squared error at the end of the way less that at its beginning.
    moved : (windows, channels, rows, columns)
        Square of the change over the way.
    chosen : (windows, 1, rows, columns) bool
        Pixels that count.

    Notes
    -----
    Along the way the squared error changes by ``A w**2 + B w``. The curvature A is ``moved``, the
    change over the whole way ``A + B`` is ``gained``, and the least is at ``-B / (2 A)``.
    """
    sums, counts = (
        _cells(values * chosen) for values in (gained, chosen.expand_as(gained).float())
    )
    seen = counts > 0
    total, count = sums[seen].double(), counts[seen].double()
    curvature = _mean(moved, chosen)
    if len(total) < 2 or not curvature > 0:
        return Estimate(math.nan, math.nan)
    mean = total.sum() / count.sum()
    # Of a ratio of two sums over cells that hold different numbers of pixels.
    spread = ((total - mean * count) ** 2).sum() * len(count) / (len(count) - 1)
    error = math.sqrt(float(spread)) / float(count.sum())
    return Estimate((curvature - float(mean)) / 2 / curvature, error / 2 / curvature)


def _mean(values: Tensor, chosen: Tensor) -> float:
    weight = chosen.expand_as(values)
    return float((values * weight).sum(dtype=torch.float64) / weight.sum().clamp(min=1))


def _cells(values: Tensor) -> Tensor:
    """Sums over cells, and channels, as one list."""
    pooled = functional.avg_pool2d(
        values, CELL, ceil_mode=True, count_include_pad=False, divisor_override=1
    )
    return pooled.sum(1).flatten()


def _windows(pool: Pool, generator: torch.Generator) -> list[tuple[int, slice, slice]]:
    """Some windows of one size that do not overlap: number of the block, rows, columns."""
    side = min(SIDE, *(min(block.shape[1:]) for block in pool.blocks))
    found = [
        (number, slice(top, top + side), slice(left, left + side))
        for number, block in enumerate(pool.blocks)
        for top in range(0, block.shape[1] - side + 1, side)
        for left in range(0, block.shape[2] - side + 1, side)
    ]
    order = torch.randperm(len(found), generator=generator).tolist()
    full = [number for number in order if _usable(pool, *found[number]).any()]
    return [found[number] for number in full[:MOST_WINDOWS] or order[:1]]


def _usable(pool: Pool, number: int, rows: slice, columns: slice) -> Tensor:
    """Pixels of a window for training and comparison, (rows, columns) bool."""
    usable = torch.ones(pool.blocks[number].shape[1:], dtype=torch.bool)[rows, columns]
    for masks in (pool.usable, pool.inside):
        mask = masks[number]
        usable = usable if mask is None else usable & mask[rows, columns]
    return usable


def _phase(shape: torch.Size, place: tuple[int, int]) -> Tensor:
    """One pixel of every square of 4 x 4, (1, 1, rows, columns) bool."""
    rows, columns = (
        torch.arange(size) % SPACING == at for size, at in zip(shape[-2:], place, strict=True)
    )
    return rows[None, None, :, None] & columns
