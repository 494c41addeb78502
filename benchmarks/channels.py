"""Channels by themselves with the pretrained network, against together from random weights.

A colour photograph and an immunohistochemical stain of scikit-image, and three drawn channels of
cells, with photon and read noise at two levels. ``channels.py 0 astronaut`` runs seed 0 of what is
named so. Finished rows are skipped.
"""

import statistics
import sys
import time

import numpy as np
import skimage.data
from _report import append, machine, publish, rows, scoring, table
from skimage.util import img_as_float

from napari_redenoise import Config, Redenoiser
from napari_redenoise._sample_data import cells
from napari_redenoise.noise import poisson_gaussian

NAME = "channels"
SEEDS = (0, 1)
PHOTONS = (10.0, 40.0)
"""At the brightest pixel of every channel."""

SIDE = 256
WAYS = {
    "each, pretrained as it is": {"network.channel_mode": "separate", "training.steps": 0},
    "each, fine-tuned": {"network.channel_mode": "separate"},
    "together, from scratch": {"network.channel_mode": "together"},
}


def main() -> None:
    """Run what is missing and write the table."""
    seeds = [int(word) for word in sys.argv[1:] if word.isdigit()] or list(SEEDS)
    names = [word for word in sys.argv[1:] if not word.isdigit()] or list(images())
    for seed in seeds:
        for image in names:
            for photons in PHOTONS:
                measure(image, photons, seed)
    publish(NAME, report())


def images() -> dict[str, np.ndarray]:
    """Clean images (Y, X, C) from 0 to 1."""
    rng = np.random.default_rng(5)
    return {
        "astronaut": img_as_float(skimage.data.astronaut())[:SIDE, 100 : 100 + SIDE],
        "cells": np.stack([cells(SIDE, rng) for _ in range(3)], -1),
        "immunohistochemistry": img_as_float(skimage.data.immunohistochemistry())[:SIDE, :SIDE],
    }


def measure(image: str, photons: float, seed: int) -> None:
    """Denoise one image in every way that has no row yet."""
    clean = images()[image] * photons + 0.5
    noisy = poisson_gaussian(clean, np.random.default_rng(seed), read_noise=1.0).astype(np.float32)
    for way, changes in WAYS.items():
        key = {"image": image, "photons": photons, "seed": seed, "way": way}
        if any(all(row[k] == str(v) for k, v in key.items()) for row in rows(NAME)):
            continue
        began = time.process_time()
        model = Redenoiser(Config().replace({"training.seed": seed, **changes}), "cpu")
        denoised = model.fit(noisy, "YXC").predict(noisy, "YXC").denoised
        row = {**key, "noisy": psnr(noisy, clean), "denoised": psnr(denoised, clean)}
        append(NAME, {**row, "cpu_seconds": f"{time.process_time() - began:.0f}"})
        print(row, flush=True)


def psnr(shown: np.ndarray, clean: np.ndarray) -> str:
    """Mean PSNR of the channels in dB, by the rule that lies beside the data."""
    rule = scoring()
    found = []
    for channel in np.moveaxis(np.stack([shown, clean]), -1, 0):
        meta = {"scale": 1.0, "offset": 0.0, "data_range": float(np.ptp(channel[1]))}
        found.append(rule.score(channel[0], rule.Pair("", "", channel[0], channel[1], meta)))
    return f"{statistics.mean(found):.2f}"


def report() -> str:
    """One line an image and level: means of the seeds."""
    lines = []
    for image in images():
        for photons in PHOTONS:
            found = [r for r in rows(NAME) if (r["image"], r["photons"]) == (image, str(photons))]
            ways = [[r for r in found if r["way"] == way] for way in WAYS]
            if not all(ways):
                continue
            means = [statistics.mean(float(r["denoised"]) for r in way) for way in ways]
            seeds = min(map(len, ways))
            noisy = statistics.mean(float(r["noisy"]) for r in found)
            cells_ = [f"{value:.2f}" for value in (noisy, *means)]
            lines.append([image, f"{photons:g}", *cells_, seeds])
    head = ["image", "photons at the brightest", "noisy", *WAYS, "seeds"]
    return table(head, lines) + f"\n\nPSNR in dB, mean of three channels. {machine()}."


if __name__ == "__main__":
    main()
