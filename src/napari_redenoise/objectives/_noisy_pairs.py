"""Objectives on two images of the same scene, given or made from one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_redenoise.objectives._sample import Denoiser, Objective, Sample


@dataclass(frozen=True)
class Noise2Noise(Objective):
    """Predict one shot of a scene from another.

    The input is chosen at random for every patch. The expected loss differs from the loss against
    the clean image by a constant.

    Noise: independent between the two shots, mean zero given the signal; within a shot it may be
    correlated. The scene is the same, without movement, bleaching or change of focus.

    References
    ----------
    J. Lehtinen et al., "Noise2Noise: Learning Image Restoration without Clean Data", ICML 2018.
    """

    shots = 2

    def __call__(self, noisy: Tensor, generator: torch.Generator) -> Sample:
        """Take patches (B, 2 * channels, H, W): the channels of one shot, then of the other."""
        first, second = noisy.chunk(2, 1)
        swapped = torch.randint(2, (noisy.shape[0], 1, 1, 1), generator=generator) == 1
        swapped = swapped.to(noisy.device)
        source, target = torch.where(swapped, second, first), torch.where(swapped, first, second)
        return Sample(source, target, torch.ones_like(noisy[:, :1]))


@dataclass(frozen=True)
class Supervised(Objective):
    """Predict a clean image from a noisy one."""

    shots = 2

    def __call__(self, noisy: Tensor, generator: torch.Generator) -> Sample:
        """Take patches (B, 2 * channels, H, W): the noisy channels, then the clean ones."""
        source, target = noisy.chunk(2, 1)
        return Sample(source, target, torch.ones_like(noisy[:, :1]))


_NEIGHBOURS = torch.tensor(
    # Pixels of a 2 x 2 cell, row by row: pairs that share a side, in both orders.
    [[0, 1], [1, 0], [2, 3], [3, 2], [0, 2], [2, 0], [1, 3], [3, 1]]
)


@dataclass(frozen=True)
class Neighbor2Neighbor(Objective):
    """Predict one half-size image from another, both of neighbouring pixels of the same image.

    Two pixels that share a side are drawn from every cell of 2 x 2 pixels. The signal of neighbours
    differs slightly. The regulariser corrects the loss for the difference in the denoised image;
    its weight grows linearly with the training.

    Noise: independent between pixels, mean zero given the signal.

    References
    ----------
    T. Huang et al., "Neighbor2Neighbor: Self-Supervised Denoising from Single Noisy Images",
    CVPR 2021, equations 9 and 10.
    """

    regularisation: float = 2.0

    scale = 2

    def __call__(self, noisy: Tensor, generator: torch.Generator) -> Sample:
        """Take patches (B, channels, H, W); input and target are (B, channels, H/2, W/2)."""
        noisy = noisy[..., : noisy.shape[-2] // 2 * 2, : noisy.shape[-1] // 2 * 2]
        batch, _, height, width = noisy.shape
        choice = torch.randint(8, (batch, height // 2, width // 2), generator=generator)
        pick = _NEIGHBOURS[choice].to(noisy.device)
        source, target = (_select(noisy, pick[..., side]) for side in (0, 1))

        def penalty(
            prediction: Tensor, denoiser: Denoiser, progress: float, mask: Tensor
        ) -> Tensor:
            count, device = len(prediction), prediction.device
            # Without a gradient, as in the paper.
            with torch.no_grad():
                whole = denoiser(noisy[:count].to(device)).float()
                one, other = (_select(whole, pick[:count, ..., side].to(device)) for side in (0, 1))
            error = prediction.float() - target[:count].to(device) - (one - other)
            compared = mask.expand_as(error)
            mean = (error**2 * compared).sum() / compared.sum().clamp(min=1)
            return self.regularisation * progress * mean

        mask = torch.ones_like(source[:, :1])
        return Sample(source, target, mask, penalty if self.regularisation else None)


def _select(x: Tensor, which: Tensor) -> Tensor:
    """One pixel (0 to 3, row by row) of every 2 x 2 cell; ``which`` is (B, H/2, W/2)."""
    cells = torch.nn.functional.pixel_unshuffle(x, 2)
    cells = cells.reshape(x.shape[0], x.shape[1], 4, *which.shape[1:])
    index = which[:, None, None].expand(-1, x.shape[1], 1, -1, -1)
    return cells.gather(2, index)[:, :, 0]
