"""Objectives and backbones side by side: tables A and B, and Noise2Noise on real shots.

A row per run goes to results/tables.csv; finished rows are skipped, so an interrupted run resumes
where it stopped. ``tables.py 0/2`` and ``tables.py 1/2`` share the work between two processes;
each waits for nothing, so run ``tables.py`` once more at the end to write the tables. About three
hours on two cores in all.
"""

import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import skimage.io
from _report import append, bench_data, machine, publish, rows, scoring, table

from napari_redenoise import Config, Redenoiser
from napari_redenoise.metrics import psnr

NAME = "tables"
STEPS = 400
SIGMA = 25.0
RATES = (1e-3, 2e-3, 3e-3)
BACKBONES = {
    "standard": {"network.kind": "standard"},
    "C4": {"network.kind": "equivariant", "network.group": "C4"},
    "AdaReNet": {"network.kind": "adarenet"},
    "D4": {"network.kind": "equivariant", "network.group": "D4"},
    "C8": {"network.kind": "equivariant", "network.group": "C8"},
}
PAPER = ("standard", "C4", "AdaReNet")
OBJECTIVES = {
    "N2V": "noise2void",
    "N2N": "noise2noise",
    "R2R": "r2r",
    "N2S": "noise2self",
    "Neighbor2Neighbor": "neighbor2neighbor",
}
NATURAL = ("01", "02", "03", "04")
REAL = ("003_0", "036_1", "101_2", "confocal_mice", "actin-60x-noise1", "mito-20x-noise1")
SHOTS = ("036_0", "036_1", "036_2")
# Where R2R does badly at its rate: the same at the rate that the package takes by itself.
AT_DEFAULT = ("003_0", "101_2", "mito-20x-noise1")
DEFAULT_RATE = 2e-3
# Rates are chosen on images that no table holds: for what is learned from pixels themselves, and
# for R2R, whose targets are noisier. Other objectives take the rates of Noise2Void.
FOR_RATES = ("07", "069_1")
RATED = {"N2V": tuple(BACKBONES), "R2R": PAPER}
SEEDS = (0, 1)


@dataclass(frozen=True)
class Run:
    """One training and what it is scored on."""

    table: str
    image: str
    objective: str
    backbone: str
    seed: int = 0
    rate: float | None = None

    def row(self) -> dict[str, str]:
        """What tells its row from others."""
        names = ("table", "image", "objective", "backbone", "seed")
        key = {name: str(getattr(self, name)) for name in names}
        return {**key, "rate": f"{self.rate:g}"}

    @property
    def is_done(self) -> bool:
        """Whether there is a row of it."""
        return any(all(row[k] == v for k, v in self.row().items()) for row in rows(NAME))


def runs_for_rates() -> Iterator[Run]:
    """One image of either kind, every backbone, every rate."""
    for objective, backbones in RATED.items():
        for image in FOR_RATES:
            for backbone in backbones:
                for rate in RATES:
                    yield Run("rate", image, objective, backbone, rate=rate)


def runs() -> Iterator[Run]:
    """All rows of the tables, still without their rates, those that say most first."""
    for seed in SEEDS:
        for image in NATURAL:
            for objective in ("N2V", "N2N", "R2R"):
                for backbone in PAPER:
                    yield Run("A", image, objective, backbone, seed)
        if seed == 0:
            yield from _real()


def _real() -> Iterator[Run]:
    for image in REAL:
        for backbone in BACKBONES:
            yield Run("B", image, "N2V", backbone)
    for image in REAL:
        for objective in ("R2R", "N2S", "Neighbor2Neighbor"):
            yield Run("objectives", image, objective, "C4")
    for image in AT_DEFAULT:
        yield Run("objectives", image, "R2R", "C4", rate=DEFAULT_RATE)
    for image in SHOTS:
        for backbone in PAPER:
            for objective in ("N2N", "N2V"):
                if objective == "N2N" or image not in REAL:
                    yield Run("N2N", image, objective, backbone)


def main() -> None:
    """Run what is missing and write the tables."""
    part, parts = map(int, (sys.argv[1] if len(sys.argv) > 1 else "0/1").split("/"))
    rule = scoring()
    for number, run in enumerate(runs_for_rates()):
        if number % parts == part and not run.is_done:
            do(run, rule)
    pending = [run for number, run in enumerate(runs()) if number % parts == part]
    while pending:
        # Another process may still be trying rates: what depends on them comes later.
        ready = next((run for run in pending if rate_of(run) is not None), None)
        if ready is None:
            break
        pending.remove(ready)
        run = replace(ready, rate=rate_of(ready))
        if not run.is_done:
            do(run, rule)
    publish(NAME, report())


def do(run: Run, rule) -> None:
    """Train, score, and keep the row."""
    noisy, second, score = noisy_image(run, rule)
    config = Config().replace(
        {
            "training.start": "random",
            "training.steps": STEPS,
            "training.seed": run.seed,
            "training.learning_rate": run.rate,
            "training.precision": "bfloat16",
            "objective.kind": OBJECTIVES[run.objective],
            **BACKBONES[run.backbone],
        }
    )
    if run.image.isdigit() and run.objective == "R2R":
        config = config.replace({"objective.noise": {"read_noise": (SIGMA,)}})
    model = Redenoiser(config, "cpu").fit(noisy, target=second)
    result = model.predict(noisy, branches=True)
    row = {
        **run.row(),
        "steps": STEPS,
        "noisy": f"{score(noisy):.3f}",
        "psnr": f"{score(result.denoised):.3f}",
        **{
            name: "" if image is None else f"{score(image):.3f}"
            for name, image in (("standard", result.standard), ("equivariant", result.equivariant))
        },
    }
    append(NAME, row)
    print(row, flush=True)


def noisy_image(run: Run, rule):
    """The noisy image, another shot for Noise2Noise, and the rule by which it is scored."""
    if run.image.isdigit():
        return natural(run)
    pairs = {pair.id: pair for pair in rule.pairs("w2s_dev", "fmd_dev", "hagen_dev")}
    pair = pairs[run.image]
    second = None
    if run.objective == "N2N":
        second = pairs[run.image.replace("036", "037")].noisy
    return pair.noisy, second, lambda image: rule.score(image, pair)


def natural(run: Run):
    """An image of Set12 with Gaussian noise, drawn from the seed and the image's number."""
    path = bench_data() / "clean_natural_dev" / "Set12" / f"{run.image}.png"
    clean = skimage.io.imread(path).astype(np.float32)
    rng = np.random.default_rng([run.seed, int(run.image)])
    noisy, second = (
        (clean + rng.normal(0.0, SIGMA, clean.shape)).astype(np.float32) for _ in range(2)
    )
    return (
        noisy,
        second if run.objective == "N2N" else None,
        lambda image: psnr(image, clean, 255.0),
    )


def report() -> str:
    """All tables, as far as they have rows."""
    parts = [
        ("Rates (one image of Set12, one of W2S, in no other table)", rate_table()),
        (
            f"A. Natural images (Set12 {', '.join(NATURAL)}, 256 × 256, one noisy image of "
            f"Gaussian noise {SIGMA:g}; seeds {', '.join(map(str, whole_seeds()))})",
            table_a(),
        ),
        ("B. Real microscopy, Noise2Void", table_b()),
        ("Noise2Noise on real shots (W2S fields 036 and 037 are the same)", table_shots()),
        ("Objectives on real photon noise, C4", table_objectives()),
    ]
    return "\n\n".join(f"### {title}\n\n{text}" for title, text in parts) + f"\n\n{machine()}."


def mean_of(name: str = "psnr", **wanted: str) -> str:
    """Mean over the rows that match, of the rate taken where none is wanted, or a dash."""
    best = best_rates()

    def matches(row: dict[str, str]) -> bool:
        rate = wanted.get("rate") or f"{taken(best, row['objective'], row['backbone']) or 0:g}"
        return all(row[key] == value for key, value in {**wanted, "rate": rate}.items())

    mine = [float(row[name]) for row in rows(NAME) if row[name] and matches(row)]
    return f"{statistics.mean(mine):.2f}" if mine else "-"


def rate_table() -> str:
    """PSNR by objective, backbone and rate, and the rate taken."""
    best = best_rates()
    lines = []
    for objective, backbones in RATED.items():
        for backbone in backbones:
            tried = {"table": "rate", "objective": objective, "backbone": backbone}
            scores = [mean_of(**tried, rate=f"{rate:g}") for rate in RATES]
            rate = best.get((objective, backbone))
            lines.append([objective, backbone, *scores, f"{rate:g}" if rate else "-"])
    return table(["objective", "backbone", *(f"{rate:g}" for rate in RATES), "taken"], lines)


def table_a() -> str:
    """Objectives by backbones, and by how much the equivariant ones lead, of whole seeds."""
    seeds = whole_seeds()
    lines = []
    for objective in ("N2V", "N2N", "R2R"):

        def cell(backbone: str, name: str = "psnr", objective: str = objective) -> str:
            wanted = {"table": "A", "objective": objective, "backbone": backbone}
            found = [mean_of(name, **wanted, seed=str(seed)) for seed in seeds]
            return column_means([["", value] for value in found])[0] if found else "-"

        cells = [cell(backbone) for backbone in PAPER]
        branches = [cell("AdaReNet", name) for name in ("standard", "equivariant")]
        lead = "-" if "-" in cells[:2] else f"{float(cells[1]) - float(cells[0]):+.2f}"
        spread = [
            mean_of(table="A", objective=objective, backbone="C4", seed=str(seed)) for seed in seeds
        ]
        lines.append([objective, *cells, lead, *branches, " / ".join(spread)])
    header = ["objective", *PAPER, "C4 − standard", "AdaReNet's standard branch"]
    note = f"\n\nBM3D, given the standard deviation, on the same noisy images: {bm3d('A')} dB."
    return table([*header, "its equivariant branch", "C4 by seed"], lines) + note


def whole_seeds() -> list[int]:
    """Seeds with which every run of table A has been made: a mean over some images misleads."""
    planned = [run for run in runs() if run.table == "A"]
    missing = {run.seed for run in planned if not replace(run, rate=rate_of(run) or 0.0).is_done}
    return [seed for seed in SEEDS if seed not in missing]


def table_b() -> str:
    """Images by backbones."""
    lines = [
        [name, mean_of("noisy", table="B", image=name)]
        + [mean_of(table="B", image=name, backbone=backbone) for backbone in BACKBONES]
        + [bm3d("B", image=name)]
        for name in REAL
    ]
    lines.append(["**mean**", *column_means(lines)])
    return table(["image", "noisy", *BACKBONES, "BM3D"], lines)


def column_means(lines: list[list[str]]) -> list[str]:
    """Mean of every column but the first; a dash while one of its cells is missing."""
    columns = zip(*(line[1:] for line in lines), strict=True)
    return [
        "-" if "-" in column else f"{statistics.mean(map(float, column)):.2f}" for column in columns
    ]


def bm3d(name: str, **wanted: str) -> str:
    """Mean of BM3D over a table's images, or a dash: see bm3d_baseline.py."""
    mine = [
        float(row["psnr"])
        for row in rows("bm3d")
        if row["table"] == name and all(row[key] == value for key, value in wanted.items())
    ]
    return f"{statistics.mean(mine):.2f}" if mine else "-"


def table_shots() -> str:
    """Noise2Noise with the second shot against Noise2Void without."""

    def cell(image: str, objective: str, backbone: str) -> str:
        # Noise2Void on an image of table B is there already.
        name = "B" if objective == "N2V" and image in REAL else "N2N"
        return mean_of(table=name, image=image, objective=objective, backbone=backbone)

    lines = [
        [name, *(cell(name, o, backbone) for o in ("N2N", "N2V") for backbone in PAPER)]
        for name in SHOTS
    ]
    lines.append(["**mean**", *column_means(lines)])
    columns = [f"{objective}, {backbone}" for objective in ("N2N", "N2V") for backbone in PAPER]
    return table(["image", *columns], lines)


def table_objectives() -> str:
    """Objectives by images, with the equivariant network."""

    def cell(objective: str, **wanted: str) -> str:
        name = "B" if objective == "N2V" else "objectives"
        return mean_of(table=name, objective=objective, backbone="C4", **wanted)

    chosen = ("N2V", "N2S", "Neighbor2Neighbor", "R2R")
    lines = [[name, *(cell(objective, image=name) for objective in chosen)] for name in REAL]
    lines.append(["**mean**", *column_means(lines)])
    at_default = ", ".join(
        f"{name} {cell('R2R', image=name, rate=f'{DEFAULT_RATE:g}')}" for name in AT_DEFAULT
    )
    note = (
        f"\n\nR2R at the rate of {DEFAULT_RATE:g}, which the package takes by itself: {at_default}."
    )
    return table(["image", *chosen], lines) + note


def best_rates() -> dict[tuple[str, str], float]:
    """Of every objective and backbone that has been tried at all rates: the best on average."""
    found = [row for row in rows(NAME) if row["table"] == "rate"]
    best = {}
    for objective, backbones in RATED.items():
        for backbone in backbones:
            mine = [
                row for row in found if (row["objective"], row["backbone"]) == (objective, backbone)
            ]
            if len(mine) == len(RATES) * len(FOR_RATES):
                scores = {
                    rate: sum(float(row["psnr"]) for row in mine if row["rate"] == f"{rate:g}")
                    for rate in RATES
                }
                best[objective, backbone] = max(scores, key=scores.get)
    return best


def taken(best: dict[tuple[str, str], float], objective: str, backbone: str) -> float | None:
    """The rate of an objective and a backbone, where it is known by now."""
    return best.get((objective if objective in RATED else "N2V", backbone))


def rate_of(run: Run) -> float | None:
    """The same, of a run; that which it asks for, if it does."""
    return run.rate or taken(best_rates(), run.objective, run.backbone)


if __name__ == "__main__":
    main()
