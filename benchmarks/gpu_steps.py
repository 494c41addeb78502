"""A training step on CUDA: as usual, and recorded as a graph; prints milliseconds and memory.

Whole steps with the loss told, bfloat16, random patches: the mean of 20 after 7.
"""

import time

import torch

from napari_redenoise.config import Config
from napari_redenoise.objectives import Sample
from napari_redenoise.recipes.pretraining._recipe import gain_loss
from napari_redenoise.training import start, with_branches
from napari_redenoise.training._step import Step

SIZES = ((8, 64), (32, 128), (64, 128))
WARM_UP, STEPS = 7, 20


def main() -> None:
    """Time every size both ways."""
    if not torch.cuda.is_available():
        print("There is no CUDA device here.")
        return
    print(torch.cuda.get_device_name(), torch.__version__)
    for batch, side in SIZES:
        for recorded in (False, True):
            milliseconds, memory = measure(batch, side, recorded=recorded)
            way = "recorded" if recorded else "as usual"
            print(f"{batch} x {side} x {side}, {way}: {milliseconds:.1f} ms, {memory:.1f} GB")


def measure(batch: int, side: int, *, recorded: bool) -> tuple[float, float]:
    """Milliseconds per step, and the most memory that tensors took, in GB."""
    device = torch.device("cuda")
    config = Config().replace({"training.start": "random"})
    state = start(config, device)
    if not recorded:
        state.optimiser.param_groups[0].update(capturable=False, lr=2e-3)
    step = Step(
        state.network,
        state.optimiser,
        torch.bfloat16,
        with_branches(gain_loss, config.training.branch_weight),
        config.training.clip_norm,
    )
    target = torch.randn(batch, 1, side, side, device=device)
    sample = Sample(target + torch.randn_like(target), target, torch.ones_like(target))
    torch.cuda.reset_peak_memory_stats()
    for _ in range(WARM_UP):
        float(step(sample, 1e-3, 0.1))
    began = time.perf_counter()
    for _ in range(STEPS):
        float(step(sample, 1e-3, 0.1))
    seconds = (time.perf_counter() - began) / STEPS
    return 1e3 * seconds, torch.cuda.max_memory_allocated() / 1e9


if __name__ == "__main__":
    main()
