"""The pixels that training sees: blocks read once, normalised, and cut into random patches."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_redenoise.data._axes import Planes
from napari_redenoise.data._pairs import Shots
from napari_redenoise.errors import InputError

BLOCK = 2048
MOST_PIXELS = 32 * 2**20


@dataclass(frozen=True)
class Normalisation:
    """``(x - mean) / std`` per channel, in the units of the image."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def apply(self, plane: np.ndarray) -> np.ndarray:
        """Normalise (shots * channels, Y, X) of any dtype to float32; not finite becomes 0."""
        shots = len(plane) // len(self.mean)
        mean, std = (
            np.tile(np.asarray(v, dtype=np.float64), shots)[:, None, None]
            for v in (self.mean, self.std)
        )
        normalised = ((plane - mean) / std).astype(np.float32)
        return np.nan_to_num(normalised, copy=False, nan=0.0, posinf=0.0, neginf=0.0)

    def undo(self, plane: np.ndarray) -> np.ndarray:
        """Bring (channels, Y, X) back to grey levels, float32."""
        mean, std = (np.asarray(v, dtype=np.float64)[:, None, None] for v in (self.mean, self.std))
        return (plane * std + mean).astype(np.float32)


@dataclass(frozen=True)
class Pool:
    """Normalised blocks, each (channels, height, width) float32, and how they were normalised."""

    blocks: tuple[Tensor, ...]
    normalisation: Normalisation


def load_pool(
    planes: Shots,
    generator: torch.Generator,
    normalisation: Normalisation | None = None,
    most_pixels: int = MOST_PIXELS,
    should_stop: Callable[[], bool] | None = None,
) -> Pool:
    """Read what training needs of an image.

    Small images are read whole. Of large ones random blocks are read until they hold
    ``most_pixels`` pixels together: more than the patches of a run can visit.

    Parameters
    ----------
    planes : Shots
        An image (`Planes`), or pairs of images of the same scene.
    generator : torch.Generator
        Chooses the blocks.
    normalisation : Normalisation, optional
        To be used instead of this image's own.
    should_stop : callable, optional
        Ends the reading after a block; what has been read makes the pool.

    Raises
    ------
    InputError
        When every finite pixel has the same value, or both shots are the same.
    """
    windows = [
        (sample, rows, columns)
        for sample in planes.indices()
        for rows in _blocks(planes.height)
        for columns in _blocks(planes.width)
    ]
    raw: list[np.ndarray] = []
    pixels = 0
    for number in torch.randperm(len(windows), generator=generator).tolist():
        if raw and (pixels >= most_pixels or (should_stop is not None and should_stop())):
            break
        raw.append(planes.read(*windows[number]))
        pixels += raw[-1].size
    if normalisation is None:
        shots = [shot for block in raw for shot in np.split(block, len(block) // planes.channels)]
        normalisation = measure(shots)
    blocks = tuple(torch.from_numpy(normalisation.apply(block)) for block in raw)
    if all(_repeats_itself(block, planes.channels) for block in blocks):
        raise InputError(
            "both images of Noise2Noise hold the same pixels: choose another shot of the scene as "
            "the second image"
        )
    return Pool(blocks, normalisation)


def _repeats_itself(block: Tensor, channels: int) -> bool:
    """Whether a block holds two shots that are one and the same."""
    return len(block) == 2 * channels and torch.equal(*block.split(channels))


def measure(blocks: list[np.ndarray]) -> Normalisation:
    """Mean and standard deviation per channel over the finite pixels of all blocks, in float64.

    Raises
    ------
    InputError
        When every channel is constant, or one has no finite pixel.
    """
    channels = range(blocks[0].shape[0])
    found = [[block[c][np.isfinite(block[c])] for block in blocks] for c in channels]
    if not all(any(part.size for part in parts) for parts in found):
        raise InputError("the image holds no finite pixels: choose another image")
    count = np.array([sum(part.size for part in parts) for parts in found])
    total = [sum(part.sum(dtype=np.float64) for part in parts) for parts in found]
    mean = np.array(total) / count
    square = [sum(((part - mean[c]) ** 2).sum() for part in parts) for c, parts in enumerate(found)]
    std = np.sqrt(np.array(square) / count)
    # Not by the deviation, which rounding of the mean keeps above zero.
    lowest = np.array([min(part.min() for part in parts if part.size) for parts in found])
    highest = np.array([max(part.max() for part in parts if part.size) for parts in found])
    constant = lowest == highest
    if constant.all():
        raise InputError(
            "every pixel of the image has the same value: there is nothing to denoise, choose "
            "another image"
        )
    # An unused channel, such as the blue of a red-green overlay, passes through as it is.
    std[constant] = 1.0
    return Normalisation(tuple(mean.tolist()), tuple(std.tolist()))


def check_scale(planes: Planes, normalisation: Normalisation) -> None:
    """Refuse an image whose grey levels a model cannot have been made for.

    Looks at the middle of the middle sample. Images of one camera differ by far less than what
    is refused: a mean 30 deviations away, or a deviation a hundred times smaller.

    Raises
    ------
    InputError
        For example for 16 bits and a model that was trained on 8.
    """
    sample = tuple(size // 2 for size in planes.sample_shape)
    rows, columns = (
        slice(max(0, (size - BLOCK) // 2), max(0, (size - BLOCK) // 2) + BLOCK)
        for size in (planes.height, planes.width)
    )
    window = planes.read(sample, rows, columns).astype(np.float64)
    for channel, mean, std in zip(window, normalisation.mean, normalisation.std, strict=True):
        finite = channel[np.isfinite(channel)]
        if not finite.size or finite.min() == finite.max():
            continue
        if abs(finite.mean() - mean) > 30 * std or finite.std() < std / 100:
            raise InputError(
                f"the model was made for grey levels around {mean:.4g} ± {std:.4g}, and this image "
                f"has {finite.mean():.4g} ± {finite.std():.4g}: bring it to the same grey scale, "
                "train on it, or choose another model"
            )


ALL_TURNS = tuple(itertools.product((False, True), range(4)))


def patches(
    pool: Pool,
    patch_size: int,
    batch_size: int,
    generator: torch.Generator,
    turns: Sequence[tuple[bool, int]] = ALL_TURNS,
) -> Iterator[Tensor]:
    """Endless batches of random patches, turned by multiples of 90 degrees and mirrored.

    Parameters
    ----------
    pool : Pool
    patch_size, batch_size : int
    generator : torch.Generator
    turns : sequence of (bool, int)
        Whether mirrored along x, and then by how many quarter turns: one is drawn per patch.

    Yields
    ------
    Tensor
        Shape (batch_size, channels, side, side), float32, with ``side`` the patch size or the
        shortest side of a block, whichever is smaller.
    """
    side = min(patch_size, *(min(block.shape[1:]) for block in pool.blocks))
    area = torch.tensor([float(block[0].numel()) for block in pool.blocks])

    def integer(high: int) -> int:
        return int(torch.randint(high, (), generator=generator))

    def patch(block: Tensor) -> Tensor:
        top, left = integer(block.shape[1] - side + 1), integer(block.shape[2] - side + 1)
        window = block[:, top : top + side, left : left + side]
        mirrored, quarters = turns[integer(len(turns))]
        return torch.rot90(window.flip(-1) if mirrored else window, quarters, (1, 2))

    while True:
        chosen = torch.multinomial(area, batch_size, replacement=True, generator=generator)
        yield torch.stack([patch(pool.blocks[number]) for number in chosen.tolist()])


def _blocks(size: int) -> list[slice]:
    """Cut an axis into equal blocks of at most `BLOCK`."""
    count = -(-size // BLOCK)
    edges = np.linspace(0, size, count + 1).astype(int).tolist()
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]
