"""The one reader of a plane's middle: which pixels it reads, and never more than asked for."""

import numpy as np
import pytest

from napari_redenoise.data import Planes, read_middle, representative_subset, spread_evenly

STACK = np.random.default_rng(0).normal(size=(5, 30, 40))


class Reads:
    """Counts the pixels that are read of an array."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.largest = 0

    def __getitem__(self, key):
        part = self.array[key]
        self.largest = max(self.largest, part.size)
        return part


def test_the_middle_sample_is_read_by_default() -> None:
    np.testing.assert_array_equal(read_middle(Planes(STACK, "TYX")), STACK[2][None])
    np.testing.assert_array_equal(read_middle(Planes(STACK, "TYX"), (4,)), STACK[4][None])


def test_the_middle_of_a_large_plane_is_read_alone() -> None:
    reads = Reads(STACK)
    found = read_middle(Planes(reads, "TYX"), (1,), side=20)
    np.testing.assert_array_equal(found, STACK[1][None, 5:25, 10:30])
    assert reads.largest == 20 * 20


def test_the_middle_is_that_of_the_region() -> None:
    region = np.zeros((30, 40), bool)
    region[20:, :4] = True
    found = read_middle(Planes(STACK, "TYX", region), side=16)
    np.testing.assert_array_equal(found, STACK[2][None, 14:30, :16])


def test_missing_pixels_and_outliers_are_nan() -> None:
    plane = STACK[0].copy()
    plane[3, 4], plane[12, 20] = np.inf, 1e4
    found = read_middle(Planes(plane, "YX"))[0]
    assert np.argwhere(np.isnan(found)).tolist() == [[3, 4], [12, 20]]


@pytest.mark.parametrize(("frames", "levels"), [(12, 4), (24, 11), (60, 25), (18, 2), (78, 3)])
def test_samples_are_not_all_of_one_level(frames: int, levels: int) -> None:
    every = list(np.ndindex(frames, levels))
    chosen = spread_evenly(every, 6)
    assert len({level for _, level in chosen}) == min(levels, 6)
    sixths = [every.index(sample) * 6 // len(every) for sample in chosen]
    assert sixths == list(range(6))


def test_samples_along_one_axis_are_spread() -> None:
    numbers = [(number,) for number in range(20)]
    assert [number for (number,) in spread_evenly(numbers, 6)] == [1, 5, 8, 11, 15, 18]
    assert spread_evenly(numbers, 1) == [(10,)]
    assert spread_evenly(numbers[:4], 6) == numbers[:4]
    assert spread_evenly([], 6) == []
    # Of interleaved channels both are asked.
    assert len({number % 2 for (number,) in spread_evenly(numbers[:12], 6)}) == 2


def test_a_subset_is_of_several_levels() -> None:
    level = np.arange(12 * 4) % 4
    stack = level.reshape(12, 4, 1, 1) + np.random.default_rng(0).random((12, 4, 16, 16)) / 2
    some = representative_subset(Planes(stack, "TZYX"), 6 * 16 * 16)
    whole = slice(0, 16), slice(0, 16)
    found = {int(some.read((number,), *whole).min()) for number in range(6)}
    assert len(found) >= 3
