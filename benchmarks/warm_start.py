"""The warm start on real microscopy: as it comes, and adapted to every picture, three seeds.

Scores by the rule that lies beside the data, of the default network's output as `redenoise denoise`
writes it, in float. Finished rows are skipped, so an interrupted run goes on where it stopped; rows
of other weights stay and are left out of the tables. ``warm_start.py 0`` runs seed 0 alone. About
an hour on two cores.
"""

import hashlib
import statistics
import sys
import time

from _report import (
    ROOT,
    append,
    baseline_step_seconds,
    counted,
    machine,
    publish,
    rows,
    scoring,
    table,
)

from napari_redenoise import Config, Redenoiser, _warm_start

NAME = "warm_start"
PAGE = ROOT / "docs" / "warm-start.md"
SETS = ("w2s_dev", "fmd_dev", "hagen_dev")
SEEDS = (0, 1, 2)
GAUSSIAN = "psnr_best_gauss"
MOST_LOST = 0.05
"""dB that adaptation may cost on a picture."""


def main() -> None:
    """Run what is missing and write the tables."""
    rule = scoring()
    seeds = [int(text) for text in sys.argv[1:]] or list(SEEDS)
    pairs = rule.pairs(*SETS)
    baseline = None
    for seed in [None, *seeds]:
        for pair in pairs:
            config = configuration(seed)
            key = {
                "weights": weights(),
                "set": pair.dataset,
                "picture": pair.id,
                "steps": config.training.total_steps,
                "seed": "" if seed is None else seed,
            }
            if any(all(row[k] == str(v) for k, v in key.items()) for row in rows(NAME)):
                continue
            baseline = baseline or baseline_step_seconds(pairs[0].noisy)
            row = {**key, **measure(config, pair, rule, baseline)}
            append(NAME, row)
            print(row, flush=True)
    publish(NAME, report(), PAGE)


def configuration(seed: int | None) -> Config:
    """What the button runs; without a seed the shipped weights are left as they are."""
    if seed is None:
        return Config().changed(**{"training.steps": 0})
    return Config().changed(**{"training.seed": seed})


def weights() -> str:
    """Which weights: the beginning of the sum of the default network's file."""
    path = _warm_start.weights_file(Config().network)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def measure(config: Config, pair, rule, baseline: float) -> dict[str, object]:
    """Adapt to one picture, denoise it, and score."""
    began = time.perf_counter()
    model = Redenoiser(config, "cpu").fit(pair.noisy)
    seconds = time.perf_counter() - began
    provenance = model.provenance
    last = provenance.get("guard", [{}])[-1]
    denoised = model.predict(pair.noisy).denoised
    psnr = end = rule.score(denoised, pair)
    if "went_back_from" in provenance:
        model.use_snapshot(provenance["went_back_from"])
        end = rule.score(model.predict(pair.noisy).denoised, pair)
    shift = abs(float(denoised.mean()) - float(pair.noisy.mean()))
    return {
        "psnr": f"{psnr:.3f}",
        "psnr_at_the_end": f"{end:.3f}",
        "kept_step": provenance["steps"],
        "test": last.get("difference", ""),
        "test_error": last.get("error", ""),
        "gaussian": f"{pair.meta[GAUSSIAN]:.3f}",
        "training_counted_s": f"{counted(seconds, baseline):.1f}",
        "mean_shift_percent": f"{100 * shift / pair.meta['data_range'] * pair.meta['scale']:.3f}",
    }


def report() -> str:
    """Means of the sets and every picture."""
    mine = [row for row in rows(NAME) if row["weights"] == weights()]

    def mean(name: str, adapted: bool, **wanted: str) -> float | None:
        asked = [row for row in mine if all(row[k] == v for k, v in wanted.items())]
        found = [row for row in asked if bool(row["seed"]) == adapted]
        # A mean over some pictures of a set misleads.
        missing = {row["picture"] for row in asked} - {row["picture"] for row in found}
        return None if missing else statistics.mean(float(row[name]) for row in found)

    def line(name: str, **wanted: str) -> list[str]:
        warm, adapted = (mean("psnr", adapted, **wanted) for adapted in (False, True))
        gain = None if warm is None or adapted is None else adapted - warm
        cells = [mean("gaussian", False, **wanted), warm, adapted]
        shown = ["-" if cell is None else f"{cell:.2f}" for cell in cells]
        return [name, *shown, "-" if gain is None else f"{gain:+.2f}"]

    pictures = dict.fromkeys((row["set"], row["picture"]) for row in mine)
    lines = [line(f"**{name}, mean**", set=name) for name in SETS]
    lines += [line(f"{name} {picture}", set=name, picture=picture) for name, picture in pictures]
    header = ["picture", "best Gaussian", "warm start alone", "adapted", "by adaptation"]
    return f"{table(header, lines)}\n\n{remarks(mine)}"


def remarks(mine: list[dict[str, str]]) -> str:
    """What was lost at most, time, means, seeds."""
    adapted = [row for row in mine if row["seed"]]
    alone = {row["picture"]: float(row["psnr"]) for row in mine if not row["seed"]}
    text = f"Weights {weights()}; the largest shift of a mean is "
    text += f"{max(float(row['mean_shift_percent']) for row in mine):.2f} % of the range. "
    if adapted:
        gains = [float(row["psnr"]) - alone[row["picture"]] for row in adapted]
        lost = sum(gain < -MOST_LOST for gain in gains)
        text += (
            f"Adaptation took {max(float(row['training_counted_s']) for row in adapted):.0f} "
            f"counted seconds at most, and cost more than {MOST_LOST} dB in {lost} of "
            f"{len(adapted)} runs (at worst {min(gains):+.2f} dB, seeds "
            f"{', '.join(sorted({row['seed'] for row in adapted}))}). "
        )
        text += guard(adapted, alone)
    return text + f"\n\n{machine()}."


def guard(adapted: list[dict[str, str]], alone: dict[str, float]) -> str:
    """How the test on held-out pixels compares with the truth at the last step."""
    agreed = sure = sure_agreed = 0
    for row in adapted:
        harmed = float(row["psnr_at_the_end"]) < alone[row["picture"]]
        difference, error = float(row["test"]), float(row["test_error"])
        agreed += (difference > 0) == harmed
        if abs(difference) > 2 * error:
            sure += 1
            sure_agreed += (difference > 0) == harmed
    back = sum(row["psnr"] != row["psnr_at_the_end"] for row in adapted)
    return (
        f"The test on held-out pixels had the sign of the true change in {agreed} of "
        f"{len(adapted)} runs, and in {sure_agreed} of the {sure} in which it was beyond two "
        f"standard errors; {back} runs were taken back."
    )


if __name__ == "__main__":
    main()
