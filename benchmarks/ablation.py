"""What each special case of the noise is worth: decisions and results with and without it.

``ablation.py decisions`` measures the noise of every image, ten minutes on one core, and writes
what is decided to ``decisions.json``; it is compared with files that are named after it. Then
``ablation.py`` says on which images every case changes the decision, and ``ablation.py run CASE
IMAGE ...`` makes the default run of images, whose names begin so, with and without the case, and
adds rows to the table in docs/benchmarks.md. Seed 0.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from _plan_decisions import images, scored
from _report import append, machine, publish, rows, table

from napari_redenoise import Config, Redenoiser
from napari_redenoise.data import Planes
from napari_redenoise.errors import InputError
from napari_redenoise.model import noise_reports
from napari_redenoise.model._corrections import Corrections, correct
from napari_redenoise.noise import NoiseReport, diagnose
from napari_redenoise.noise import _diagnosis as diagnosis

NAME = "ablation"
DECISIONS = Path("decisions.json")
CASES = {
    "pixels too dark for photons": ("TOO_DARK", np.inf),
    "residual more correlated": ("STRUCTURED_RESIDUAL", np.inf),
    "correlation at the next lag only": ("NEXT_ONLY", np.inf),
    "smooth noise": ("SMOOTH", np.inf),
    "white residual": ("WHITE_RESIDUAL", -np.inf),
}
"""Name of the threshold, and its value without the case."""


def main() -> None:
    """Do what was asked for."""
    match sys.argv[1:]:
        case [("decisions"), *others]:
            DECISIONS.write_text(json.dumps(dict(decisions()), indent=1))
            for other in others:
                compare(json.loads(Path(other).read_text()))
        case ["run", case, *names]:
            run(case, names)
            publish(NAME, report())
        case _:
            for case in CASES:
                changed = changes(case)
                print(f"{case}: {len(changed)} images", *changed, sep="\n  ")


def decisions() -> Iterator[tuple[str, dict[str, object]]]:
    """Reports and decision of a default run of every image; of two where lines are corrected."""
    for name, image in images():
        planes = Planes(image, "YX" if image.ndim == 2 else "TYX")
        first = reports(planes)
        found = diagnose(first, fine_tuning=True)
        every = [first]
        if found.lines != "none":
            every.append(reports(correct(planes, Corrections(found.lines), torch.device("cpu"))))
        told = [[report.as_json() for report in one] for one in every]
        yield name, {"reports": told, "decided": decided(told)}
        print(name, found.case, found.objective, flush=True)


def reports(planes: Planes) -> tuple[NoiseReport, ...]:
    """As a run measures them."""
    try:
        return noise_reports(planes)
    except InputError:
        return ()


def decided(told: list) -> list[dict[str, object]]:
    """What is decided by the reports before, and after a line correction."""
    return [
        diagnose([NoiseReport.from_json(report) for report in one], fine_tuning=True).as_json()
        for one in told
    ]


def compare(before: dict) -> None:
    """Say which decisions are others than before."""
    now = json.loads(DECISIONS.read_text())
    for name, entry in now.items():
        old = before.get(name, {}).get("decided")
        if old != entry["decided"]:
            print(f"{name}: {old} became {entry['decided']}")


@contextmanager
def without(case: str) -> Iterator[None]:
    """The package without a special case."""
    name, value = CASES[case]
    with patch.object(diagnosis, name, value):
        yield


def changes(case: str) -> list[str]:
    """Images of which something else is decided without a case, and what."""
    found = []
    for name, entry in json.loads(DECISIONS.read_text()).items():
        with without(case):
            other = decided(entry["reports"])[-1]
        own = entry["decided"][-1]
        if other != own:
            changed = [key for key in own if own[key] != other[key] and key != "reason"]
            found.append(f"{name}: {[(own[key], other[key]) for key in changed]}")
    return found


def run(case: str, names: list[str]) -> None:
    """Score the default run of images with and without a case."""
    for name, image, score in scored():
        if not name.startswith(tuple(names)):
            continue
        row = {"case": case, "image": name, "with": f"{score(fitted(image)):.3f}"}
        with without(case):
            row["without"] = f"{score(fitted(image)):.3f}"
        append(NAME, row)
        print(row, flush=True)


def fitted(image: np.ndarray) -> np.ndarray:
    """The result of a default run."""
    return Redenoiser(Config(), "cpu").fit(image).predict(image).denoised


def report() -> str:
    """One line per case and image, the last of each."""
    last = {(row["case"], row["image"]): row for row in rows(NAME)}
    lines = [[*key, row["with"], row["without"]] for key, row in last.items()]
    header = ["case", "image", "with (dB)", "without (dB)"]
    return f"{table(header, lines)}\n\n{machine()}."


if __name__ == "__main__":
    main()
