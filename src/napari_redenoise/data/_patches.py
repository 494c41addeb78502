"""Training data: blocks that are read once, normalised, and cut into random patches."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from napari_redenoise.data._bad_pixels import mask_missing
from napari_redenoise.data._bounded_reading import Place, read_random_blocks
from napari_redenoise.data._noisy_pairs import Shots
from napari_redenoise.data._normalisation import NetworkInput, Normalisation, measure
from napari_redenoise.data._patch_positions import (
    AllCorners,
    AllowedCorners,
    Corners,
    centred_corners,
    nearest_corners,
)
from napari_redenoise.errors import InputError

MOST_PIXELS = 32 * 2**20


@dataclass(frozen=True)
class Pool:
    """Normalised blocks, each (channels, height, width) float32, and their normalisation.

    ``inside`` is the training region of every block, (height, width) bool, or None for all of it:
    patches are centred there. ``usable`` holds the pixels that enter the loss, of the same shape,
    or None for all. ``around`` holds the neighbours of every block, None where one is missing.
    """

    blocks: tuple[Tensor, ...]
    normalisation: Normalisation
    inside: tuple[Tensor | None, ...] = ()
    usable: tuple[Tensor | None, ...] = ()
    around: tuple[tuple[Tensor | None, ...], ...] = ()

    def __post_init__(self) -> None:
        for name, nothing in (("inside", None), ("usable", None), ("around", ())):
            if not getattr(self, name):
                object.__setattr__(self, name, (nothing,) * len(self.blocks))

    def common_side(self, most: int) -> int:
        """Largest side of squares in all blocks, but those less than half as large as others."""
        sides = [min(most, int(min(block.shape[1:]))) for block in self.blocks]
        return min(side for side in sides if 2 * side >= max(sides))

    def context(self, number: int, rows: slice, columns: slice) -> Tensor:
        """Return the network inputs beside a window of a block, see `context_of`."""
        block = self.blocks[number][:, rows, columns]
        around = [None if one is None else one[:, rows, columns] for one in self.around[number]]
        return context_of(around, block)

    def hold_out(self, held_out: Sequence[Tensor]) -> Pool:
        """Exclude hold-out pixels, (height, width) bool per block, from the loss."""
        usable = tuple(
            ~out if before is None else before & ~out
            for before, out in zip(self.usable, held_out, strict=True)
        )
        return replace(self, usable=usable)


class Patches(NamedTuple):
    """A batch (B, channels, side, side) float32, and the pixels of the loss (B, 1, side, side).

    ``context`` holds the network inputs beside the patches (B, inputs, side, side).
    """

    noisy: Tensor
    usable: Tensor | None = None
    context: Tensor | None = None


def context_of(around: Sequence[Tensor | None], like: Tensor) -> Tensor:
    """Stack the neighbours of a plane, 0 where one is missing, and 1 or 0 to mark that.

    Parameters
    ----------
    around : sequence of Tensor or None
        Normalised, each of the shape of `like`.
    like : Tensor
        The plane, (channels, Y, X).

    Returns
    -------
    Tensor
        (neighbours * (channels + 1), Y, X).
    """
    if not around:
        return like[:0]
    nothing = torch.zeros_like(like)
    marks = [torch.full_like(like[:1], float(one is not None)) for one in around]
    return torch.cat([*(nothing if one is None else one for one in around), *marks])


def load_pool(
    images: Shots | Sequence[Shots],
    generator: torch.Generator,
    normalisation: Normalisation | None = None,
    most_pixels: int = MOST_PIXELS,
    should_stop: Callable[[], bool] | None = None,
) -> Pool:
    """Read the training data of one or more images.

    Small images are read whole. Of large ones random blocks are read, up to ``most_pixels``
    pixels: more than the patches of a run visit. Blocks outside the training region are skipped.

    Parameters
    ----------
    images : Shots, or a sequence of them
        An image (`Planes`), or pairs of images of the same scene. Several images have the same
        channels and grey scale.
    generator : torch.Generator
        Chooses the blocks.
    normalisation : Normalisation, optional
        Default that of the images.
    most_pixels : int
    should_stop : callable, optional
        Ends the reading after a block; the pool holds the blocks read so far.

    Raises
    ------
    InputError
        When every finite pixel has the same value, both shots are the same, or the training
        region is empty.
    """
    images = images if isinstance(images, Sequence) else (images,)
    raw, masks, places = read_random_blocks(images, generator, most_pixels, should_stop)
    if not raw:
        raise InputError(
            "the training region holds no pixels: draw it on the image (for Noise2Noise on "
            "consecutive frames), or leave it out"
        )
    channels = images[0].channels
    normalisation = _measure_inside(raw, masks, channels, normalisation)
    inputs = [NetworkInput.of(block, normalisation) for block in raw]
    missing = [np.asarray(one.missing.all(0)) for one in inputs]
    # Black frames are missing as a whole.
    kept = [number for number, absent in enumerate(missing) if not absent.all()]
    blocks = tuple(torch.from_numpy(inputs[number].image) for number in kept)
    if all(_is_repeated(block, channels) for block in blocks):
        raise InputError(
            "both images of Noise2Noise have the same pixels: choose another shot of the scene as "
            "the second image"
        )
    return Pool(
        blocks,
        normalisation,
        tuple(_inside(masks[number], missing[number]) for number in kept),
        tuple(_usable(inputs[number]) for number in kept),
        _around([places[number] for number in kept], blocks, normalisation),
    )


def _around(
    places: list[Place], blocks: tuple[Tensor, ...], normalisation: Normalisation
) -> tuple[tuple[Tensor | None, ...], ...]:
    """Neighbours of every block; those that are blocks are not read again."""

    def key(shots: Shots, sample: tuple[int, ...], rows: slice, columns: slice) -> tuple[Any, ...]:
        return id(shots), sample, rows.start, columns.start

    known: dict[tuple[Any, ...], Tensor | None] = {
        key(*place): block for place, block in zip(places, blocks, strict=True)
    }

    def neighbour(*place: Any) -> Tensor | None:
        shots, *window = place
        name = key(*place)
        if name not in known:
            inputs = NetworkInput.of(shots.read(*window), normalisation)
            known[name] = None if inputs.missing.all() else torch.from_numpy(inputs.image)
        return known[name]

    return tuple(
        tuple(
            None if beside is None else neighbour(shots, beside, rows, columns)
            for beside in shots.neighbours(sample)
        )
        for shots, sample, rows, columns in places
    )


def _inside(mask: np.ndarray | None, missing: np.ndarray) -> Tensor | None:
    """Where patches may be centred: measured pixels of the training region."""
    if mask is None and not missing.any():
        return None
    inside = ~missing if mask is None else mask & ~missing
    # A region inside a gap still gets patches, which reach beyond the gap.
    return torch.from_numpy(inside if inside.any() or mask is None else mask)


def _usable(block: NetworkInput) -> Tensor | None:
    """Pixels that no channel replaces or clips."""
    # A channel that is missing as a whole does not exclude the others.
    some = ~block.missing.all((1, 2))
    left_out = block.replaced[some].any(0)
    return torch.from_numpy(~left_out) if left_out.any() else None


def _measure_inside(
    raw: list[np.ndarray],
    masks: list[np.ndarray | None],
    channels: int,
    known: Normalisation | None,
) -> Normalisation:
    """Normalisation over the measured training pixels of all shots, unless it is known."""

    def shots(blocks: list[np.ndarray]) -> list[np.ndarray]:
        inside = (
            block if mask is None else block[:, mask]
            for block, mask in zip(blocks, masks, strict=True)
        )
        return [shot for block in inside for shot in np.split(block, len(block) // channels)]

    what = "image" if all(mask is None for mask in masks) else "region"
    seen = shots([mask_missing(block) for block in raw])
    if not any(np.isfinite(shot).any() for shot in seen):
        # Raises the error for constant or non-finite pixels.
        measure(shots(raw), what)
        raise InputError(
            f"the {what} holds constant areas only, so there is nothing to denoise: choose another "
            f"{what}"
        )
    found = measure(seen, what)
    return found if known is None else known


def _is_repeated(block: Tensor, channels: int) -> bool:
    """Whether a block holds two identical shots."""
    return len(block) == 2 * channels and torch.equal(*block.split(channels))


ORIENTATIONS = tuple(itertools.product((False, True), range(4)))


def patches(
    pool: Pool,
    patch_size: int,
    batch_size: int,
    generator: torch.Generator,
    orientations: Sequence[tuple[bool, int]] = ORIENTATIONS,
) -> Iterator[Patches]:
    """Endless batches of random patches, flipped and rotated by multiples of 90 degrees.

    Patches are centred in the training region. All pixels far enough from the border are equally
    likely. If there are none, patches lie as near to the region as the border allows.

    Parameters
    ----------
    pool : Pool
    patch_size, batch_size : int
    generator : torch.Generator
    orientations : sequence of (bool, int)
        Whether a patch is flipped along x, and the number of 90 degree rotations after that.
        One of them is drawn per patch.

    Yields
    ------
    Patches
        Their side is `Pool.common_side`; smaller blocks are left out.
    """
    side = pool.common_side(patch_size)
    large = [n for n, block in enumerate(pool.blocks) if min(block.shape[1:]) >= side]
    corners = dict(zip(large, _corners(pool, large, side), strict=True))
    weights = torch.tensor([corners[number].weight for number in large], dtype=torch.float32)

    def integer(high: int) -> int:
        return int(torch.randint(high, (), generator=generator))

    def patch(number: int) -> tuple[Tensor, Tensor | None, Tensor]:
        top, left = corners[number].draw(integer)
        is_flipped, quarters = orientations[integer(len(orientations))]

        def cut(block: Tensor) -> Tensor:
            window = block[:, top : top + side, left : left + side]
            return torch.rot90(window.flip(-1) if is_flipped else window, quarters, (1, 2))

        usable = pool.usable[number]
        noisy = cut(pool.blocks[number])
        around = [None if one is None else cut(one) for one in pool.around[number]]
        return noisy, None if usable is None else cut(usable[None]), context_of(around, noisy)

    everywhere = torch.ones(1, side, side, dtype=torch.bool)
    while True:
        chosen = torch.multinomial(weights, batch_size, replacement=True, generator=generator)
        numbers = [large[place] for place in chosen.tolist()]
        noisy, usable, context = zip(*map(patch, numbers), strict=True)
        some = any(part is not None for part in usable)
        masks = [everywhere if part is None else part for part in usable]
        yield Patches(
            torch.stack(noisy),
            torch.stack(masks) if some else None,
            torch.stack(context) if len(context[0]) else None,
        )


def _corners(pool: Pool, large: Sequence[int], side: int) -> list[Corners]:
    """Allowed corners of the patches of some blocks, which are not smaller."""
    regions = [pool.inside[number] for number in large]
    found: list[Corners] = [
        AllCorners(pool.blocks[number].shape[1], pool.blocks[number].shape[2], side)
        if inside is None
        else AllowedCorners(centred_corners(inside, side), side)
        for number, inside in zip(large, regions, strict=True)
    ]
    if any(corners.weight for corners in found):
        return found
    return [
        AllowedCorners(nearest_corners(inside, side), side)
        for inside in regions
        if inside is not None
    ]
