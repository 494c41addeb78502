"""Draw feature maps of random networks for an image and the rotated image.

Features of an ordinary network do not rotate with the image. Those of rotated Fourier-series
filters (F-Conv) do, and are permuted: a rotation by 45 degrees maps orientation g to g + 1.
Run: python examples/feature_maps.py feature-maps.png
"""

import argparse
from importlib.resources import files
from pathlib import Path

import numpy as np
import skimage.io
import torch
from PIL import Image, ImageDraw, ImageFont
from skimage.filters import gaussian
from skimage.transform import rotate
from torch import nn

from napari_redenoise.nn import CyclicGroup, GroupConv2d, LiftingConv2d

GROUP = CyclicGroup(8)
KERNEL, MAPS, GAP, HEAD = 3, 3, 6, 30
ANGLES = {0: "original", 90: "rotated by 90°", 45: "rotated by 45°"}
COLUMNS = {"image": 0, "ordinary network": 1, "F-Conv network, orientations matched": 1 + MAPS}


def main() -> None:
    """Write the figure, and print the error of features under rotation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, nargs="?", default="feature-maps.png")
    parser.add_argument("--size", type=int, default=192, help="side of a map in pixels")
    given = parser.parse_args()
    if given.output.exists():
        parser.error(f"{given.output} exists already: give another name")
    rows = rows_of(coins(), given.size)
    for (name, angle), error in errors(rows, given.size).items():
        print(f"{name} features, rotated by {angle}°: error {error:.1%}")
    draw_grid(list(rows.values()), given.size).save(given.output)
    print(f"wrote {given.output}")


def coins(blur: float = 1.5) -> np.ndarray:
    """A blurred photograph, since details finer than pixels cannot rotate with them."""
    image = skimage.io.imread(str(files("skimage") / "data" / "coins.png")) / 255.0
    # Subtract the background.
    return gaussian(image, blur) - gaussian(image, 12)


def rows_of(
    image: np.ndarray, size: int, seed: int = 0, kernel: int = KERNEL
) -> dict[float, list[np.ndarray]]:
    """Feature maps of the image at every angle, for networks with the weights of a seed."""
    return {
        angle: feature_maps(rotated(image, angle), angle, size, networks(seed, kernel))
        for angle in ANGLES
    }


def errors(rows: dict[float, list[np.ndarray]], size: int) -> dict[tuple[str, int], float]:
    """``||f(R x) - R f(x)|| / ||f(x) - mean||`` in a disc, by network and angle."""
    disc = np.hypot(*np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]) < 0.9
    found = {}
    for name, columns in (("ordinary", slice(1, 1 + MAPS)), ("F-Conv", slice(1 + MAPS, None))):
        for angle in (90, 45):
            expected = np.stack([rotated(one, angle) for one in rows[0][columns]])
            change = (np.stack(rows[angle][columns]) - expected)[:, disc]
            scale = expected[:, disc].var(1).mean()
            found[name, angle] = float(np.sqrt((change**2).mean() / scale))
    return found


def rotated(image: np.ndarray, angle: float) -> np.ndarray:
    """Rotate counter-clockwise about the centre; multiples of 90 degrees without interpolation."""
    return rotate(image, angle, order=3) if angle % 90 else np.rot90(image, angle // 90)


def feature_maps(
    image: np.ndarray, angle: float, size: int, pair: tuple[nn.Sequential, nn.Sequential]
) -> list[np.ndarray]:
    """Centre crops of the image and of features of both networks, with matched orientations."""
    x = torch.from_numpy(np.ascontiguousarray(image))[None, None].float()
    with torch.no_grad():
        ordinary, equivariant = (network(x)[0].numpy() for network in pair)
    orientations = [(n + angle * len(GROUP) // 360) % len(GROUP) for n in range(MAPS)]
    top, left = ((side - size) // 2 for side in image.shape)
    maps = [image, *ordinary, *equivariant[orientations]]
    return [one[top : top + size, left : left + size] for one in maps]


def networks(seed: int = 0, kernel: int = KERNEL) -> tuple[nn.Sequential, nn.Sequential]:
    """An ordinary and an equivariant network of three layers, with random weights of a seed."""
    draw = torch.Generator().manual_seed(seed)
    widths = ((1, 32), (32, 32), (32, MAPS))
    ordinary = [nn.Conv2d(*width, kernel, padding="same", bias=False) for width in widths]
    for layer in ordinary:
        nn.init.kaiming_normal_(layer.weight, generator=draw)
    lifting = LiftingConv2d(GROUP, 1, 4, kernel, draw)
    equivariant = [lifting, *(GroupConv2d(GROUP, 4, n, kernel, draw) for n in (4, 1))]
    # No ReLU at the end, which could set whole maps to zero.
    first, second = ((a, nn.ReLU(), b, nn.ReLU(), c) for a, b, c in (ordinary, equivariant))
    return nn.Sequential(*first), nn.Sequential(*second)


def draw_grid(rows: list[list[np.ndarray]], size: int) -> Image.Image:
    """Draw all maps in a grid, every column on one grey scale."""
    step, font = size + GAP, ImageFont.load_default(max(9, size // 12))
    image = Image.new("L", (len(rows[0]) * step + HEAD, len(rows) * step + HEAD), 255)
    for name, column in COLUMNS.items():
        ImageDraw.Draw(image).text((HEAD + column * step, HEAD // 4), name, 0, font)
    for top, (row, words) in enumerate(zip(rows, ANGLES.values(), strict=True)):
        label = Image.new("L", (size, HEAD), 255)
        ImageDraw.Draw(label).text((0, HEAD // 4), words, 0, font)
        image.paste(label.rotate(90, expand=True), (0, HEAD + top * step))
        for column, one in enumerate(row):
            low, high = np.percentile(rows[0][column], (0.5, 99.5))
            grey = np.clip((one - low) / max(high - low, 1e-9), 0, 1) * 255
            tile = Image.fromarray(grey.astype(np.uint8))
            image.paste(tile, (HEAD + column * step, HEAD + top * step))
    return image


if __name__ == "__main__":
    main()
