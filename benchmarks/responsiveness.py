"""How the viewer behaves during a run: ticks of a timer, Stop, steps in the worker's thread.

Needs a display; on a machine without a screen: ``xvfb-run -a python benchmarks/responsiveness.py``.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import napari
from _report import machine, publish, table
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_redenoise._napari import DenoiseWidget
from napari_redenoise.config import Config

NAME = "responsiveness"
TICK_MS = 20
SAMPLES = {
    "one image, 512 × 512": "noisy_cells",
    "time series, 10 × 256 × 256": "noisy_time_series",
}
STEPS = 60


def main() -> None:
    """Drive the widget on both samples and write the table."""
    viewer = napari.Viewer()
    widget = DenoiseWidget(viewer)
    viewer.window.add_dock_widget(widget)
    lines = []
    for name, sample in SAMPLES.items():
        viewer.layers.clear()
        viewer.open_sample("napari-redenoise", sample)
        wait_until(lambda: not widget.is_measuring)
        widget.config = Config().replace({"training.steps": STEPS})
        # Before and after, because the speed of a shared machine drifts.
        alone = step_seconds_in_a_script(sample)
        gaps, steps = watched_run(widget)
        alone = (alone + step_seconds_in_a_script(sample)) / 2
        widget.config = Config().replace({"training.steps": 10_000})
        stop = seconds_to_stop(widget)
        lines.append(
            [
                name,
                len(gaps),
                f"{1000 * max(gaps):.0f}",
                f"{1000 * statistics.median(gaps):.0f}",
                f"{stop:.2f}",
                f"{statistics.median(steps[5:]) / alone:.2f}",
            ]
        )
    header = [
        "run",
        "ticks",
        "longest gap, ms",
        "median gap, ms",
        "Stop: s until training has ended",
        "step in the viewer / in a script",
    ]
    publish(NAME, table(header, lines) + f"\n\n{machine()}, napari {napari.__version__}.")
    viewer.close()


def step_seconds_in_a_script(sample: str) -> float:
    """Median seconds of a step in a process without a viewer."""
    script = (
        "from _report import step_seconds; from napari_redenoise import _sample_data as s; "
        f"print(step_seconds(s.{sample}()[-1][0], {{}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def watched_run(widget) -> tuple[list[float], list[float]]:
    """Run to the end; seconds between ticks of a 20 ms timer, and seconds of every step."""
    gaps, steps, last = [], [], [None]

    def tick() -> None:
        now = time.perf_counter()
        if last[0] is not None:
            gaps.append(now - last[0])
        last[0] = now

    timer = QTimer()
    timer.setInterval(TICK_MS)
    timer.timeout.connect(tick)
    timer.start()
    widget.button.click()
    widget.run.stepped.connect(lambda step: steps.append(step.seconds))
    # The examination of the result belongs to it.
    wait_until(lambda: widget.run is None and widget.quality.report is not None)
    timer.stop()
    return gaps, steps


def seconds_to_stop(widget) -> float:
    """Start, press Stop after some steps, and time until the last step has ended."""
    widget.button.click()
    wait_until(
        lambda: (
            widget.run is not None and widget.run.step is not None and widget.run.step.step >= 30
        )
    )
    began = time.perf_counter()
    widget.button.click()
    wait_until(lambda: widget.button.text() == "Cancel" or widget.run is None)
    ended = time.perf_counter() - began
    wait_until(lambda: widget.run is None)
    return ended


def wait_until(condition) -> None:
    """Let the viewer live until a condition holds."""
    while not condition():
        QApplication.processEvents()
        time.sleep(0.002)


if __name__ == "__main__":
    main()
