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

Figure = tuple[float, ...] | tuple[tuple[float, ...], ...]


LEAST_QUANTUM = 0.05
"""Of the noise's deviation; noise of smaller quanta is as good as Gaussian."""


CLEAR = 1.3
"""Deviations below its expectation at which a pixel may be without a quantum to thin."""


WHOLE = 0.02
"""Mean square of what whole numbers of quanta leave over; 1/12 where they are not whole."""


@dataclass(frozen=True)
class NoiseFigures:
    """Noise in the units of the patches: ``variance(m) = gain * (m - offset) + read_noise**2``.

    Its third cumulant is ``excess * gain**2 * (m - offset)``. Per channel, or per patch and
    channel; the excess per channel, or one for all.
    """

    gain: Figure
    offset: Figure
    read_noise: Figure
    excess: tuple[float, ...] = (1.0,)

    @classmethod
    def of_patches(cls, patches: Sequence[NoiseFigures]) -> NoiseFigures:
        """Figures of patches whose noise differs, one of each per channel."""
        names = ("gain", "offset", "read_noise")
        gain, offset, read_noise = (
            tuple(getattr(patch, name) for patch in patches) for name in names
        )
        return cls(gain, offset, read_noise, patches[0].excess)


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
    deviation; exact (Pang et al., equation 5). Photon noise (read noise 0, excess 1): of k photons
    ``w ~ Binomial(k, alpha)`` make the target, ``w / alpha``, the others the input,
    ``(k - w) / (1 - alpha)``: independent Poisson counts; exact (Monroy et al.). Other noise is
    thinned in quanta of its own: of the size ``q = third cumulant / variance``, ``variance / q**2``
    of them to be expected, which has the noise's variance and third cumulant; both follow from the
    light around a pixel. For photons alone this is thinning again, where read noise prevails there
    are many small quanta, as good as Gaussian. An excess over photons is followed where there are
    enough quanta. The noises of both pictures then have no
    correlation, and neither tells the square of the other: what is left is of fourth order.
    Counts that are not whole are not divided by a binomial draw but by one of the same variance
    and third cumulant: steps would give away what rounding leaves over, which is in both pictures.

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
        noise = self.noise
        gain, offset, read_noise, excess = (
            torch.tensor(values, dtype=noisy.dtype)[..., None, None]
            for values in (noise.gain, noise.offset, noise.read_noise, noise.excess)
        )
        y = noisy.cpu()
        if not gain.any():
            difference = math.sqrt(alpha * (1 - alpha)) * read_noise * _normal(y, generator)
        else:
            around = _surroundings(y)
            photons = gain * (around - offset).clamp(min=0)
            variance = photons + read_noise**2
            # Where there is neither light nor read noise, it is still photons that are counted.
            share = torch.where(read_noise > 0, photons / variance.clamp(min=1e-12), 1.0)
            deviation = variance.sqrt()
            photon = gain * share
            # Larger quanta than photons only where dark pixels still hold some.
            quantum = torch.minimum(excess * photon, torch.maximum(photon, deviation / CLEAR))
            quantum = torch.maximum(quantum, LEAST_QUANTUM * deviation).clamp(min=1e-12)
            counts = (y - around + variance / quantum) / quantum
            difference = quantum * _thinned(counts, alpha, generator)
        source, target = y - difference / (1 - alpha), y + difference / alpha
        return source.to(noisy.device), target.to(noisy.device)


def _thinned(counts: Tensor, alpha: float, generator: torch.Generator) -> Tensor:
    """Quanta that go to the target, less their expected number ``alpha * counts``.

    Of whole counts a binomial number; of others one of the same variance and skewness without
    steps, from which one could read off what rounding left over.
    """
    counts = counts.clamp(min=0)
    is_whole = ((counts - counts.round()) ** 2).mean((-2, -1), keepdim=True) < WHOLE
    found = _skewed(counts, alpha, generator)
    if is_whole.any():
        # Rounded up or down by chance: without bias.
        whole = (counts + torch.rand(counts.shape, generator=generator)).floor()
        drawn = torch.binomial(whole, torch.full_like(whole, alpha), generator=generator)
        found = torch.where(is_whole, drawn - alpha * whole, found)
    return found


def _skewed(counts: Tensor, alpha: float, generator: torch.Generator) -> Tensor:
    """Variance and third cumulant of a binomial number less its mean, as a parabola of a normal.

    ``a z + b (z**2 - 1)`` has the variance ``a**2 + 2 b**2`` and the third cumulant
    ``6 a**2 b + 8 b**3``; its skewness is at most the square root of 8, reached at 0.28 counts.
    """
    variance = alpha * (1 - alpha) * counts
    skewness = (1 - 2 * alpha) / variance.sqrt().clamp(min=1e-6)
    angle = torch.asin((skewness / math.sqrt(8)).clamp(-1, 1)) / 3
    bend = (2 * variance).sqrt() * torch.sin(angle)
    normal = _normal(counts, generator)
    return (variance - 2 * bend**2).clamp(min=0).sqrt() * normal + bend * (normal**2 - 1)


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
