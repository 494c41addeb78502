"""Blind-spot objectives: predict a pixel from its neighbours alone.

They assume noise with mean zero given the signal, independent between a pixel and those it is
predicted from: all others, or those outside the mask shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from napari_redenoise.objectives._sample import ALL_SYMMETRIES, Objective, Sample

MAX_HIDDEN = 0.3
"""Largest share of a patch that is hidden by mask shapes of several pixels."""


@dataclass(frozen=True)
class Noise2Self(Objective):
    """Grid masks: one pixel in ``spacing**2`` is replaced by the mean of its neighbours.

    The phase of the grid is random for every patch. The replacement does not depend on the
    pixel itself, so the network is J-invariant on the grid. The expected loss differs from the
    loss against the clean image by a constant.

    Noise: independent between pixels, mean zero given the signal.

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
    return filter_channels(x, taps, "reflect")


def filter_channels(x: Tensor, taps: Tensor, padding: Literal["reflect", "replicate"]) -> Tensor:
    """Correlate every channel with a square of taps, to the same size."""
    side, channels = len(taps), x.shape[1]
    kernel = taps.to(x)[None, None].expand(channels, 1, side, side)
    padded = functional.pad(x, (side // 2,) * 4, mode=padding)
    return functional.conv2d(padded, kernel, groups=channels)


@dataclass(frozen=True)
class Noise2Void(Objective):
    """Random masks: a share of the pixels is replaced by neighbours.

    Parameters
    ----------
    masked_fraction : float
        Share of the pixels that are predicted; less where large mask shapes would hide more than
        30 % of a patch.
    window : int
        Side of the neighbourhood in pixels, at least that of the mask shape plus one pixel on
        either side. Near the border it moves inside the patch.
    replacement : {"uniform", "median"}
        A random neighbour (the same in all channels), or the median of all. Hidden pixels are no
        neighbours, so nothing of them reaches the network.
    mask_shape : tuple of str
        Pixels that are hidden together, in rows of 0 and 1 around the predicted one.

    Notes
    -----
    Noise: mean zero given the signal, independent between pixels at distances outside the mask
    shape.

    References
    ----------
    A. Krull, T.-O. Buchholz, F. Jug, "Noise2Void - Learning Denoising From Single Noisy Images",
    CVPR 2019.
    C. Broaddus et al., "Removing Structured Noise with Self-Supervised Blind-Spot Networks",
    ISBI 2020 (mask shapes).
    E. Höck et al., "N2V2 - Fixing Noise2Void Checkerboard Artifacts", ECCV workshops 2022
    (median).
    """

    masked_fraction: float = 0.08
    window: int = 5
    replacement: Literal["uniform", "median"] = "uniform"
    mask_shape: tuple[str, ...] = ("1",)

    @property
    def symmetries(self) -> tuple[tuple[bool, int], ...]:
        """Those of the mask shape: noise along x is not noise along y."""
        shape = self._shape()
        return tuple(
            (flip, quarters)
            for flip, quarters in ALL_SYMMETRIES
            if torch.equal(torch.rot90(shape.flip(-1) if flip else shape, quarters), shape)
        )

    def __call__(self, noisy: Tensor, generator: torch.Generator) -> Sample:
        """Mask patches of shape (B, channels, H, W); the mask is (B, 1, H, W)."""
        batch, _, height, width = noisy.shape
        shape = self._shape()
        share, hides = self.masked_fraction, int(shape.sum())
        if hides > 1:
            share = min(share, MAX_HIDDEN / hides)
        mask = torch.rand((batch, 1, height, width), generator=generator, dtype=noisy.dtype) < share
        mask[..., height // 2, width // 2] |= ~mask.flatten(1).any(1)[:, None]
        hidden = _dilate(mask, shape).to(noisy.device)
        return Sample(self._replace(noisy, hidden, generator), noisy, mask.to(noisy))

    def _shape(self) -> Tensor:
        return torch.tensor([[cell == "1" for cell in row] for row in self.mask_shape])

    def _replace(self, noisy: Tensor, hidden: Tensor, generator: torch.Generator) -> Tensor:
        """Replace hidden pixels (B, 1, H, W) by visible neighbours."""
        number, _, row, column = hidden.nonzero().T
        # Larger than the shape, so that it holds a visible pixel.
        reach = max(self.window, len(self.mask_shape) + 2, len(self.mask_shape[0]) + 2)
        source = _window(row, column, min(reach, *noisy.shape[-2:]), noisy.shape[-2:])
        usable = ~hidden.flatten(1)[number[:, None], source]
        # (hidden pixels, channels, neighbours)
        values = noisy.flatten(2)[number[:, None], :, source].transpose(1, 2)
        if self.replacement == "median":
            values = values.masked_fill(~usable[:, None], torch.nan).nanmedian(-1).values
        else:
            lots = torch.rand(usable.shape, generator=generator, dtype=noisy.dtype).to(noisy.device)
            drawn = lots.masked_fill(~usable, -1.0).argmax(-1)
            values = values.gather(2, drawn[:, None, None].expand(-1, values.shape[1], 1))[..., 0]
        # Without a visible neighbour: the mean of a normalised image.
        values = torch.where(usable.any(-1)[:, None], values, 0.0)
        replaced = noisy.clone()
        replaced[number, :, row, column] = values
        return replaced


def _dilate(mask: Tensor, shape: Tensor) -> Tensor:
    """Pixels within the mask shape around a masked pixel."""
    if shape.numel() == 1:
        return mask
    # The convolution is a correlation: flipped, it places the shape around every pixel.
    kernel = shape.flip(0, 1).float()[None, None]
    reach = (shape.shape[0] // 2, shape.shape[1] // 2)
    return functional.conv2d(mask.float(), kernel, padding=reach) > 0.5


def _window(row: Tensor, column: Tensor, side: int, size: torch.Size) -> Tensor:
    """Flat indices (pixels, side**2) of the neighbourhoods inside the patch."""
    height, width = size
    top = (row - side // 2).clamp(0, height - side)
    left = (column - side // 2).clamp(0, width - side)
    step = torch.arange(side, device=row.device)
    flat = (top[:, None] + step)[:, :, None] * width + (left[:, None] + step)[:, None, :]
    return flat.flatten(1)
