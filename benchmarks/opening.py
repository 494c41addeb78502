"""Seconds from a press to what the user sees: the dock, the first preview, *Instant*, *Denoise*.

Every figure is of a new process, since the first press is the one that a newcomer times. Run it on
an idle machine with a display: ``xvfb-run -a python benchmarks/opening.py``.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from _report import machine, publish, table

NAME = "opening"
ROUNDS = 3
SIDE = 512
WAIT_S = 600.0


def main() -> None:
    """Press in new processes and write the table."""
    if sys.argv[1:]:
        print(" ".join(f"{name}={seconds:.3f}" for name, seconds in pressed(sys.argv[1]).items()))
        return
    found: dict[str, list[float]] = {}
    for way in ("instant", "denoise"):
        for _ in range(ROUNDS if way == "instant" else 1):
            done = subprocess.run(
                [sys.executable, Path(__file__).name, way],
                cwd=Path(__file__).parent,
                capture_output=True,
                text=True,
                check=True,
            )
            for word in done.stdout.split("\n")[-2].split():
                name, _, seconds = word.partition("=")
                found.setdefault(name, []).append(float(seconds))
    lines = [
        [what.replace("_", " "), f"{statistics.median(s):.2f}", f"{max(s):.2f}", len(s)]
        for what, s in found.items()
    ]
    head = [f"on an image of {SIDE} × {SIDE}", "seconds, median", "most", "processes"]
    publish(NAME, table(head, lines) + f"\n\n{machine()}.")


def pressed(way: str) -> dict[str, float]:
    """Open napari, the dock, wait for its sentence, press, and time each."""
    import napari
    from qtpy.QtWidgets import QApplication

    def wait_until(condition) -> float:
        began = time.perf_counter()
        while not condition():
            QApplication.processEvents()
            time.sleep(0.002)
            if time.perf_counter() - began > WAIT_S:
                raise TimeoutError(way)
        return time.perf_counter() - began

    viewer = napari.Viewer()
    viewer.open_sample("napari-redenoise", "noisy_cells")
    viewer.layers.selection.active = viewer.layers[-1]
    QApplication.processEvents()
    seconds = {}
    began = time.perf_counter()
    _, stand_in = viewer.window.add_plugin_dock_widget("napari-redenoise", "Denoise")
    QApplication.processEvents()
    seconds["dock_opens"] = time.perf_counter() - began
    # The widget itself takes the place of the one that says that torch is loading.
    wait_until(lambda: getattr(stand_in, "_loaded", None) is not None)
    widget = stand_in._loaded
    wait_until(lambda: widget.button.isEnabled() and not widget.is_measuring)
    seconds["dock_is_complete_and_the_noise_measured"] = time.perf_counter() - began
    layers = len(viewer.layers)
    began = time.perf_counter()
    (widget.instant_button if way == "instant" else widget.button).click()
    if way == "denoise":
        wait_until(lambda: len(viewer.layers) > layers)
        seconds["first_preview_after_Denoise"] = time.perf_counter() - began
        wait_until(lambda: widget.run is None)
        seconds["Denoise_until_the_result"] = time.perf_counter() - began
    else:
        wait_until(lambda: widget.run is None)
        seconds["Instant_until_the_result"] = time.perf_counter() - began
    wait_until(lambda: widget.quality.report is not None)
    seconds[f"{way}_until_checked"] = time.perf_counter() - began
    viewer.close()
    return seconds


if __name__ == "__main__":
    main()
