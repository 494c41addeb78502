"""Recorrupted-to-Recorrupted: two pictures with independent noise, from one.

A share ``alpha`` of a noisy picture is taken away at random and becomes the target; the rest is
the input. For photons this is thinning: every photon goes one way or the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from napari_redenoise.objectives._sample import Objective, Sample

Figure = tuple[float, ...] | tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class NoiseFigures:
    """Noise in the units of the patches: ``variance(m) = gain * (m - offset) + read_noise**2``.

    Per channel, or per patch and channel.
    """

    gain: Figure
    offset: Figure
    read_noise: Figure

    @classmethod
    def of_patches(cls, patches: Sequence[NoiseFigures]) -> NoiseFigures:
        """Figures of patches whose noise differs, one of each per channel."""
        names = ("gain", "offset", "read_noise")
        return cls(*(tuple(getattr(patch, name) for patch in patches) for name in names))


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
    how much of a count was photons is drawn, given the light around the pixel; these are thinned
    and the read noise is split as Gaussian noise is. With the true light the two pictures would
    be independent; with the light around it their noises are uncorrelated, exactly where there
    are many photons and to within a few per cent of their variance where there is less than one.
    Counts that are not whole (a gain that is not known exactly) are rounded up or down by chance,
    what rounding moved goes both ways, so both pictures are free of bias.

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
        return Sample(source, target, torch.ones_like(noisy[:, :1]))

    def recorrupt(self, noisy: Tensor, generator: torch.Generator) -> Tensor:
        """Input alone, as the network knows it; predictions of several are averaged."""
        return self._split(noisy, generator)[0]

    def _split(self, noisy: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        alpha = self.recorruption**2 / (1 + self.recorruption**2)
        gain, offset, read_noise = (
            torch.tensor(values, dtype=noisy.dtype)[..., None, None]
            for values in (self.noise.gain, self.noise.offset, self.noise.read_noise)
        )
        y = noisy.cpu()
        variance = read_noise**2
        difference = torch.zeros_like(y)
        if gain.any():
            unit = torch.where(gain > 0, gain, 1.0)
            light = ((_surroundings(y) - offset) / unit).clamp(min=0)
            photons = _photons((y - offset) / unit, light, variance / unit**2, generator)
            difference = difference + gain * _thinned(photons.clamp(min=0), alpha, generator)
            # Photons that would have to be fewer than none cannot be thinned: the variance that
            # others get in their place is drawn as too little read noise, so that on average the
            # noises of both pictures stay uncorrelated.
            variance = (variance + gain**2 * photons.clamp(max=0)).clamp(min=0)
        difference = difference + (alpha * (1 - alpha) * variance).sqrt() * _normal(y, generator)
        source, target = y - difference / (1 - alpha), y + difference / alpha
        return source.to(noisy.device), target.to(noisy.device)


def _photons(counts: Tensor, light: Tensor, variance: Tensor, generator: torch.Generator) -> Tensor:
    """Draw how many of the counts were photons and not read noise, given how many to expect.

    The normal approximation of their distribution given the sum of both, in units of photons;
    whole numbers, by chance the next higher or lower, below zero where there is little light.
    """
    share = light / (light + variance).clamp(min=1e-12)
    share = torch.where(variance > 0, share, 1.0)
    drawn = (
        light + share * (counts - light) + (share * variance).sqrt() * _normal(counts, generator)
    )
    return (drawn + torch.rand(counts.shape, generator=generator)).floor()


def _thinned(photons: Tensor, alpha: float, generator: torch.Generator) -> Tensor:
    """Photons that go to the target, less their expected number ``alpha * photons``."""
    drawn = torch.binomial(photons, torch.full_like(photons, alpha), generator=generator)
    return drawn - alpha * photons


def _surroundings(y: Tensor) -> Tensor:
    """Mean of the 24 pixels around each, not of the pixel itself, whose noise is to be split."""
    channels = y.shape[1]
    taps = torch.ones(5, 5) / 24
    taps[2, 2] = 0.0
    kernel = taps.to(y)[None, None].expand(channels, 1, 5, 5)
    return functional.conv2d(
        functional.pad(y, (2, 2, 2, 2), mode="replicate"), kernel, groups=channels
    )


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype)
