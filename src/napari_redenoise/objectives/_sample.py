"""What an objective hands to the training loop."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

Denoiser = Callable[[Tensor], Tensor]
Penalty = Callable[[Tensor, Denoiser, float], Tensor]
"""Of a prediction, a denoiser, and the share of the training done: a scalar loss term.

The prediction may be of the first patches only: see `Sample.first`.
"""


class Sample(NamedTuple):
    """One training example: all tensors of shape (B, channels, H, W).

    ``mask`` weighs the loss: 1 at pixels that are compared, 0 elsewhere; it may have one channel.
    ``penalty`` is added to the loss of the network's output, where an objective has one.
    """

    input: Tensor
    target: Tensor
    mask: Tensor
    penalty: Penalty | None = None

    def to(self, device: torch.device) -> Sample:
        """The same on a device."""
        source, target, mask = (part.to(device) for part in self[:3])
        return self._replace(input=source, target=target, mask=mask)

    def first(self, count: int) -> Sample:
        """Its first patches, at most so many."""
        source, target, mask = (part[:count] for part in self[:3])
        return self._replace(input=source, target=target, mask=mask)


ALL_TURNS = tuple(itertools.product((False, True), range(4)))


class Objective(ABC):
    """Turns noisy patches into an input, a target and a mask; holds no state of its own.

    Attributes
    ----------
    shots : int
        Noisy pictures of the same scene that it needs, stacked along the channels.
    scale : int
        Side of the patches that it takes, over the side of the patches that it makes.
    recorrupts : bool
        Whether a prediction is the mean over several draws of `recorrupt`.
    """

    shots: ClassVar[int] = 1
    scale: ClassVar[int] = 1
    recorrupts: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, noisy: Tensor, generator: torch.Generator) -> Sample:
        """Make an example of patches (B, shots * channels, H, W), float32."""

    @property
    def turns(self) -> tuple[tuple[bool, int], ...]:
        """Under which (mirrored, quarter turns) patches may be shown: see `data.patches`."""
        return ALL_TURNS

    def recorrupt(self, noisy: Tensor, generator: torch.Generator) -> Tensor:
        """What the network is shown when it denoises a picture (B, channels, H, W)."""
        return noisy


def masked_loss(prediction: Tensor, sample: Sample, kind: Literal["l2", "l1"] = "l2") -> Tensor:
    """Mean squared or absolute error over the masked pixels, computed in float32."""
    error = prediction.float() - sample.target
    distance = error**2 if kind == "l2" else error.abs()
    channels = prediction.shape[1] // sample.mask.shape[1]
    # Of patches without a pixel to compare nothing is learned.
    return (distance * sample.mask).sum() / (sample.mask.sum() * channels).clamp(min=1)
