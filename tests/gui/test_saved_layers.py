"""Pixel sizes and units of layers, as the files of their results hold them."""

import numpy as np
import pytest
import tifffile
import zarr
from napari.layers import Image

from napari_redenoise._napari._layers import image_file, read_layer
from napari_redenoise.errors import OutputError
from napari_redenoise.io import (
    lost_metadata,
    ome_form,
    read_image,
    write_ome_zarr,
    write_tiff,
)

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


@pytest.mark.parametrize(
    ("axes", "scale", "units", "named", "stored"),
    [
        ("zyx", (0.3, 0.1, 0.1), ("pixel",) * 3, [None] * 3, [0.3, 0.1, 0.1]),
        ("zyx", (-500, 100, -0.2), ("nm", "nm", "um"), ["nanometer"] * 2 + ["micrometer"], None),
        ("tyx", (2, 0.1, 0.1), ("min", "um", "um"), ["minute"] + ["micrometer"] * 2, None),
    ],
)
def test_ome_zarr_has_the_size_and_unit_of_every_axis(tmp_path, axes, scale, units, named, stored):
    layer = Image(STACK, scale=scale, axis_labels=tuple(axes), units=units)
    write_ome_zarr(tmp_path / "a.zarr", STACK, image_file(read_layer(layer)))
    image = zarr.open(tmp_path / "a.zarr", mode="r").attrs["ome"]["multiscales"][0]
    assert [axis.get("unit") for axis in image["axes"]] == named
    found = image["datasets"][0]["coordinateTransformations"][0]["scale"]
    assert found == pytest.approx(stored or np.abs(scale))


def test_channels_of_a_stack_are_sorted_in_ome_zarr(tmp_path) -> None:
    stack = np.random.default_rng(0).random((3, 2, 32, 40)).astype(np.float32)
    layer = Image(stack, axis_labels=tuple("zcyx"), scale=(0.5, 1, 0.1, 0.1))
    write_ome_zarr(tmp_path / "a.zarr", stack, image_file(read_layer(layer)))
    image = read_image(tmp_path / "a.zarr")
    assert image.axes == "CZYX"
    np.testing.assert_array_equal(np.asarray(image.array), stack.swapaxes(0, 1))


def test_axes_that_ome_zarr_does_not_allow_are_refused(tmp_path) -> None:
    layer = Image(np.zeros((2, 2, 32, 40)), axis_labels=("repeat", "c", "y", "x"))
    with pytest.raises(OutputError, match="give other axes, or a name that ends in"):
        ome_form((2, 2, 32, 40), image_file(read_layer(layer)))
