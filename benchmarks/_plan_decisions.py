"""The images on which decisions about the noise are compared, none of which needs training."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import structure
import structured
import tifffile
from _difficult_images import hard_pairs
from _report import bench_data, scoring
from defects import DEFECTS, IMAGES, with_defect

Image = np.ndarray

SETS = ("w2s_dev", "fmd_dev", "hagen_dev", "fmd_testmix_dev")
OTHERS = ("noisy_nogt_dev/*.tif", "flim_hazelnut_dev/*.tif", "volume_time_dev/*.tif")
SIDE, FRAMES = 512, 4
"""Pixels and frames that are looked at, at most, of images without a reference."""


def images() -> Iterator[tuple[str, Image]]:
    """Name and pixels of every image: real, hard, structured, fine, and with defects."""
    yield from ((name, image) for name, image, _ in scored())
    for name in structured.IMAGES:
        yield f"structured {name}", _some(tifffile.imread(bench_data() / name))
    rng = np.random.default_rng(0)
    for kind, name, image in [*structure.real(), *structure.added(rng), *structure.fine(rng)]:
        if kind != "real microscopy":
            yield f"measured {kind}, {name}", image
    for pattern in OTHERS:
        for path in sorted(bench_data().glob(pattern)):
            image = tifffile.imread(path)
            if image.ndim in (2, 3) and image.shape[-1] > 4 and image.dtype.kind in "uif":
                yield f"{path.parent.name} {path.stem}", _some(image)


def scored() -> Iterator[tuple[str, Image, Callable[[Image], float]]]:
    """Those that have a reference, and what scores a result in dB."""
    rule = scoring()
    for pair in [*rule.pairs(*SETS), *hard_pairs(rule, bench_data())]:
        yield f"{pair.dataset} {pair.id}", pair.noisy, partial(rule.score, pair=pair)
    for name, clean, noisy in structure.clean_and_noisy():
        yield f"structure {name}", noisy, partial(structure.psnr, clean=clean)
    for pair in rule.pairs("w2s_dev", "fmd_dev"):
        for defect in DEFECTS[1:] if pair.id in IMAGES else ():
            noisy = with_defect(pair.noisy.astype(np.float32), defect)
            yield f"defects {pair.id}, {defect}", noisy, partial(rule.score, pair=pair)


def _some(image: Image) -> Image:
    """The middle of an image, or of the first frames of a stack."""
    image = image if image.ndim == 2 else image[:FRAMES]
    top, left = ((size - min(size, SIDE)) // 2 for size in image.shape[-2:])
    return image[..., top : top + SIDE, left : left + SIDE]
