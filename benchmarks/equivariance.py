"""How the error of equivariance falls with the mesh: docs/equivariance.md, its plots and tables."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import torch
from _continuum import WINDOWS, predicted_order
from _curves import (
    C4,
    EIGHTH,
    FEATURES,
    OFFSET,
    QUARTER,
    QUARTER_OF_C4,
    RESAMPLING,
    Curve,
    Scene,
    Spread,
    convolution_of_fixed_size,
    features_of_fixed_pixels,
    network_of_fixed_size,
    pictures_of_fixed_pixels,
    resampling,
)
from _report import RESULTS, ROOT, append, machine, publish, table
from _seeds import SEEDS, features_over_seeds
from _seeds import draw as draw_seeds
from _seeds import tabulated as tabulated_seeds

from napari_redenoise.nn import LiftingConv2d

NAME = "equivariance"
PAGE = ROOT / "docs" / "equivariance.md"
FEATURE_MAPS = ROOT / "docs" / "images" / "feature-maps.png"
FIGURE = ROOT / "docs" / "images" / "equivariance-orders.png"

DYADIC = tuple(2.0**-n for n in range(4, 13))
FINE = tuple(range(2, 33))
COARSE = (2, 3, 4, 6, 8, 10, 12, 14, 16)
POOLED = (4, 6, 8, 10, 12, 16, 20, 24)
SMOOTH = "(1 − r²)²"
ROUNDING = 1e-12
CONDITIONS = (
    f"float64 (feature maps float32), seed 0, or {len(SEEDS)} seeds where medians are given"
)
POINTS = 256
IMAGES = {"positive": OFFSET, "zero mean": 0.0}
NETWORKS = {
    "ordinary, 3 × 3": ("standard", 3),
    "C4, 3 × 3": ("C4", 3),
    "C8, 3 × 3": ("C8", 3),
    "C4, 5 × 5": ("C4", 5),
    "C8, 5 × 5": ("C8", 5),
}


@dataclass(frozen=True)
class Measured:
    """Errors of one setting: of C8 at 45 and at 90 degrees, of C4, which has no others, at 90.

    ``spread``: errors of several seeds on the coarsest mesh, where ``eighth`` is their median.
    """

    eighth: Curve
    quarter: float | None = None
    quarter_of_c4: Curve | None = None
    spread: tuple[float, ...] = ()


Curves = dict[str, Measured]


def main() -> None:
    """Measure, write the CSV, the tables and the figures."""
    torch.set_num_threads(1)
    panels = {
        "fixed_size": fixed_size(),
        "fixed_pixels": fixed_pixels(),
        "resampling": resampled(),
        "images": images(),
    }
    (RESULTS / f"{NAME}.csv").unlink(missing_ok=True)
    for panel, curves in panels.items():
        record(panel, curves)
        publish(f"{NAME}_{panel}", tabulated(panel, curves), PAGE, NAME)
    publish(f"{NAME}_features", features(), PAGE, NAME)
    publish(f"{NAME}_machine", f"{machine()}; one thread, {CONDITIONS}.", PAGE, NAME)
    draw(panels)


def fixed_size() -> Curves:
    """Filters of a fixed physical size."""
    scene, few = Scene.random(64), Scene.random(16)
    curves: Curves = {}
    for window in WINDOWS:
        curves[f"one convolution, window {window}"] = Measured(
            convolution_of_fixed_size(scene, window, FINE),
            max(convolution_of_fixed_size(scene, window, (8, 16), QUARTER).errors),
            convolution_of_fixed_size(scene, window, (8, 16), QUARTER_OF_C4, C4),
        )
    for name, meshes, pool_after in (
        (f"three convolutions and ReLU, window {SMOOTH}", COARSE, None),
        ("the same with 2 × 2 max pooling after the first", POOLED, 1),
    ):
        curves[name] = Measured(
            network_of_fixed_size(few, SMOOTH, meshes, EIGHTH, pool_after),
            max(network_of_fixed_size(few, SMOOTH, (4, 8), QUARTER, pool_after).errors),
            network_of_fixed_size(few, SMOOTH, (4, 8), QUARTER_OF_C4, pool_after, C4),
        )
    return curves


def fixed_pixels() -> Curves:
    """Filters of a fixed number of pixels, as in the networks."""
    scene = Scene.random(64)
    layers = {"one convolution": (LiftingConv2d,), "three convolutions and ReLU": FEATURES}
    return {
        f"{name}, {size} × {size} pixels": Measured(
            features_of_fixed_pixels(scene, DYADIC, kinds, size, EIGHTH),
            max(features_of_fixed_pixels(scene, DYADIC, kinds, size, QUARTER).errors),
            features_of_fixed_pixels(scene, DYADIC, kinds, size, QUARTER_OF_C4, C4),
        )
        for name, kinds in layers.items()
        for size in (3, 5, 7)
    }


def resampled() -> Curves:
    """Pooling and upsampling."""
    scene = Scene.random(256)
    curves: Curves = {}
    for name in RESAMPLING:
        eighth = resampling(scene, name, DYADIC, EIGHTH)
        quarter = resampling(scene, name, DYADIC, QUARTER)
        exact = max(quarter.errors) < ROUNDING
        curves[f"{name}, 45°"] = Measured(eighth, max(quarter.errors) if exact else None)
        if not exact:
            curves[f"{name}, 90°"] = Measured(quarter)
    return curves


def images() -> Curves:
    """Image in, image out, over the seeds of the weights."""
    return {
        f"{image}: {name}": _image(Scene.random(POINTS, offset), *network)
        for image, offset in IMAGES.items()
        for name, network in NETWORKS.items()
    }


def _image(scene: Scene, kind: str, size: int) -> Measured:
    eighth, quarter = (
        Spread(
            tuple(
                pictures_of_fixed_pixels(scene, meshes, kind, element, size, seed) for seed in SEEDS
            )
        )
        for meshes, element in ((DYADIC, EIGHTH), (DYADIC[::4], QUARTER))
    )
    largest = max(error for curve in quarter.curves for error in curve.errors)
    return Measured(eighth.median, largest, spread=tuple(eighth.coarsest))


def features() -> str:
    """Run the example: it draws the feature maps and says their errors; then over seeds."""
    FEATURE_MAPS.unlink(missing_ok=True)
    command = [sys.executable, str(ROOT / "examples" / "feature_maps.py"), str(FEATURE_MAPS)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = [line.partition(": error ") for line in said.splitlines()]
    seed_0 = [(name, error) for name, _, error in lines if error]
    found = features_over_seeds()
    draw_seeds(found)
    return f"{table(['seed 0', 'error'], seed_0)}\n\n{tabulated_seeds(found)}"


def record(panel: str, curves: Curves) -> None:
    """One row of the CSV per curve and mesh."""
    for name, measured in curves.items():
        own = {name: measured.eighth, f"{name}: C4 at 90°": measured.quarter_of_c4}
        for label, curve in own.items():
            if curve is None:
                continue
            for mesh, error in zip(curve.meshes, curve.errors, strict=True):
                row = {"setting": panel, "curve": label, "mesh": mesh, "error": f"{error:.4e}"}
                append(NAME, row)


def tabulated(panel: str, curves: Curves) -> str:
    """A table of one setting."""
    last = {"fixed_size": "order expected", "resampling": "largest error / (2√2 G h)"}.get(panel)
    in_c8 = any(measured.quarter_of_c4 for measured in curves.values())
    of = "C8 at 45°, " if in_c8 else "45°, " if panel == "images" else ""
    median = "median (range)" if panel == "images" else "error"
    header = ["", f"{of}coarsest mesh: {median}", f"{of}finest mesh: error", "measured order"]
    header += [last] if last else []
    header += ["error of C8 at 90°", "error of C4 at 90°"] if in_c8 else ["error at 90°"]
    return table(header, (_line(panel, name, measured) for name, measured in curves.items()))


def _line(panel: str, name: str, measured: Measured) -> list[str]:
    curve, quarter, in_c4 = measured.eighth, measured.quarter, measured.quarter_of_c4
    ends = [f"1/{1 / curve.meshes[i]:.0f}: {curve.errors[i]:.1e}" for i in (0, -1)]
    if measured.spread:
        ends[0] += f" ({min(measured.spread):.1e} to {max(measured.spread):.1e})"
    line = [name, *ends, _order(curve)]
    if panel == "fixed_size":
        line.append(_expected(name))
    if panel == "resampling":
        line.append(f"{curve.largest / (2 * np.sqrt(2)):.2f}")
    line.append("see left" if quarter is None else f"{quarter:.0e}")
    return line if in_c4 is None else [*line, f"{max(in_c4.errors):.0e}"]


def _order(curve: Curve) -> str:
    # Without the sign of a zero.
    return f"{round(curve.order, 2) + 0.0:.2f}"


def _expected(name: str) -> str:
    powers = {f"one convolution, window {window}": n for n, window in enumerate(WINDOWS)}
    if name in powers and "square" not in name:
        return f"{predicted_order(powers[name]):g}"
    if "pooling" in name:
        return "1"
    return "none" if "square" in name else "at least 2"


def draw(panels: dict[str, Curves]) -> None:
    """Four panels, errors against the mesh on logarithmic axes."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    titles = {
        "fixed_size": "Filters of fixed physical size (C8, 45°)",
        "fixed_pixels": "Filters of k × k pixels (C8, 45°): feature maps",
        "resampling": "Pooling and upsampling",
        "images": f"Image in, image out (45°), medians of {len(SEEDS)} seeds",
    }
    guides = {"fixed_size": (1, 2, 3.5), "resampling": (1, 4), "images": (1, 4)}
    figure, axes = plt.subplots(2, 2, figsize=(13, 11.5), constrained_layout=True)
    for (panel, curves), axis in zip(panels.items(), axes.flat, strict=True):
        for number, (name, measured) in enumerate(curves.items()):
            curve = measured.eighth
            label = f"{name}: order {_order(curve)}"
            style = "os^vD<>P"[number % 8] + (":" if name.startswith("zero mean") else "-")
            axis.loglog(curve.meshes, curve.errors, style, ms=4, label=label)
        for order in guides.get(panel, ()):
            _guide(axis, order)
        axis.set(title=titles[panel], xlabel="mesh h (side of a pixel)", ylabel="relative error")
        ticks = [2.0**-n for n in range(4, 13, 1 if panel == "fixed_size" else 2)]
        ticks = [tick for tick in ticks if axis.get_xlim()[0] < tick]
        axis.set_xticks(ticks, [f"1/{1 / tick:.0f}" for tick in ticks])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    axes[0, 1].set_ylim(1e-3, 2)
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE, dpi=110)
    plt.close(figure)


def _guide(axis: object, order: float) -> None:
    """A dashed line of a given order through the upper right corner."""
    low, high = axis.get_xlim()
    bottom, top = axis.get_ylim()
    meshes = np.geomspace(low, high, 200)
    values = 0.5 * (meshes / high) ** order
    shown = values > 2 * bottom
    axis.loglog(meshes[shown], values[shown], "--", color="0.6", lw=1, zorder=0)
    axis.annotate(
        f"$h^{{{order:g}}}$",
        (meshes[shown][0], values[shown][0]),
        (4, -10),
        textcoords="offset points",
        color="0.35",
    )
    axis.set_xlim(low, high)
    axis.set_ylim(bottom, top)


if __name__ == "__main__":
    main()
