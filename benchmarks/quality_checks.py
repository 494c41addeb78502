"""What the quality checks find, on real images with a reference: docs/quality-checks.md."""

import numpy as np
from _report import ROOT, machine, publish, scoring, table
from scipy import ndimage

from napari_redenoise import QualityReport, assess
from napari_redenoise.assessment import QualityCheck
from napari_redenoise.noise import NoiseReport, estimate_noise

NAME = "quality_checks"
PAGE = ROOT / "docs" / "quality-checks.md"
DATASETS = ("w2s_dev", "fmd_dev", "hagen_dev")
MARKS = ("good", "caution", "bad", "unknown")
SHIFTED = 0.02


def main() -> None:
    """Check every result of every image, and write the tables."""
    rule = scoring()
    found: dict[str, list[tuple[float, QualityReport]]] = {}
    references = []
    for pair in rule.pairs(*DATASETS):
        reports = (estimate_noise(pair.noisy),)
        for name, result in results(pair).items():
            report = assess(pair.noisy, result, reports=reports)
            found.setdefault(name, []).append((rule.score(result, pair), report))
            if name == "reference":
                references.append(line(pair.id, report, reports[0]))
    titles = [check.name for check in made(found["reference"][0][1])]
    header = ["result", "PSNR, dB", "worst mark", *titles]
    publish(NAME, table(header, (summary(*entry) for entry in found.items())), PAGE)
    header = ["image", "noise, grey levels", *titles]
    publish(f"{NAME}_references", table(header, references), PAGE, NAME)
    publish(f"{NAME}_machine", f"{machine()}.", PAGE, NAME)


def results(pair) -> dict[str, np.ndarray]:
    """What is taken for a denoised image, in the grey levels of the noisy one."""
    noisy = pair.noisy.astype(np.float64)
    width = pair.meta["best_gauss_sigma"]
    low, high = np.percentile(noisy, (0.1, 99.9))
    reference = aligned(pair)
    brighter = f"reference, {100 * SHIFTED:.0f} % of the range brighter"
    return {
        "reference": reference,
        brighter: reference + SHIFTED * (high - low),
        "the noisy image itself": noisy,
        "Gaussian, 0.4 × the best width": ndimage.gaussian_filter(noisy, 0.4 * width),
        "Gaussian, the best width": ndimage.gaussian_filter(noisy, width),
        "Gaussian, 2 × the best width": ndimage.gaussian_filter(noisy, 2 * width),
        "Gaussian, 4 × the best width": ndimage.gaussian_filter(noisy, 4 * width),
        "median of 3 × 3": ndimage.median_filter(noisy, 3),
        "median of 7 × 7": ndimage.median_filter(noisy, 7),
    }


def aligned(pair) -> np.ndarray:
    """The reference in the grey levels of the noisy image, and where the noisy image lies."""
    reference = (pair.reference.astype(np.float64) - pair.meta["offset"]) / pair.meta["scale"]
    shift = pair.meta.get("subpixel_shift_noisy_to_gt_yx", (0.0, 0.0))
    if max(map(abs, shift)) <= 0.25:
        return reference
    return ndimage.shift(reference, [-part for part in shift], order=3, mode="reflect")


def summary(name: str, found: list[tuple[float, QualityReport]]) -> list[str]:
    """How often each mark was given, good first."""
    psnr = np.mean([score for score, _ in found])
    marks = [[report.mark for _, report in found]]
    marks += map(list, zip(*([check.mark for check in made(r)] for _, r in found), strict=True))
    # Of the reference a PSNR against itself would be told.
    shown = "-" if name.startswith("reference") else f"{psnr:.2f}"
    return [name, shown, *map(counted, marks)]


def made(report: QualityReport) -> list[QualityCheck]:
    """The checks that need no denoiser: these results are of none."""
    return [check for check in report.checks if check.name not in report.omitted]


def counted(marks: list[str]) -> str:
    """Marks in words, those that were given to none left out."""
    return ", ".join(f"{marks.count(mark)} {mark}" for mark in MARKS if mark in marks)


def line(name: str, report: QualityReport, noise: NoiseReport) -> list[str]:
    """Figures of a reference."""
    figures = (
        f"{check.figure}{'' if check.mark == 'good' else f' ({check.mark})'}"
        for check in made(report)
    )
    return [name, f"{noise.noise_std:.1f}", *figures]


if __name__ == "__main__":
    main()
