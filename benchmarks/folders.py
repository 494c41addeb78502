"""The paper's own training end to end: folders of clean pictures, three objectives, three networks.

Trains on the 8 colour pictures of Kodak with `redenoise train`, evaluates on Set12 with
`redenoise evaluate`. Minutes on two cores, and a check of the machinery rather than of the paper,
whose training is a thousand times longer. Finished rows are skipped.
"""

import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _report import append, bench_data, machine, publish, rows, table

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


def main() -> None:
    """Run what is missing and write the table."""
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
