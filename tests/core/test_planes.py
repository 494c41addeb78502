from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_redenoise.data import Planes, default_axes, middle_window, spread_window
from napari_redenoise.errors import InputError

SIZES = {"T": 2, "Z": 3, "C": 4, "Y": 20, "X": 17}
AXES = ["YX", "XY", "TYX", "ZCYX", "YXC", "CYX", "TZYX", "TZYXC", "YTXC", "XCZY", "CTZXY"]
every_axes = pytest.mark.parametrize("axes", AXES)
WHOLE = slice(None)


def numbered(axes: str) -> np.ndarray:
    """Every pixel its own number."""
    shape = [SIZES[axis] for axis in axes]
    return np.arange(np.prod(shape), dtype=np.uint32).reshape(shape)


def by_name(array: Any, axes: str, order: str) -> np.ndarray:
    """The array with its axes in another order, missing ones with size 1."""
    missing = "".join(axis for axis in order if axis not in axes)
    array = np.asarray(array).reshape(*array.shape, *(1 for _ in missing))
    return np.transpose(array, [(axes + missing).index(axis) for axis in order])


@every_axes
def test_reading_gives_channels_rows_and_columns_of_a_sample(axes: str) -> None:
    array = numbered(axes)
    planes = Planes(array, axes)
    samples = [axis for axis in axes if axis not in "CYX"]
    expected = by_name(array, axes, "".join(samples) + "CYX")
    assert planes.sample_shape == expected.shape[:-3]
    assert (planes.channels, planes.height, planes.width) == expected.shape[-3:]
    indices = list(planes.indices())
    assert indices == list(np.ndindex(*planes.sample_shape))
    assert len(planes) == len(indices)
    for index in indices:
        window = planes.read(index, slice(3, 18), slice(2, 9))
        np.testing.assert_array_equal(window, expected[index][:, 3:18, 2:9])
        assert window.dtype == np.uint32


@every_axes
@pytest.mark.parametrize("kind", ["numpy", "dask", "zarr"])
def test_reading_and_writing_windows_copies_the_array(axes: str, kind: str) -> None:
    array = numbered(axes)
    before = array.copy()
    source = {"numpy": array, "dask": da.from_array(array, chunks=7), "zarr": stored(array)}[kind]
    target = stored(np.zeros_like(array)) if kind == "zarr" else np.zeros_like(array)
    planes = Planes(source, axes)
    for index in planes.indices():
        for rows in (slice(0, 11), slice(11, 20)):
            for columns in (slice(0, 4), slice(4, 17)):
                planes.write(target, index, rows, columns, planes.read(index, rows, columns))
    np.testing.assert_array_equal(np.asarray(target[...]), before)
    np.testing.assert_array_equal(array, before)


def stored(array: np.ndarray) -> zarr.Array:
    return zarr.array(array, chunks=tuple(min(side, 8) for side in array.shape))


@every_axes
def test_a_mask_is_written_without_the_channel_axis(axes: str) -> None:
    planes = Planes(numbered(axes), axes)
    without = axes.replace("C", "")
    assert planes.axes_without_channels == without
    assert planes.shape_without_channels == tuple(SIZES[axis] for axis in without)
    expected = numbered(without)
    target = np.zeros_like(expected)
    single = Planes(expected, without)
    for index in planes.indices():
        part = single.read(index, WHOLE, WHOLE)
        planes.write(target, index, WHOLE, WHOLE, part, channels=False)
    np.testing.assert_array_equal(target, expected)


@pytest.mark.parametrize(("ndim", "axes"), [(2, "YX"), (3, "ZYX"), (4, "TZYX"), (5, "STZYX")])
def test_the_last_two_axes_are_the_plane_by_default(ndim: int, axes: str) -> None:
    assert default_axes(ndim) == axes


@pytest.mark.parametrize("ndim", [0, 1, 6])
def test_too_few_or_too_many_axes_are_refused_with_a_remedy(ndim: int) -> None:
    with pytest.raises(InputError, match=f"2 to 5 axes, got {ndim}: choose another layer or slice"):
        default_axes(ndim)


def zeros(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("array", "axes", "message"),
    [
        (zeros(20, 20), "TYX", r"name 3 axes .* shape \(20, 20\): give one letter per axis"),
        (zeros(20, 20, 20), "TTX", "need Y and X, and each letter once"),
        (zeros(20, 20, 20), "YYX", "need Y and X, and each letter once"),
        (zeros(20, 20, dtype=bool), "YX", "got bool: convert the image first"),
        (zeros(20, 20, dtype=np.complex64), "YX", "got complex64: convert the image first"),
        (zeros(20, 20, dtype="U3"), "YX", "expected integer or floating-point pixels"),
        (zeros(0, 20, 20), "TYX", "holds no pixels: choose another"),
        (zeros(20, 15), "YX", r"at least 16 x 16 pixels, got 20 x 15 .*: check the axes"),
        (zeros(20, 30, 3), "CYX", r"at least 16 x 16 pixels, got 30 x 3 .*: check the axes"),
        (zeros(17, 20, 20), "CYX", "at most 16 channels, got 17 .*name that axis T or Z"),
    ],
)
def test_what_cannot_be_denoised_is_refused_with_a_remedy(array, axes, message) -> None:
    with pytest.raises(InputError, match=message):
        Planes(array, axes)


def test_windows_are_spread_over_a_plane() -> None:
    planes = Planes(np.zeros((2, 900, 700), np.uint8), "TYX")
    windows = [spread_window(planes, (0,), 100, number) for number in range(8)]
    assert windows[0] == middle_window(planes, (0,), 100)
    seen = np.zeros((900, 700), bool)
    for window in windows:
        assert seen[window].shape == (100, 100)
        assert not seen[window].any()
        seen[window] = True
    assert seen[:450, :350].any()
    assert seen[:450, 350:].any()
    assert seen[450:, :350].any()
    assert seen[450:, 350:].any()


def test_windows_are_spread_over_a_training_region() -> None:
    region = np.zeros((900, 700), bool)
    region[600:850, 20:60] = True
    planes = Planes(np.zeros((2, 900, 700), np.uint8), "TYX", region=region)
    for number in range(8):
        rows, columns = spread_window(planes, (0,), 100, number)
        assert rows.start >= 600
        assert rows.stop <= 850
        assert columns == middle_window(planes, (0,), 100)[1]
    assert spread_window(planes, (0,), 1000, 3) == (slice(0, 900), slice(0, 700))
