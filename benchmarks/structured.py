"""Structured noise: the pretrained network, fine-tuned as recommended, and by Noise2Self.

The two-photon movie, whose noise is correlated along x, is scored against the mean of its other 19
frames, aligned; images of all three images are written to ``structured/``, to look at.
"""

import json
from pathlib import Path

import numpy as np
import tifffile
from _report import ROOT, append, bench_data, machine, publish, rows, table
from skimage import io

from napari_redenoise import Config, Redenoiser

NAME = "structured"
PAGE = ROOT / "docs" / "fine-tuning.md"
MOVIE = "twophoton_sima_dev/movie_TYX.tif"
IMAGES = (
    MOVIE,
    "structured_dev/fibsem_curtaining_u8.tif",
    "structured_dev/scmos_rownoise_actin60x_u8.tif",
)
PRETRAINED, BLIND = "pretrained network", "fine-tuned by Noise2Self"
WAYS = {
    PRETRAINED: {"training.steps": 0},
    "fine-tuned as recommended": {},
    BLIND: {"objective.kind": "noise2self"},
}
SHOWN = 384


def main() -> None:
    """Denoise every image in every way; write figures, table and images."""
    out = Path("structured")
    out.mkdir(exist_ok=True)
    for name in IMAGES:
        image = tifffile.imread(bench_data() / name)
        shown = [middle(image)]
        for way, changes in WAYS.items():
            if way == BLIND and name != MOVIE:
                continue  # without a reference there is nothing to compare by
            model = Redenoiser(Config().replace(changes), "cpu").fit(image)
            denoised = model.predict(image).denoised
            shown.append(middle(denoised))
            row = {"image": Path(name).stem, "way": way, **figures(image, denoised, name)}
            row["objective"] = model.session.plan.config.objective.kind
            row["mask_shape"] = "/".join(model.session.plan.config.objective.mask_shape)
            append(NAME, row)
            print(row, flush=True)
        write(out / f"{Path(name).stem}.png", shown)
    publish(NAME, report(), PAGE)


def figures(image: np.ndarray, denoised: np.ndarray, name: str) -> dict[str, str]:
    """The score where there is a reference, and how much rows and columns stand out."""
    removed = image.astype(np.float32) - denoised
    found = {
        "removed_std": f"{removed.std():.2f}",
        "rows_removed": f"{removed.mean(-1).std():.3f}",
        "columns_removed": f"{removed.mean(-2).std():.3f}",
    }
    return {"psnr": f"{score(image, denoised):.3f}" if name == MOVIE else "", **found}


def score(movie: np.ndarray, denoised: np.ndarray) -> float:
    """Mean PSNR of the frames against the mean of the others, over the range of 12 bits."""
    rolls = json.loads((bench_data() / MOVIE).with_name("meta.json").read_text())
    rolls = rolls["roll_yx_to_frame1"]
    aligned, result = (
        np.stack([np.roll(frame, roll, (0, 1)) for frame, roll in zip(stack, rolls, strict=True)])
        for stack in (movie.astype(np.float64), denoised)
    )
    inside = np.s_[12:-12, 16:-16]
    scores = []
    for number, frame in enumerate(result):
        others = np.delete(aligned, number, 0).mean(0)
        error = ((frame - others)[inside] ** 2).mean()
        scores.append(10 * np.log10(4095**2 / error))
    return float(np.mean(scores))


def middle(image: np.ndarray) -> np.ndarray:
    """The middle of an image, or of the first frame of a movie."""
    plane = image if image.ndim == 2 else image[0]
    top, left = (max(0, (size - SHOWN) // 2) for size in plane.shape)
    return plane[top : top + SHOWN, left : left + SHOWN].astype(np.float32)


def write(path: Path, images: list[np.ndarray]) -> None:
    """Noisy and denoised side by side, on the grey levels of the last."""
    low, high = np.percentile(images[-1], (0.5, 99.8))
    side_by_side = np.concatenate(images, 1)
    grey = np.clip((side_by_side - low) / (high - low), 0, 1)
    io.imsave(path, (255 * grey).astype(np.uint8))


def report() -> str:
    """One row per image and way, the last of each."""
    last = {(row["image"], row["way"]): row for row in rows(NAME)}
    header = ["image", "way", "objective", "blind spot", "PSNR (dB)", "noise removed (RMS)"]
    lines = [
        [
            image,
            way,
            "-" if way == PRETRAINED else row["objective"],
            "-"
            if way == PRETRAINED or row["objective"] == "r2r"
            else blind_spot(row["mask_shape"]),
            row["psnr"] or "-",
            row["removed_std"],
        ]
        for (image, way), row in last.items()
    ]
    return f"{table(header, lines)}\n\n{machine()}."


def blind_spot(drawing: str) -> str:
    """Its height and width."""
    lines = drawing.split("/")
    return f"{len(lines)} × {len(lines[0])}"


if __name__ == "__main__":
    main()
