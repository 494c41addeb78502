"""Recorrupted-to-Recorrupted: two pictures with independent noise, from one.

A share ``alpha`` of a noisy picture is taken away at random and becomes the target; the rest is
the input. For photons this is thinning: every photon goes one way or the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from napari_redenoise.objectives._sample import Objective, Sample

_STANDS_OUT = 3.0
"""Deviations by which a pixel that is left out is beyond all of its eight neighbours."""

_STANDS_OUT_READ = 2.25
"""The same where a camera's read noise prevails, whose tails are long where pixels are uneven."""

Figure = tuple[float, ...] | tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class NoiseFigures:
    """Noise in the units of the patches: ``variance(m) = gain * (m - offset) + read_noise**2``.

    ``skewed`` is how much of the read noise's variance is as skewed as photon noise, 0 to 1: light
    of the darkest region that counts as read noise. Per channel, or per patch and channel;
    ``skewed`` per channel, or one for all.
    """

    gain: Figure
    offset: Figure
    read_noise: Figure
    skewed: tuple[float, ...] = (0.0,)

    def std(self, level: Tensor) -> Tensor:
        """Standard deviation of the noise at expected levels (B, channels, H, W)."""
        gain, offset, read_noise = (
            torch.tensor(values, dtype=level.dtype, device=level.device)[..., None, None]
            for values in (self.gain, self.offset, self.read_noise)
        )
        return (gain * (level - offset).clamp(min=0) + read_noise**2).sqrt()

    @classmethod
    def of_patches(cls, patches: Sequence[NoiseFigures]) -> NoiseFigures:
        """Figures of patches whose noise differs, one of each per channel."""
        names = ("gain", "offset", "read_noise")
        gain, offset, read_noise = (
            tuple(getattr(patch, name) for patch in patches) for name in names
        )
        return cls(gain, offset, read_noise, patches[0].skewed)


@dataclass(frozen=True)
class R2R(Objective):
    """Input and target share the scene but not the noise, although both come from one picture.

    Parameters
    ----------
    noise : NoiseFigures
    recorruption : float
        The ``a`` of the paper; ``alpha = a**2 / (1 + a**2)`` of the light becomes the target.

    Notes
    -----
    Noise: independent from pixel to pixel, with the variance that ``noise`` states. Wrong figures
    break the promise: where Gaussian noise of the local deviation was drawn for photon noise, the
    result was 4 dB worse.

    Gaussian noise (gain 0): input ``y + a z`` and target ``y - z / a``, z of the noise's own
    deviation; exact (Pang et al., equation 5). Photon noise (read noise 0): of k photons
    ``w ~ Binomial(k, alpha)`` make the target, ``w / alpha``, the others the input,
    ``(k - w) / (1 - alpha)``: independent Poisson counts; exact (Monroy et al.). Both together:
    both steps, with a variance that follows the pixel as far as its noise is skewed like photon
    noise, and the light around the pixel for the rest. Then the noises of the two pictures are
    uncorrelated, and the one has no correlation with the square of the other; following the pixel
    where read noise prevails gave the target's noise away. Counts that are not whole (a gain that
    is not known exactly) are rounded up or down by chance, what rounding moved goes both ways, so
    both pictures are free of bias.

    What the noise model does not explain is in both pictures and would be learned as signal: one
    hot pixel in a thousand made results 9 to 11 dB worse. No lens makes a spot of a single pixel,
    so pixels that stand out from all their neighbours are not compared.

    References
    ----------
    T. Pang et al., "Recorrupted-to-Recorrupted: Unsupervised Deep Learning for Image Denoising",
    CVPR 2021.
    B. Monroy, J. Bacca, J. Tachella, "Generalized Recorrupted-to-Recorrupted: Self-Supervised
    Learning Beyond Gaussian Noise", CVPR 2025.
    """

    noise: NoiseFigures
    recorruption: float = 0.5

    recorrupts = True

    def __call__(self, noisy: Tensor, generator: torch.Generator) -> Sample:
        """Take patches (B, channels, H, W)."""
        source, target = self._split(noisy, generator)
        beyond, allowed = self._beyond(noisy)
        compared = (beyond <= allowed).all(1, keepdim=True)
        return Sample(source, target, compared.to(noisy))

    def recorrupt(self, noisy: Tensor, generator: torch.Generator) -> Tensor:
        """Input alone, as the network knows it; predictions of several are averaged."""
        return self._split(noisy, generator)[0]

    def _figures(self, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Gain, offset, read noise and skewed, to compute with (B, channels, H, W)."""
        noise = self.noise
        return tuple(
            torch.tensor(values, dtype=dtype)[..., None, None]
            for values in (noise.gain, noise.offset, noise.read_noise, noise.skewed)
        )

    def _beyond(self, noisy: Tensor) -> tuple[Tensor, Tensor]:
        """How far every pixel is beyond all of its neighbours, and how far it may be.

        Both in deviations of the noise.
        """
        y = noisy.cpu()
        gain, offset, read_noise, skewed = self._figures(y.dtype)
        light = gain * (_surroundings(y) - offset).clamp(min=0)
        whole = light + read_noise**2
        # Single photons stand out in the dark, and are as they should be.
        deviation = whole.sqrt().maximum(gain).clamp(min=1e-12)
        ring = _ring(y)
        beyond = (y - ring.amax(2)).maximum(ring.amin(2) - y) / deviation
        # Bright pixels of skewed noise stand out more often than dark ones: without them the rest
        # would be too dark. Without photons it may be no camera, and structure as fine as pixels.
        share = (light + skewed * read_noise**2) / whole.clamp(min=1e-12)
        share = torch.where((whole > 0) & (gain > 0), share, 1.0)
        allowed = _STANDS_OUT_READ + (_STANDS_OUT - _STANDS_OUT_READ) * share
        return beyond.to(noisy.device), allowed.to(noisy.device)

    def _split(self, noisy: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        alpha = self.recorruption**2 / (1 + self.recorruption**2)
        gain, offset, read_noise, skewed = self._figures(noisy.dtype)
        y = noisy.cpu()
        if gain.any():
            follows = y
            if (skewed < 1).any():
                around = _surroundings(y)
                light = gain * (around - offset).clamp(min=0)
                whole = light + read_noise**2
                share = (light + skewed * read_noise**2) / whole.clamp(min=1e-12)
                share = torch.where(whole > 0, share, 1.0)
                follows = torch.where(share < 1, around + share * (y - around), y)
            # Below the offset there are no photons to thin, and the variance that is drawn there
            # in vain is drawn as too little read noise: on average both noises stay uncorrelated.
            variance = (read_noise**2 + gain * (follows - offset).clamp(max=0)).clamp(min=0)
            difference = (alpha * (1 - alpha) * variance).sqrt() * _normal(y, generator)
            counts = (follows - offset) / torch.where(gain > 0, gain, 1.0)
            difference = difference + gain * _thinned(counts, alpha, generator)
        else:
            difference = math.sqrt(alpha * (1 - alpha)) * read_noise * _normal(y, generator)
        source, target = y - difference / (1 - alpha), y + difference / alpha
        return source.to(noisy.device), target.to(noisy.device)


def _thinned(counts: Tensor, alpha: float, generator: torch.Generator) -> Tensor:
    """Photons that go to the target, less their expected number ``alpha * counts``."""
    whole = (
        (counts + torch.rand(counts.shape, generator=generator, dtype=counts.dtype))
        .floor()
        .clamp(min=0)
    )
    drawn = torch.binomial(whole, torch.full_like(whole, alpha), generator=generator)
    return drawn - alpha * whole


def _surroundings(y: Tensor) -> Tensor:
    """Mean of the 24 pixels around each, not of the pixel itself, whose noise is to be split."""
    channels = y.shape[1]
    taps = torch.ones(5, 5, dtype=y.dtype) / 24
    taps[2, 2] = 0.0
    kernel = taps.to(y)[None, None].expand(channels, 1, 5, 5)
    return functional.conv2d(
        functional.pad(y, (2, 2, 2, 2), mode="replicate"), kernel, groups=channels
    )


def _ring(y: Tensor) -> Tensor:
    """The eight pixels around each, (B, channels, 8, H, W)."""
    padded = functional.pad(y, (1, 1, 1, 1), mode="reflect")
    patches: Tensor = functional.unfold(padded.flatten(0, 1)[:, None], 3).unflatten(0, y.shape[:2])
    ring: Tensor = torch.cat([patches[:, :, :4], patches[:, :, 5:]], 2)
    return ring.unflatten(-1, y.shape[-2:])  # type: ignore[no-any-return]


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype)
