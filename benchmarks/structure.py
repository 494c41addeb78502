"""Structure unknown to the pretrained network: its detection, and how fine-tuning restores it.

Part one: the residual of the pretrained network relative to the noise, and its autocorrelation, on
real noise, on noise added to the references of real images, white and correlated, and on images
whose details are as fine as pixels. Part two: such images with white noise, and references with
blurred noise: the pretrained network, fine-tuned with the blind spot for the correlation, and by
R2R with the measured noise, scored against the clean images.
Twenty minutes on two cores.
"""

import numpy as np
import tifffile
from _report import append, bench_data, machine, publish, rows, scoring, table
from scipy import ndimage
from skimage import data

from napari_redenoise import Config, Redenoiser
from napari_redenoise.data import Planes
from napari_redenoise.model import noise_reports
from napari_redenoise.noise import NoiseReport, diagnose

NAME, GAINS = "structure", "structure_gains"
SIDE = 384
LEVELS = (1.0, 2.0, 4.0, 8.0)
BLURS = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5)
WAYS = ("pretrained network", "blind spot", "R2R")


def main() -> None:
    """Measure what is missing and write both tables."""
    rng = np.random.default_rng(0)
    for kind, name, image in [*real(), *added(rng), *fine(rng)]:
        if any(row["kind"] == kind and row["image"] == name for row in rows(NAME)):
            continue
        row = {"kind": kind, "image": name, **told(image)}
        append(NAME, row)
        print(row, flush=True)
    for name, clean, noisy in clean_and_noisy():
        (found,) = noise_reports(Planes(noisy, "YX"))
        advice = diagnose([found], fine_tuning=True)
        for way in WAYS:
            if any(row["image"] == name and row["way"] == way for row in rows(GAINS)):
                continue
            changes = settings(way, found, chosen=advice.objective == "r2r")
            model = Redenoiser(Config().replace(changes), "cpu").fit(noisy)
            row = {
                "image": name,
                "way": way,
                "recommended": way == ("R2R" if advice.objective == "r2r" else "blind spot"),
                "blind_spot": "/".join(model.session.plan.config.objective.mask_shape),
                "noisy": f"{psnr(noisy, clean):.2f}",
                "psnr": f"{psnr(model.predict(noisy).denoised, clean):.2f}",
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
    """Noise of half of the standard deviation of the image, white and blurred, on references."""
    for pair in scoring().pairs("w2s_dev", "fmd_dev", "hagen_dev")[::4]:
        clean = middle(pair.reference).astype(np.float32)
        for blur in (0.0, *BLURS):
            noise = ndimage.gaussian_filter(rng.normal(size=clean.shape), blur)
            noise *= 0.5 * clean.std() / noise.std()
            kind = f"noise blurred by {blur} pixels" if blur else "white noise"
            yield kind, pair.id, (clean + noise).astype(np.float32)


def fine(rng):
    """Images with details as fine as pixels, and little noise."""
    for name, clean in fine_images().items():
        for level in (0.0, *LEVELS):
            yield name, f"noise of {level:g}", with_noise(clean, level, rng)


def fine_images() -> dict[str, np.ndarray]:
    """Electron microscopy, and images of scikit-image."""
    fibsem = tifffile.imread(bench_data() / "structured_dev/fibsem_curtaining_u8.tif")
    sections = tifffile.imread(bench_data() / "clean_micro_dev/isbi2012_em_u8.tif")
    return {
        "FIB-SEM": middle(fibsem),
        "ssTEM": middle(sections[0]),
        "camera": middle(data.camera()),
        "grass": middle(data.grass()),
        "gravel": middle(data.gravel()),
    }


def more_images() -> dict[str, np.ndarray]:
    """Images that are not part of the pretraining, unlike camera, grass and gravel."""
    return {"coins": data.coins()[:SIDE, :SIDE], "moon": middle(data.moon())}


def settings(way: str, report: NoiseReport, *, chosen: bool) -> dict[str, object]:
    """Settings of the fine-tuning; R2R gets the noise where it is not recommended."""
    if way == "pretrained network":
        return {"training.steps": 0}
    if way == "R2R":
        noise = None if chosen else {"read_noise": (report.noise_std,)}
        return {"objective.kind": "r2r", "objective.noise": noise}
    found = diagnose([report], fine_tuning=False)
    return {"objective.kind": found.objective, "objective.mask_shape": found.mask_shape}


def clean_and_noisy():
    """Images before and after noise is added."""
    for name, level in (
        ("FIB-SEM", 1.0),
        ("FIB-SEM", 4.0),
        ("ssTEM", 4.0),
        ("ssTEM", 8.0),
        ("grass", 4.0),
        ("gravel", 2.0),
        ("coins", 8.0),
        ("moon", 4.0),
    ):
        clean = {**fine_images(), **more_images()}[name]
        noisy = with_noise(clean, level, np.random.default_rng(1))
        yield f"{name}, noise of {level:g}", clean, noisy
    for name, photons in (("ssTEM", 100), ("ssTEM", 300), ("gravel", 1000), ("coins", 300)):
        clean = {**fine_images(), **more_images()}[name]
        counts = np.random.default_rng(1).poisson(clean / 255 * photons)
        noisy = np.round(counts * 255 / photons).astype(np.uint16)
        yield f"{name}, {photons} photons at white", clean, noisy
    references = {pair.id: middle(pair.reference) for pair in scoring().pairs("w2s_dev")}
    for name, blur in (("069_0", 0.85), ("036_2", 1.0)):
        clean = references[name].astype(np.float32)
        noise = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=clean.shape), blur)
        noisy = (clean + 0.5 * clean.std() * noise / noise.std()).astype(np.float32)
        yield f"{name}, noise blurred by {blur:g} pixels", clean, noisy


def with_noise(clean: np.ndarray, level: float, rng) -> np.ndarray:
    """With Gaussian noise of so many grey levels, rounded to 8 bits."""
    noisy = clean + level * rng.normal(size=clean.shape)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def middle(image: np.ndarray) -> np.ndarray:
    """The middle of an image."""
    rows_, columns = ((size - min(size, SIDE)) // 2 for size in image.shape)
    return image[rows_ : rows_ + SIDE, columns : columns + SIDE]


def psnr(image: np.ndarray, clean: np.ndarray) -> float:
    """In dB, over 8 bits or the range of the clean image."""
    span = 255 if clean.dtype == np.uint8 else np.ptp(clean)
    return float(-10 * np.log10(np.mean((image - clean.astype(float)) ** 2) / span**2))


def told(image: np.ndarray) -> dict[str, str]:
    """What the figures say, and the conclusion."""
    planes = Planes(image, "YX")
    (report,) = noise_reports(planes, always=True)
    found, residual = report.autocorrelation, report.residual
    chosen = diagnose(noise_reports(planes), fine_tuning=True)
    return {
        "correlation": f"{max(found.y[0], found.x[0]):.3f}",
        "times": f"{residual.ratio:.3f}",
        "removed_correlation": f"{max(residual.correlation):.3f}",
        "independent": str(found.reach == (0, 0)),
        "unknown_structure": str(chosen.case == "unknown structure"),
        "objective": chosen.objective,
    }


def report() -> str:
    """A line for every kind, then a line for every denoised image."""
    found = rows(NAME)
    lines = []
    for kind in dict.fromkeys(row["kind"] for row in found):
        mine = [row for row in found if row["kind"] == kind]
        cells = []
        for figure in ("correlation", "times", "removed_correlation"):
            values = [float(row[figure]) for row in mine]
            ends = dict.fromkeys(f"{end:.2f}" for end in (min(values), max(values)))
            cells.append(" to ".join(ends))
        told = sum(row["unknown_structure"] == "True" for row in mine)
        learned = sum(row["objective"] == "r2r" for row in mine)
        lines.append([kind, len(mine), *cells, told, learned])
    header = [
        "images",
        "number",
        "lag 1",
        "times the noise",
        "lag 1 of the residual",
        "unknown structure found",
        "R2R",
    ]
    text = table(header, lines)
    gains = rows(GAINS)
    lines = []
    for name in dict.fromkeys(row["image"] for row in gains):
        mine = {row["way"]: row for row in gains if row["image"] == name}
        scores = [
            f"**{row['psnr']}**" if row["recommended"] == "True" else row["psnr"]
            for row in (mine[way] for way in WAYS)
        ]
        drawn = mine["blind spot"]["blind_spot"].split("/")
        lines.append([name, mine["R2R"]["noisy"], *scores, f"{len(drawn)} × {len(drawn[0])}"])
    header = ["image", "noisy (dB)", *(f"{way} (dB)" for way in WAYS), "the blind spot"]
    return f"{text}\n\n{table(header, lines)}\n\n{machine()}."


if __name__ == "__main__":
    main()
