"""The pixels that training sees: blocks read once, normalised, and cut into random patches."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_redenoise.data._axes import Planes
from napari_redenoise.data._corners import Anywhere, Chosen, Corners, centred, nearest
from napari_redenoise.data._pairs import Shots
from napari_redenoise.data._part import BLOCK, middle_window
from napari_redenoise.errors import InputError

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
    """Normalised blocks, each (channels, height, width) float32, and how they were normalised.

    ``inside`` has for every block its pixels that may be learned from, (height, width) bool, or
    None for all of them.
    """

    blocks: tuple[Tensor, ...]
    normalisation: Normalisation
    inside: tuple[Tensor | None, ...] = ()

    def __post_init__(self) -> None:
        if not self.inside:
            object.__setattr__(self, "inside", (None,) * len(self.blocks))


def load_pool(
    images: Shots | Sequence[Shots],
    generator: torch.Generator,
    normalisation: Normalisation | None = None,
    most_pixels: int = MOST_PIXELS,
    should_stop: Callable[[], bool] | None = None,
) -> Pool:
    """Read what training needs of one image or several.

    Small images are read whole. Of large ones random blocks are read until they hold
    ``most_pixels`` pixels together: more than the patches of a run can visit. Blocks without a
    pixel that may be learned from are passed over.

    Parameters
    ----------
    images : Shots, or a sequence of them
        An image (`Planes`), or pairs of images of the same scene; several with as many channels
        and of one grey scale.
    generator : torch.Generator
        Chooses the blocks.
    normalisation : Normalisation, optional
        To be used instead of this image's own.
    should_stop : callable, optional
        Ends the reading after a block; what has been read makes the pool.

    Raises
    ------
    InputError
        When every finite pixel has the same value, both shots are the same, or no pixel may be
        learned from.
    """
    images = images if isinstance(images, Sequence) else (images,)
    windows = [
        (shots, sample, rows, columns)
        for shots in images
        for sample in shots.indices()
        for rows in _blocks(shots.height)
        for columns in _blocks(shots.width)
    ]
    raw: list[np.ndarray] = []
    masks: list[np.ndarray | None] = []
    pixels = 0
    for number in torch.randperm(len(windows), generator=generator).tolist():
        if raw and (pixels >= most_pixels or (should_stop is not None and should_stop())):
            break
        shots, *window = windows[number]
        mask = shots.inside(*window)
        if mask is not None and not mask.any():
            continue
        raw.append(shots.read(*window))
        masks.append(mask)
        pixels += raw[-1].size
    if not raw:
        raise InputError(
            "no pixel to learn from lies inside the region: draw it on the image (for the "
            "neighbouring frames of Noise2Noise on both), or leave it out"
        )
    channels = images[0].channels
    measured = _measure_inside(raw, masks, channels)
    normalisation = normalisation or measured
    blocks = tuple(torch.from_numpy(normalisation.apply(block)) for block in raw)
    if all(_repeats_itself(block, channels) for block in blocks):
        raise InputError(
            "both images of Noise2Noise hold the same pixels: choose another shot of the scene as "
            "the second image"
        )
    inside = tuple(None if mask is None else torch.from_numpy(mask) for mask in masks)
    return Pool(blocks, normalisation, inside)


def _measure_inside(
    raw: list[np.ndarray], masks: list[np.ndarray | None], channels: int
) -> Normalisation:
    """Over the pixels of all shots that may be learned from."""
    inside = (
        block if mask is None else block[:, mask] for block, mask in zip(raw, masks, strict=True)
    )
    shots = [shot for block in inside for shot in np.split(block, len(block) // channels)]
    everywhere = all(mask is None for mask in masks)
    return measure(shots, "image" if everywhere else "region")


def _repeats_itself(block: Tensor, channels: int) -> bool:
    """Whether a block holds two shots that are one and the same."""
    return len(block) == 2 * channels and torch.equal(*block.split(channels))


def measure(blocks: list[np.ndarray], what: str = "image") -> Normalisation:
    """Mean and standard deviation per channel over the finite pixels of all blocks, in float64.

    Parameters
    ----------
    blocks : list of ndarray
        Channels first.
    what : str
        What the blocks are of, for the errors.

    Raises
    ------
    InputError
        When every channel is constant, or one has no finite pixel.
    """
    channels = range(blocks[0].shape[0])
    found = [[block[c][np.isfinite(block[c])] for block in blocks] for c in channels]
    if not all(any(part.size for part in parts) for parts in found):
        raise InputError(f"the {what} holds no finite pixels: choose another {what}")
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
            f"every pixel of the {what} has the same value: there is nothing to denoise, choose "
            f"another {what}"
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
    window = planes.read(sample, *middle_window(planes, sample)).astype(np.float64)
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

    Where the pool says which pixels may be learned from, the centres of the patches are such
    pixels: all that are far enough from the border are equally likely. If none is, patches lie as
    near to such pixels as the border allows.

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
    corners = _corners(pool, side)
    weights = torch.tensor([places.weight for places in corners], dtype=torch.float32)

    def integer(high: int) -> int:
        return int(torch.randint(high, (), generator=generator))

    def patch(block: Tensor, places: Corners) -> Tensor:
        top, left = places.draw(integer)
        window = block[:, top : top + side, left : left + side]
        mirrored, quarters = turns[integer(len(turns))]
        return torch.rot90(window.flip(-1) if mirrored else window, quarters, (1, 2))

    while True:
        chosen = torch.multinomial(weights, batch_size, replacement=True, generator=generator)
        yield torch.stack([patch(pool.blocks[n], corners[n]) for n in chosen.tolist()])


def _corners(pool: Pool, side: int) -> list[Corners]:
    """Where the patches of every block may begin."""
    found: list[Corners] = [
        Anywhere(block.shape[1], block.shape[2], side)
        if inside is None
        else Chosen(centred(inside, side))
        for block, inside in zip(pool.blocks, pool.inside, strict=True)
    ]
    if any(corners.weight for corners in found):
        return found
    return [Chosen(nearest(inside, side)) for inside in pool.inside if inside is not None]


def _blocks(size: int) -> list[slice]:
    """Cut an axis into equal blocks of at most `BLOCK`."""
    count = -(-size // BLOCK)
    edges = np.linspace(0, size, count + 1).astype(int).tolist()
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]
