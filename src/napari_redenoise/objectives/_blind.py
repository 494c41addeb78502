"""Blind-spot objectives: predict a pixel from its neighbours alone.

Both assume noise that is independent from pixel to pixel and zero on average given the signal.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from napari_redenoise.objectives._sample import Sample


@dataclass(frozen=True)
class Noise2Self:
    """Grid masks: one pixel in ``spacing**2`` is replaced by the mean of its neighbours.

    The phase of the grid is random for every patch. The replacement does not depend on the
    pixel itself, so the network is J-invariant on the grid and the loss differs from the loss
    against the clean image by a constant, in expectation.

    References
    ----------
    J. Batson, L. Royer, "Noise2Self: Blind Denoising by Self-Supervision", ICML 2019.
    """

    spacing: int = 4

    def __call__(self, noisy: Tensor, generator: torch.Generator) -> Sample:
        """Mask patches of shape (B, channels, H, W); the mask is (B, 1, H, W)."""
        batch, _, height, width = noisy.shape
        phase = torch.randint(self.spacing, (2, batch, 1, 1, 1), generator=generator)
        rows = (torch.arange(height)[:, None] - phase[0]) % self.spacing == 0
        columns = (torch.arange(width)[None, :] - phase[1]) % self.spacing == 0
        mask = (rows & columns).to(noisy.device)
        return Sample(torch.where(mask, neighbour_mean(noisy), noisy), noisy, mask.to(noisy.dtype))


def neighbour_mean(x: Tensor) -> Tensor:
    """Weighted mean of the eight neighbours: 1/6 for the nearest four, 1/12 for the diagonal."""
    taps = torch.tensor([[0.5, 1.0, 0.5], [1.0, 0.0, 1.0], [0.5, 1.0, 0.5]]) / 6
    kernel = taps.to(x)[None, None].expand(x.shape[1], 1, 3, 3)
    return functional.conv2d(
        functional.pad(x, (1, 1, 1, 1), mode="reflect"), kernel, groups=x.shape[1]
    )


@dataclass(frozen=True)
class Noise2Void:
    """Random masks: a share of the pixels is replaced by random neighbours.

    A replacement is drawn uniformly from the window around the pixel, never the pixel itself,
    and is the same neighbour in all channels.

    References
    ----------
    A. Krull, T.-O. Buchholz, F. Jug, "Noise2Void - Learning Denoising From Single Noisy Images",
    CVPR 2019.
    """

    masked_fraction: float = 0.08
    window: int = 5

    def __call__(self, noisy: Tensor, generator: torch.Generator) -> Sample:
        """Mask patches of shape (B, channels, H, W); the mask is (B, 1, H, W)."""
        batch, channels, height, width = noisy.shape
        mask = torch.rand((batch, 1, height, width), generator=generator) < self.masked_fraction
        mask[..., height // 2, width // 2] |= ~mask.flatten(1).any(1)[:, None]
        # At a border the window moves inside, so it always holds window**2 - 1 other pixels.
        rows, columns = torch.arange(height)[:, None], torch.arange(width)[None, :]
        window = min(self.window, height, width)
        top = (rows - window // 2).clamp(0, height - window)
        left = (columns - window // 2).clamp(0, width - window)
        itself = (rows - top) * window + columns - left
        number = torch.randint(window**2 - 1, mask.shape, generator=generator)
        number = number + (number >= itself)
        flat = (top + number // window) * width + left + number % window
        source = flat.to(noisy.device).expand(batch, channels, height, width).flatten(2)
        replaced = noisy.flatten(2).gather(2, source).reshape(noisy.shape)
        mask = mask.to(noisy.device)
        return Sample(torch.where(mask, replaced, noisy), noisy, mask.to(noisy.dtype))
