"""CZI, written and read by the library of Zeiss."""

import importlib.util
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_redenoise.errors import InputError
from napari_redenoise.io import _lazy_images, read_image

needs_its_library = pytest.mark.skipif(
    importlib.util.find_spec("pylibCZIrw") is None, reason="pylibCZIrw is not installed"
)


def pixels(*shape: int, dtype=np.uint16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(50, shape).astype(dtype)


def write(path, *scenes: np.ndarray, left_out=(), size=(1e-7, 2e-7, 5e-7)):
    """Write scenes of shape (T, C, Z, Y, X) beside each other."""
    from pylibCZIrw import czi

    with czi.create_czi(str(path)) as file:
        for number, scene in enumerate(scenes):
            for t, c, z in np.ndindex(scene.shape[:3]):
                if (t, c, z) in left_out:
                    continue
                place = (
                    {} if len(scenes) == 1 else {"scene": number, "location": (1000 * number, 0)}
                )
                plane = scene[t, c, z][..., None]
                file.write(data=plane, plane={"T": t, "C": c, "Z": z}, **place)
        x, y, z = size
        file.write_metadata("made by a test", scale_x=x, scale_y=y, scale_z=z)
    return path


@needs_its_library
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_pixels_axes_and_sizes_are_read(tmp_path, dtype):
    written = pixels(3, 2, 4, 40, 56, dtype=dtype)
    image = read_image(write(tmp_path / "a.czi", written))
    assert image.axes == "TCZYX"
    assert image.array.dtype == dtype
    assert_array_equal(image.array, written)
    assert image.metadata == {"unit": "µm", "spacing": pytest.approx(0.5)}
    assert image.resolution == pytest.approx((10, 5))
    assert image.notes == ()


@needs_its_library
def test_axes_of_size_1_are_left_out(tmp_path):
    written = pixels(1, 1, 3, 20, 24)
    image = read_image(write(tmp_path / "a.czi", written))
    assert image.axes == "ZYX"
    assert_array_equal(image.array, written[0, 0])


@needs_its_library
def test_scenes_are_series(tmp_path):
    small, large = pixels(1, 2, 2, 20, 24), pixels(1, 2, 3, 32, 40, seed=1)
    path = write(tmp_path / "a.czi", small, large)
    image = read_image(path)
    assert_array_equal(image.array, large[0])
    assert image.notes == (
        "it holds 2 series: 0 (scene 0, 2 × 2 × 20 × 24), 1 (scene 1, 2 × 3 × 32 × 40); series 1, "
        "the largest, is read: give another number with --series for the others",
    )
    assert_array_equal(read_image(path, series=0).array, small[0])
    with pytest.raises(InputError, match="no series 2 in it"):
        read_image(path, series=2)


@needs_its_library
def test_colours_are_red_green_blue(tmp_path):
    from pylibCZIrw import czi

    colours = pixels(20, 24, 3, dtype=np.uint8)
    with czi.create_czi(str(tmp_path / "a.czi")) as file:
        # Its memory order is blue, green, red.
        file.write(data=np.ascontiguousarray(colours[..., ::-1]), plane={"C": 0})
    image = read_image(tmp_path / "a.czi")
    assert image.axes == "YXC"
    assert_array_equal(image.array, colours)


@needs_its_library
def test_tiles_are_stitched(tmp_path):
    from pylibCZIrw import czi

    whole = pixels(20, 48)
    with czi.create_czi(str(tmp_path / "a.czi")) as file:
        for left in (0, 24):
            tile = np.ascontiguousarray(whole[:, left : left + 24, None])
            file.write(data=tile, plane={"C": 0}, location=(left - 5, 7))
    image = read_image(tmp_path / "a.czi")
    assert image.axes == "YX"
    assert_array_equal(image.array, whole)


@needs_its_library
def test_missing_planes_are_said(tmp_path):
    written = pixels(2, 1, 3, 20, 24)
    path = write(tmp_path / "a.czi", written, left_out=[(1, 0, 1)])
    image = read_image(path)
    written[1, 0, 1] = 0
    assert_array_equal(image.array, written[:, 0])
    assert image.notes == ("1 of its planes are missing, and are 0",)


@needs_its_library
@pytest.mark.parametrize("key", [(1, 0, 3), (0, slice(None), 2, slice(3, 9), slice(20, 31))])
def test_a_large_one_is_read_when_it_is_indexed(tmp_path, monkeypatch, key):
    written = pixels(2, 2, 4, 32, 40)
    monkeypatch.setattr(_lazy_images, "MOST_BYTES_IN_MEMORY", 1000)
    image = read_image(write(tmp_path / "a.czi", written))
    assert not isinstance(image.array, np.ndarray)
    assert_array_equal(image.array[key], written[key])


@needs_its_library
def test_a_damaged_one_is_refused(tmp_path):
    (tmp_path / "a.czi").write_bytes(b"ZISRAWFILE" + bytes(1000))
    with pytest.raises(InputError, match="a\\.czi cannot be read as an image"):
        read_image(tmp_path / "a.czi")


def test_without_its_library_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pylibCZIrw", None)
    (tmp_path / "a.tif").write_bytes(b"ZISRAWFILE" + bytes(100))
    words = "it is a CZI of Zeiss, which needs a reader: run pip install pylibCZIrw"
    with pytest.raises(InputError, match=words):
        read_image(tmp_path / "a.tif")
