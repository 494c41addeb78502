"""BM3D on the images of tables.py, for comparison.

BM3D is not free software for all uses and is no part of this package: run this with the Python of
an environment of its own,

    python -m venv bm3d-venv
    bm3d-venv/bin/pip install bm3d scikit-image tifffile
    PYTHONPATH=src bm3d-venv/bin/python benchmarks/bm3d_baseline.py

and tables.py shows the results. Natural images have Gaussian noise of known standard deviation.
Microscopy: after the generalised Anscombe transformation with the noise that this package measures
in the noisy image, and back by its exact unbiased inverse (Mäkitalo and Foi, IEEE TIP 2013).
"""

import csv
import importlib.util
import os
import sys
from pathlib import Path

import bm3d
import numpy as np
import skimage.io

from napari_redenoise.noise import estimate_noise

RESULTS = Path(__file__).with_name("results") / "bm3d.csv"
SIGMA = 25.0
NATURAL = ("01", "02", "03", "04")
SEEDS = (0, 1)
REAL = ("003_0", "036_1", "101_2", "confocal_mice", "actin-60x-noise1", "mito-20x-noise1")


def main() -> None:
    """Write one row per image and seed."""
    data = Path(os.environ["REDENOISE_BENCH_DATA"]).resolve()
    spec = importlib.util.spec_from_file_location("scoring", data.parent / "scoring.py")
    rule = importlib.util.module_from_spec(spec)
    sys.modules["scoring"] = rule
    spec.loader.exec_module(rule)
    rows = []
    for image in NATURAL:
        path = data / "clean_natural_dev" / "Set12" / f"{image}.png"
        clean = skimage.io.imread(path).astype(np.float32)
        for seed in SEEDS:
            # The same noise as in tables.py.
            rng = np.random.default_rng([seed, int(image)])
            noisy = (clean + rng.normal(0.0, SIGMA, clean.shape)).astype(np.float32)
            error = bm3d.bm3d(noisy, SIGMA) - clean
            rows.append(("A", image, seed, 20 * np.log10(255) - 10 * np.log10(np.mean(error**2))))
            print(rows[-1], flush=True)
    pairs = {pair.id: pair for pair in rule.pairs("w2s_dev", "fmd_dev", "hagen_dev")}
    for image in REAL:
        denoised = stabilised(pairs[image].noisy.astype(np.float64))
        rows.append(("B", image, 0, rule.score(denoised, pairs[image])))
        print(rows[-1], flush=True)
    with RESULTS.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["table", "image", "seed", "psnr"])
        writer.writerows((*row[:3], f"{row[3]:.3f}") for row in rows)


def stabilised(noisy: np.ndarray) -> np.ndarray:
    """BM3D between the generalised Anscombe transformation and its inverse."""
    model = estimate_noise(noisy).model
    if model.gain == 0:
        return bm3d.bm3d(noisy, model.read_noise)
    counts, read = (noisy - model.offset) / model.gain, model.read_noise / model.gain
    even = 2 * np.sqrt(np.maximum(counts + 3 / 8 + read**2, 0))
    low, high = even.min(), even.max()
    span = max(high - low, 1e-9)
    d = np.maximum(bm3d.bm3d((even - low) / span, 1 / span) * span + low, 1.0)
    inverse = d**2 / 4 + np.sqrt(1.5) / 4 / d - 11 / 8 / d**2 + 5 / 8 * np.sqrt(1.5) / d**3
    return model.offset + model.gain * (inverse - 1 / 8 - read**2)


if __name__ == "__main__":
    main()
