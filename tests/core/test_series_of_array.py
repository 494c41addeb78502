"""The series of a TIFF from which napari has read a layer."""

import numpy as np
import pytest
import tifffile

from napari_redenoise.io import read_image, series_of_array


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(1, 999, shape).astype(np.uint16)


IMAGES = (
    pixels(40, 48),
    pixels(3, 40, 48, seed=1),
    pixels(40, 48, seed=2),
    pixels(3, 40, 48, seed=3),
    pixels(40, 48, 3, seed=4).astype(np.uint8),
)


@pytest.fixture(params=["several.tif", "several.ome.tif"])
def several(tmp_path, request):
    path = tmp_path / request.param
    with tifffile.TiffWriter(path) as file:
        for image in IMAGES:
            colour = image.dtype == np.uint8
            axes = "YXS" if colour else "ZYX"[-image.ndim :]
            photometric = "rgb" if colour else "minisblack"
            file.write(image, photometric=photometric, metadata={"axes": axes})
    return path


@pytest.mark.parametrize("number", range(len(IMAGES)))
def test_the_series_of_the_pixels_is_found(several, number):
    found = series_of_array(several, IMAGES[number])
    assert found == number
    np.testing.assert_array_equal(read_image(several, series=found).array, IMAGES[number])


def test_an_array_may_have_axes_of_size_1(several):
    assert series_of_array(several, IMAGES[2][None]) == 2


def test_pixels_that_are_not_in_the_file_have_no_series(several):
    assert series_of_array(several, IMAGES[0] + 1) is None
    assert series_of_array(several, pixels(9, 9)) is None
    assert series_of_array(several, IMAGES[0].astype(np.float32)) is None


def test_a_file_of_one_series_needs_no_number(tmp_path):
    tifffile.imwrite(tmp_path / "one.tif", IMAGES[0])
    assert series_of_array(tmp_path / "one.tif", IMAGES[0]) is None


def test_files_that_are_no_tiffs_have_no_series(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0nothing")
    assert series_of_array(tmp_path / "a.tif", IMAGES[0]) is None
    assert series_of_array(tmp_path / "missing.tif", IMAGES[0]) is None
