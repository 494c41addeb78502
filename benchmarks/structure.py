"""Structure that the shipped network does not know: how it is told from noise, and what helps.

Part one: how much more than the noise the shipped network removes, and what neighbours share, on
real noise, on noise added to the references of real pictures, white and correlated, and on pictures
whose details are as fine as pixels. Part two: such pictures with added noise, the shipped network,
blind spots and what is recommended, scored against the pictures before noise was added.
Ten minutes on two cores.
"""

import numpy as np
import tifffile
from _report import append, bench_data, machine, publish, rows, scoring, table
from scipy import ndimage
from skimage import data

from napari_redenoise import Config, Redenoiser
from napari_redenoise._excess import times_the_noise
from napari_redenoise._noise_check import noise_reports
from napari_redenoise.data import Planes
from napari_redenoise.noise import correlation_reach, has_unknown_structure

NAME, GAINS = "structure", "structure_gains"
SIDE = 384
LEVELS = (1.0, 2.0, 4.0, 8.0)
BLURS = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5)
WAYS = {
    "shipped network": {"training.steps": 0},
    "Noise2Self": {"objective.kind": "noise2self"},
    "as recommended": {},
}


def main() -> None:
    """Measure what is missing and write both tables."""
    rng = np.random.default_rng(0)
    for kind, name, image in [*real(), *added(rng), *fine(rng)]:
        if any(row["kind"] == kind and row["image"] == name for row in rows(NAME)):
            continue
        row = {"kind": kind, "image": name, **told(image)}
        append(NAME, row)
        print(row, flush=True)
    for name, picture, level in textured():
        noisy = with_noise(picture, level, np.random.default_rng(1))
        for way, changes in WAYS.items():
            if any(row["image"] == name and row["way"] == way for row in rows(GAINS)):
                continue
            model = Redenoiser(Config().changed(**changes), "cpu").fit(noisy)
            row = {
                "image": name,
                "way": way,
                "objective": model.config.objective.kind if changes == {} else "",
                "noisy": f"{psnr(noisy, picture):.2f}",
                "psnr": f"{psnr(model.predict(noisy).denoised, picture):.2f}",
            }
            append(GAINS, row)
            print(row, flush=True)
    publish(NAME, report())


def real():
    """Real noise."""
    for pair in scoring().pairs("w2s_dev", "fmd_dev", "hagen_dev"):
        yield "real microscopy", pair.id, middle(pair.noisy)
    movie = tifffile.imread(bench_data() / "twophoton_sima_dev/movie_TYX.tif")
    yield "two-photon movie, correlated along x", "movie", middle(movie[0])


def added(rng):
    """Noise of half of the picture's deviation, white and blurred, on references."""
    for pair in scoring().pairs("w2s_dev", "fmd_dev", "hagen_dev")[::4]:
        clean = middle(pair.reference).astype(np.float32)
        for blur in (0.0, *BLURS):
            noise = ndimage.gaussian_filter(rng.normal(size=clean.shape), blur)
            noise *= 0.5 * clean.std() / noise.std()
            kind = f"noise blurred by {blur} pixels" if blur else "white noise"
            yield kind, pair.id, (clean + noise).astype(np.float32)


def fine(rng):
    """Pictures with details as fine as pixels, and little noise."""
    for name, picture in fine_pictures().items():
        for level in (0.0, *LEVELS):
            yield name, f"noise of {level:g}", with_noise(picture, level, rng)


def fine_pictures() -> dict[str, np.ndarray]:
    """Electron microscopy, and pictures of scikit-image."""
    fibsem = tifffile.imread(bench_data() / "structured_dev/fibsem_curtaining_u8.tif")
    sections = tifffile.imread(bench_data() / "clean_micro_dev/isbi2012_em_u8.tif")
    return {
        "FIB-SEM": middle(fibsem),
        "ssTEM": middle(sections[0]),
        "camera": middle(data.camera()),
        "grass": middle(data.grass()),
        "gravel": middle(data.gravel()),
    }


def textured():
    """Which of them are denoised, with how much noise."""
    pictures = fine_pictures()
    for name, level in (
        ("FIB-SEM", 1.0),
        ("FIB-SEM", 4.0),
        ("ssTEM", 4.0),
        ("ssTEM", 8.0),
        ("camera", 1.0),
        ("grass", 4.0),
    ):
        yield f"{name}, noise of {level:g}", pictures[name], level


def with_noise(picture: np.ndarray, level: float, rng) -> np.ndarray:
    """With Gaussian noise of so many grey levels, rounded to 8 bits."""
    noisy = picture + level * rng.normal(size=picture.shape)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def middle(picture: np.ndarray) -> np.ndarray:
    """The middle of a picture."""
    rows_, columns = ((size - min(size, SIDE)) // 2 for size in picture.shape)
    return picture[rows_ : rows_ + SIDE, columns : columns + SIDE]


def psnr(image: np.ndarray, picture: np.ndarray) -> float:
    """In dB over 8 bits."""
    return float(-10 * np.log10(np.mean((image - picture.astype(float)) ** 2) / 255**2))


def told(image: np.ndarray) -> dict[str, str]:
    """What the figures say, and the conclusion."""
    planes = Planes(image, "YX")
    (report,) = noise_reports(planes)
    found = report.autocorrelation
    return {
        "correlation": f"{max(found.y[0], found.x[0]):.3f}",
        "times": f"{times_the_noise(planes, report):.3f}",
        "independent": str(correlation_reach(report) == (0, 0)),
        "unknown_structure": str(has_unknown_structure(report)),
    }


def report() -> str:
    """A line for every kind, then a line for every picture that was denoised."""
    found = rows(NAME)
    lines = []
    for kind in dict.fromkeys(row["kind"] for row in found):
        mine = [row for row in found if row["kind"] == kind]
        cells = []
        for figure in ("correlation", "times"):
            values = [float(row[figure]) for row in mine]
            cells.append(f"{min(values):.2f} to {max(values):.2f}" if len(mine) > 1 else values[0])
        told = sum(row["unknown_structure"] == "True" for row in mine)
        lines.append([kind, len(mine), *cells, told])
    header = ["images", "number", "lag 1", "times the noise", "unknown structure found"]
    text = table(header, lines)
    gains = rows(GAINS)
    lines = []
    for name in dict.fromkeys(row["image"] for row in gains):
        mine = {row["way"]: row for row in gains if row["image"] == name}
        best = mine["as recommended"]
        scores = [mine[way]["psnr"] if way in mine else "-" for way in WAYS]
        lines.append([name, best["noisy"], *scores, best["objective"]])
    header = ["picture", "noisy (dB)", *(f"{way} (dB)" for way in WAYS), "recommended"]
    return f"{text}\n\n{table(header, lines)}\n\n{machine()}."


if __name__ == "__main__":
    main()
