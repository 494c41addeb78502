"""The pixels that training sees: blocks read once, normalised, and cut into random patches."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from napari_redenoise.data._bad_pixels import mask_missing
from napari_redenoise.data._bounded_reading import read_random_blocks
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
    """Normalised blocks, each (channels, height, width) float32, and how they were normalised.

    ``inside`` has for every block its pixels that may be learned from, (height, width) bool, or
    None for all of them: patches have their centre there. ``usable`` has those that may be
    compared with a prediction, of the same shape, or None for all.
    """

    blocks: tuple[Tensor, ...]
    normalisation: Normalisation
    inside: tuple[Tensor | None, ...] = ()
    usable: tuple[Tensor | None, ...] = ()

    def __post_init__(self) -> None:
        for name in ("inside", "usable"):
            if not getattr(self, name):
                object.__setattr__(self, name, (None,) * len(self.blocks))

    def hold_out(self, held_out: Sequence[Tensor]) -> Pool:
        """The same with pixels, (height, width) bool for every block, that are not compared."""
        usable = tuple(
            ~out if before is None else before & ~out
            for before, out in zip(self.usable, held_out, strict=True)
        )
        return replace(self, usable=usable)


class Patches(NamedTuple):
    """A batch (B, channels, side, side) float32, and which pixels may be compared (B, 1, ...)."""

    noisy: Tensor
    usable: Tensor | None = None


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
    raw, masks = read_random_blocks(images, generator, most_pixels, should_stop)
    if not raw:
        raise InputError(
            "no pixel to learn from lies inside the region: draw it on the image (for the "
            "neighbouring frames of Noise2Noise on both), or leave it out"
        )
    channels = images[0].channels
    normalisation = _measure_inside(raw, masks, channels, normalisation)
    shown = [NetworkInput.of(block, normalisation) for block in raw]
    missing = [np.asarray(one.missing.all(0)) for one in shown]
    # Black frames hold nothing to learn from.
    kept = [number for number, absent in enumerate(missing) if not absent.all()]
    blocks = tuple(torch.from_numpy(shown[number].image) for number in kept)
    if all(_repeats_itself(block, channels) for block in blocks):
        raise InputError(
            "both images of Noise2Noise hold the same pixels: choose another shot of the scene as "
            "the second image"
        )
    return Pool(
        blocks,
        normalisation,
        tuple(_inside(masks[number], missing[number]) for number in kept),
        tuple(_usable(shown[number]) for number in kept),
    )


def _inside(mask: np.ndarray | None, missing: np.ndarray) -> Tensor | None:
    """Where patches may have their centre: in the region, where something was measured."""
    if mask is None and not missing.any():
        return None
    inside = ~missing if mask is None else mask & ~missing
    # A region in a gap is refused where no other is left; here its patches lie beside it.
    return torch.from_numpy(inside if inside.any() or mask is None else mask)


def _usable(shown: NetworkInput) -> Tensor | None:
    """Pixels with every channel measured and shown as it is."""
    # A channel without any measurement says nothing of the others.
    some = ~shown.missing.all((1, 2))
    left_out = (shown.missing | shown.outlier | (shown.clipped != 0))[some].any(0)
    return torch.from_numpy(~left_out) if left_out.any() else None


def _measure_inside(
    raw: list[np.ndarray],
    masks: list[np.ndarray | None],
    channels: int,
    known: Normalisation | None,
) -> Normalisation:
    """Over the measured training pixels of all shots, unless it is known."""

    def shots(blocks: list[np.ndarray]) -> list[np.ndarray]:
        inside = (
            block if mask is None else block[:, mask]
            for block, mask in zip(blocks, masks, strict=True)
        )
        return [shot for block in inside for shot in np.split(block, len(block) // channels)]

    what = "image" if all(mask is None for mask in masks) else "region"
    seen = shots([mask_missing(block) for block in raw])
    if not any(np.isfinite(shot).any() for shot in seen):
        # Which says whether it is of one value, or of no finite one.
        measure(shots(raw), what)
        raise InputError(
            f"the {what} holds constant areas only: there is nothing to denoise, choose another "
            f"{what}"
        )
    found = measure(seen, what)
    return found if known is None else known


def _repeats_itself(block: Tensor, channels: int) -> bool:
    """Whether a block holds two shots that are one and the same."""
    return len(block) == 2 * channels and torch.equal(*block.split(channels))


ORIENTATIONS = tuple(itertools.product((False, True), range(4)))


def patches(
    pool: Pool,
    patch_size: int,
    batch_size: int,
    generator: torch.Generator,
    orientations: Sequence[tuple[bool, int]] = ORIENTATIONS,
) -> Iterator[Patches]:
    """Endless batches of random patches, turned by multiples of 90 degrees and mirrored.

    Where the pool says which pixels may be learned from, the centres of the patches are such
    pixels: all that are far enough from the border are equally likely. If none is, patches lie as
    near to such pixels as the border allows.

    Parameters
    ----------
    pool : Pool
    patch_size, batch_size : int
    generator : torch.Generator
    orientations : sequence of (bool, int)
        Whether mirrored along x, and then by how many quarter turns: one is drawn per patch.

    Yields
    ------
    Patches
        Their ``side`` is the patch size or the shortest side of a block, whichever is smaller.
    """
    side = min(patch_size, *(min(block.shape[1:]) for block in pool.blocks))
    corners = _corners(pool, side)
    weights = torch.tensor([places.weight for places in corners], dtype=torch.float32)

    def integer(high: int) -> int:
        return int(torch.randint(high, (), generator=generator))

    def patch(number: int) -> tuple[Tensor, Tensor | None]:
        top, left = corners[number].draw(integer)
        mirrored, quarters = orientations[integer(len(orientations))]

        def cut(block: Tensor) -> Tensor:
            window = block[:, top : top + side, left : left + side]
            return torch.rot90(window.flip(-1) if mirrored else window, quarters, (1, 2))

        usable = pool.usable[number]
        return cut(pool.blocks[number]), None if usable is None else cut(usable[None])

    everywhere = torch.ones(1, side, side, dtype=torch.bool)
    while True:
        chosen = torch.multinomial(weights, batch_size, replacement=True, generator=generator)
        noisy, usable = zip(*map(patch, chosen.tolist()), strict=True)
        some = any(part is not None for part in usable)
        masks = [everywhere if part is None else part for part in usable]
        yield Patches(torch.stack(noisy), torch.stack(masks) if some else None)


def _corners(pool: Pool, side: int) -> list[Corners]:
    """Where the patches of every block may begin."""
    found: list[Corners] = [
        AllCorners(block.shape[1], block.shape[2], side)
        if inside is None
        else AllowedCorners(centred_corners(inside, side))
        for block, inside in zip(pool.blocks, pool.inside, strict=True)
    ]
    if any(corners.weight for corners in found):
        return found
    return [
        AllowedCorners(nearest_corners(inside, side))
        for inside in pool.inside
        if inside is not None
    ]
