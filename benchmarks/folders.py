"""The paper's own training end to end: folders of clean images, three objectives, three networks.

Trains on the 8 photographs of Kodak with `redenoise train`, evaluates on Set12 with
`redenoise evaluate`. Minutes on two cores, and a check of the machinery rather than of the paper,
whose training is a thousand times longer. Finished rows are skipped. Then it measures how fast
batches of the paper's size are made by 0, 1 and 2 workers, of JPEGs as large as those of ImageNet.
"""

import csv
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
import skimage.io
from _report import append, bench_data, machine, publish, rows, table

from napari_redenoise import Config, FolderConfig, FolderTraining

NAME = "folders"
OBJECTIVES = ("noise2noise", "noise2void", "r2r")
BACKBONES = ("standard", "equivariant", "adarenet")
SIGMA = 25
TRAINING = (
    *("--train-size", 50000, "--valid-size", 4, "--nb-epochs", 100, "--batch-size", 4),
    *("--loss", "l2", "--noise-type", "gaussian", "--noise-param", 50, "--seed", 1),
    *("--crop-size", 96, "--plot-stats", "--report-interval", 1250, "--ckpt-overwrite"),
    *("--device", "cpu"),
)

WORKERS = (0, 1, 2)
RUNS = 4
IMAGES = 400
SIZE = (375, 500)
STEP = 0.05
"""Seconds of a training step on a GPU, during which the processor is free."""


def main() -> None:
    """Run what is missing and write the tables."""
    publish("folder_batches", batches(), script="folders")
    for objective in OBJECTIVES:
        for backbone in BACKBONES:
            key = {"objective": objective, "backbone": backbone}
            if any(all(row[k] == v for k, v in key.items()) for row in rows(NAME)):
                continue
            row = {**key, **run(objective, backbone)}
            append(NAME, row)
            print(row, flush=True)
    publish(NAME, report())


def run(objective: str, backbone: str) -> dict[str, str]:
    """Train and evaluate with the two commands."""
    natural = bench_data() / "clean_natural_dev"
    with tempfile.TemporaryDirectory() as folder:
        checkpoints, out = Path(folder) / "run", Path(folder) / "evaluation"
        began = time.perf_counter()
        redenoise(
            "train",
            *("--train-dir", natural / "Kodak", "--valid-dir", natural / "Set12"),
            *("--ckpt-save-path", checkpoints, *TRAINING),
            *("--objective", objective, "--backbone", backbone),
        )
        seconds = time.perf_counter() - began
        redenoise(
            *("evaluate", checkpoints / "model.safetensors", "--test-dir", natural / "Set12"),
            *("--noise-param", SIGMA, "--out", out, "--device", "cpu"),
        )
        with (out / "table.csv").open(newline="") as file:
            *_, mean = csv.DictReader(file)
    return {
        "noisy_psnr": mean["noisy_psnr"],
        "psnr": mean["psnr"],
        "ssim": mean["ssim"],
        "training_s": f"{seconds:.0f}",
    }


def batches() -> str:
    """How fast batches are made, alone and beside a training that waits for a GPU."""
    with tempfile.TemporaryDirectory() as folder:
        save_images(Path(folder))
        # Alternating, so that other load of the machine affects all of them.
        runs = [
            [
                (seconds_per_batch(folder, n, 0.0), seconds_per_batch(folder, n, STEP))
                for n in WORKERS
            ]
            for _ in range(RUNS)
        ]
    lines = []
    for workers, *mine in zip(WORKERS, *runs, strict=True):
        alone, beside = (min(times) for times in zip(*mine, strict=True))
        wait = beside - STEP
        lines.append([workers, f"{1 / alone:.0f}", f"{1000 * alone:.0f}", f"{1000 * wait:.0f}"])
    columns = ["workers", "batches per second", "a batch (ms)", "wait per step of 50 ms (ms)"]
    return (
        table(columns, lines)
        + f"\n\nBatches of 4 crops of 256 x 256, two shots each with Gaussian "
        f"noise, of JPEGs of {SIZE[1]} x {SIZE[0]}; the best of {RUNS} alternating runs. "
        f"{machine()}."
    )


def save_images(folder: Path) -> None:
    """Cuts of the photographs, as many as are not read twice."""
    sources = [
        skimage.io.imread(path)
        for path in sorted((bench_data() / "clean_natural_dev" / "Kodak").iterdir())
        if path.suffix == ".png"
    ]
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        source = sources[number % len(sources)]
        top, left = (
            rng.integers(whole - size + 1) for whole, size in zip(source.shape, SIZE, strict=False)
        )
        cut = source[top : top + SIZE[0], left : left + SIZE[1]]
        skimage.io.imsave(folder / f"{number:04}.jpg", cut, check_contrast=False)


def seconds_per_batch(folder: str, workers: int, step: float) -> float:
    """Of one epoch, in which every image is read for the first time."""
    config = Config().replace(
        {
            "network.kind": "standard",
            "objective.kind": "noise2noise",
            "training.batch_size": 4,
            "training.patch_size": 256,
        }
    )
    training = FolderTraining(config, FolderConfig(), folder, device="cpu", workers=workers)
    stream, count = training.batches(), training.steps_per_epoch
    began = time.perf_counter()
    for _ in islice(stream, count):
        time.sleep(step)
    seconds = (time.perf_counter() - began) / count
    stream.close()
    return seconds


def redenoise(*arguments: object) -> None:
    """The command line, in this environment."""
    code = "from napari_redenoise._cli import main; main()"
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True)


def report() -> str:
    """PSNR and SSIM by objective and network."""
    lines = []
    for objective in OBJECTIVES:
        mine = {row["backbone"]: row for row in rows(NAME) if row["objective"] == objective}
        cells = [
            f"{float(mine[b]['psnr']):.2f} / {float(mine[b]['ssim']):.3f}" if b in mine else "-"
            for b in BACKBONES
        ]
        lines.append([objective, *cells])
    noisy = rows(NAME)[0]["noisy_psnr"] if rows(NAME) else "-"
    longest = max((float(row["training_s"]) for row in rows(NAME)), default=0)
    return (
        table(["objective (PSNR / SSIM)", *BACKBONES], lines)
        + f"\n\nNoisy: {float(noisy):.2f} dB. Longest training: {longest:.0f} s. {machine()}."
    )


if __name__ == "__main__":
    main()
