import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from napari_redenoise.data import Normalisation, Planes, Pool, _bounded_reading, load_pool, patches
from napari_redenoise.errors import InputError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Counting:
    """An array that notes how many pixels were read of it."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype
        self.pixels_read = 0

    def __getitem__(self, key: Any) -> np.ndarray:
        part = self._array[key]
        self.pixels_read += part.size
        return part


def pool_of(*blocks: np.ndarray) -> Pool:
    tensors = (torch.from_numpy(np.asarray(block, np.float32)) for block in blocks)
    return Pool(tuple(tensors), Normalisation((0.0,), (1.0,)))


def test_the_pool_holds_the_normalised_image() -> None:
    image = np.random.default_rng(0).normal(300, 20, (2, 3, 30, 25))
    pool = load_pool(Planes(image, "TCYX"), generator())
    mean, std = image.mean((0, 2, 3)), image.std((0, 2, 3))
    np.testing.assert_allclose(pool.normalisation.mean, mean)
    np.testing.assert_allclose(pool.normalisation.std, std)
    expected = (image - mean[:, None, None]) / std[:, None, None]
    blocks = sorted((block.numpy() for block in pool.blocks), key=lambda block: block[0, 0, 0])
    expected = sorted(expected, key=lambda block: block[0, 0, 0])
    for block, plane in zip(blocks, expected, strict=True):
        assert block.dtype == np.float32
        np.testing.assert_allclose(block, plane, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float16, np.float32])
def test_normalisation_is_measured_in_float64(dtype) -> None:
    # Small signal on a big offset: float32 sums over so many pixels would lose it.
    offset = {np.uint8: 200, np.float16: 1000}.get(dtype, 60000)
    signal = np.random.default_rng(0).integers(0, 3, (600, 600))
    image = (signal + offset).astype(dtype)
    normalisation = load_pool(Planes(image, "YX"), generator()).normalisation
    assert normalisation.mean[0] == pytest.approx(image.astype(np.float64).mean(), rel=1e-12)
    assert normalisation.std[0] == pytest.approx(image.astype(np.float64).std(), rel=1e-9)
    applied = normalisation.apply(image[None])
    assert applied.dtype == np.float32
    assert applied.mean(dtype=np.float64) == pytest.approx(0, abs=1e-6)
    assert applied.std(dtype=np.float64) == pytest.approx(1, abs=1e-6)


def test_normalisation_can_be_undone_on_a_big_offset() -> None:
    normalisation = Normalisation((60000.0, 5.0), (3.0, 0.1))
    plane = np.random.default_rng(0).normal(size=(2, 20, 20)).astype(np.float32)
    undone = normalisation.undo(plane)
    assert undone.dtype == np.float32
    expected = plane * np.array([3, 0.1])[:, None, None] + np.array([60000, 5])[:, None, None]
    np.testing.assert_allclose(undone, expected, rtol=1e-7)
    np.testing.assert_allclose(normalisation.apply(undone), plane, atol=2e-3)


def test_a_given_normalisation_is_used_instead_of_the_images_own(noisy: np.ndarray) -> None:
    given = Normalisation((10.0,), (4.0,))
    pool = load_pool(Planes(noisy, "YX"), generator(), given)
    assert pool.normalisation is given
    np.testing.assert_allclose(pool.blocks[0][0], (noisy - 10.0) / 4)


@pytest.mark.parametrize("value", [0, 7, 0.1, 1e-30, 1e30])
@pytest.mark.parametrize("shape", [(33, 47), (256, 256)])
def test_a_constant_image_is_refused(value: float, shape) -> None:
    with pytest.raises(InputError, match="same value, so there is nothing to denoise"):
        load_pool(Planes(np.full(shape, value), "YX"), generator())


def test_an_unused_channel_stays_what_it_is(noisy: np.ndarray) -> None:
    image = np.stack([noisy, np.full_like(noisy, 12)])
    pool = load_pool(Planes(image, "CYX"), generator())
    assert pool.blocks[0][1].abs().max() == 0
    assert pool.normalisation.std[1] == 1
    # It says nothing of the pixels of the other.
    assert pool.usable == pool.inside == (None,)
    assert pool.blocks[0][0].std() == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_does_not_count(noisy: np.ndarray, value: float) -> None:
    image = noisy.astype(np.float32)
    image[:9] = value
    pool = load_pool(Planes(image, "YX"), generator())
    np.testing.assert_allclose(pool.normalisation.mean, image[9:].mean(), rtol=1e-5)
    np.testing.assert_allclose(pool.normalisation.std, image[9:].std(), rtol=1e-5)
    # The network is shown a reflection instead, and the pixels are not compared.
    np.testing.assert_array_equal(pool.blocks[0][0, :9], pool.blocks[0][0, 10:19].flip(0))
    assert torch.equal(~pool.usable[0], torch.arange(len(image))[:, None].expand(image.shape) < 9)
    assert torch.isfinite(pool.blocks[0]).all()


def test_an_image_without_finite_pixels_is_refused() -> None:
    with pytest.raises(InputError, match="no finite pixels"):
        load_pool(Planes(np.full((20, 20), np.nan), "YX"), generator())


def test_the_image_is_bit_identical_afterwards(noisy: np.ndarray) -> None:
    before = noisy.copy()
    pool = load_pool(Planes(noisy, "YX"), generator())
    batch = next(patches(pool, 16, 4, generator())).noisy
    batch.zero_()
    pool.blocks[0].zero_()
    np.testing.assert_array_equal(noisy, before)


def test_a_large_image_is_read_in_part_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bounded_reading, "BLOCK", 32)
    image = Counting(np.random.default_rng(0).integers(0, 99, (5, 100, 130)).astype(np.uint8))
    pool = load_pool(Planes(image, "TYX"), generator(), most_pixels=4000)
    largest = max(block.numel() for block in pool.blocks)
    assert max(max(block.shape[1:]) for block in pool.blocks) <= 32
    assert image.pixels_read == sum(block.numel() for block in pool.blocks)
    assert 4000 <= image.pixels_read < 4000 + largest


def test_a_small_image_is_read_once_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bounded_reading, "BLOCK", 32)
    array = np.random.default_rng(0).permutation(100 * 70).reshape(100, 70)
    image = Counting(array)
    pool = load_pool(Planes(image, "YX"), generator(), Normalisation((0.0,), (1024.0,)))
    assert image.pixels_read == array.size
    values = 1024 * torch.cat([block.flatten() for block in pool.blocks])
    assert sorted(values.int().tolist()) == list(range(array.size))


def test_one_block_is_read_even_if_it_is_more_than_allowed(noisy: np.ndarray) -> None:
    pool = load_pool(Planes(noisy, "YX"), generator(), most_pixels=1)
    assert len(pool.blocks) == 1


def test_blocks_are_chosen_by_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bounded_reading, "BLOCK", 32)
    planes = Planes(np.random.default_rng(0).normal(size=(200, 200)), "YX")
    given = Normalisation((0.0,), (1.0,))
    first, again, other = (
        load_pool(planes, generator(seed), given, most_pixels=3000).blocks for seed in (1, 1, 2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_patches_have_the_size_asked_for_and_are_float32() -> None:
    pool = pool_of(np.random.default_rng(0).normal(size=(3, 40, 50)))
    batch = next(patches(pool, 24, 5, generator())).noisy
    assert batch.shape == (5, 3, 24, 24)
    assert batch.dtype == torch.float32


def test_patches_are_as_large_as_the_smallest_image_allows() -> None:
    pool = pool_of(np.zeros((1, 40, 50)), np.zeros((1, 90, 21)))
    assert next(patches(pool, 64, 2, generator())).noisy.shape == (2, 1, 21, 21)


def test_a_much_smaller_image_is_left_out() -> None:
    pool = pool_of(np.zeros((1, 60, 60)), np.ones((1, 20, 20)))
    batch = next(patches(pool, 48, 20, generator())).noisy
    assert batch.shape == (20, 1, 48, 48)
    assert not batch.any()


def test_all_eight_orientations_and_all_positions_occur() -> None:
    block = np.arange(20.0).reshape(1, 4, 5)
    orientations = {
        tuple(np.rot90(flipped, rotations).ravel())
        for left in (0, 1)
        for window in [block[0, :, left : left + 4]]
        for flipped in (window, window[:, ::-1])
        for rotations in range(4)
    }
    assert len(orientations) == 16
    batch = next(patches(pool_of(block), 4, 400, generator())).noisy
    assert {tuple(patch.ravel().tolist()) for patch in batch[:, 0]} == orientations


def test_blocks_are_visited_in_proportion_to_their_area() -> None:
    pool = pool_of(np.zeros((1, 20, 20)), np.ones((1, 60, 20)))
    batch = next(patches(pool, 16, 2000, generator())).noisy
    # Binomial with p = 3/4: five standard deviations are 0.05.
    assert float(batch[:, 0, 0, 0].mean()) == pytest.approx(0.75, abs=0.05)


def test_a_missing_pixel_costs_a_block_its_patches_alone() -> None:
    usable = torch.ones(40, 40, dtype=torch.bool)
    usable[0, 0] = False
    pool = dataclasses.replace(
        pool_of(np.zeros((1, 40, 40)), np.ones((1, 40, 40))), inside=(None, usable)
    )
    batch = next(patches(pool, 32, 2000, generator())).noisy
    # Binomial with p = 1/2: five standard deviations are 0.056.
    assert float(batch[:, 0, 0, 0].mean()) == pytest.approx(0.5, abs=0.056)


def test_patches_are_determined_by_the_seed_alone() -> None:
    pool = pool_of(np.random.default_rng(0).normal(size=(1, 60, 60)))
    before = torch.get_rng_state()
    streams = [patches(pool, 16, 4, generator(seed)) for seed in (1, 1, 2)]
    for _ in range(3):
        first, again, other = (next(stream).noisy for stream in streams)
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
