"""Hold-out test of a fine-tuned network on the result that is delivered.

The weights are interpolated: ``pretrained + share * (fine-tuned - pretrained)``. To first order the
prediction is linear in the share, and its squared error against the unknown signal is a parabola.
The curvature is the mean square of the change, which is known; three methods estimate the slope.
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

SIDE, MAX_WINDOWS = 128, 9
CELL = 32
"""Pixels; side of the square whose mean error is one observation: neighbours are correlated."""

SPACING, PHASES = 4, 2
"""One pixel in 16 is hidden at a time, in two of the 16 positions."""

PROBE = 0.1
"""Share of the noise that is added to measure the response of the network."""

MAX_KEPT = 0.5
"""Largest plausible share of the noise that a network keeps."""

MIN_ERROR = 0.005
"""Smallest plausible squared error of a result over the variance of the noise."""

DIVERGED = 1e9
"""Standard deviations of the image beyond which a prediction is that of a failed training; its
squares may overflow."""

LEVELS = 16
"""Ranges of grey levels whose noise is measured separately."""

LAGS = 6
"""Pixels; largest distance at which noise may be correlated."""


class _Predictions(NamedTuple):
    """Prediction, response to the probe times the probe, and prediction of hidden pixels.

    All have the shape (windows, channels, rows, columns).
    """

    plain: Tensor
    response: Tensor
    hidden: Tensor


class Judge:
    """Holds out pixels of an image and compares two networks on them.

    Parameters
    ----------
    pool : Pool
        Pixels of the training; the attribute of this name has no hold-out pixels.
    channels : int
        Channels of one shot; only the first shot is compared.
    seed : int
    dtype : torch.dtype
        ``torch.bfloat16`` computes the networks under autocast.
    noise : PatchNoise, optional
        Model of white noise, where the pretrained network does not know the structure of the image.
        Its residual is not the noise then, and hidden pixels cannot be predicted.
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
        self._context = torch.stack([pool.context(*place) for place in places])
        self._usable = torch.stack([_usable(pool, *place) for place in places])[:, None]
        order = torch.randperm(SPACING**2, generator=self._generator)[:PHASES].tolist()
        self._phases = [
            _phase(self._noisy.shape, divmod(number, SPACING)) & self._usable for number in order
        ]
        held = [torch.zeros(block.shape[1:], dtype=torch.bool) for block in pool.blocks]
        self._held = torch.stack(self._phases).any(0)
        for (number, rows, columns), chosen in zip(places, self._held, strict=True):
            held[number][rows, columns] = chosen[0]
        self.pool = pool.hold_out(held)
        self._before: _Predictions | None = None
        self._std = self._probe = torch.zeros_like(self._noisy)

    def begin(self, network: DenoisingNetwork, should_stop: Callable[[], bool]) -> None:
        """Record the predictions of the pretrained network."""
        try:
            with interruptible(network, should_stop):
                plain = self._predict(network, self._noisy)
                self._measure_noise(network, plain)
                self._before = self._predictions(network, plain)
        except Interrupted:
            return

    def judge(
        self, network: DenoisingNetwork, step: int, should_stop: Callable[[], bool]
    ) -> Judgement | None:
        """Compare a fine-tuned network with that of `begin`; return None when stopped."""
        if self._before is None:
            return Judgement(step, share_of(()), math.nan, {})
        try:
            with interruptible(network, should_stop):
                after = self._predictions(network, self._predict(network, self._noisy))
        except Interrupted:
            return None
        return self._decide(self._before, after, step)

    def _decide(self, before: _Predictions, after: _Predictions, step: int) -> Judgement:
        """Judge every channel by itself: the least share costs none of them."""
        if not all(part.abs().max() < DIVERGED for part in after):
            return Judgement(step, 0.0, math.nan, {"divergence": Estimate(0.0, 0.0)})
        # A blank channel keeps its pixels, whatever the share.
        varying = [n for n, one in enumerate(self._noisy.unbind(1)) if one.min() < one.max()]
        judgements = [self._decide_channel(before, after, step, n) for n in varying or [0]]
        return min(judgements, key=lambda one: one.share)

    def _decide_channel(
        self, before: _Predictions, after: _Predictions, step: int, channel: int
    ) -> Judgement:
        before, after = (
            _Predictions(*(part[:, channel : channel + 1] for part in one))
            for one in (before, after)
        )
        y, std = (part[:, channel : channel + 1] for part in (self._noisy, self._std))
        held = self._held
        moved = (after.plain - before.plain) ** 2
        gained = (after.plain - y) ** 2 - (before.plain - y) ** 2
        own = [one.plain - one.hidden for one in (before, after)]
        terms = {
            "sure": (gained + 2 * (after.response - before.response), moved, self._usable),
            "leave-out": (gained + 2 * (y - before.hidden) * (own[1] - own[0]), moved, held),
            "blind": (
                (after.hidden - y) ** 2 - (before.hidden - y) ** 2,
                (after.hidden - before.hidden) ** 2,
                held,
            ),
        }
        if self._noise is not None:
            terms = {"sure": terms["sure"]}
        estimates = {name: estimate(*parts) for name, parts in terms.items()}
        error = _mean((before.plain - y) ** 2 + 2 * before.response - std**2, self._usable)
        least = MIN_ERROR * _mean(std**2, self._usable)
        change = _mean(moved, self._usable) / max(error, least, 1e-12)
        return Judgement(step, share_of(list(estimates.values()), change), change, estimates)

    def _measure_noise(self, network: DenoisingNetwork, plain: Tensor) -> None:
        if self._noise is not None:
            self._std = self._noise.std(plain)
            self._probe = self._std * _white_noise(plain.shape, self._generator)
            return
        self._std = noise_by_level(self._noisy, plain, self._usable)
        self._probe = probe(self._noisy - plain, self._std, self._usable, self._generator)
        # A smoother that keeps a share h of white noise has a residual of ``1 - h`` (as in
        # generalised cross-validation).
        response = self._response(network, plain)
        for channel in range(plain.shape[1]):
            own = slice(channel, channel + 1)
            variance = _mean(self._std[:, own] ** 2, self._usable)
            kept = _mean(response[:, own], self._usable) / max(variance, 1e-12)
            ratio = 1 / math.sqrt(1 - min(max(kept, 0.0), MAX_KEPT))
            self._std[:, own] *= ratio
            self._probe[:, own] *= ratio

    @torch.no_grad()
    def _response(self, network: DenoisingNetwork, plain: Tensor) -> Tensor:
        """Response of the prediction to the probe, times the probe."""
        probed = self._predict(network, self._noisy + PROBE * self._probe)
        return self._probe * (probed - plain) / PROBE

    @torch.no_grad()
    def _predictions(self, network: DenoisingNetwork, plain: Tensor) -> _Predictions:
        hidden = plain.clone()
        neighbours = neighbour_mean(self._noisy)
        for phase in self._phases:
            masked = torch.where(phase, neighbours, self._noisy)
            hidden = torch.where(phase, self._predict(network, masked), hidden)
        return _Predictions(plain, self._response(network, plain), hidden)

    @torch.no_grad()
    def _predict(self, network: DenoisingNetwork, noisy: Tensor) -> Tensor:
        device = next(network.parameters()).device
        enabled = self._dtype != torch.float32
        predictions = []
        for window in torch.cat([noisy, self._context], 1):
            source = window[None].to(device).contiguous(memory_format=torch.channels_last)
            with torch.autocast(device.type, self._dtype, enabled=enabled):
                predictions.append(network(source).denoised.float().cpu())
        return torch.cat(predictions)


def noise_by_level(noisy: Tensor, denoised: Tensor, usable: Tensor) -> Tensor:
    """Noise standard deviation at every pixel, by the residual at its level."""
    quantiles = torch.linspace(0, 1, LEVELS + 1, dtype=torch.float32)[1:-1]
    std = torch.empty_like(noisy)
    inside = usable[:, 0]
    for channel in range(noisy.shape[1]):
        level, residual = denoised[:, channel], (noisy - denoised)[:, channel]
        ends = torch.quantile(level[inside][:: max(1, int(inside.sum()) // 10_000)], quantiles)
        bins = torch.bucketize(level.contiguous(), ends)
        points = [(bins == number) & inside for number in range(LEVELS)]
        points = [chosen for chosen in points if chosen.any()]
        levels, variances = (
            np.array([float(values[chosen].mean()) for chosen in points])
            for values in (level, residual**2)
        )
        order = np.argsort(levels)
        variance = np.interp(level.numpy(), levels[order], variances[order])
        std[:, channel] = torch.from_numpy(np.sqrt(variance))
    return std


def probe(residual: Tensor, std: Tensor, usable: Tensor, generator: torch.Generator) -> Tensor:
    """Draw noise with the local standard deviation and the correlation of a residual."""
    unit = torch.where(usable, residual / std.clamp(min=1e-12), 0.0).clamp(-4, 4)
    spectrum = _spectrum(unit - unit.mean((2, 3), keepdim=True))
    drawn = torch.fft.rfft2(_white_noise(residual.shape, generator))
    correlated: Tensor = torch.fft.irfft2(drawn * spectrum.sqrt(), s=residual.shape[-2:])
    return std * correlated


def _white_noise(shape: torch.Size, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float32)


def _spectrum(unit: Tensor) -> Tensor:
    """Power spectra of noise of variance 1, from its autocorrelation up to `LAGS`, by channel."""
    power = torch.fft.rfft2(unit).abs().square().mean(0)
    correlation = torch.fft.irfft2(power, s=unit.shape[-2:])
    # Noise that a network keeps makes neighbours in the residual anticorrelated.
    correlation = (correlation / correlation[:, :1, :1].clamp(min=1e-12)).clamp(min=0)
    tapers = [
        (1 - torch.fft.fftfreq(size, 1 / size, dtype=torch.float32).abs() / (LAGS + 1)).clamp(min=0)
        for size in unit.shape[-2:]
    ]
    tapered = correlation * tapers[0][:, None] * tapers[1]
    spectrum: Tensor = torch.fft.rfft2(tapered).real.clamp(min=1e-3)
    return spectrum


def estimate(gained: Tensor, moved: Tensor, chosen: Tensor) -> Estimate:
    """Estimate the share with the least squared error, over chosen pixels (windows, 1, Y, X).

    At share w the squared error changes by ``A w**2 + B w``. A is ``moved``, the square of the
    change from share 0 to 1, and ``A + B`` is ``gained``, the change of the squared error. The
    minimum is at ``-B / (2 A)``.
    """
    sums, counts = (cells(values * chosen) for values in (gained, chosen.expand_as(gained).float()))
    seen = counts > 0
    total, count = sums[seen].double(), counts[seen].double()
    curvature = _mean(moved, chosen)
    if len(total) < 2 or not curvature > 0:
        return Estimate(math.nan, math.nan)
    mean = total.sum() / count.sum()
    # Variance of a ratio of two sums over cells with different numbers of pixels.
    spread = ((total - mean * count) ** 2).sum() * len(count) / (len(count) - 1)
    error = math.sqrt(float(spread)) / float(count.sum())
    return Estimate((curvature - float(mean)) / 2 / curvature, error / 2 / curvature)


def _mean(values: Tensor, chosen: Tensor) -> float:
    weight = chosen.expand_as(values)
    return float((values * weight).sum(dtype=torch.float64) / weight.sum().clamp(min=1))


def cells(values: Tensor) -> Tensor:
    """Sums over cells and channels, flattened."""
    pooled = functional.avg_pool2d(values, CELL, ceil_mode=True, divisor_override=1)
    return pooled.sum(1).flatten()


def _windows(pool: Pool, generator: torch.Generator) -> list[tuple[int, slice, slice]]:
    """Choose non-overlapping windows of one size: number of the block, rows, columns."""
    side = pool.common_side(SIDE)
    places = [
        (number, slice(top, top + side), slice(left, left + side))
        for number, block in enumerate(pool.blocks)
        for top in range(0, block.shape[1] - side + 1, side)
        for left in range(0, block.shape[2] - side + 1, side)
    ]
    order = torch.randperm(len(places), generator=generator).tolist()
    full = [number for number in order if _usable(pool, *places[number]).any()]
    return [places[number] for number in full[:MAX_WINDOWS] or order[:1]]


def _usable(pool: Pool, number: int, rows: slice, columns: slice) -> Tensor:
    """Pixels (rows, columns) of a window that can be trained on and compared."""
    usable = torch.ones(pool.blocks[number].shape[1:], dtype=torch.bool)[rows, columns]
    for masks in (pool.usable, pool.inside):
        mask = masks[number]
        usable = usable if mask is None else usable & mask[rows, columns]
    return usable


def _phase(shape: torch.Size, place: tuple[int, int]) -> Tensor:
    """Mask (1, 1, rows, columns) of one pixel in every square of 4 x 4."""
    rows, columns = (
        torch.arange(size) % SPACING == at for size, at in zip(shape[-2:], place, strict=True)
    )
    return rows[None, None, :, None] & columns
