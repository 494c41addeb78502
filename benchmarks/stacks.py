"""Stacks: default runs with neighbouring planes and without, beside ndSAFIR.

Scores of the pretrained network and of what the default run delivers, PSNR over the peak, mean
over planes. Finished rows are skipped, so an interrupted run continues where it stopped; rows of
other weights stay and are left out of the tables. ``stacks.py 0 cells`` runs seed 0 of what is
named so; without arguments all stacks and three seeds, several hours on two cores. ``stacks.py
times`` measures what neighbours cost, in one run with and without, and ``stacks.py 0 pretrained``
what the pretrained networks make of the stacks, in some minutes. ``ndsafir_baseline.py`` writes
what ndSAFIR makes of the same noisy files.
"""

import hashlib
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from _report import ROOT, append, machine, publish, rows, table
from _stacks import Stack, stacks

from napari_redenoise import Config, Redenoiser
from napari_redenoise.model import _pretrained

NAME, TIMES, PRETRAINED = "stacks", "stack_times", "stacks_pretrained"
PAGE = ROOT / "docs" / "neighbours.md"
SEEDS, ROUNDS = (0, 1, 2), 5
CHOICES = {"none": 0, "auto": "auto"}


def main() -> None:
    """Run what is missing and write the table."""
    if "times" in sys.argv:
        measure_times()
    seeds = [int(word) for word in sys.argv[1:] if word.isdigit()] or list(SEEDS)
    names = [word for word in sys.argv[1:] if not word.isdigit()] or [""]
    names = [name for name in names if name not in ("times", "pretrained")]
    measured = run_pretrained if "pretrained" in sys.argv else run
    for seed in seeds:
        for stack in stacks(seed):
            if any(name in stack.name for name in names or [""] * ("times" not in sys.argv)):
                measured(seed, stack)
    publish(PRETRAINED, pretrained_report(), PAGE, NAME)
    publish(NAME, report(), PAGE)


def run(seed: int, stack: Stack) -> None:
    """Run a stack both ways, unless there are rows of it."""
    for neighbours in CHOICES:
        key = {"weights": weights(), "stack": stack.name, "seed": seed, "neighbours": neighbours}
        if any(all(row[k] == str(v) for k, v in key.items()) for row in rows(NAME)):
            continue
        row = {**key, **measure(seed, stack, neighbours)}
        append(NAME, row)
        print(row, flush=True)


def run_pretrained(seed: int, stack: Stack) -> None:
    """Denoise a stack by both pretrained networks, unless there is a row of it."""
    key = {"weights": weights(), "stack": stack.name, "seed": seed}
    if any(all(row[k] == str(v) for k, v in key.items()) for row in rows(PRETRAINED)):
        return
    found = {"noisy": stack.score(stack.noisy)}
    for name, context in (("alone", 0), ("neighbours", 2)):
        config = Config().replace({"training.steps": 0, "network.context": context})
        model = Redenoiser(config, "cpu").fit(stack.noisy, stack.axes)
        denoised = model.predict(stack.noisy, stack.axes).denoised
        found[name] = stack.score(denoised)
    shifts = (denoised - stack.expected).mean((1, 2)) / stack.range
    plan = Redenoiser(Config(), "cpu").plan(stack.noisy, stack.axes)
    row = {
        **key,
        **{name: f"{value:.3f}" for name, value in found.items()},
        "used": plan.config.network.neighbours,
        "flicker_percent": f"{100 * shifts.std():.3f}",
    }
    append(PRETRAINED, row)
    print(row, flush=True)


def pretrained_report() -> str:
    """Every stack by both pretrained networks."""
    mine = [row for row in rows(PRETRAINED) if row["weights"] == weights()]
    lines = []
    for name in dict.fromkeys(row["stack"] for row in mine):
        found = [row for row in mine if row["stack"] == name]
        gain = statistics.mean(float(row["neighbours"]) - float(row["alone"]) for row in found)
        lines.append(
            [
                name,
                *(mean(found, column) for column in ("noisy", "alone", "neighbours")),
                f"{gain:+.2f}",
                ndsafir(name),
                ", ".join("yes" if row["used"] != "0" else "no" for row in found),
                mean(found, "flicker_percent"),
            ]
        )
    header = [
        "stack, peak",
        "noisy (dB)",
        "planes alone",
        "with neighbours",
        "gain",
        "ndSAFIR, neighbours",
        "used by auto",
        "mean of planes varies by, % of the range",
    ]
    return table(header, lines)


def weights() -> str:
    """Which weights: the beginning of the sum of both files."""
    whole = hashlib.sha256()
    for path in sorted(Path(_pretrained.FOLDER).glob("*.safetensors")):
        whole.update(path.read_bytes())
    return whole.hexdigest()[:12]


def measure(seed: int, stack: Stack, neighbours: str) -> dict[str, object]:
    """Fine-tune on a stack, denoise it before and after, and score."""
    config = Config().replace({"training.seed": seed, "network.context": CHOICES[neighbours]})
    began = time.perf_counter()
    model = Redenoiser(config, "cpu").fit(stack.noisy, stack.axes)
    trained = time.perf_counter()
    delivered = stack.score(model.predict(stack.noisy, stack.axes).denoised)
    predicted = time.perf_counter()
    session = model.session
    share = session.provenance["judgement"]["share"]
    session.use_snapshot(session.snapshots[0].step)
    pretrained = stack.score(model.predict(stack.noisy, stack.axes).denoised)
    return {
        "noisy": f"{stack.score(stack.noisy):.3f}",
        "pretrained": f"{pretrained:.3f}",
        "delivered": f"{delivered:.3f}",
        "share": f"{share:.2f}",
        "used": session.plan.config.network.neighbours,
        "objective": session.plan.config.objective.kind,
        "train_s": f"{trained - began:.1f}",
        "predict_s": f"{predicted - trained:.1f}",
    }


def measure_times() -> None:
    """Seconds per training step and per plane, with neighbours and without, in turn."""
    movie = np.random.default_rng(0).poisson(20, (6, 256, 256)).astype(np.float32)
    for _ in range(ROUNDS):
        row = {}
        for name, context in (("alone", 0), ("neighbours", 2)):
            changes = {"network.context": context, "training.start": "random"}
            changes |= {"objective.kind": "noise2self", "training.steps": 15}
            model = Redenoiser(Config().replace(changes), "cpu")
            seconds = [event.seconds for event in model.fit_events(movie, "TYX")][5:]
            began = time.perf_counter()
            model.predict(movie, "TYX", tta=False)
            row[f"{name}_step_s"] = f"{statistics.median(seconds):.4f}"
            row[f"{name}_plane_s"] = f"{(time.perf_counter() - began) / len(movie):.4f}"
        append(TIMES, row)
        print(row, flush=True)


def times() -> str:
    """What neighbours cost, as ratios of the same run."""
    found = [{name: float(value) for name, value in row.items()} for row in rows(TIMES)]
    if not found:
        return ""
    step, plane = (
        statistics.median(row[f"neighbours_{kind}_s"] / row[f"alone_{kind}_s"] for row in found)
        for kind in ("step", "plane")
    )
    return (
        f" With neighbours a training step takes {step:.2f} times as long, and the prediction of a "
        f"plane {plane:.2f} times (medians of {len(found)} rounds)."
    )


def report() -> str:
    """Every stack, both ways, with the mean over its seeds."""
    mine = [row for row in rows(NAME) if row["weights"] == weights()]
    lines = []
    for name in dict.fromkeys(row["stack"] for row in mine):
        found = [row for row in mine if row["stack"] == name]
        alone, beside = (
            [row for row in found if row["neighbours"] == choice] for choice in CHOICES
        )
        if not alone or not beside:
            continue
        lines.append(
            [
                name,
                mean(alone, "noisy"),
                mean(alone, "pretrained"),
                mean(alone, "delivered"),
                mean(beside, "pretrained"),
                mean(beside, "delivered"),
                f"{float(mean(beside, 'delivered')) - float(mean(alone, 'delivered')):+.2f}",
                ndsafir(name),
                ", ".join(row["used"] for row in beside),
                len(beside),
            ]
        )
    header = [
        "stack, peak",
        "noisy (dB)",
        "pretrained, planes alone",
        "fine-tuned, planes alone",
        "pretrained, neighbours",
        "fine-tuned, neighbours",
        "gain",
        "ndSAFIR, neighbours",
        "neighbours used",
        "seeds",
    ]
    return f"{table(header, lines)}\n\n{machine()}.{times()}"


def mean(found: list[dict[str, str]], name: str) -> str:
    """Mean over seeds, in dB."""
    return f"{statistics.mean(float(row[name]) for row in found):.2f}"


def ndsafir(stack: str) -> str:
    """What ndSAFIR makes of a stack, if it was run."""
    found = [row for row in rows("ndsafir") if f"{row['stack']} {row['peak']}" == stack]
    return mean(found, "neighbours") if found else ""


if __name__ == "__main__":
    main()
