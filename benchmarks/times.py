"""Seconds of *Instant* and *Denoise* by the size of the image, on the CPU or a GPU.

Run it where nothing else computes; it refuses a busy machine, since its times would hold for no
other one. Each device has its own rows: ``python benchmarks/times.py --device cpu`` on one machine
and ``--device cuda`` on another one fill the same table. The seconds include the measurement of
the noise, the judgement of the fine-tuning and the prediction; not the start of Python, nor the
quality checks.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator

import numpy as np
import torch
from _report import append, machine, publish, rows, table

from napari_redenoise import Config, Redenoiser
from napari_redenoise._sample_data import cells

NAME = "times"
SHAPES = {
    "256 × 256": (256, 256),
    "512 × 512": (512, 512),
    "1024 × 1024": (1024, 1024),
    "2048 × 2048": (2048, 2048),
    "20 × 512 × 512": (20, 512, 512),
}
FINE_TUNED = Config()
INSTANT = Config().replace({"training.steps": 0, "tiling.tta": False, "tiling.precision": "auto"})
"""The configurations of the two buttons."""

REPEATS = 3
"""Runs of *Instant*, of which the median counts; *Denoise* runs once."""

MOST_LOAD = 0.3
"""Load of the last minute above which the machine is not idle."""

PHOTONS = 25.0


def main() -> None:
    """Time every size on a device, and write the table of all devices."""
    given = parsed()
    load = os.getloadavg()[0]
    if load > MOST_LOAD and not given.busy:
        sys.exit(f"The load is {load:.1f}: stop other programs, and try again in a minute.")
    warm_up(given.device)
    for name in given.sizes:
        instant, denoise, steps = measure(noisy(SHAPES[name]), given.device)
        row = {"device": processor(given.device), "size": name}
        seconds = {"instant_s": f"{instant:.2f}", "denoise_s": f"{denoise:.1f}", "steps": steps}
        append(NAME, {**row, **seconds, "load": f"{load:.2f}", "machine": machine()})
        print(name, seconds)
    publish(NAME, published())


def parsed() -> argparse.Namespace:
    """The device, the sizes, and whether other programs may run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", help="cpu, mps, or cuda")
    parser.add_argument("--sizes", nargs="*", default=list(SHAPES), choices=SHAPES)
    parser.add_argument("--busy", action="store_true", help="measure although programs run")
    return parser.parse_args()


def noisy(shape: tuple[int, ...]) -> np.ndarray:
    """Drawn cells with photon noise; the planes of a stack show the same cells."""
    rng = np.random.default_rng(0)
    clean = cells(shape[-1], rng)
    photons = PHOTONS * (clean - clean.min()) / np.ptp(clean)
    return rng.poisson(np.broadcast_to(photons, shape)).astype(np.uint16)


def warm_up(device: str) -> None:
    """Have torch load its kernels: the first run of a process takes longer."""
    Redenoiser(INSTANT, device).fit(noisy((64, 64))).predict(noisy((64, 64)))


def measure(image: np.ndarray, device: str) -> tuple[float, float, int]:
    """Seconds of *Instant* and *Denoise*, and the training steps of the latter."""
    instant = statistics.median(timed(INSTANT, image, device)[0] for _ in range(REPEATS))
    seconds, steps = timed(FINE_TUNED, image, device)
    return instant, seconds, steps


def timed(config: Config, image: np.ndarray, device: str) -> tuple[float, int]:
    """Seconds of a run, and its training steps."""
    axes = "ZYX"[-image.ndim :]
    began = time.perf_counter()
    model = Redenoiser(config, device).fit(image, axes)
    model.predict(image, axes)
    return time.perf_counter() - began, model.session.step


def processor(device: str) -> str:
    """Name of the hardware that computes."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name()
    return f"{machine().split(',')[0]}, {os.cpu_count()} cores"


def published() -> str:
    """The table of the latest row of every device and size, and the machines."""
    latest = {(row["device"], row["size"]): row for row in rows(NAME)}
    header = ["device", "image", "*Instant*, s", "*Denoise*, s", "training steps"]
    text = table(header, lines(latest))
    machines = sorted({row["machine"] for row in latest.values()})
    return "\n\n".join([text, *(f"{one}." for one in machines)])


def lines(latest: dict[tuple[str, str], dict[str, str]]) -> Iterator[list[str]]:
    """The cells of the table, by device and size."""
    for device in sorted({device for device, _ in latest}):
        for size in SHAPES:
            row = latest.get((device, size))
            if row is not None:
                yield [device, size, row["instant_s"], row["denoise_s"], row["steps"]]


if __name__ == "__main__":
    main()
