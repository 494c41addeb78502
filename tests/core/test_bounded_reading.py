"""The one reader of a plane's middle: which pixels it reads, and never more than asked for."""

import numpy as np

from napari_redenoise.data import Planes, read_middle

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
