"""The stacks of stacks.py: clean volumes and movies, and photon noise over them."""

import os
from pathlib import Path

import numpy as np
import tifffile

STACKS = {
    "nuclei": ("nuclei_ZYX_u16.tif", "ZYX"),
    "cells": ("ctc_timelapse_TYX_u8.tif", "TYX"),
    "membrane": ("membrane_timelapse_TYX_u16.tif", "TYX"),
}
"""File and axes: a z-stack, moving cells, a calm movie."""

PEAKS = (20, 5)
"""Photons at the brightest pixel."""


def noisy(name: str, peak: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Photon counts, and what is expected of them, both (planes, Y, X)."""
    folder = Path(os.environ["REDENOISE_BENCH_DATA"]).resolve() / "volume_time_dev"
    clean = tifffile.imread(folder / STACKS[name][0]).astype(np.float64)
    expected = peak * clean / clean.max()
    return np.random.default_rng(seed).poisson(expected).astype(np.float32), expected


def psnr(denoised: np.ndarray, expected: np.ndarray, peak: float) -> float:
    """Mean over planes, over the peak, in dB."""
    errors = ((denoised.astype(np.float64) - expected) ** 2).mean((1, 2))
    return float(np.mean(10 * np.log10(peak**2 / errors)))


def shuffled(counts: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The planes of all stacks in one order that no neighbour has anything to do with another."""
    order = np.random.default_rng(0).permutation(len(counts))
    return counts[order], expected[order]
