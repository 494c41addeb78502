"""Variants of the pretraining, one change at a time, mostly of the equivariant network.

Every variant is trained for 6,000 steps of 16 x 96 x 96 pixels by the recipe of `pretrain` and
scored without training on the images, without test-time augmentation; AdaReNet, whose loss is what
is varied, for 2,000 of 8 x 64 x 64. Models and, every five minutes, states are kept in ``design/``:
an interrupted run resumes, finished rows are skipped. ``design.py C8 D4`` runs some. A minute each
on a GPU where there is one, else up to two hours of two cores.
"""

import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from _report import ROOT, append, machine, publish, rows, scoring, table
from torch.utils.flop_counter import FlopCounterMode

from napari_redenoise import Config
from napari_redenoise.data import measure
from napari_redenoise.inference import predict_tile
from napari_redenoise.io import load_model
from napari_redenoise.nn import export
from napari_redenoise.recipes.pretraining import Pretraining, Recipe

NAME = "design"
PAGE = ROOT / "benchmarks" / "NOTEBOOK.md"
SETS = ("w2s_dev", "fmd_dev", "hagen_dev")
KEPT = Path("design")
KEEP_EVERY = 300.0
USUAL = {
    "network.kind": "equivariant",
    "training.start": "random",
    "training.steps": 6000,
    "training.batch_size": 16,
    "training.patch_size": 96,
    "training.learning_rate": 2e-3,
    "training.warmup_steps": 200,
    "training.ema_decay": 0.999,
}
SHORT: dict[str, object] = {
    "network.kind": "adarenet",
    "training.steps": 2000,
    "training.batch_size": 8,
    "training.patch_size": 64,
}
SCENES = Recipe(scenes=4000)
FEWER = Recipe(scenes=3000)
VARIANTS: dict[str, tuple[dict[str, object], Recipe]] = {
    "C4, baseline": ({}, SCENES),
    "D4": ({"network.group": "D4"}, SCENES),
    "C8": ({"network.group": "C8"}, SCENES),
    "4 levels": ({"network.levels": 4}, SCENES),
    "3 levels": ({"network.levels": 3}, SCENES),
    "two thirds as wide": ({"network.encoder_width": 32, "network.decoder_width": 64}, SCENES),
    "four thirds as wide": ({"network.encoder_width": 64, "network.decoder_width": 128}, SCENES),
    "9 x 128 x 128": ({"training.batch_size": 9, "training.patch_size": 128}, SCENES),
    "rate 1e-3": ({"training.learning_rate": 1e-3}, SCENES),
    "rate 4e-3": ({"training.learning_rate": 4e-3}, SCENES),
    "moving average 0.99": ({"training.ema_decay": 0.99}, SCENES),
    "no flips or rotations": ({}, replace(SCENES, flips=False)),
    "no photographs": ({}, replace(SCENES, photographs=0.0)),
    "AdaReNet, baseline": (SHORT, FEWER),
    "its branches with half of the weight": ({**SHORT, "training.branch_weight": 0.5}, FEWER),
    "its branches not in the loss": ({**SHORT, "training.branch_weight": 0.0}, FEWER),
}


def main() -> None:
    """Train and score what is missing, and write the table."""
    pairs = scoring().pairs(*SETS)
    KEPT.mkdir(exist_ok=True)
    for name in sys.argv[1:] or VARIANTS:
        if any(row["variant"] == name for row in rows(NAME)):
            continue
        network = load_model(trained(name))[0].eval()
        row = {"variant": name, **cost(network), **scores(network, pairs)}
        append(NAME, row)
        print(row, flush=True)
    publish(NAME, report(), PAGE)


def trained(name: str) -> Path:
    """The model file of a variant, trained where it is not there."""
    path = KEPT / f"{name}.safetensors"
    if path.exists():
        return path
    changes, recipe = VARIANTS[name]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    training = Pretraining(Config().replace({**USUAL, **changes}), recipe, device)
    state = path.with_suffix(".state")
    if state.exists():
        training.resume(state)
    kept = time.monotonic()
    for _ in training.events():
        if time.monotonic() - kept > KEEP_EVERY:
            training.save_checkpoint(state)
            kept = time.monotonic()
    training.save(path)
    state.unlink(missing_ok=True)
    return path


def cost(network) -> dict[str, object]:
    """Weights, and the multiplications and additions that denoise 512 x 512 pixels."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        export(network)(torch.zeros(1, 1, 512, 512))
    weights = sum(parameter.numel() for parameter in network.parameters())
    return {"weights": weights, "gflop": f"{counter.get_total_flops() / 1e9:.1f}"}


def scores(network, pairs) -> dict[str, str]:
    """Mean PSNR of every set."""
    rule, found = scoring(), {name: [] for name in SETS}
    for pair in pairs:
        image = pair.noisy[None].astype("float32")
        denoised = predict_tile(network, image, measure([image]), torch.bfloat16).denoised[0]
        found[pair.dataset].append(rule.score(denoised, pair))
    return {name: f"{statistics.mean(values):.3f}" for name, values in found.items()}


def report() -> str:
    """One line a variant, and the difference to the baseline of the same network."""
    lines = []
    found = {row["variant"]: row for row in rows(NAME)}
    for name in VARIANTS:
        if name not in found:
            continue
        row = found[name]
        if name.endswith("baseline"):
            usual = row
        cells = [f"{float(row[s]):.2f} ({float(row[s]) - float(usual[s]):+.2f})" for s in SETS]
        lines.append([name, f"{int(row['weights']):,}", row["gflop"], *cells])
    header = ["variant", "weights", "GFLOP for 512 x 512", *SETS]
    return f"{table(header, lines)}\n\n{machine()}."


if __name__ == "__main__":
    main()
