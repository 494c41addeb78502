"""The published network against ours: parity of the import, and what the differences amount to."""

import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import skimage.data
import torch
from _report import ROOT, machine, publish, table

from napari_redenoise import Config, Redenoiser
from napari_redenoise.config import NetworkConfig
from napari_redenoise.metrics import psnr
from napari_redenoise.nn import (
    CyclicGroup,
    DenoisingNetwork,
    Prediction,
    build_network,
    load_authors_checkpoint,
)
from napari_redenoise.nn.testing import equivariance_error
from napari_redenoise.noise import poisson_gaussian

NAME = "parity"
PAGE = ROOT / "docs" / "published-code.md"
SEEDS = range(5)
STEPS, TRAINED_SEEDS = 100, range(3)
OUTPUTS = ("standard", "equivariant", "mask", "denoised")
THEIRS = {"network.variant": "reference"}


def main() -> None:
    """Measure and write the tables."""
    values = golden()
    checkpoint = {
        name.removeprefix("state_dict/"): torch.from_numpy(value)
        for name, value in values.items()
        if name.startswith("state_dict/")
    }
    network = load_authors_checkpoint(checkpoint)
    parts = [
        parity(network, values),
        differences(network, checkpoint, values),
        f"{machine()}; initial weights: means of the seeds {SEEDS[0]} to {SEEDS[-1]}; "
        f"training: seeds {TRAINED_SEEDS[0]} to {TRAINED_SEEDS[-1]}.",
    ]
    publish(NAME, "\n\n".join(parts), PAGE)


def golden() -> dict[str, np.ndarray]:
    """Outputs of the published code, which lie beside the benchmark data."""
    folder = os.environ.get("REDENOISE_BENCH_DATA")
    if not folder:
        sys.exit("Set REDENOISE_BENCH_DATA to the folder of the benchmark images.")
    with np.load(Path(folder).resolve().parent / "golden" / "reference_adarenet.npz") as file:
        return dict(file)


def parity(network: DenoisingNetwork, values: dict[str, np.ndarray]) -> str:
    """Largest difference from the published outputs, and of either from float64."""
    image = torch.from_numpy(values["x"])
    ours = run(network, image)
    exact = run(network.double(), image.double())
    network.float()
    lines = []
    for name in OUTPUTS:
        scale = float(values[name].std())
        published, single, double = (
            np.asarray(part) for part in (values[name], getattr(ours, name), getattr(exact, name))
        )
        pairs = ((single, published), (published, double), (single, double))
        lines.append([name, *(f"{np.abs(a - b).max() / scale:.1e}" for a, b in pairs)])
    return table(
        ["output", "ours − published", "published − ours in float64", "ours − ours in float64"],
        lines,
    )


def differences(
    network: DenoisingNetwork, checkpoint: dict[str, torch.Tensor], values: dict[str, np.ndarray]
) -> str:
    """What is different, side by side."""
    theirs, ours = ([trained(seed, changes) for seed in TRAINED_SEEDS] for changes in (THEIRS, {}))
    lines = [
        [
            "error of the equivariant branch under 90°, published weights / ours at random ones",
            f"{branch_error(network):.2f}",
            f"{mean(branch_error(fresh(seed, 'default')) for seed in SEEDS):.0e}",
        ],
        [
            "the same, both at their initial weights",
            f"{mean(branch_error(fresh(seed, 'reference')) for seed in SEEDS):.3f}",
            f"{mean(branch_error(fresh(seed, 'default')) for seed in SEEDS):.0e}",
        ],
        [
            "initial equivariant branch: standard deviation of the output / of the input",
            f"{mean(gain(fresh(seed, 'reference')) for seed in SEEDS):.4f}",
            f"{mean(gain(fresh(seed, 'default')) for seed in SEEDS):.2f}",
        ],
        [
            "what the correction adds, least and most, published weights",
            span(*added_in(values)),
            "-",
        ],
        [
            f"the same after {STEPS} steps of training, in grey levels",
            *(span(min(r[0] for r in runs), max(r[1] for r in runs)) for runs in (theirs, ours)),
        ],
        [
            f"PSNR after {STEPS} steps, dB, one number a seed",
            *(", ".join(f"{r[2]:.2f}" for r in runs) for runs in (theirs, ours)),
        ],
        [
            "names in the state_dict that come and go with the mode",
            str(cached_names(checkpoint)),
            str(names_that_change()),
        ],
    ]
    return table(["", "published", "this package"], lines)


def run(network: DenoisingNetwork, image: torch.Tensor) -> Prediction:
    """Outputs of a network, without gradients."""
    with torch.no_grad():
        prediction: Prediction = network(image)
    return prediction


def fresh(seed: int, variant: str) -> DenoisingNetwork:
    """An equivariant U-Net at its initial weights."""
    config = NetworkConfig.model_validate({"kind": "equivariant", "variant": variant})
    return build_network(config, torch.Generator().manual_seed(seed)).eval()


def equivariant_output(network: DenoisingNetwork) -> Callable[[torch.Tensor], torch.Tensor]:
    """The equivariant branch as a function of the image."""

    def branch(image: torch.Tensor) -> torch.Tensor:
        prediction = run(network, image)
        part = prediction.equivariant
        return prediction.denoised if part is None else part

    return branch


def white_noise() -> torch.Tensor:
    """An image of 96 x 96 normal numbers."""
    return torch.randn(1, 1, 96, 96, generator=torch.Generator().manual_seed(0))


def branch_error(network: DenoisingNetwork) -> float:
    """Relative error under a rotation by 90 degrees."""
    return equivariance_error(equivariant_output(network), white_noise(), CyclicGroup(4), 1)


def gain(network: DenoisingNetwork) -> float:
    """Standard deviation of the output over that of the input."""
    image = white_noise()
    return float(equivariant_output(network)(image).std() / image.std())


def mean(numbers) -> float:
    """Arithmetic mean."""
    return statistics.mean(numbers)


def added_in(parts: dict[str, np.ndarray]) -> tuple[float, float]:
    """Least and largest value that the correction network adds to the fusion."""
    mask = parts["mask"]
    fused = parts["standard"] * mask + parts["equivariant"] * (1 - mask)
    added = parts["denoised"] - fused
    return float(added.min()), float(added.max())


def span(least: float, most: float) -> str:
    """Two numbers in words."""
    # Adding zero takes the sign from a rounded -0.
    return f"{round(least, 2) + 0.0:.2f} to {round(most, 2) + 0.0:.2f}"


def trained(seed: int, changes: dict[str, object]) -> tuple[float, float, float]:
    """Train on a noisy image: least and most that the correction adds, and the PSNR."""
    clean = skimage.data.camera()[64:320, 64:320] / 255 * 160.0
    noisy = poisson_gaussian(clean, np.random.default_rng(0), gain=4, offset=100, read_noise=8)
    truth = clean * 4 + 100
    settings = {
        "training.start": "random",
        "objective.kind": "noise2self",
        "training.steps": STEPS,
        "training.seed": seed,
        **changes,
    }
    config = Config().replace(settings)
    result = Redenoiser(config, "cpu").fit(noisy).predict(noisy, branches=True)
    names = ("denoised", "standard", "equivariant", "mask")
    parts = {name: np.asarray(getattr(result, name), dtype=np.float64) for name in names}
    # In grey levels: the mask and its complement share their offset, which so drops out.
    return *added_in(parts), psnr(parts["denoised"], truth, float(np.ptp(truth)))


def cached_names(checkpoint: dict[str, torch.Tensor]) -> int:
    """Filters, and biases but of the projection, that the published evaluation mode stores."""
    layers = [name for name in checkpoint if name.endswith(".weights")]
    projections = [name for name in layers if name.endswith("_block11.4.weights")]
    return 2 * len(layers) - len(projections)


def names_that_change() -> int:
    """Names of our state_dict that differ between training and evaluation mode."""
    network = build_network(NetworkConfig(variant="reference"), torch.Generator())
    return len(set(network.train().state_dict()) ^ set(network.eval().state_dict()))


if __name__ == "__main__":
    main()
