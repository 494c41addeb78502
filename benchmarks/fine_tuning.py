"""Fine-tuning, judged: what the default run makes of real and of hard images.

Scores by the rule that lies beside the data: of the pretrained network, of what is delivered, and
of the fine-tuned network whole, which nobody is given unless it is judged the best. Finished rows
are skipped, so an interrupted run continues where it stopped; rows of other weights stay and are
left out of the tables. ``fine_tuning.py 0 w2s_dev "hard 17 %"`` runs seed 0 of what is named so;
without arguments all sets and three seeds, several hours on two cores.
"""

import hashlib
import statistics
import sys
import time

from _difficult_images import DATASET as HARD
from _difficult_images import hard_pairs
from _report import (
    ROOT,
    append,
    baseline_step_seconds,
    bench_data,
    counted,
    machine,
    publish,
    rows,
    scoring,
    table,
)

from napari_redenoise import Config, Redenoiser
from napari_redenoise.model import _pretrained

NAME = "fine_tuning"
PAGE = ROOT / "docs" / "fine-tuning.md"
SETS = ("w2s_dev", "fmd_dev", "hagen_dev", "fmd_testmix_dev")
SEEDS = (0, 1, 2)
MOST_LOST = 0.05
"""dB by which what is delivered may be below the pretrained result."""


def main() -> None:
    """Run what is missing and write the table."""
    seeds = [int(word) for word in sys.argv[1:] if word.isdigit()] or list(SEEDS)
    names = [word for word in sys.argv[1:] if not word.isdigit()] or [""]
    rule = scoring()
    pairs = [*rule.pairs(*SETS), *hard_pairs(rule, bench_data())]
    chosen = {
        (seed, pair.dataset, pair.id): pair
        for seed in seeds
        for name in names
        for pair in pairs
        if name in f"{pair.dataset} {pair.id}"
    }
    baseline = None
    for (seed, dataset, image), pair in chosen.items():
        key = {"weights": weights(), "set": dataset, "image": image, "seed": seed}
        if any(all(row[k] == str(v) for k, v in key.items()) for row in rows(NAME)):
            continue
        baseline = baseline or baseline_step_seconds(pairs[0].noisy)
        row = {**key, **measure(seed, pair, rule, baseline)}
        append(NAME, row)
        print(row, flush=True)
    publish(NAME, report(), PAGE)


def weights() -> str:
    """Which weights: the beginning of the sum of the default network's tensors."""
    found = _pretrained.pretrained_weights(Config().network)
    whole = hashlib.sha256()
    for name in sorted(found):
        whole.update(found[name].numpy().tobytes())
    return whole.hexdigest()[:12]


def measure(seed: int, pair, rule, baseline: float) -> dict[str, object]:
    """Fine-tune on one image, denoise it in three ways, and score."""
    began = time.perf_counter()
    model = Redenoiser(Config().replace({"training.seed": seed}), "cpu").fit(pair.noisy)
    seconds = time.perf_counter() - began
    # Where training is left out, the pretrained network is all there is.
    nothing = {"share": 0.0, "change": 0.0, "estimates": {}}
    judgement = model.session.provenance.get("judgement", nothing)
    delivered = rule.score(model.predict(pair.noisy).denoised, pair)
    scores = dict.fromkeys(("delivered", "pretrained", "fine_tuned"), delivered)
    if not model.session.plan.is_training_left_out:
        for name, snapshot in (("pretrained", 0), ("fine_tuned", -1)):
            model.session.use_snapshot(model.session.snapshots[snapshot].step)
            scores[name] = rule.score(model.predict(pair.noisy).denoised, pair)
    shares = judgement["estimates"].values()
    return {
        **{name: f"{score:.3f}" for name, score in scores.items()},
        "share": f"{judgement['share']:.2f}",
        "change": f"{judgement['change']:.4g}",
        "estimates": " ".join(f"{one['share']:.2f}±{one['error']:.2f}" for one in shares),
        "objective": model.session.plan.config.objective.kind,
        "counted_s": f"{counted(seconds, baseline):.1f}",
    }


def report() -> str:
    """Every image with the range over its seeds, and what was lost at most."""
    mine = [row for row in rows(NAME) if row["weights"] == weights()]
    images: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in mine:
        images.setdefault((row["set"], row["image"]), []).append(row)
    lines = []
    for (dataset, image), found in sorted(images.items(), key=lambda one: one[0][0] == HARD):
        gains = [gain(row, "delivered") for row in found]
        whole = [gain(row, "fine_tuned") for row in found]
        lines.append(
            [
                f"{dataset} {image}",
                f"{statistics.mean(float(row['pretrained']) for row in found):.2f}",
                _range(gains),
                _range(whole),
                ", ".join(row["share"] for row in found),
            ]
        )
    header = ["image", "pretrained (dB)", "delivered", "fine-tuned whole", "share, by seed"]
    return f"{table(header, lines)}\n\n{remarks(mine)} {machine()}."


def gain(row: dict[str, str], name: str) -> float:
    """dB over the pretrained network."""
    return float(row[name]) - float(row["pretrained"])


def _range(gains: list[float]) -> str:
    low, high = min(gains), max(gains)
    return f"{low:+.2f}" if len(gains) == 1 else f"{low:+.2f} to {high:+.2f}"


def remarks(mine: list[dict[str, str]]) -> str:
    """Means of the sets, and the worst."""
    parts = []
    for dataset in (*SETS, HARD):
        found = [row for row in mine if row["set"] == dataset]
        if not found:
            continue
        delivered, whole = (
            statistics.mean(gain(row, name) for row in found)
            for name in ("delivered", "fine_tuned")
        )
        parts.append(f"{dataset} {delivered:+.2f} dB ({whole:+.2f} whole, {len(found)} runs)")
    gains = sorted(gain(row, "delivered") for row in mine)
    worst = min(gain(row, "fine_tuned") for row in mine)
    lost = sum(value < -MOST_LOST for value in gains)
    return (
        f"Mean gains: {', '.join(parts)}. Of {len(mine)} runs {lost} are more than {MOST_LOST} dB "
        f"below the pretrained network, at worst {gains[0]:+.2f} dB ({worst:+.2f} whole)."
    )


if __name__ == "__main__":
    main()
