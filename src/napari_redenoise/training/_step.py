"""One optimisation step, and on CUDA the same as a recorded graph.

A step of these networks is some thousand small kernels. On small patches a GPU waits for the
processor to launch them; recorded once, they are launched together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from napari_redenoise.nn import DenoisingNetwork, Prediction
from napari_redenoise.objectives import Sample

Losses = Callable[[Prediction, Sample], tuple[Tensor, Tensor]]
"""Of a prediction and its sample: the loss to tell, detached, and the one to minimise."""

BEFORE = 3
"""Steps that are made as usual before one is recorded: libraries choose their kernels in these."""


class Step:
    """Makes optimisation steps on samples whose tensors are on the device of the network.

    Parameters
    ----------
    network : DenoisingNetwork
    optimiser : torch.optim.Optimizer
    dtype : torch.dtype
        Of the network's computations.
    losses : callable
    clip_norm : float
    """

    def __init__(
        self,
        network: DenoisingNetwork,
        optimiser: torch.optim.Optimizer,
        dtype: torch.dtype,
        losses: Losses,
        clip_norm: float,
    ) -> None:
        self._network, self._optimiser = network, optimiser
        self._dtype, self._losses, self._clip_norm = dtype, losses, clip_norm
        self._parameters: list[Tensor] = list(network.parameters())
        self._device = self._parameters[0].device
        is_cuda = self._device.type == "cuda"
        # What will be recorded has to have run on another stream than the default one before; the
        # one that torch takes by itself belongs to the first device.
        self._stream = torch.cuda.Stream(self._device) if is_cuda else None
        self._made = 0
        self._recorded: _Recorded | None = None

    def __call__(self, sample: Sample, rate: float, progress: float) -> Tensor:
        """Make a step; the loss to tell, still on the device.

        Parameters
        ----------
        sample : Sample
        rate : float
            Learning rate.
        progress : float
            Share of the training done.
        """
        for group in self._optimiser.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        if self._can_record(sample) and self._made >= BEFORE:
            if self._recorded is None:
                self._recorded = _Recorded(
                    sample, lambda copy: self._compute(copy, progress), self._stream
                )
            if self._recorded.fits(sample):
                return self._recorded(sample)
        self._made += 1
        return self._usual(sample, progress)

    def _can_record(self, sample: Sample) -> bool:
        # Padding to the stride copies from the processor, which cannot be recorded.
        needs_padding = any(size % self._network.stride for size in sample.input.shape[-2:])
        return (
            self._stream is not None
            and sample.penalty is None
            and not needs_padding
            and all(group["capturable"] for group in self._optimiser.param_groups)
        )

    def _usual(self, sample: Sample, progress: float) -> Tensor:
        if self._stream is None or not self._can_record(sample):
            return self._compute(sample, progress)
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            loss = self._compute(sample, progress)
        torch.cuda.current_stream(self._device).wait_stream(self._stream)
        return loss

    def _compute(self, sample: Sample, progress: float) -> Tensor:
        self._optimiser.zero_grad(set_to_none=True)
        prediction = self._forward(sample.input)
        main, total = self._losses(prediction, sample)
        if sample.penalty is not None:
            total = total + sample.penalty(
                prediction.denoised,
                lambda noisy: self._forward(noisy.to(self._device)).denoised,
                progress,
            )
        total.backward()
        nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)
        self._optimiser.step()
        return main

    def _forward(self, noisy: Tensor) -> Prediction:
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
            prediction: Prediction = self._network(
                noisy.contiguous(memory_format=torch.channels_last)
            )
        return prediction


class _Recorded:
    """A computation on tensors of fixed shapes, recorded as a CUDA graph."""

    def __init__(
        self,
        sample: Sample,
        compute: Callable[[Sample], Tensor],
        stream: torch.cuda.Stream | None,
    ) -> None:
        source, target, mask = (part.clone() for part in _tensors(sample))
        self._inputs = sample._replace(input=source, target=target, mask=mask)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads, a viewer's or one that makes batches, may use the device meanwhile.
        with (
            torch.cuda.device(sample.input.device),
            torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"),
        ):
            self._result = compute(self._inputs)

    def fits(self, sample: Sample) -> bool:
        """Whether a sample has the recorded shapes."""
        pairs = zip(_tensors(self._inputs), _tensors(sample), strict=True)
        return all(one.shape == other.shape for one, other in pairs)

    def __call__(self, sample: Sample) -> Tensor:
        for one, other in zip(_tensors(self._inputs), _tensors(sample), strict=True):
            one.copy_(other)
        self._graph.replay()
        return self._result


def _tensors(sample: Sample) -> Sequence[Tensor]:
    return sample[:3]
