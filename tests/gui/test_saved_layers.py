"""Pixel sizes and units of layers, as the files of their results hold them."""

import numpy as np
import pytest
import tifffile
from napari.layers import Image

from napari_redenoise._napari._layers import image_file, read_layer
from napari_redenoise.io import lost_metadata, read_image, write_tiff

STACK = np.random.default_rng(0).poisson(50, (3, 32, 40)).astype(np.float32)
ZYX, TYX = ("z", "y", "x"), ("t", "y", "x")


def saved(tmp_path, array=STACK, **keywords):
    """The file of a result, and what it lacks."""
    like = image_file(read_layer(Image(array, **keywords)))
    path = write_tiff(tmp_path / "out.tif", array, like, overwrite=True)
    return read_image(path), lost_metadata(array, like)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("units", [None, ("pixel",) * 3, ("um",) * 3])
def test_the_scale_of_a_layer_is_saved_with_and_without_units(tmp_path, sign, units) -> None:
    scale = (sign * 0.3, sign * 0.1, 0.2)
    image, lost = saved(tmp_path, scale=scale, axis_labels=ZYX, units=units)
    assert image.resolution == pytest.approx((5, 10))
    assert image.metadata["spacing"] == pytest.approx(0.3)
    unit = image.metadata.get("unit")
    assert unit == (r"\u00B5m" if units == ("um",) * 3 else None)
    assert lost == ()


@pytest.mark.parametrize(
    ("scale", "resolution", "spacing"),
    [((1, 1, 0.5), (2, 1), None), ((2, 1, 1), (1, 1), 2), ((1, 1, 1), (1, 1), None)],
)
def test_a_scale_of_one_pixel_says_nothing(tmp_path, scale, resolution, spacing) -> None:
    image, lost = saved(tmp_path, scale=scale, axis_labels=ZYX)
    assert (image.resolution, lost) == (resolution, ())
    assert image.metadata.get("spacing") == spacing


@pytest.mark.parametrize("colour", [False, True])
def test_a_flipped_plane_is_saved_with_the_size_of_its_pixels(tmp_path, colour) -> None:
    plane = np.zeros((32, 40, 3), np.uint8) if colour else STACK[0]
    image, lost = saved(tmp_path, plane, scale=(-0.1, 0.2), units=("um", "um"), rgb=colour)
    assert image.resolution == pytest.approx((5, 10))
    assert lost == ()


def test_every_axis_of_a_layer_has_its_own_unit(tmp_path) -> None:
    units = ("nm", "nm", "um")
    image, lost = saved(tmp_path, scale=(500, 100, 0.2), axis_labels=ZYX, units=units)
    assert image.resolution == pytest.approx((5, 10))
    assert image.metadata["spacing"] == pytest.approx(0.5)
    assert lost == ()


@pytest.mark.parametrize(("size", "unit"), [(0.5, "s"), (500, "ms"), (-0.5, "s"), (1 / 120, "min")])
def test_frame_intervals_are_saved_in_seconds(tmp_path, size, unit) -> None:
    image, lost = saved(tmp_path, scale=(size, 0.1, 0.1), axis_labels=TYX, units=(unit, "um", "um"))
    assert image.metadata["finterval"] == pytest.approx(0.5)
    assert lost == ()


@pytest.mark.parametrize(
    ("labels", "unit", "lost"),
    [
        (TYX, "pixel", "the frame interval '0.5 of unknown unit'"),
        (TYX, "um", "the frame interval '0.5 micrometer'"),
        (ZYX, "pixel", "the distance of planes '0.5 of unknown unit'"),
        (ZYX, "s", "the distance of planes '0.5 second'"),
        (None, "um", "the distance of planes '0.5 along an axis without name'"),
    ],
)
def test_sizes_that_a_tiff_cannot_hold_are_said(tmp_path, labels, unit, lost) -> None:
    units = (unit, "um", "um")
    image, said = saved(tmp_path, scale=(0.5, 0.1, 0.1), axis_labels=labels, units=units)
    assert said == (lost,)
    assert image.resolution == pytest.approx((10, 10))
    assert not {"spacing", "finterval"} & image.metadata.keys()


def test_a_channel_axis_has_no_size(tmp_path) -> None:
    image, lost = saved(tmp_path, scale=(7, 0.1, 0.1), axis_labels=("c", "y", "x"))
    assert (image.axes, lost) == ("CYX", ())
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert "spacing" not in file.imagej_metadata
