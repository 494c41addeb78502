"""The objective's base class, and the sample that it gives to the training loop."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

Denoiser = Callable[[Tensor], Tensor]
Penalty = Callable[[Tensor, Denoiser, float, Tensor], Tensor]
"""Scalar loss term of a prediction, a denoiser, the training's progress from 0 to 1, and the mask.

The prediction may be of the first patches only: see `Sample.first`.
"""


class Sample(NamedTuple):
    """One training example: all tensors of shape (B, channels, H, W).

    ``mask`` weights the loss: 1 at pixels that are compared, 0 elsewhere; it may have one channel.
    ``penalty`` is added to the loss of the network's output.
    """

    input: Tensor
    target: Tensor
    mask: Tensor
    penalty: Penalty | None = None

    def to(self, device: torch.device) -> Sample:
        """Copy the sample to a device."""
        source, target, mask = (part.to(device) for part in self[:3])
        return self._replace(input=source, target=target, mask=mask)

    def first(self, count: int) -> Sample:
        """Select the first patches."""
        source, target, mask = (part[:count] for part in self[:3])
        return self._replace(input=source, target=target, mask=mask)


ALL_SYMMETRIES = tuple(itertools.product((False, True), range(4)))


class Objective(ABC):
    """Converts noisy patches to an input, a target and a mask; holds no state.

    Attributes
    ----------
    shots : int
        Noisy images of the same scene that are needed, stacked along the channels.
    scale : int
        Side of the noisy patches over the side of the sample.
    """

    shots: ClassVar[int] = 1
    scale: ClassVar[int] = 1

    @abstractmethod
    def __call__(self, noisy: Tensor, generator: torch.Generator) -> Sample:
        """Make a sample of patches (B, shots * channels, H, W), float32."""

    @property
    def symmetries(self) -> tuple[tuple[bool, int], ...]:
        """Allowed (flip, number of 90 degree rotations) of patches: see `data.patches`."""
        return ALL_SYMMETRIES

    def recorrupt(self, noisy: Tensor, generator: torch.Generator) -> Tensor:
        """Make the network input to denoise an image (B, channels, H, W)."""
        return noisy


def masked_loss(prediction: Tensor, sample: Sample, kind: Literal["l2", "l1"] = "l2") -> Tensor:
    """Mean squared or absolute error over the masked pixels, computed in float32."""
    error = prediction.float() - sample.target
    distance = error**2 if kind == "l2" else error.abs()
    channels = prediction.shape[1] // sample.mask.shape[1]
    # The mask of all patches may be empty.
    return (distance * sample.mask).sum() / (sample.mask.sum() * channels).clamp(min=1)
