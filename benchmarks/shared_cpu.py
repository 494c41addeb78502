"""Training steps beside other processes, with two ways for OpenMP's threads to wait.

By itself libgomp has them spin; the package has them sleep. Takes two minutes where nothing else
runs.

Every measurement is a process of its own. Both settings alternate, and the ratios are of
neighbours: whatever else runs on the machine slows both.
"""

import contextlib
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from _report import machine, publish, table

NAME = "shared_cpu"
ROUNDS = 2
SECONDS = 3.0
SETTINGS = ("spinning", "sleeping")
BESIDE = ("nothing added", "one busy process added", "two busy processes added")

# Of a U-Net on 2 x 64 x 64 pixels: steps per second, and processor seconds of a step.
STEPS = f"""
import os, time
import numpy as np
from napari_redenoise import Config, Redenoiser

fields = {{"training.steps": 10_000, "training.batch_size": 2, "training.start": "random"}}
kinds = {{"objective.kind": "noise2self", "network.kind": "standard"}}
config = Config().replace(fields, **kinds)
noisy = np.random.default_rng(0).poisson(20.0, (128, 128)).astype(np.float32)
for event in Redenoiser(config, "cpu").fit_events(noisy):
    if event.step == 1:
        began, used = time.perf_counter(), sum(os.times()[:2])
    elif time.perf_counter() - began > {SECONDS}:
        break
steps = event.step - 1
print(steps / (time.perf_counter() - began), (sum(os.times()[:2]) - used) / steps)
"""


def main() -> None:
    """Measure every combination, alternating, and write the table."""
    found: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for _ in range(ROUNDS):
        for count in range(len(BESIDE)):
            with busy(count):
                for setting in SETTINGS:
                    found.setdefault((count, setting), []).append(measured(setting))
    header = ["machine", "spinning: steps per s", "sleeping", "ratio, by rounds"]
    header += ["spinning: CPU s per step", "sleeping"]
    text = table(header, [line(said, found, count) for count, said in enumerate(BESIDE)])
    publish(NAME, f"{text}\n\n{machine()}; medians of {ROUNDS} rounds.")


def line(
    said: str, found: dict[tuple[int, str], list[tuple[float, float]]], count: int
) -> list[str]:
    """A row of the table."""
    spinning, sleeping = (found[count, setting] for setting in SETTINGS)
    ratios = [after[0] / before[0] for before, after in zip(spinning, sleeping, strict=True)]
    (speed, cost), (faster, cheaper) = (
        [f"{statistics.median(column):.2f}" for column in zip(*rows, strict=True)]
        for rows in (spinning, sleeping)
    )
    said_ratios = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    return [said, speed, faster, said_ratios, cost, cheaper]


def measured(setting: str) -> tuple[float, float]:
    """Steps per second and processor seconds of a step, in a process of its own."""
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    # The package sets nothing where torch is loaded already.
    code = f"import torch\n{STEPS}" if setting == "spinning" else STEPS
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    speed, cost = done.stdout.split()
    return float(speed), float(cost)


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep so many other processes computing meanwhile."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


if __name__ == "__main__":
    main()
