"""The training loop: a generator of events that can be stopped at any yield."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TypeVar

import torch
from torch import Tensor

from napari_redenoise.config import Config, TrainingConfig
from napari_redenoise.nn import DenoisingNetwork, Prediction, build_network
from napari_redenoise.objectives import Sample, masked_loss
from napari_redenoise.training._step import Losses, Step

# Best of {1e-3, 2e-3, 3e-3} for short runs on one image: see docs/benchmarks.md.
LEARNING_RATES = {"adarenet": 2e-3, "equivariant": 2e-3, "standard": 1e-3}

FINE_TUNING_RATE = 5e-4
"""Learning rate of pretrained weights."""


# Enables gradients, also under no_grad() or inference_mode() of the caller. A generator leaves the
# context at every yield.
_with_gradients = torch.inference_mode(mode=False)

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class StepDone:
    """An optimisation step has been made.

    ``loss`` is the loss of the network's output, without that of the branches. Mean squared errors
    are in units of the image's variance. ``patches`` is the number of patches of the step. ``note``
    reports a reduction of that number for lack of memory.
    """

    step: int
    steps: int
    loss: float
    learning_rate: float
    seconds: float
    patches: int
    note: str | None = None


@dataclass
class TrainingState:
    """The changing state of a training.

    ``average`` holds the exponential moving average of the weights, for predictions. ``rate`` is
    the learning rate, ``schedule_start`` the first step of its current schedule. ``patches`` is the
    largest number of patches per step that fits the memory, if known.
    """

    network: DenoisingNetwork
    average: DenoisingNetwork
    generator: torch.Generator
    rate: float
    step: int = 0
    losses: list[float] = field(default_factory=list)
    schedule_start: int = 0
    patches: int | None = None

    @cached_property
    def optimiser(self) -> torch.optim.Optimizer:
        """Made on first use, since the first optimiser of a process takes torch a second."""
        parameters = list(self.network.parameters())
        device = parameters[0].device
        # On CUDA steps are recorded as graphs, whose inputs must be on the device.
        recorded = device.type == "cuda"
        optimiser = torch.optim.AdamW(
            parameters,
            lr=torch.tensor(self.rate, dtype=torch.float32, device=device)
            if recorded
            else self.rate,
            betas=(0.9, 0.99),
            capturable=recorded,
        )
        # Suppresses a warning of torch for the first steps, which are not recorded.
        optimiser._warned_capturable_if_run_uncaptured = True
        return optimiser


@_with_gradients
def start(config: Config, device: torch.device) -> TrainingState:
    """Start a training with random weights.

    They follow from the seed of the configuration. The caller may load other weights into
    ``network`` and ``average``.
    """
    generator = torch.Generator().manual_seed(config.training.seed)
    return _state(
        config, build_network(config.network, generator, torch.float32), generator, device
    )


@_with_gradients
def continue_training(
    config: Config, weights: dict[str, Tensor], step: int, device: torch.device
) -> TrainingState:
    """Continue a training with a new optimiser and schedule.

    Parameters
    ----------
    config : Config
    weights : dict
        The network's ``state_dict``, with weights and filter bases.
    step : int
        Steps made so far.
    device : torch.device
    """
    # The seed itself would draw the patches of the first training again.
    generator = torch.Generator().manual_seed(config.training.seed + step)
    network = build_network(config.network, torch.Generator(), torch.float32)
    network.load_state_dict(weights)
    state = _state(config, network, generator, device)
    state.step = state.schedule_start = step
    return state


def _state(
    config: Config, network: DenoisingNetwork, generator: torch.Generator, device: torch.device
) -> TrainingState:
    """The state of a training before its first step."""
    training = config.training
    network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network).eval().requires_grad_(False)
    usual = (
        FINE_TUNING_RATE if training.start == "pretrained" else LEARNING_RATES[config.network.kind]
    )
    return TrainingState(network, average, generator, training.learning_rate or usual)


Loss = Callable[[Tensor, Sample], Tensor]
"""Takes an output of the network and its sample."""


def with_branches(loss: Loss, weight: float) -> Losses:
    """Add the loss of both branches, times a weight, to that of the output."""

    def losses(prediction: Prediction, sample: Sample) -> tuple[Tensor, Tensor]:
        main = loss(prediction.denoised, sample)
        total = main
        for branch in (prediction.standard, prediction.equivariant):
            if branch is not None:
                total = total + weight * loss(branch, sample)
        return main.detach(), total

    return losses


@_with_gradients
def train(
    state: TrainingState,
    batches: Iterable[Batch],
    objective: Callable[[Batch, torch.Generator], Sample],
    config: TrainingConfig,
    dtype: torch.dtype = torch.float32,
    loss: Loss | None = None,
) -> Iterator[StepDone]:
    """Train from ``state.step`` to ``config.total_steps``.

    The learning rate follows `learning_rate_factor`, over the steps after
    ``state.schedule_start``. If memory is insufficient, the number of patches per step is halved.

    Parameters
    ----------
    state : TrainingState
        Changed in place; after a stop it holds the weights of the last step.
    batches : iterable
        Normalised noisy patches, (B, shots * channels, H, W) float32, or other input of the
        objective.
    objective : Objective
        Or any callable that converts a batch to a `Sample`.
    config : TrainingConfig
    dtype : torch.dtype
        ``torch.bfloat16`` computes the network under autocast.
    loss : callable, optional
        Default `masked_loss`; the branches have it, too.

    Yields
    ------
    StepDone
        After every step.
    """
    parameters: list[Tensor] = list(state.network.parameters())
    averages: list[Tensor] = list(state.average.parameters())
    device = parameters[0].device
    group = state.optimiser.param_groups[0]
    base_rate = group.setdefault("initial_lr", float(group["lr"]))
    losses = with_branches(loss or partial(masked_loss, kind=config.loss), config.branch_weight)
    step = Step(state.network, state.optimiser, dtype, losses, config.clip_norm, state.patches)
    schedule = config.model_copy(update={"steps": config.total_steps - state.schedule_start})
    state.network.train()
    for noisy in batches:
        if state.step >= config.total_steps:
            return
        began = time.perf_counter()
        rate = base_rate * learning_rate_factor(state.step - state.schedule_start, schedule)
        sample = objective(noisy, state.generator)
        wanted = _count(sample, state.patches)
        main = step(sample, rate, (state.step + 1) / config.total_steps)
        state.step += 1
        state.patches = step.patches
        patches = _count(sample, state.patches)
        with torch.no_grad():
            torch._foreach_lerp_(averages, parameters, 1 - ema_decay(state.step, config))
        state.losses.append(float(main))
        yield StepDone(
            state.step,
            config.total_steps,
            state.losses[-1],
            rate,
            time.perf_counter() - began,
            patches,
            None if patches == wanted else _fewer(device, wanted, patches),
        )


def _count(sample: Sample, most: int | None) -> int:
    patches = len(sample.input)
    return patches if most is None else min(most, patches)


def _fewer(device: torch.device, wanted: int, patches: int) -> str:
    return (
        f"the memory of {device} is too small for {wanted} patches per step, training continues "
        f"with {patches}: choose smaller patches for more of them"
    )


def ema_decay(step: int, config: TrainingConfig) -> float:
    """Decay of the moving average at a step, counted from 1 over all schedules.

    From random weights it grows with the steps, so that early previews do not contain them.
    """
    if config.start == "pretrained":
        return config.ema_decay
    return min(config.ema_decay, step / (step + 9))


def learning_rate_factor(step: int, config: TrainingConfig) -> float:
    """Factor of the learning rate: linear warm-up, constant to half of the steps, cosine to zero.

    The warm-up takes at most a quarter of the steps.
    """
    warmup = min(config.warmup_steps, config.total_steps // 4)
    if step < warmup:
        return (step + 1) / warmup
    half = config.total_steps / 2
    if step < half:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - half) / half))
