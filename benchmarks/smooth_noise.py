"""Smooth noise: images that were smoothed or enlarged after they were recorded.

Real images and their references are smoothed or enlarged alike; clean images get smooth noise. The
pretrained network denoises them as they are, and with smooth noise removed first at the coarser
scales that the plan finds. Nothing is drawn but the smooth noise (seed 5). Finished rows are
skipped.
"""

import sys
from collections.abc import Callable, Iterator

import numpy as np
from _difficult_images import CLEAN, _correlated, clean_image
from _report import append, bench_data, machine, publish, rows, scoring, table
from scipy import ndimage

from napari_redenoise import Config, Redenoiser

NAME = "smooth_noise"
SIDE = 256

Image = np.ndarray


def _smoothed(sigma: float) -> Callable[[Image], Image]:
    return lambda image: ndimage.gaussian_filter(image, sigma)


def _enlarged(times: float, order: int) -> Callable[[Image], Image]:
    return lambda image: ndimage.zoom(image, times, order=order, grid_mode=True, mode="reflect")


PROCESSED = {
    "as recorded": np.asarray,
    "smoothed, 1 px": _smoothed(1),
    "smoothed, 1.5 px": _smoothed(1.5),
    "smoothed, 2 px": _smoothed(2),
    "enlarged twice, linear": _enlarged(2, 1),
    "enlarged three times, cubic": _enlarged(3, 3),
}
NOISE = (0.7, 1.0, 1.25, 1.5, 2.0)
"""Pixels by which the noise of clean images is smoothed."""


def cases(rule) -> Iterator[tuple[str, str, Callable[[], tuple[Image, Image]]]]:
    """What was done, the image, and a function that returns it with its reference."""
    for pair in rule.pairs("w2s_dev", "fmd_dev", "hagen_dev", "fmd_testmix_dev")[::3]:
        noisy, truth = (
            np.asarray(part, np.float64)[:SIDE, :SIDE] for part in (pair.noisy, pair.reference)
        )
        for name, process in PROCESSED.items():

            def real(process=process, noisy=noisy, truth=truth):
                return process(noisy)[: 2 * SIDE, : 2 * SIDE], process(truth)[
                    : 2 * SIDE, : 2 * SIDE
                ]

            yield name, f"{pair.dataset} {pair.id}", real
    for sigma in NOISE:
        for image in CLEAN:

            def drawn(sigma=sigma, image=image):
                clean = clean_image(bench_data(), image)
                return _correlated(sigma)(clean, np.random.default_rng(5))

            yield f"noise smoothed by {sigma:g} px", f"clean {image}", drawn


def main() -> None:
    """Denoise what is missing and write the table."""
    for name, image, make in cases(scoring()):
        key = {"processed": name, "image": image}
        if any(all(row[k] == v for k, v in key.items()) for row in rows(NAME)):
            continue
        row = {**key, **measure(*make())}
        append(NAME, row)
        print(row, flush=True)
    publish(NAME, report())


def measure(noisy: Image, truth: Image) -> dict[str, object]:
    """PSNR of both results over the range of the reference, after the best line."""
    noisy = noisy.astype(np.float32)
    model = Redenoiser(Config(training={"steps": 0}), "cpu").fit(noisy)
    scales = model.session.plan.corrections.smooth_scales
    plain = psnr(model.predict(noisy, corrections=False).denoised, truth)
    corrected = psnr(model.predict(noisy).denoised, truth) if scales else plain
    return {"scales": scales, "plain": f"{plain:.3f}", "corrected": f"{corrected:.3f}"}


def psnr(denoised: Image, truth: Image) -> float:
    """Over the range between the percentiles 0.1 and 99.9, in dB."""
    spread = np.ptp(np.percentile(truth, (0.1, 99.9)))
    fitted = np.polyval(np.polyfit(denoised.ravel(), truth.ravel(), 1), denoised)
    return float(10 * np.log10(spread**2 / np.mean((fitted - truth) ** 2)))


def report() -> str:
    """Gains by what was done."""
    lines, every = [], []
    for name in dict.fromkeys(row["processed"] for row in rows(NAME)):
        found = [row for row in rows(NAME) if row["processed"] == name]
        gains = [float(row["corrected"]) - float(row["plain"]) for row in found]
        used = [gain for gain, row in zip(gains, found, strict=True) if row["scales"] != "0"]
        every += used
        plain = np.mean([float(row["plain"]) for row in found])
        spread = f"{min(used):+.2f} to {max(used):+.2f}" if used else ""
        lines.append(
            [name, f"{plain:.2f}", f"{np.mean(gains):+.2f}", f"{len(used)} of {len(found)}", spread]
        )
    header = ["image", "pretrained (dB)", "mean gain", "removed in", "gain where removed"]
    lost = sum(gain < -0.05 for gain in every)
    return (
        f"{table(header, lines)}\n\nOf {len(every)} images in which smooth noise was removed, "
        f"{lost} lose more than 0.05 dB, at worst {min(every):+.2f} dB. {machine()}."
    )


if __name__ == "__main__":
    main() if len(sys.argv) == 1 else publish(NAME, report())
