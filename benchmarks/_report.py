"""What the benchmarks share: the data, the hardware's name, results as CSV, tables in the docs."""

import csv
import importlib.util
import os
import platform
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

import torch

from napari_redenoise import Config, Redenoiser, __version__

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCS = ROOT / "docs" / "benchmarks.md"

BASELINE_STEPS = 400
BASELINE_SECONDS = 30.0
"""400 training steps of a plain U-Net (8 x 64 x 64 pixels) count as 30 s on any machine."""


def bench_data() -> Path:
    """The folder of the benchmark images."""
    folder = os.environ.get("REDENOISE_BENCH_DATA")
    if not folder:
        sys.exit("Set REDENOISE_BENCH_DATA to the folder of the benchmark images.")
    return Path(folder).resolve()


def scoring() -> ModuleType:
    """Load the scoring rule that lies beside the benchmark data."""
    path = bench_data().parent / "scoring.py"
    spec = importlib.util.spec_from_file_location("scoring", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["scoring"] = module
    spec.loader.exec_module(module)
    return module


def step_seconds(noisy, changes: dict[str, object], steps: int = 25) -> float:
    """Median seconds of a training step, the first five left out."""
    settings = {"training.start": "random", "objective.kind": "noise2self", **changes}
    config = Config().replace({"training.steps": steps, **settings})
    events = list(Redenoiser(config, "cpu").fit_events(noisy))
    return statistics.median(event.seconds for event in events[5:])


def baseline_step_seconds(noisy) -> float:
    """Median seconds of a step of the plain U-Net, as trained by the same loop."""
    return step_seconds(noisy, {"network.kind": "standard"})


def counted(seconds: float, baseline: float) -> float:
    """Seconds on this machine in seconds of the machine on which the baseline takes 30 s."""
    return seconds * BASELINE_SECONDS / (BASELINE_STEPS * baseline)


def machine() -> str:
    """One line on hardware and versions."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":")[1].strip() if names else model
    return (
        f"{model}, {os.cpu_count()} cores, {platform.system()}, Python "
        f"{platform.python_version()}, torch {torch.__version__}, napari-redenoise {__version__}"
    )


def append(name: str, row: dict[str, object]) -> None:
    """Add a row to a results file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.csv"
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def rows(name: str) -> list[dict[str, str]]:
    """All rows of a results file."""
    path = RESULTS / f"{name}.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def table(header: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    text = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    text += ["| " + " | ".join(str(cell) for cell in line) + " |" for line in lines]
    return "\n".join(text)


def publish(name: str, text: str, document: Path = DOCS, script: str | None = None) -> None:
    """Replace a section of a page, docs/benchmarks.md, between its two markers.

    ``script`` names the benchmark that wrote it, where it is not that of the section.
    """
    begin = f"<!-- {name} begins: written by benchmarks/{script or name}.py -->"
    end = f"<!-- {name} ends -->"
    before, rest = document.read_text().split(begin)
    _, after = rest.split(end)
    document.write_text(f"{before}{begin}\n{text}\n{end}{after}")
