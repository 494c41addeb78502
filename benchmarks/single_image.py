"""Quality on real microscopy, each image denoised by a network trained on it alone.

Four images, three seeds, what the button runs (AdaReNet) and the equivariant branch alone.
Finished rows are skipped, so an interrupted run resumes. About 20 minutes on two
cores. Scores by the rule that lies beside the data.
"""

import statistics
import time

import numpy as np
from _report import append, baseline_step_seconds, counted, machine, publish, rows, scoring, table

from napari_redenoise import Config, Redenoiser

NAME = "single_image"
IMAGES = ("003_0", "036_1", "101_2", "confocal_mice")
SEEDS = (0, 1, 2)
EQUIVARIANT_STEPS = 400
SCRATCH = {"training.start": "random", "objective.kind": "noise2self"}
RUNS = {
    "AdaReNet, as the button runs it": {},
    "equivariant U-Net alone": {
        "network.kind": "equivariant",
        "training.steps": EQUIVARIANT_STEPS,
    },
}


def main() -> None:
    """Run what is missing and write the tables."""
    rule = scoring()
    pairs = {p.id: p for p in rule.pairs("w2s_dev", "fmd_dev") if p.id in IMAGES}
    for run, changes in RUNS.items():
        for seed in SEEDS:
            for image in IMAGES:
                config = Config().replace({**SCRATCH, "training.seed": seed, **changes})
                key = {
                    "run": run,
                    "image": image,
                    "seed": seed,
                    "steps": config.training.total_steps,
                }
                if any(all(row[k] == str(v) for k, v in key.items()) for row in rows(NAME)):
                    continue
                row = {**key, **measure(config, pairs[image], rule)}
                append(NAME, row)
                print(row, flush=True)
    publish(NAME, report())


def measure(config: Config, pair, rule) -> dict[str, object]:
    """Train on one image alone, denoise it, and score."""
    baseline = baseline_step_seconds(pair.noisy)
    before = pair.noisy.copy()
    began = time.perf_counter()
    model = Redenoiser(config, "cpu").fit(pair.noisy)
    trained = time.perf_counter() - began
    began = time.perf_counter()
    result = model.predict(pair.noisy, branches=True)
    predicted = time.perf_counter() - began
    branches = {
        name: "" if image is None else f"{rule.score(image, pair):.3f}"
        for name, image in (("standard", result.standard), ("equivariant", result.equivariant))
    }
    shift = abs(float(result.denoised.mean()) - float(pair.noisy.mean()))
    return {
        "psnr": f"{rule.score(result.denoised, pair):.3f}",
        **branches,
        "training_s": f"{trained:.1f}",
        "training_counted_s": f"{counted(trained, baseline):.1f}",
        "prediction_s": f"{predicted:.2f}",
        "baseline_step_ms": f"{1000 * baseline:.1f}",
        "mean_shift_percent": f"{100 * shift / pair.meta['data_range'] * pair.meta['scale']:.3f}",
        "input_unchanged": bool(np.array_equal(pair.noisy, before)),
    }


def report() -> str:
    """Tables of all rows."""
    found = rows(NAME)
    lines = []
    for run, changes in RUNS.items():
        steps = Config().replace(SCRATCH, **changes).training.total_steps
        mine = [row for row in found if row["run"] == run and row["steps"] == str(steps)]
        if not mine:
            continue
        by_picture = [
            statistics.mean(float(row["psnr"]) for row in mine if row["image"] == image)
            for image in IMAGES
        ]
        by_seed = [
            statistics.mean(float(row["psnr"]) for row in mine if row["seed"] == str(seed))
            for seed in SEEDS
        ]
        branches = [
            f"{statistics.mean(float(row[name]) for row in mine):.2f}" if mine[0][name] else "-"
            for name in ("standard", "equivariant")
        ]
        lines.append(
            [
                run,
                steps,
                *(f"{value:.2f}" for value in by_picture),
                f"**{statistics.mean(by_seed):.2f}**",
                f"{min(by_seed):.2f} to {max(by_seed):.2f}",
                *branches,
                f"{statistics.mean(float(row['training_counted_s']) for row in mine):.0f}",
                f"{max(float(row['training_counted_s']) for row in mine):.0f}",
            ]
        )
    header = ["network", "steps", *IMAGES, "mean", "means of the seeds", "its standard branch"]
    header += ["its equivariant branch", "counted s, mean", "counted s, longest"]
    below = [
        row
        for row in found
        if row["standard"]
        and float(row["psnr"]) < max(float(row["standard"]), float(row["equivariant"]))
    ]
    worst = max(abs(float(row["mean_shift_percent"])) for row in found)
    notes = (
        f"\n\nRuns whose fused output is below one of its branches: {len(below)} of "
        f"{sum(bool(row['standard']) for row in found)}. Largest shift of the mean: {worst:.2f} % "
        f"of the range. Inputs unchanged: {all(row['input_unchanged'] == 'True' for row in found)}."
        f"\n\n{machine()}; seeds {', '.join(map(str, SEEDS))}."
    )
    return table(header, lines) + notes


if __name__ == "__main__":
    main()
