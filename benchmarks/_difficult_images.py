"""Hard images: clean ones, spoilt in ways that a noise model does not expect.

Clipping at 0, saturation, correlated noise, gain that varies over the image, uneven sCMOS pixels,
hot pixels, few grey levels, hardly any noise. Made from the clean benchmark images, from fixed
seeds; the score is that of the rule beside the data, against the clean image.
"""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import skimage.io
import tifffile
from scipy import ndimage

from napari_redenoise.noise import poisson_gaussian

DATASET = "hard"
SIDE = 320
CLEAN = {
    "maize": "clean_micro_dev/maize_clsm_u8.tif",
    "actin": "clean_micro_dev/bpae_actin_u16.tif",
    "nuclei": "clean_micro_dev/bbbc007_nuclei_u8.tif",
    "em": "clean_micro_dev/isbi2012_em_u8.tif",
    "house": "clean_natural_dev/Set12/02.png",
    "boat": "clean_natural_dev/Set12/10.png",
}

Image = np.ndarray


def clean_image(root: Path, name: str) -> Image:
    """The middle of a clean image, float64, darkest 0 and brightest 1."""
    path = root / CLEAN[name]
    image = tifffile.imread(path) if path.suffix == ".tif" else skimage.io.imread(path)
    image = np.asarray(image[0] if image.ndim == 3 else image, np.float64)
    top, left = ((size - min(size, SIDE)) // 2 for size in image.shape)
    image = image[top : top + SIDE, left : left + SIDE]
    # Noise of its own would be in the reference.
    image = ndimage.gaussian_filter(image, 0.7)
    low, high = np.percentile(image, (0.1, 99.9))
    return np.clip((image - low) / (high - low), 0, 1)


def _clipped(share: float) -> Callable[[Image, np.random.Generator], tuple[Image, Image]]:
    """8 bits, so dark that a share of the pixels would be below 0 (bacteria, often)."""

    def spoil(clean: Image, rng: np.random.Generator) -> tuple[Image, Image]:
        truth = 4 * (4 + 40 * clean)
        noisy = poisson_gaussian(truth / 4, rng, gain=4, read_noise=6)
        black = np.quantile(noisy, share)
        clipped = np.clip(np.rint(noisy - black), 0, 255).astype(np.uint8)
        return clipped, np.clip(truth - black, 0, 255)

    return spoil


def _saturated(clean: Image, rng: np.random.Generator) -> tuple[Image, Image]:
    truth = 40 + 3 * (4 + 60 * clean)
    noisy = poisson_gaussian((truth - 40) / 3, rng, gain=3, offset=40, read_noise=5)
    white = np.quantile(noisy, 0.9)
    return np.minimum(np.rint(noisy), white).astype(np.uint16), np.minimum(truth, white)


def _correlated(sigma: float) -> Callable[[Image, np.random.Generator], tuple[Image, Image]]:
    """Photon noise that was smoothed, as by interpolation or a detector that spreads."""

    def spoil(clean: Image, rng: np.random.Generator) -> tuple[Image, Image]:
        truth = 100 + 10 * (3 + 30 * clean)
        noise = rng.normal(0, np.sqrt(10 * (truth - 100) + 20**2))
        smooth = ndimage.gaussian_filter(noise, sigma)
        white = ndimage.gaussian_filter(rng.normal(0, 1, clean.shape), sigma)
        return np.rint(truth + smooth / white.std() / 2).astype(np.uint16), truth

    return spoil


def _two_gains(clean: Image, rng: np.random.Generator) -> tuple[Image, Image]:
    """One model cannot hold: the gain of the right half is twice that of the left."""
    gain = np.where(np.arange(clean.shape[1]) < clean.shape[1] // 2, 6.0, 12.0)
    photons = (5 + 40 * clean) * 6 / gain
    truth = 100 + photons * gain
    return np.rint(100 + gain * rng.poisson(photons) + rng.normal(0, 5, clean.shape)), truth


def _gamma(clean: Image, rng: np.random.Generator) -> tuple[Image, Image]:
    """A square root was taken and 8 bits were kept: the noise does not grow as photons' does."""
    truth = 3 + 30 * clean
    noisy = np.clip(rng.poisson(truth) + rng.normal(0, 1, clean.shape), 0, None)
    return np.rint(40 * np.sqrt(noisy)).clip(0, 255).astype(np.uint8), 40 * np.sqrt(truth) - 2.5


def _uneven(clean: Image, rng: np.random.Generator) -> tuple[Image, Image]:
    """sCMOS: every pixel has a read noise and a gain of its own."""
    read = 2.5 * rng.lognormal(0, 0.8, clean.shape)
    gain = rng.normal(2, 0.1, clean.shape)
    photons = 2 + 15 * clean
    return np.rint(100 + gain * rng.poisson(photons) + rng.normal(0, read)), 100 + 2 * photons


def _hot(clean: Image, rng: np.random.Generator) -> tuple[Image, Image]:
    truth = 100 + 2 * (5 + 60 * clean)
    noisy = np.rint(poisson_gaussian((truth - 100) / 2, rng, gain=2, offset=100, read_noise=3))
    hot = rng.random(clean.shape) < 2e-3
    noisy[hot] += rng.exponential(500, int(hot.sum()))
    noisy[tuple(rng.integers(0, SIDE // 2, (2, 3)))] = 65535
    return noisy.astype(np.uint16), truth


def _few_levels(clean: Image, rng: np.random.Generator) -> tuple[Image, Image]:
    """Twelve grey levels, as contrast stretched in 8 bits leaves of a dark image."""
    truth = 3 + 20 * clean
    noisy = rng.poisson(truth) + rng.normal(0, 1, clean.shape)
    return np.clip(np.rint(noisy / 3), 0, 11).astype(np.uint8) * 20, truth / 3 * 20


def _faint(clean: Image, rng: np.random.Generator) -> tuple[Image, Image]:
    """Hardly any noise: there is more to lose than to gain."""
    truth = 20 + 200 * clean
    return truth + rng.normal(0, 1.5, clean.shape), truth


def _few_photons(clean: Image, rng: np.random.Generator) -> tuple[Image, Image]:
    truth = 0.1 + 3 * clean
    return rng.poisson(truth).astype(np.uint8), truth


DEFECTS = {
    "5 % clipped": _clipped(0.05),
    "17 % clipped": _clipped(0.17),
    "30 % clipped": _clipped(0.30),
    "saturated": _saturated,
    "blurred 0.5 px": _correlated(0.5),
    "blurred 1 px": _correlated(1.0),
    "blurred 2 px": _correlated(2.0),
    "two gains": _two_gains,
    "square root": _gamma,
    "uneven pixels": _uneven,
    "hot pixels": _hot,
    "few levels": _few_levels,
    "faint noise": _faint,
    "few photons": _few_photons,
}
"""Of a clean image, 0 to 1: the noisy image and its expectation, in the same grey levels."""


def hard_pairs(rule: ModuleType, root: Path) -> list:
    """Every defect in three of the clean images, as pairs of the scoring rule."""
    found = []
    names = list(CLEAN)
    for number, (defect, spoil) in enumerate(DEFECTS.items()):
        for image in range(3):
            name = names[(number + 2 * image) % len(names)]
            rng = np.random.default_rng([number, image])
            noisy, truth = spoil(clean_image(root, name), rng)
            spread = float(np.ptp(np.percentile(truth, (0.1, 99.9))))
            meta = {"scale": 1.0, "offset": 0.0, "data_range": spread}
            found.append(rule.Pair(DATASET, f"{defect}, {name}", noisy, truth, meta))
    return found
