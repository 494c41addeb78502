"""Choice of the compute device and its precision."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar, cast

import torch
from torch import nn
from torch.nn import functional

from napari_redenoise.errors import DeviceError, is_out_of_memory

F = TypeVar("F", bound=Callable[..., Any])

# Smallest speed-up for which bfloat16 is used.
_WORTHWHILE = 1.3

_NO_MEMORY = "its memory is full: close other programs that use it"

# Text in the errors of torch, with the cause and the remedy.
_REASONS = (
    (
        "no kernel image",
        "the installed torch does not support this GPU: install a build of torch that does",
    ),
    (
        "driver",
        "its driver does not match the installed torch: update the driver, or install a matching "
        "build of torch",
    ),
)

_trials: dict[str, str | None] = {}

_one_trial = threading.Lock()


def available_devices() -> list[str]:
    """Names of the devices of this machine, fastest type first."""
    names = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def get_device(name: str | None = None) -> torch.device:
    """Select a device by name.

    Devices other than the CPU must pass a trial step, see `refused_devices`.

    Parameters
    ----------
    name : str, optional
        Default, or ``"auto"``: the fastest device that passes its trial.

    Raises
    ------
    DeviceError
        When this machine has no such device, or it fails the trial.
    """
    names = available_devices()
    if name in (None, "auto"):
        return torch.device(next(one for one in names if refusal_reason(one) is None))
    chosen = "cuda:0" if name == "cuda" else str(name)
    if chosen not in names:
        raise DeviceError(
            f"device {name!r} is not available: choose one of {', '.join(names)}, or 'auto'"
        )
    reason = refusal_reason(chosen)
    if reason is not None:
        raise DeviceError(f"device {name!r} cannot be used, {reason}, or choose 'auto'")
    return torch.device(chosen)


def training_dtype(device: torch.device, precision: str = "auto") -> torch.dtype:
    """Precision in which a network is trained, or applied where that is wanted.

    Parameters
    ----------
    device : torch.device
    precision : {"auto", "float32", "bfloat16"}
        ``"auto"`` selects bfloat16 on CUDA devices of compute capability 8.0, and on CPUs where a
        short trial shows that it is faster. MPS uses float32, since its autocast is not measured.
    """
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else torch.float32
    if device.type == "cuda":
        # Not torch.cuda.is_bf16_supported, which includes emulation and uses the current device.
        capability = torch.cuda.get_device_capability(device)
        return torch.bfloat16 if capability >= (8, 0) else torch.float32
    if device.type != "cpu":
        return torch.float32
    # Two trials at a time would slow each other down.
    with _one_trial:
        return torch.bfloat16 if _cpu_bfloat16_gain() > _WORTHWHILE else torch.float32


@lru_cache(maxsize=1)
def _cpu_bfloat16_gain() -> float:
    """Measure the speed-up of a convolution by bfloat16, in about 50 ms."""
    times = {}
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.ones(4, 96, 64, 64, dtype=dtype).contiguous(memory_format=torch.channels_last)
        weight = torch.ones(96, 96, 3, 3, dtype=dtype)
        weight = weight.contiguous(memory_format=torch.channels_last)
        best = float("inf")
        with torch.inference_mode():
            for _ in range(3):
                began = time.perf_counter()
                functional.conv2d(x, weight, padding=1)
                best = min(best, time.perf_counter() - began)
        times[dtype] = best
    return times[torch.float32] / times[torch.bfloat16]


@contextmanager
def explain_out_of_memory(device: torch.device) -> Iterator[None]:
    """Replace out-of-memory errors of torch by an error with a remedy.

    Raises
    ------
    DeviceError
        When the memory of the device is exhausted.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceError(
            f"{device} ran out of memory: choose a smaller patch or batch, or the device 'cpu'"
        ) from error


def refusal_reason(name: str) -> str | None:
    """Reason and remedy for a device that cannot be used; None if it can.

    A trial runs once per process, and again if the memory was full. The CPU needs no trial.
    """
    if name == "cpu":
        return None
    if _trials.get(name, _NO_MEMORY) == _NO_MEMORY:
        _trials[name] = _trial(name)
    return _trials[name]


def refused_devices() -> dict[str, str]:
    """Devices of this machine that failed their trial, with reason and remedy."""
    return {name: reason for name, reason in _trials.items() if reason is not None}


def _trial(name: str) -> str | None:
    try:
        _step(torch.device(name))
    # A torch without the device raises AssertionError; CUDA defers some errors in its own class.
    except (RuntimeError, AssertionError, OSError, torch.cuda.DeferredCudaCallError) as error:
        return _reason(error)
    return None


def _reason(error: Exception) -> str:
    if is_out_of_memory(error):
        return _NO_MEMORY
    for words, reason in _REASONS:
        if words in str(error).lower():
            return reason
    said = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return f"a trial step fails ({said}): update torch and the driver"


def on_the_cpu(function: F) -> F:
    """Have a function, or a generator, make its tensors on the CPU, whatever torch's default is.

    Those of other devices are named where they are made. Only a caller who has set another default
    device pays for it: torch then looks at every operation.
    """

    @functools.wraps(function)
    def wrapped(*arguments: Any, **keywords: Any) -> Any:
        if torch.get_default_device().type == "cpu":
            return function(*arguments, **keywords)
        with torch.device("cpu"):
            made = function(*arguments, **keywords)
        return _stepwise(made) if isinstance(made, Generator) else made

    return cast(F, wrapped)


def _stepwise(events: Generator[Any, None, Any]) -> Generator[Any, None, Any]:
    try:
        while True:
            with torch.device("cpu"):
                try:
                    event = next(events)
                except StopIteration as end:
                    return end.value
            yield event
    finally:
        events.close()


@torch.inference_mode(mode=False)
def _step(device: torch.device) -> None:
    """Run all operations of a training step on a few pixels."""
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 1, 3)
    )
    network = network.to(device=device, dtype=torch.float32)
    image = torch.ones(1, 1, 16, 16, dtype=torch.float32, device=device)
    loss = network(image).square().mean()
    loss.backward()
    # Wait for the results: errors of a device may be deferred until then.
    float(loss.detach())
    sum(float(weights.grad.sum()) for weights in network.parameters() if weights.grad is not None)
