"""Whether a device can compute: a small step on it, before a training is trusted to it."""

from __future__ import annotations

import torch

from napari_redenoise.config import NetworkConfig
from napari_redenoise.errors import is_out_of_memory
from napari_redenoise.nn import build_network

_NO_MEMORY = "its memory is in use: close other programs that use it"

# Of words in what torch raises: the cause and what to do.
_REASONS = (
    (
        "no kernel image",
        "the installed torch has no code for this card: install a build of torch that supports it",
    ),
    (
        "driver",
        "its driver does not suit the installed torch: update the driver, or install the build of "
        "torch that suits it",
    ),
)

_SMALL = NetworkConfig(levels=2, encoder_width=8, decoder_width=8)

_trials: dict[str, str | None] = {}


def why_refused(name: str) -> str | None:
    """Why a device cannot be used, and what to do about it; None for one that can.

    Each is tried once per process, and again only if its memory was in use. The CPU is not tried.
    """
    if name == "cpu":
        return None
    # Memory may have become free.
    if _trials.get(name, _NO_MEMORY) == _NO_MEMORY:
        _trials[name] = _trial(name)
    return _trials[name]


def refused_devices() -> dict[str, str]:
    """Devices of this machine that were tried and cannot be used, and why."""
    return {name: reason for name, reason in _trials.items() if reason is not None}


def _trial(name: str) -> str | None:
    try:
        _step(torch.device(name))
    # A torch without the device asserts, and what CUDA puts off has a class of its own.
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


@torch.inference_mode(mode=False)
def _step(device: torch.device) -> None:
    """Everything that training computes, forward and backward, on a few pixels."""
    network = build_network(_SMALL, torch.Generator().manual_seed(0), torch.float32).to(device)
    image = torch.ones(1, 1, 16, 16, dtype=torch.float32, device=device)
    loss = network(image).denoised.square().mean()
    loss.backward()
    # What fails on a device may be raised only when somebody waits for it.
    float(loss.detach())
    sum(float(weights.grad.sum()) for weights in network.parameters() if weights.grad is not None)
