"""The supported resolution against the truth, on real images: docs/quality-checks.md.

A row per image and band goes to results/resolution.csv. The pretrained network denoises every
image as it is; the same seed (0) draws the photons that are taken away. About ten seconds an image
on one core.
"""

import math
from collections.abc import Iterator

import numpy as np
from _report import ROOT, append, machine, publish, rows, scoring, table
from scipy import ndimage
from skimage.registration import phase_cross_correlation

from napari_redenoise import Config, Redenoiser
from napari_redenoise.assessment import Band, Resolution, as_denoiser, measure_resolution
from napari_redenoise.assessment._spectra import Blocks
from napari_redenoise.assessment._support import central_window, response_of_window
from napari_redenoise.data import Planes
from napari_redenoise.model import measure_noise

NAME = "resolution"
PAGE = ROOT / "docs" / "quality-checks.md"
FRAMES = {"w2s_dev": 400, "fmd_dev": 50, "fmd_testmix_dev": 50}
"""Frames that a reference is the mean of; nothing was chosen on the last set."""

ALLOWED, HARD = 0.1, 0.9
NOISY_REFERENCE = 0.1
"""Noise of the reference, in the power that it has in a band, from which on it tells no truth."""


def main() -> None:
    """Measure what is missing and write the tables."""
    done = {(row["dataset"], row["image"]) for row in rows(NAME)}
    for pair in scoring().pairs(*FRAMES):
        if (pair.dataset, pair.id) not in done:
            for row in measured(pair):
                append(NAME, row)
            print(pair.dataset, pair.id, flush=True)
    publish(NAME, report(), PAGE)


def measured(pair) -> Iterator[dict[str, object]]:
    """Estimated and true correlation of every band."""
    config = Config().replace({"training.steps": 0})
    model = Redenoiser(config, "cpu").fit(pair.noisy)
    denoised = model.predict(pair.noisy).denoised
    noisy, result = Planes(pair.noisy, "YX"), Planes(denoised, "YX")
    reports = measure_noise(pair.noisy)
    denoiser = as_denoiser(model)
    (response,) = response_of_window(
        noisy, result, central_window(noisy), reports, denoiser, lambda: False
    )
    blocks = Blocks(response.known)
    reference = blocks.spectra(aligned(pair, denoised))
    power = blocks.cross(reference, reference).sum(0)
    spectra = blocks.spectra(response.denoised)
    norm = np.sqrt(power * blocks.cross(spectra, spectra).sum(0))
    truth = blocks.cross(reference, spectra).sum(0) / norm
    noise = blocks.white(response.variance).sum(0) / FRAMES[pair.dataset]
    for n, band in enumerate(measure_resolution(response).bands):
        yield {
            "dataset": pair.dataset,
            "image": pair.id,
            "coarse": f"{band.coarse:.3f}",
            "fine": f"{band.fine:.3f}",
            "estimate": f"{band.correlation:.4f}",
            "error": f"{band.error:.4f}",
            "truth": f"{truth[n]:.4f}",
            "reference_noise": f"{noise[n] / power[n]:.4f}",
            "share": f"{band.share:.6f}",
        }


def aligned(pair, denoised: np.ndarray) -> np.ndarray:
    """The reference in the grey levels of the noisy image, and where the noisy image lies."""
    reference = (pair.reference.astype(np.float64) - pair.meta["offset"]) / pair.meta["scale"]
    shift = pair.meta.get("subpixel_shift_noisy_to_gt_yx")
    if shift is None:
        shift = phase_cross_correlation(
            reference, denoised.astype(np.float64), upsample_factor=50, normalization=None
        )[0]
    if max(map(abs, shift)) <= 0.25:
        return reference
    return ndimage.shift(reference, [-part for part in shift], order=3, mode="reflect")


def report() -> str:
    """All tables."""
    found: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows(NAME):
        found.setdefault((row["dataset"], row["image"]), []).append(row)
    header = [
        "set",
        "bands with a truth",
        "told",
        "of these within 0.1",
        "mean error",
        "RMS error",
        "RMS error where the truth is below 0.9",
    ]
    totals = table(header, (total(name, found) for name in FRAMES))
    header = ["image", "supported, px", "true, px", "contrast that is finer", "estimated / true"]
    lines = table(header, (line(image, bands) for (_, image), bands in found.items()))
    return f"{totals}\n\n{lines}\n\n{machine()}."


def total(name: str, found: dict[tuple[str, str], list[dict[str, str]]]) -> list[str]:
    """How often the estimate is right, of the bands of a set; coarse ones are easy."""
    bands = [band for (dataset, _), rows_ in found.items() for band in rows_ if dataset == name]
    true = [band for band in bands if has_truth(band)]
    told = [band for band in true if not math.isnan(float(band["estimate"]))]
    errors = np.array([float(band["estimate"]) - float(band["truth"]) for band in told])
    within = (abs(errors) <= ALLOWED).mean()
    hard = errors[[float(band["truth"]) < HARD for band in told]]
    figures = [f"{math.sqrt((part**2).mean()):.3f}" for part in (errors, hard)]
    return [name, len(true), len(told), f"{within:.0%}", f"{errors.mean():+.3f}", *figures]


def has_truth(band: dict[str, str]) -> bool:
    """Whether the reference has signal enough above its own noise."""
    return float(band["reference_noise"]) < NOISY_REFERENCE


def line(image: str, bands: list[dict[str, str]]) -> list[str]:
    """Figures of an image; in brackets where the reference is too noisy to tell."""
    estimated = resolution([float(band["estimate"]) for band in bands], bands)
    true = [float(band["truth"]) if has_truth(band) else math.nan for band in bands]
    pairs = (
        f"{shown(band['estimate'])} / {shown(band['truth'])}"
        if has_truth(band)
        else f"({shown(band['estimate'])} / {shown(band['truth'])})"
        for band in bands
    )
    return [
        image,
        f"{estimated.supported:.1f}",
        f"{resolution(true, bands).supported:.1f}",
        f"{estimated.unsupported_contrast:.0%}",
        ", ".join(pairs),
    ]


def shown(value: str) -> str:
    """Two digits, or a dash."""
    return "-" if math.isnan(float(value)) else f"{float(value):.2f}"


def resolution(correlations: list[float], bands: list[dict[str, str]]) -> Resolution:
    """Of correlations of the bands of a table."""
    return Resolution(
        tuple(
            Band(float(band["coarse"]), float(band["fine"]), value, 0.0, float(band["share"]))
            for value, band in zip(correlations, bands, strict=True)
        )
    )


if __name__ == "__main__":
    main()
