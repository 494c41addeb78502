"""Images with added defects, denoised by the pretrained and by the fine-tuned network.

Hot pixels, and offsets of whole rows or of rows and columns, which no blind spot removes. Scored by
the rule that lies beside the data, against the same references as without defects. Seed 0, about
eight minutes on two cores.
"""

import dataclasses

import numpy as np
from _report import ROOT, append, machine, publish, rows, scoring, table

from napari_redenoise import Config, Redenoiser

NAME = "defects"
PAGE = ROOT / "docs" / "fine-tuning.md"
IMAGES = ("036_0", "confocal_BPAE_G")
DEFECTS = (
    "none",
    "hot pixels, 1 in 1000",
    "offsets of rows",
    "offsets of rows and columns",
)
WAYS = {"pretrained": {"training.steps": 0}, "fine_tuned": {}}


def main() -> None:
    """Add every defect to every image, denoise it both ways, and score."""
    rule = scoring()
    pairs = [pair for pair in rule.pairs("w2s_dev", "fmd_dev") if pair.id in IMAGES]
    for pair in pairs:
        for defect in DEFECTS:
            noisy = with_defect(pair.noisy.astype(np.float32), defect)
            spoilt_pair = dataclasses.replace(pair, noisy=noisy)
            row = {"image": pair.id, "defect": defect}
            for way, changes in WAYS.items():
                model = Redenoiser(Config().replace(changes), "cpu").fit(noisy)
                row[way] = f"{rule.score(model.predict(noisy).denoised, spoilt_pair):.3f}"
                row["objective"] = model.session.plan.config.objective.kind
                row["lines"] = model.session.plan.config.objective.lines
            append(NAME, row)
            print(row, flush=True)
    publish(NAME, report(), PAGE)


def with_defect(noisy: np.ndarray, defect: str) -> np.ndarray:
    """An image with a defect; offsets have 0.3 times the standard deviation of its noise."""
    rng = np.random.default_rng(0)
    if defect.startswith("hot"):
        hot = rng.random(noisy.shape) < 1e-3
        brightness = 2 * (np.percentile(noisy, 99.9) - np.median(noisy))
        return (noisy + hot * rng.exponential(brightness, noisy.shape)).astype(np.float32)
    sigma = 0.3 * float(np.std(np.diff(noisy, axis=0))) / np.sqrt(2)
    height, width = noisy.shape
    offsets = np.zeros_like(noisy)
    if "rows" in defect:
        offsets = offsets + rng.normal(0, sigma, (height, 1))
    if "columns" in defect:
        offsets = offsets + rng.normal(0, sigma, (1, width))
    # The brightness stays: what is scored are lines, not a shift of everything.
    return (noisy + offsets - offsets.mean()).astype(np.float32)


def report() -> str:
    """One line per image and defect, the last of each."""
    last = {(row["image"], row["defect"]): row for row in rows(NAME)}
    header = [
        "image",
        "defect",
        "pretrained (dB)",
        "fine-tuned (dB)",
        "objective",
        "offsets subtracted",
    ]
    lines = [
        [
            *key,
            f"{float(row['pretrained']):.2f}",
            f"{float(row['fine_tuned']):.2f}",
            row["objective"],
            {"none": "-", "both": "rows, columns"}.get(row["lines"], row["lines"]),
        ]
        for key, row in last.items()
    ]
    return f"{table(header, lines)}\n\n{machine()}."


if __name__ == "__main__":
    main()
