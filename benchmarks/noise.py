"""How exact the noise figures are: synthetic cameras over many scenes, and real recordings."""

import itertools
import json
import os
import platform
import statistics
import sys
import time
from importlib.resources import files
from pathlib import Path

import numpy as np
import scipy
import skimage.io
import tifffile
from _report import publish, table
from scipy import ndimage
from skimage.color import rgb2gray

from napari_redenoise import __version__
from napari_redenoise.data import Planes
from napari_redenoise.model import noise_reports
from napari_redenoise.noise import (
    diagnose,
    estimate_noise,
    estimate_noise_from_repeats,
    poisson_gaussian,
)

NAME = "noise"
IMAGES = (
    "astronaut.png",
    "camera.png",
    "cell.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "retina.jpg",
)
HARD = {
    "moon.png": "few levels",
    "brick.png": "few levels",
    "gravel.png": "texture everywhere",
    "grass.png": "texture everywhere",
}
DARK = ("retina.jpg", "spots", "discs")
GAINS = (0.5, 1, 2, 4, 10, 50)
OFFSETS = (0, 100, 1000)
PHOTONS = (20, 60)
READ_PHOTONS = 1.5
BACKGROUNDS, LIGHT = (0, 2, 10, 40), 60


def main() -> None:
    """Measure and write the tables."""
    folder = os.environ.get("REDENOISE_BENCH_DATA")
    if not folder:
        sys.exit("Set REDENOISE_BENCH_DATA to the folder of the benchmark images.")
    data = Path(folder)
    parts = (synthetic(), hard(), real(data), structured(data), seconds(), versions())
    publish(NAME, "\n\n".join(parts))


def photograph(name: str) -> np.ndarray:
    """Photograph of scikit-image, 0 to 1, at most 512 x 512."""
    image = skimage.io.imread(str(files("skimage") / "data" / name))
    grey = rgb2gray(image) if image.ndim == 3 else image.astype(float)
    grey = grey[:512, :512]
    return (grey - grey.min()) / (grey.max() - grey.min())


def drawn() -> dict[str, np.ndarray]:
    """Smooth scenes, 0 to 1: a ramp, out-of-focus spots, discs with blurred edges."""
    rng = np.random.default_rng(0)
    spots = ndimage.gaussian_filter((rng.random((384, 384)) > 0.998).astype(float), 8)
    y, x = np.mgrid[:384, :384]
    discs = np.zeros((384, 384))
    for _ in range(30):
        row, column = rng.integers(0, 384, 2)
        inside = np.hypot(y - row, x - column) < rng.integers(8, 40)
        discs[inside] = rng.uniform(0.2, 1.0)
    discs = ndimage.gaussian_filter(discs, 1.5)
    return {"ramp": x / 383, "spots": spots / spots.max(), "discs": discs}


def camera(
    clean: np.ndarray, photons: float, gain: float, offset: float, seed: int
) -> tuple[np.ndarray, float]:
    """Image of a camera, uint16, and the RMS of its noise; counts times gain without an offset."""
    rng = np.random.default_rng(seed)
    if offset == 0:
        # A counter: no read noise, and nothing to round.
        noisy = poisson_gaussian(clean * photons, rng, gain=gain)
        return noisy, gain * np.sqrt(photons * clean.mean())
    read = READ_PHOTONS * gain
    noisy = poisson_gaussian(clean * photons, rng, gain=gain, offset=offset, read_noise=read)
    variance = gain**2 * photons * clean.mean() + read**2 + 1 / 12
    return np.clip(np.rint(noisy), 0, 65535).astype(np.uint16), np.sqrt(variance)


def scenes() -> dict[str, np.ndarray]:
    """Images and drawings, 0 to 1."""
    return {**{name: photograph(name) for name in IMAGES}, **drawn()}


def synthetic() -> str:
    """Errors by gain and offset, over scenes and light; offset and read noise over dark scenes."""
    lines, dark, seeds = [], [], itertools.count()
    for gain, offset in itertools.product(GAINS, OFFSETS):
        gains, stds, offsets, reads = [], [], [], []
        for (name, clean), photons in itertools.product(scenes().items(), PHOTONS):
            noisy, rms = camera(clean, photons, gain, offset, next(seeds))
            report = estimate_noise(noisy)
            gains.append(report.model.gain / gain - 1)
            stds.append(report.noise_std / rms - 1)
            if name in DARK and offset:
                offsets.append((report.model.offset - offset) / (READ_PHOTONS * gain))
                reads.append(report.model.read_noise / (READ_PHOTONS * gain) - 1)
        lines.append([gain, offset, *errors(gains), *errors(stds)])
        if offset:
            dark.append([gain, offset, *errors(offsets), *errors(reads)])
    said = f"{len(scenes())} scenes, {' and '.join(map(str, PHOTONS))} photons at the brightest:"
    header = ["gain", "offset", "gain: median error", "worst", "noise RMS: median error", "worst"]
    aside = (
        f"Offset and read noise, on the scenes with a dark background ({', '.join(DARK)}); the "
        "offset's error as a share of the read noise:"
    )
    other = ["gain", "offset", "offset: median error", "worst", "read noise: median error", "worst"]
    return "\n\n".join(
        (said, table(header, lines), aside, table(other, dark), backgrounds(), dim())
    )


def backgrounds() -> str:
    """Offset and read noise where light is everywhere: what the skewness of the noise tells."""
    lines, seeds = [], itertools.count()
    for background in BACKGROUNDS:
        reads, offsets, without, known = [], [], [], 0
        for gain, (_, clean) in itertools.product(GAINS, drawn().items()):
            read = READ_PHOTONS * gain
            light = background + LIGHT * clean
            noisy = poisson_gaussian(
                light, np.random.default_rng(next(seeds)), gain=gain, offset=1000, read_noise=read
            )
            report = estimate_noise(np.rint(noisy).astype(np.uint16))
            read = float(np.hypot(read, np.sqrt(1 / 12)))
            reads.append(report.model.read_noise / read)
            offsets.append(abs(report.model.offset - 1000) / read)
            without.append(float(np.sqrt(report.model.variance(report.offset_range[1]))) / read)
            known += report.skewness is not None
        lines.append(
            [
                background,
                f"{known} of {len(reads)}",
                f"{statistics.median(reads):.2f} ({min(reads):.2f} to {max(reads):.2f})",
                f"{statistics.median(offsets):.2f}",
                f"{statistics.median(without):.2f}",
            ]
        )
    header = ["background, photons", "skewness known", "read noise / true: median (range)"]
    header += ["offset error / read noise, median", "read noise / true by the darkest region alone"]
    said = (
        f"Offset and read noise on a background, {LIGHT} photons of light on it at the brightest, "
        f"gains of {', '.join(map(str, GAINS))}, three drawn scenes:"
    )
    return f"{said}\n\n{table(header, lines)}"


def dim() -> str:
    """Errors of the gain where there are hardly any photons, without read noise."""
    lines, seeds = [], itertools.count()
    for photons in (1, 2, 5):
        gains, stds = [], []
        for clean in scenes().values():
            noisy, rms = camera(clean, photons, 1.0, 0.0, next(seeds))
            report = estimate_noise(noisy)
            gains.append(report.model.gain - 1)
            stds.append(report.noise_std / rms - 1)
        lines.append([photons, *errors(gains), *errors(stds)])
    header = ["photons", "gain: median error", "worst", "noise RMS: median error", "worst"]
    return f"Photon counts of dim scenes, the same ten:\n\n{table(header, lines)}"


def errors(values: list[float]) -> tuple[str, str]:
    """Median and worst of the absolute values, in per cent."""
    sizes = [abs(value) for value in values]
    return f"{statistics.median(sizes):.1%}", f"{max(sizes):.1%}"


def hard() -> str:
    """Scenes on which one image cannot tell everything, gain 4, offset 100."""
    lines = []
    for name, why in HARD.items():
        for photons in PHOTONS:
            noisy, rms = camera(photograph(name), photons, 4.0, 100.0, 0)
            report = estimate_noise(noisy)
            lines.append(
                [
                    name,
                    why,
                    photons,
                    f"{report.model.gain / 4:.2f} ± {report.gain_error / 4:.2f}",
                    f"{report.noise_std / rms:.2f}",
                    f"{report.homogeneous:.0%}",
                ]
            )
    header = ["scene", "why", "photons", "gain / true", "RMS / true", "homogeneous blocks"]
    return table(header, lines)


def real(folder: Path) -> str:
    """Real recordings against repeats of the same scene or averages of many frames."""
    lines = [*widefield(folder), *counting(folder), *confocal(folder), *scanning(folder)]
    header = ["recording", "figure", "one image", "repeats", "true", "error, one image", "repeats"]
    return table(header, lines)


def line(
    name: str, figure: str, one: float, repeats: float | None, true: float, digits: int
) -> list[str]:
    """A row of the table of real recordings."""
    shown = [f"{v:.{digits}f}" if v is not None else "-" for v in (one, repeats, true)]
    wrong = [f"{v / true - 1:+.1%}" if v is not None else "-" for v in (one, repeats)]
    return [name, figure, *shown, *wrong]


def widefield(folder: Path) -> list[list[str]]:
    """W2S, field 036/037: two shots; true RMS from their difference."""
    lines = []
    for channel in range(3):
        shots = [read(folder / f"w2s_dev/noisy_{f}_{channel}.tif") for f in ("036", "037")]
        true = float(np.std(np.subtract(*shots)) / np.sqrt(2))
        both = estimate_noise_from_repeats(np.stack(shots)).noise_std
        for field, shot in zip(("036", "037"), shots, strict=True):
            one = estimate_noise(shot).noise_std
            lines.append(line(f"W2S {field}_{channel}", "RMS", one, both, true, 1))
    return lines


def counting(folder: Path) -> list[list[str]]:
    """Photon counting (FLIM): a gain of 1."""
    frames = read(folder / "flim_hazelnut_dev/frames_TYX.tif")
    both = estimate_noise_from_repeats(frames).model.gain
    gains = [estimate_noise(frame).model.gain for frame in frames]
    worst = max(gains, key=lambda gain: abs(gain - 1))
    return [line("photon counts, worst of 5 frames", "gain", worst, both, 1.0, 2)]


def confocal(folder: Path) -> list[list[str]]:
    """FMD: true RMS from the average of 50 captures, shifted where it is out of register."""
    pairs = json.loads((folder / "fmd_dev/meta.json").read_text())["pairs"]
    lines = []
    for pair in pairs:
        noisy, average = (read(folder / "fmd_dev" / pair[key]) for key in ("noisy", "gt"))
        shift = [-value for value in pair["subpixel_shift_noisy_to_gt_yx"]]
        average = ndimage.shift(average, shift, mode="nearest")
        rest = (noisy - (average - pair["offset"]) / pair["scale"])[8:-8, 8:-8]
        one = estimate_noise(noisy).noise_std
        lines.append(line(f"FMD {pair['id']}", "RMS", one, None, float(rest.std()), 2))
    return lines


def scanning(folder: Path) -> list[list[str]]:
    """Two-photon movie: one frame, and frames that were aligned with each other."""
    meta = json.loads((folder / "twophoton_sima_dev/meta.json").read_text())
    movie = read(folder / "twophoton_sima_dev/movie_TYX.tif")
    moves = meta["roll_yx_to_frame1"]
    aligned = np.stack([np.roll(f, m, (0, 1)) for f, m in zip(movie, moves, strict=True)])
    both = estimate_noise_from_repeats(aligned[:, 12:-12, 16:-16])
    one = estimate_noise(movie[0])
    true = meta["diff_noise_std"], meta["noise_corr_x1"]
    found, pair = one.autocorrelation.x[0], both.autocorrelation.x[0]
    return [
        line("two-photon, one frame", "RMS", one.noise_std, both.noise_std, true[0], 0),
        line("two-photon, one frame", "correlation, x lag 1", found, pair, true[1], 3),
    ]


def structured(folder: Path) -> str:
    """What is recommended where the noise has structure, and where it has none."""
    movie = read(folder / "twophoton_sima_dev/movie_TYX.tif")
    images = {"two-photon, one frame": movie[0]}
    images["W2S 036_0"] = read(folder / "w2s_dev/noisy_036_0.tif")
    for name in ("fibsem_curtaining_u8", "scmos_rownoise_actin60x_u8"):
        images[name] = read(folder / f"structured_dev/{name}.tif")
    reports = {name: noise_reports(Planes(image, "YX"))[0] for name, image in images.items()}
    lines = []
    for name, report in reports.items():
        found, advice = report.autocorrelation, diagnose([report], fine_tuning=True)
        figures = (found.y[0], found.x[0], found.rows, found.columns)
        spot = f"{len(advice.mask_shape)} × {len(advice.mask_shape[0])}"
        lines.append([name, *(f"{v:.2f}" for v in figures), advice.objective, spot])
    header = ["recording", "y lag 1", "x lag 1", "rows", "columns", "advice", "blind spot"]
    return table(header, lines)


def read(path: Path) -> np.ndarray:
    """Pixels of a TIFF, float64."""
    return tifffile.imread(path).astype(float)


def seconds() -> str:
    """Time by size."""
    rng = np.random.default_rng(0)
    shapes = ((512, 512), (1024, 1024), (4096, 4096), (64, 512, 512))
    lines = []
    for shape in shapes:
        image = rng.poisson(20.0, shape).astype(np.uint16)
        start = time.perf_counter()
        estimate_noise(image)
        lines.append([" × ".join(map(str, shape)), f"{time.perf_counter() - start:.1f}"])
    return table(["image", "s"], lines)


def versions() -> str:
    """Machine and versions; torch plays a part in the advice alone."""
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, numpy "
        f"{np.__version__}, scipy {scipy.__version__}, napari-redenoise {__version__}; seeds 0, "
        "1, ... in the order of the runs."
    )


if __name__ == "__main__":
    main()
