"""What an objective hands to the training loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Sample(NamedTuple):
    """One training example: all tensors of shape (B, channels, H, W).

    ``mask`` weighs the loss: 1 at pixels that are compared, 0 elsewhere; it may have one channel.
    """

    input: Tensor
    target: Tensor
    mask: Tensor


class Objective(Protocol):
    """Turns noisy patches into an input, a target and a mask; holds no state of its own."""

    def __call__(self, noisy: Tensor, generator: torch.Generator) -> Sample: ...


def masked_mse(prediction: Tensor, sample: Sample) -> Tensor:
    """Mean squared error over the masked pixels, computed in float32."""
    squared = (prediction.float() - sample.target) ** 2 * sample.mask
    channels = prediction.shape[1] // sample.mask.shape[1]
    return squared.sum() / (sample.mask.sum() * channels)


Loss = Callable[[Tensor, Sample], Tensor]
