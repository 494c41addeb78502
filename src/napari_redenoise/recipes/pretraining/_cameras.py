"""What cameras do to light: the noise that the warm start has seen.

Every camera is drawn at random: photons per pixel from 2 to 300 at the brightest, in some up to
30,000, Poisson noise, in some the excess noise of an electron multiplier, read noise, and in some
of them noise of rows or columns, noise smeared over neighbours, hot pixels, few grey levels,
clipping at both ends.
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
"""Share of the cameras that see more photons, and how many at most.

A network that has never seen them takes fine structure in a picture with hardly any noise for it.
"""


@dataclass(frozen=True)
class Camera:
    """One camera, in units of photons.

    Attributes
    ----------
    photons : float
        Expected at light 1.
    background : float
        Expected everywhere, beside the light.
    excess : bool
        Whether an electron multiplier doubles the variance of the photons.
    read_noise : float
        Standard deviation of Gaussian noise.
    uneven : float
        Deviation of the logarithm of the read noise between pixels, as sCMOS cameras have it.
    rows, columns : float
        Standard deviation of an offset that a row, or a column, has in common.
    smear : tuple of float
        Share of the noise that a pixel takes over from either neighbour along y and along x.
    hot : float
        Share of pixels with much extra light.
    step : float
        Grey levels are multiples of it; 0 for none.
    clipped : tuple of float
        Share of the pixels that is clipped at the dark and at the bright end.
    """

    photons: float
    background: float = 0.0
    excess: bool = False
    read_noise: float = 0.0
    uneven: float = 0.0
    rows: float = 0.0
    columns: float = 0.0
    smear: tuple[float, float] = (0.0, 0.0)
    hot: float = 0.0
    step: float = 0.0
    clipped: tuple[float, float] = (0.0, 0.0)


class Shots(NamedTuple):
    """Pictures with noise, and what they are on average, (B, H, W) float32, in photons."""

    noisy: Tensor
    expected: Tensor


def record_scenes(cameras: Sequence[Camera], light: Tensor, generator: torch.Generator) -> Shots:
    """Take a picture of every scene with the camera of its number.

    Parameters
    ----------
    cameras : sequence of Camera
    light : Tensor
        Scenes (B, H, W), not negative.
    generator : torch.Generator
        On the device of the light.
    """

    def each(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=light.device)[:, None, None]

    def normal(*shape: int) -> Tensor:
        return torch.randn(len(cameras), *shape, generator=generator, device=light.device)

    height, width = light.shape[1:]
    expected = each([c.photons for c in cameras]) * light + each([c.background for c in cameras])
    seen = torch.poisson(expected, generator)
    multiplied = [number for number, camera in enumerate(cameras) if camera.excess]
    if multiplied:
        # The multiplier's output of k electrons is gamma distributed (Hirsch et al. 2013).
        electrons = seen[multiplied]
        output = torch._standard_gamma(electrons.clamp(min=1e-9), generator)
        seen[multiplied] = torch.where(electrons > 0, output, 0.0)
    read_noise = each([c.read_noise for c in cameras])
    uneven = each([c.uneven for c in cameras])
    # Divided by its root mean square, so that the variance stays on average.
    spread = torch.exp(uneven * normal(height, width) - uneven**2)
    seen += read_noise * spread * normal(height, width)
    seen += each([c.rows for c in cameras]) * normal(height, 1)
    seen += each([c.columns for c in cameras]) * normal(1, width)
    noise = seen - expected
    for axis in (0, 1):
        share = each([c.smear[axis] for c in cameras])
        shared = noise.roll(1, 1 + axis) + noise.roll(-1, 1 + axis)
        # Of the same variance.
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
    """Pictures between the grey levels that leave the shares of their cameras outside.

    What is expected of a camera that clips is not beyond its ends: taught to guess how bright a
    saturated place is, a network lost 3 dB on pictures with 1 % of such pixels.
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
    """Draw a camera: most have white noise, every flaw occurs in some."""

    def sometimes(share: float, low: float, high: float) -> float:
        return float(rng.uniform(low, high)) if rng.random() < share else 0.0

    photons = float(np.exp(rng.uniform(np.log(FEWEST_PHOTONS), np.log(MOST_PHOTONS))))
    if rng.random() < BRIGHT:
        photons = float(np.exp(rng.uniform(np.log(MOST_PHOTONS), np.log(BRIGHTEST_PHOTONS))))
    background = photons * sometimes(0.7, 0.0, 1.0)
    # Deviation of the noise at half of the light, to which the flaws are compared.
    deviation = float(np.sqrt(0.5 * photons + background))
    read_noise = deviation * sometimes(0.6, 0.0, 1.5)
    deviation = float(np.hypot(deviation, read_noise))
    smeared = rng.choice(("no", "x", "y", "both"), p=(0.8, 0.1, 0.03, 0.07))
    share = float(rng.uniform(0.05, 0.6))
    return Camera(
        photons=photons,
        background=background,
        excess=bool(rng.random() < 0.2),
        read_noise=read_noise,
        uneven=sometimes(0.3, 0.0, 0.7),
        rows=deviation * sometimes(0.06, 0.05, 0.6),
        columns=deviation * sometimes(0.06, 0.05, 0.6),
        smear=(share * (smeared in ("y", "both")), share * (smeared in ("x", "both"))),
        hot=sometimes(0.05, 0.0, 2e-3),
        step=deviation * sometimes(0.25, 0.05, 1.5),
        clipped=(sometimes(0.2, 0.0, 0.01), sometimes(0.25, 0.0, 0.02)),
    )
