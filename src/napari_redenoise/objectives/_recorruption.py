"""Recorrupted-to-Recorrupted: two images with independent noise, from one.

A random share ``alpha`` of a noisy image becomes the target, the rest the input. For photons this
is thinning: every photon goes to one of the two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from napari_redenoise.objectives._blind_spot import filter_channels
from napari_redenoise.objectives._sample import Objective, Sample

_OUTLIER = 3.0
"""Noise standard deviations by which an outlier exceeds all of its eight neighbours."""

_OUTLIER_READ = 2.25
"""The same where read noise dominates, which has long tails where pixels of a camera differ."""

Figure = tuple[float, ...] | tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class PatchNoise:
    """Noise in the units of the patches: ``variance(m) = gain * (m - offset) + read_noise**2``.

    One value per channel, or per patch and channel. ``skewed`` is the share of the read noise's
    variance that is as skewed as photon noise: signal of the darkest region that counts as read
    noise. It has one value per channel, or one for all.
    """

    gain: Figure
    offset: Figure
    read_noise: Figure
    skewed: tuple[float, ...] = (0.0,)

    def tensors(self, like: Tensor) -> tuple[Tensor, ...]:
        """Gain, offset, read noise and skewed share that broadcast to (B, channels, H, W)."""
        return tuple(
            torch.tensor(values, dtype=like.dtype, device=like.device)[..., None, None]
            for values in (self.gain, self.offset, self.read_noise, self.skewed)
        )

    def std(self, level: Tensor) -> Tensor:
        """Standard deviation of the noise at expected levels (B, channels, H, W)."""
        gain, offset, read_noise, _ = self.tensors(level)
        return (gain * (level - offset).clamp(min=0) + read_noise**2).sqrt()

    @classmethod
    def of_patches(cls, patches: Sequence[PatchNoise]) -> PatchNoise:
        """Combine the noise of patches, one value per channel each."""
        gain, offset, read_noise = (
            tuple(getattr(patch, name) for patch in patches)
            for name in ("gain", "offset", "read_noise")
        )
        return cls(gain, offset, read_noise, patches[0].skewed)


@dataclass(frozen=True)
class R2R(Objective):
    """Split a noisy image into an input and a target with the same signal and independent noise.

    Parameters
    ----------
    noise : PatchNoise
    recorruption : float
        The ``a`` of the paper; the share ``alpha = a**2 / (1 + a**2)`` of the photons becomes the
        target.

    Notes
    -----
    Noise: independent between pixels, with the variance of ``noise``. A wrong noise model makes the
    noises dependent: Gaussian noise of the local standard deviation, drawn for photon noise, made
    results 4 dB worse.

    Gaussian noise (gain 0): input ``y + a z`` and target ``y - z / a``, with z of the same standard
    deviation; exact (Pang et al., equation 5). Photon noise (read noise 0): ``w ~ Binomial(k,
    alpha)`` of k photons make the target ``w / alpha``, the others the input ``(k - w) / (1 -
    alpha)``. These are independent Poisson counts; exact (Monroy et al.).

    Both together: both steps. The variance follows the pixel as far as its noise is skewed like
    photon noise, and the surrounding level for the rest. Then the noises are uncorrelated, and
    either is uncorrelated with the square of the other. Where read noise dominates, a variance
    that follows the pixel would reveal the noise of the target. Counts that are not whole numbers
    are rounded at random, which leaves both images unbiased.

    Outliers are in both images and would be learned as signal: one hot pixel in a thousand made
    results 9 to 11 dB worse. A lens spreads a spot over several pixels where the pixels sample it,
    so pixels that exceed all their neighbours are not compared.

    References
    ----------
    T. Pang et al., "Recorrupted-to-Recorrupted: Unsupervised Deep Learning for Image Denoising",
    CVPR 2021.
    B. Monroy, J. Bacca, J. Tachella, "Generalized Recorrupted-to-Recorrupted: Self-Supervised
    Learning Beyond Gaussian Noise", CVPR 2025.
    """

    noise: PatchNoise
    recorruption: float = 0.5

    def __call__(self, noisy: Tensor, generator: torch.Generator) -> Sample:
        """Split patches (B, channels, H, W)."""
        source, target = self._split(noisy, generator)
        return Sample(source, target, self._is_plausible(noisy).to(noisy))

    def recorrupt(self, noisy: Tensor, generator: torch.Generator) -> Tensor:
        """Make the input alone; predictions of several are averaged."""
        return self._split(noisy, generator)[0]

    def _is_plausible(self, noisy: Tensor) -> Tensor:
        """Pixels (B, 1, H, W) that are no outlier in any channel."""
        y = noisy.cpu()
        tensors = self.noise.tensors(y)
        gain = tensors[0]
        variance, share = _skewed_share(_surroundings(y), tensors)
        # Single photons exceed their dark neighbours by one gain.
        std = variance.sqrt().maximum(gain).clamp(min=1e-12)
        ring = _ring(y)
        excess = (y - ring.amax(2)).maximum(ring.amin(2) - y) / std
        # Skewed noise has more bright outliers than dark ones: to leave them out would bias the
        # rest. Without photon noise it may be no camera, and structure as fine as pixels.
        share = torch.where(gain > 0, share, 1.0)
        allowed = _OUTLIER_READ + (_OUTLIER - _OUTLIER_READ) * share
        return (excess <= allowed).all(1, keepdim=True)

    def _split(self, noisy: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        alpha = self.recorruption**2 / (1 + self.recorruption**2)
        y = noisy.cpu()
        gain, offset, read_noise, skewed = tensors = self.noise.tensors(y)
        if gain.any():
            level = y
            if (skewed < 1).any():
                around = _surroundings(y)
                _, share = _skewed_share(around, tensors)
                level = torch.where(share < 1, around + share * (y - around), y)
            # Below the offset there are no photons to thin: their variance is subtracted from the
            # read noise, so that both noises stay uncorrelated on average.
            variance = (read_noise**2 + gain * (level - offset).clamp(max=0)).clamp(min=0)
            difference = (alpha * (1 - alpha) * variance).sqrt() * _normal(y, generator)
            counts = (level - offset) / torch.where(gain > 0, gain, 1.0)
            difference = difference + gain * _thin(counts, alpha, generator)
        else:
            difference = math.sqrt(alpha * (1 - alpha)) * read_noise * _normal(y, generator)
        source, target = y - difference / (1 - alpha), y + difference / alpha
        return source.to(noisy.device), target.to(noisy.device)


def _skewed_share(level: Tensor, noise: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Variance at a level, and its share that is skewed like photon noise; 1 without variance."""
    gain, offset, read_noise, skewed = noise
    photons = gain * (level - offset).clamp(min=0)
    variance = photons + read_noise**2
    share = (photons + skewed * read_noise**2) / variance.clamp(min=1e-12)
    return variance, torch.where(variance > 0, share, 1.0)


def _thin(counts: Tensor, alpha: float, generator: torch.Generator) -> Tensor:
    """Photons of the target minus their expected number ``alpha * counts``."""
    dither = torch.rand(counts.shape, generator=generator, dtype=counts.dtype)
    whole = (counts + dither).floor().clamp(min=0)
    drawn = torch.binomial(whole, torch.full_like(whole, alpha), generator=generator)
    return drawn - alpha * whole


def _surroundings(y: Tensor) -> Tensor:
    """Mean of the 24 pixels around each, without the pixel itself, whose noise is split."""
    taps = torch.ones(5, 5, dtype=y.dtype) / 24
    taps[2, 2] = 0.0
    return filter_channels(y, taps, "replicate")


def _ring(y: Tensor) -> Tensor:
    """The eight pixels around each, (B, channels, 8, H, W)."""
    padded = functional.pad(y, (1, 1, 1, 1), mode="reflect")
    patches: Tensor = functional.unfold(padded.flatten(0, 1)[:, None], 3).unflatten(0, y.shape[:2])
    ring: Tensor = torch.cat([patches[:, :, :4], patches[:, :, 5:]], 2)
    return ring.unflatten(-1, y.shape[-2:])  # type: ignore[no-any-return]


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype)
