"""Errors of feature maps over random weights: the networks of examples/feature_maps.py."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _report import ROOT, table

sys.path.insert(0, str(ROOT / "examples"))
import feature_maps

SEEDS = tuple(range(8))
BLURS = (0.0, 1.5, 3.0)
SIDE = 192
FIGURE = ROOT / "docs" / "images" / "equivariance-seeds.png"
NETWORKS = {
    "ordinary, 3 × 3": ("ordinary", 3),
    "F-Conv, 3 × 3": ("F-Conv", 3),
    "F-Conv, 5 × 5": ("F-Conv", 5),
}
Errors = dict[int, np.ndarray]
"""By angle, an error per seed."""


@dataclass(frozen=True)
class Features:
    """Errors of every network on one image."""

    image: str
    errors: dict[str, Errors]

    def row(self, name: str) -> list[str]:
        """Line of the table."""
        own, plain = self.errors[name][45], self.errors["ordinary, 3 × 3"][45]
        better = "" if name.startswith("ordinary") else f"{(own < plain).sum()} of {len(own)}"
        return [self.image, name, *(spread(self.errors[name][angle]) for angle in (90, 45)), better]


def spread(errors: np.ndarray) -> str:
    """Median, and the smallest and largest error."""
    return f"{np.median(errors):.1%} ({min(errors):.1%} to {max(errors):.1%})"


def features_over_seeds() -> list[Features]:
    """Measure every network on the image of the figure, and on sharper and smoother ones."""
    return [
        Features("as it is" if not blur else f"blurred by {blur:g} pixels", _measured(blur))
        for blur in BLURS
    ]


def _measured(blur: float) -> dict[str, Errors]:
    image = feature_maps.coins(blur)
    by_kernel = {
        kernel: [
            feature_maps.errors(feature_maps.rows_of(image, SIDE, seed, kernel), SIDE)
            for seed in SEEDS
        ]
        for kernel in (3, 5)
    }
    return {
        label: {
            angle: np.array([found[name, angle] for found in by_kernel[kernel]])
            for angle in (90, 45)
        }
        for label, (name, kernel) in NETWORKS.items()
    }


def tabulated(found: list[Features]) -> str:
    """One line per image and network."""
    header = ["image", "network", "90°: median (range)", "45°: median (range)",
              "less than ordinary at 45°"]  # fmt: skip
    return table(header, [features.row(name) for features in found for name in NETWORKS])


def draw(found: list[Features], path: Path = FIGURE) -> None:
    """Errors at 45 degrees of every seed, joined, and their medians."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(found), figsize=(9, 3), sharey=True, layout="constrained")
    places = range(len(NETWORKS))
    for features, axis in zip(found, axes, strict=True):
        values = 100 * np.array([features.errors[name][45] for name in NETWORKS])
        axis.plot(places, values, "o-", color="0.6", ms=3, lw=0.7)
        axis.plot(places, np.median(values, 1), "_", color="tab:red", ms=28, mew=2.5)
        axis.set(title=features.image, xlim=(-0.5, len(NETWORKS) - 0.5))
        axis.set_xticks(places, [name.replace(", ", "\n") for name in NETWORKS], fontsize=8)
        axis.grid(axis="y", alpha=0.3)
    axes[0].set_ylim(bottom=0)
    axes[0].set_ylabel("error at 45° (%)")
    figure.savefig(path, dpi=110)
    plt.close(figure)
