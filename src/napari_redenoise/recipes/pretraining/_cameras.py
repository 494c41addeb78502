"""Simulated cameras: the noise of the pretraining.

Every camera is drawn at random. It has Poisson noise, from 2 to 300 photons per pixel at the
brightest, in some cameras up to 30,000, and read noise. Some cameras add excess noise of an
electron multiplier, line offsets, correlated noise, hot pixels, coarse grey levels, or clipping.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

FEWEST_PHOTONS, MOST_PHOTONS = 2.0, 300.0
BRIGHT, BRIGHTEST_PHOTONS = 0.15, 30_000.0
"""Share of the cameras with more photons, and the largest number of photons.

Without them a network mistakes fine structure for noise in images with little noise.
"""


@dataclass(frozen=True)
class Camera:
    """A camera, in units of photons.

    Attributes
    ----------
    photons : float
        Expected photons at intensity 1.
    background : float
        Expected photons of the background.
    has_excess_noise : bool
        Whether an electron multiplier doubles the variance of the photon noise.
    read_noise : float
        Standard deviation of Gaussian noise.
    uneven : float
        Standard deviation of the logarithm of the read noise between pixels, as in sCMOS cameras.
    rows, columns : float
        Standard deviation of row and column offsets.
    smear : tuple of float
        Weight of the noise of either neighbour along y and along x, which correlates the noise.
    hot : float
        Share of hot pixels.
    step : float
        Step between grey levels; 0 for none.
    clipped : tuple of float
        Shares of pixels clipped at the dark and at the bright end.
    """

    photons: float
    background: float = 0.0
    has_excess_noise: bool = False
    read_noise: float = 0.0
    uneven: float = 0.0
    rows: float = 0.0
    columns: float = 0.0
    smear: tuple[float, float] = (0.0, 0.0)
    hot: float = 0.0
    step: float = 0.0
    clipped: tuple[float, float] = (0.0, 0.0)


class Shots(NamedTuple):
    """Noisy images and their expected values, (B, H, W) float32, in photons."""

    noisy: Tensor
    expected: Tensor


def record_scenes(cameras: Sequence[Camera], light: Tensor, generator: torch.Generator) -> Shots:
    """Record every scene with the camera of the same index.

    Parameters
    ----------
    cameras : sequence of Camera
    light : Tensor
        Non-negative scenes (B, H, W).
    generator : torch.Generator
        On the device of the scenes.
    """

    def each(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=light.device)[:, None, None]

    def normal(*shape: int) -> Tensor:
        return torch.randn(len(cameras), *shape, generator=generator, device=light.device)

    height, width = light.shape[1:]
    expected = each([c.photons for c in cameras]) * light + each([c.background for c in cameras])
    seen = torch.poisson(expected, generator)
    multiplied = [number for number, camera in enumerate(cameras) if camera.has_excess_noise]
    if multiplied:
        # The output for k electrons is gamma distributed (Hirsch et al. 2013).
        electrons = seen[multiplied]
        output = torch._standard_gamma(electrons.clamp(min=1e-9), generator)
        seen[multiplied] = torch.where(electrons > 0, output, 0.0)
    read_noise = each([c.read_noise for c in cameras])
    uneven = each([c.uneven for c in cameras])
    # Divided by its root mean square, which keeps the mean variance.
    spread = torch.exp(uneven * normal(height, width) - uneven**2)
    seen += read_noise * spread * normal(height, width)
    seen += each([c.rows for c in cameras]) * normal(height, 1)
    seen += each([c.columns for c in cameras]) * normal(1, width)
    noise = seen - expected
    for axis in (0, 1):
        share = each([c.smear[axis] for c in cameras])
        shared = noise.roll(1, 1 + axis) + noise.roll(-1, 1 + axis)
        # Keeps the variance.
        noise = (noise + share * shared) / torch.sqrt(1 + 2 * share**2)
    seen = expected + noise
    hot = each([c.hot for c in cameras])
    if hot.any():
        bright = torch.empty_like(seen).exponential_(generator=generator)
        bright *= each([3 * (c.photons + c.background) for c in cameras])
        chance = torch.rand(seen.shape, generator=generator, device=seen.device)
        seen += torch.where(chance < hot, bright, 0.0)
    step = each([c.step for c in cameras])
    seen = torch.where(step > 0, torch.round(seen / step.clamp(min=1e-9)) * step, seen)
    return _clipped(seen, expected, cameras)


def _clipped(seen: Tensor, expected: Tensor, cameras: Sequence[Camera]) -> Shots:
    """Clip the shares of pixels of every camera at both ends, and the expected values with them.

    A network that learns to guess saturated values loses 3 dB on images with 1 % of such pixels.
    """
    ordered = seen.flatten(1).sort(1).values
    last = ordered.shape[1] - 1
    ends = [[round(c.clipped[0] * last), round((1 - c.clipped[1]) * last)] for c in cameras]
    levels = ordered.gather(1, torch.tensor(ends, device=seen.device))
    low, high = levels[:, 0, None, None], levels[:, 1, None, None]
    clips = torch.tensor([bool(c.clipped[1]) for c in cameras], device=seen.device)
    expected = torch.where(clips[:, None, None], expected.minimum(high), expected)
    clips = torch.tensor([bool(c.clipped[0]) for c in cameras], device=seen.device)
    expected = torch.where(clips[:, None, None], expected.maximum(low), expected)
    return Shots(torch.clamp(seen, low, high), expected)


def draw_camera(rng: np.random.Generator) -> Camera:
    """Draw a camera: most have white noise, some have one or more flaws."""

    def sometimes(share: float, low: float, high: float) -> float:
        return float(rng.uniform(low, high)) if rng.random() < share else 0.0

    photons = float(np.exp(rng.uniform(np.log(FEWEST_PHOTONS), np.log(MOST_PHOTONS))))
    if rng.random() < BRIGHT:
        photons = float(np.exp(rng.uniform(np.log(MOST_PHOTONS), np.log(BRIGHTEST_PHOTONS))))
    background = photons * sometimes(0.7, 0.0, 1.0)
    # Noise standard deviation at intensity 0.5; flaws are relative to it.
    sigma = float(np.sqrt(0.5 * photons + background))
    read_noise = sigma * sometimes(0.6, 0.0, 1.5)
    sigma = float(np.hypot(sigma, read_noise))
    smeared = rng.choice(("no", "x", "y", "both"), p=(0.8, 0.1, 0.03, 0.07))
    share = float(rng.uniform(0.05, 0.6))
    return Camera(
        photons=photons,
        background=background,
        has_excess_noise=bool(rng.random() < 0.2),
        read_noise=read_noise,
        uneven=sometimes(0.3, 0.0, 0.7),
        rows=sigma * sometimes(0.06, 0.05, 0.6),
        columns=sigma * sometimes(0.06, 0.05, 0.6),
        smear=(share * (smeared in ("y", "both")), share * (smeared in ("x", "both"))),
        hot=sometimes(0.05, 0.0, 2e-3),
        step=sigma * sometimes(0.25, 0.05, 1.5),
        clipped=(sometimes(0.2, 0.0, 0.01), sometimes(0.25, 0.0, 0.02)),
    )
