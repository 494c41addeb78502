"""One optimisation step, recorded as a CUDA graph if possible.

A step launches thousands of small kernels, and on small patches a GPU waits for the CPU to launch
them. A recorded graph launches them together. If recording fails, steps are computed eagerly. If
memory is insufficient, they use fewer patches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from napari_redenoise.errors import is_out_of_memory
from napari_redenoise.nn import DenoisingNetwork, Prediction
from napari_redenoise.objectives import Sample

Losses = Callable[[Prediction, Sample], tuple[Tensor, Tensor]]
"""Takes a prediction and its sample; returns the detached loss to report and the total loss."""

UNRECORDED_STEPS = 3
"""Eager steps before the recording, in which libraries choose their kernels."""


class Step:
    """Makes optimisation steps on samples, on the device of the network.

    Parameters
    ----------
    network : DenoisingNetwork
    optimiser : torch.optim.Optimizer
    dtype : torch.dtype
        Precision of the network.
    losses : callable
    clip_norm : float
    patches : int, optional
        Largest number of patches per step; halved when memory is insufficient.

    Attributes
    ----------
    patches : int or None
        Its current value.
    """

    def __init__(
        self,
        network: DenoisingNetwork,
        optimiser: torch.optim.Optimizer,
        dtype: torch.dtype,
        losses: Losses,
        clip_norm: float,
        patches: int | None = None,
    ) -> None:
        self._network, self._optimiser = network, optimiser
        self._dtype, self._losses, self._clip_norm = dtype, losses, clip_norm
        self.patches = patches
        self._parameters: list[Tensor] = list(network.parameters())
        self._device = self._parameters[0].device
        is_cuda = self._device.type == "cuda"
        # Recording requires eager steps on a stream other than the default one. The stream that
        # torch would choose belongs to the first device.
        self._stream = torch.cuda.Stream(self._device) if is_cuda else None
        self._made = 0
        self._recorded: _Recorded | None = None
        self._should_record = True

    def __call__(self, sample: Sample, rate: float, progress: float) -> Tensor:
        """Make a step.

        Parameters
        ----------
        sample : Sample
        rate : float
            Learning rate.
        progress : float
            Completed share of the training.

        Returns
        -------
        Tensor
            The loss to report, on the device.

        Raises
        ------
        RuntimeError, MemoryError
            When memory is insufficient for one patch.
        """
        for group in self._optimiser.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        while True:
            if self.patches is not None:
                sample = sample.first(self.patches)
            try:
                return self._make(sample.to(self._device), progress)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or len(sample.input) == 1:
                    raise
            # Outside the except block, where the error no longer keeps tensors alive.
            self.patches = len(sample.input) // 2
            self._recorded, self._made = None, 0
            self._free()

    def _make(self, sample: Sample, progress: float) -> Tensor:
        if self._should_record and self._can_record(sample) and self._made >= UNRECORDED_STEPS:
            if self._recorded is None:
                self._recorded = self._record(sample, progress)
            if self._recorded is not None and self._recorded.fits(sample):
                return self._recorded(sample)
        self._made += 1
        return self._compute_eagerly(sample, progress)

    def _record(self, sample: Sample, progress: float) -> _Recorded | None:
        """Record the step as a graph; None if that fails, and then for all steps.

        Recording does not change weights and optimiser. A graph needs memory of its own, so eager
        steps may still fit.
        """
        try:
            return _Recorded(sample, lambda copy: self._compute(copy, progress), self._stream)
        except RuntimeError:
            self._should_record = False
        self._free()
        return None

    def _free(self) -> None:
        """Release the memory of gradients and the cache of torch."""
        self._optimiser.zero_grad(set_to_none=True)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        elif self._device.type == "mps":
            torch.mps.empty_cache()

    def _can_record(self, sample: Sample) -> bool:
        # Padding to the stride copies from the CPU, which cannot be recorded.
        needs_padding = any(size % self._network.stride for size in sample.input.shape[-2:])
        return (
            self._stream is not None
            and sample.penalty is None
            and not needs_padding
            and all(group["capturable"] for group in self._optimiser.param_groups)
        )

    def _compute_eagerly(self, sample: Sample, progress: float) -> Tensor:
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
                sample.mask,
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
        # Other threads may use the device meanwhile. The current stream is set explicitly, since
        # torch does not restore it after a failed recording.
        with (
            torch.cuda.device(sample.input.device),
            torch.cuda.stream(torch.cuda.current_stream(sample.input.device)),
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
