"""ndSAFIR on the stacks of stacks.py, for comparison.

Run this with the Python of an environment of its own,

    python -m venv ndsafir-venv
    ndsafir-venv/bin/pip install ndsafir tifffile
    ndsafir-venv/bin/python benchmarks/ndsafir_baseline.py

and stacks.py shows the results. It is told the noise: photons, gain 1, offset 0.

C. Kervrann, J. Boulanger, "Optimal Spatial Adaptation for Patch-Based Image Denoising", IEEE TIP
2006; J. Boulanger et al., "Patch-Based Nonlocal Functional for Denoising Fluorescence Microscopy
Image Sequences", IEEE TMI 2010.
"""

import csv
from pathlib import Path

import ndsafir
from _stacks import PEAKS, STACKS, noisy, psnr

RESULTS = Path(__file__).with_name("results") / "ndsafir.csv"
SEEDS = (0, 1, 2)


def main() -> None:
    """Write one row per stack, peak and seed."""
    rows = []
    for name in STACKS:
        for peak in PEAKS:
            for seed in SEEDS:
                counts, expected = noisy(name, peak, seed)
                found = [
                    psnr(
                        ndsafir.denoise_poisson_gaussian(
                            counts, axes="ZYX", gains=[1.0], offsets=[0.0], active_dimensions=axes
                        ),
                        expected,
                        peak,
                    )
                    for axes in ("YX", "ZYX")
                ]
                rows.append((name, peak, seed, *(f"{value:.3f}" for value in found)))
                print(rows[-1], flush=True)
    with RESULTS.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["stack", "peak", "seed", "planes", "neighbours"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
