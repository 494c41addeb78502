"""Pixel sizes, distances of planes and frame intervals, each with its own unit."""

import numpy as np
import pytest
import tifffile

from napari_redenoise.io import (
    ImageFile,
    in_one_unit,
    lost_metadata,
    read_image,
    unit_symbol,
    write_tiff,
)

STACK = np.random.default_rng(0).poisson(50, (3, 2, 32, 40)).astype(np.uint16)


def ome(path, **sizes):
    metadata = {"axes": "TZYX", "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1, **sizes}
    tifffile.imwrite(path, STACK, metadata=metadata, photometric="minisblack")
    return read_image(path)


@pytest.mark.parametrize(
    ("size", "unit", "spacing"),
    [
        (500.0, "nm", 0.5),
        (5000.0, "Å", 0.5),
        (0.0005, "mm", 0.5),
        (5e-7, "m", 0.5),
        (0.5, "µm", 0.5),
        (0.5, None, 0.5),
        (0.0254, "thou", 0.64516),
        (1.0, "in", 25400.0),
    ],
)
def test_the_distance_of_ome_planes_has_its_own_unit(tmp_path, size, unit, spacing) -> None:
    named = {} if unit is None else {"PhysicalSizeZUnit": unit}
    image = ome(tmp_path / "a.ome.tif", PhysicalSizeZ=size, **named)
    assert image.metadata["spacing"] == pytest.approx(spacing, rel=1e-9)
    assert (image.metadata["unit"], image.resolution) == ("µm", (10, 10))


@pytest.mark.parametrize(
    ("size", "unit", "seconds"),
    [
        (500.0, "ms", 0.5),
        (2.0, "min", 120.0),
        (1.0, "h", 3600.0),
        (250.0, "µs", 0.00025),
        (0.5, "s", 0.5),
        (0.5, None, 0.5),
    ],
)
def test_the_frame_interval_of_ome_is_in_seconds(tmp_path, size, unit, seconds) -> None:
    named = {} if unit is None else {"TimeIncrementUnit": unit}
    image = ome(tmp_path / "a.ome.tif", TimeIncrement=size, **named)
    assert image.metadata["finterval"] == pytest.approx(seconds, rel=1e-9)


def test_x_and_y_of_ome_may_differ_in_unit(tmp_path) -> None:
    image = ome(
        tmp_path / "a.ome.tif",
        PhysicalSizeX=200.0,
        PhysicalSizeXUnit="nm",
        PhysicalSizeY=0.5,
        PhysicalSizeYUnit="µm",
        PhysicalSizeZ=1.0,
        PhysicalSizeZUnit="µm",
    )
    assert image.metadata["unit"] == "nm"
    assert image.metadata["spacing"] == 1000
    assert image.resolution == pytest.approx((1 / 200, 1 / 500))
    again = read_image(write_tiff(tmp_path / "out.tif", image.array, image))
    assert again.resolution == pytest.approx(image.resolution)
    assert (again.metadata["unit"], again.metadata["spacing"]) == ("nm", 1000)


@pytest.mark.parametrize(
    ("sizes", "lost"),
    [
        ({"PhysicalSizeZ": 2.0, "PhysicalSizeZUnit": "pixel"}, "distance of planes '2.0 pixel'"),
        ({"TimeIncrement": 2.0, "TimeIncrementUnit": "pixel"}, "frame interval '2.0 pixel'"),
        ({"PhysicalSizeYUnit": "reference frame"}, "resolution (10.0, nan) pixels per unit"),
        ({"PhysicalSizeY": 0}, "resolution (10.0, inf) pixels per unit"),
        ({"PhysicalSizeY": -0.1}, "resolution (10.0, -10.0) pixels per unit"),
        ({"PhysicalSizeZ": -1.0}, "distance of planes -1.0"),
        ({"PhysicalSizeZ": 0.0}, "distance of planes 0.0"),
    ],
)
def test_sizes_that_do_not_fit_are_left_out_and_said(tmp_path, sizes, lost) -> None:
    image = ome(tmp_path / "a.ome.tif", **sizes)
    assert lost_metadata(image.array, image)[0] == f"the {lost}"
    again = read_image(write_tiff(tmp_path / "out.tif", image.array, image))
    np.testing.assert_array_equal(again.array, image.array.reshape(again.array.shape))
    assert again.resolution == ((1, 1) if "resolution" in lost else (10, 10))
    assert not {"spacing", "finterval"} & again.metadata.keys()


def test_every_ome_series_has_its_own_scale(tmp_path) -> None:
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path) as file:
        for plane, size in ((STACK[0, 0, :20], 1.0), (STACK[0, 0], 0.1)):
            metadata = {"axes": "YX", "PhysicalSizeX": size, "PhysicalSizeY": size}
            file.write(plane, metadata=metadata)
    assert [read_image(path, series=i).resolution for i in (0, 1)] == [(1, 1), (10, 10)]
    assert read_image(path).resolution == (10, 10)


def test_the_units_of_imagej_are_those_of_their_axes(tmp_path) -> None:
    metadata = {
        "axes": "TZYX", "unit": "um", "yunit": "nm", "spacing": 500.0, "zunit": "nm",
        "finterval": 200.0, "tunit": "ms",
    }  # fmt: skip
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK, imagej=True, resolution=(10, 0.01), metadata=metadata)
    image = read_image(path)
    assert image.resolution == pytest.approx((10, 10))
    assert (image.metadata["spacing"], image.metadata["finterval"]) == (0.5, 0.2)


def test_a_unit_without_a_pixel_size_is_left_out_and_said(tmp_path) -> None:
    like = ImageFile(STACK[0], "ZYX", {"unit": "um", "spacing": 0.5})
    assert lost_metadata(STACK[0], like) == (
        "the unit without a pixel size",
        "the spacing without a pixel size",
    )
    image = read_image(write_tiff(tmp_path / "out.tif", STACK[0], like))
    assert not {"unit", "spacing"} & image.metadata.keys()


def test_the_scale_of_a_zeiss_lsm_is_read(tmp_path) -> None:
    info = np.zeros(1, np.dtype(tifffile.TIFF.CZ_LSMINFO).newbyteorder("<"))
    for name, value in {
        "MagicNumber": 67127628, "StructureSize": info.itemsize, "DimensionX": 40,
        "DimensionY": 32, "DimensionZ": 3, "DimensionChannels": 1, "DimensionTime": 1,
        "VoxelSizeX": 1e-7, "VoxelSizeY": 2e-7, "VoxelSizeZ": 5e-7, "TimeIntervall": 1.5,
    }.items():  # fmt: skip
        info[name] = value
    tag = (34412, "B", info.nbytes, info.tobytes(), True)
    with tifffile.TiffWriter(tmp_path / "a.lsm") as file:
        for plane in STACK[:, 0]:
            file.write(plane, metadata=None, contiguous=False, extratags=[tag])
            file.write(plane[::2, ::2], metadata=None, contiguous=False, subfiletype=1)
    image = read_image(tmp_path / "a.lsm")
    np.testing.assert_array_equal(image.array, STACK[:, 0])
    assert image.axes == "ZYX"
    assert image.resolution == pytest.approx((10, 5))
    assert (image.metadata["unit"], image.metadata["spacing"]) == ("µm", 0.5)
    assert image.metadata["finterval"] == 1.5


def metamorph(path, distance: int) -> None:
    """Write an STK: one page, of which the planes follow each other, and MetaMorph's tags."""
    planes = STACK[:, 0]
    zs = np.array([(distance, 1000, 2451545, 0, 2451545, 0)] * len(planes), np.uint32)
    sizes = np.array([3, 1, 4, 0, 5, 0, 6, 0], np.uint32)
    tags = [(33628, "I", sizes.size, sizes, True), (33629, "2I", zs.size // 2, zs.ravel(), True)]
    tifffile.imwrite(path, planes[0], metadata=None, extratags=tags, byteorder="<")
    whole = bytearray(path.read_bytes()) + planes[1:].tobytes()
    with tifffile.TiffFile(path) as file:
        places = {tag.code: tag for tag in file.pages[0].tags}
    # MetaMorph counts entries and not numbers.
    for code, count in ((33628, sizes.size // 2), (33629, len(planes))):
        place = places[code].offset + 4
        whole[place : place + 4] = count.to_bytes(4, "little")
    for number, value in enumerate([(1, 10), (1, 5)]):
        place = places[33628].valueoffset + 12 + 8 * number
        whole[place : place + 4] = len(whole).to_bytes(4, "little")
        whole += np.array(value, np.uint32).tobytes()
    place = places[33628].valueoffset + 28
    whole[place : place + 4] = len(whole).to_bytes(4, "little")
    path.write_bytes(whole + (3).to_bytes(4, "little") + b"um\0")


@pytest.mark.parametrize("distance", [500, 0])
def test_the_scale_of_a_metamorph_stk_is_read(tmp_path, distance) -> None:
    metamorph(tmp_path / "a.stk", distance)
    image = read_image(tmp_path / "a.stk")
    np.testing.assert_array_equal(image.array, STACK[:, 0])
    assert (image.axes, image.notes) == ("ZYX", ())
    assert image.resolution == pytest.approx((10, 5))
    assert image.metadata == {"unit": "um", **({"spacing": 0.5} if distance else {})}


def test_a_metamorph_stk_that_is_cut_is_read_as_far_as_it_goes(tmp_path) -> None:
    metamorph(tmp_path / "a.stk", 500)
    whole = (tmp_path / "a.stk").read_bytes()
    end = whole.index(STACK[2, 0].tobytes())
    (tmp_path / "a.stk").write_bytes(whole[: end + 100])
    image = read_image(tmp_path / "a.stk")
    np.testing.assert_array_equal(image.array, STACK[:2, 0])
    # MetaMorph's tags lay behind the planes.
    damaged, missing = image.notes
    assert "its metadata are damaged" in damaged
    assert "missing or cut off: 1 of 3 planes" in missing


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("micrometer", "µm"), ("microns", "µm"), ("um", "µm"), ("μm", "µm"), ("\\u00B5m", "µm"),
        ("Nanometers", "nm"), ("angstrom", "Å"), ("inches", "in"), ("sec", "s"), ("seconds", "s"),
        ("millisecond", "ms"), ("hour", "h"), ("pixels", "pixel"), ("m", "m"), ("furlong",
        "furlong"), (None, None),
    ],
)  # fmt: skip
def test_units_have_one_symbol(name, symbol) -> None:
    assert unit_symbol(name) == symbol


def test_sizes_in_one_unit_are_not_touched() -> None:
    metadata, resolution = in_one_unit(
        {"unit": "micron", "spacing": 0.7, "other": 1}, (9.5, 9.5), {"Y": "um", "Z": "µm"}
    )
    assert metadata == {"unit": "micron", "spacing": 0.7, "other": 1}
    assert resolution == (9.5, 9.5)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_scale_of_colours_is_known_to_other_programs(tmp_path, dtype):
    colours = np.zeros((40, 50, 3), np.uint8)
    metadata = {"axes": "YXS", "unit": "um"}
    tifffile.imwrite(
        tmp_path / "in.tif", colours, imagej=True, resolution=(10, 5), metadata=metadata
    )
    source = read_image(tmp_path / "in.tif")
    write_tiff(tmp_path / "out.tif", source.array.astype(dtype), source)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        tags = file.pages[0].tags
        assert tags.valueof("ResolutionUnit") == tifffile.RESUNIT.CENTIMETER
        assert np.divide(*tags.valueof("XResolution")) == pytest.approx(1e5)
        assert np.divide(*tags.valueof("YResolution")) == pytest.approx(5e4)
    found = read_image(tmp_path / "out.tif")
    assert found.resolution == pytest.approx((10.0, 5.0))
    assert found.metadata["unit"] == "um"


def test_one_size_is_that_of_square_pixels(tmp_path):
    metadata = {"axes": "ZYX", "PhysicalSizeX": 0.2, "PhysicalSizeZ": 1.0}
    tifffile.imwrite(
        tmp_path / "in.ome.tif", np.zeros((3, 20, 24), np.uint8), ome=True, metadata=metadata
    )
    found = read_image(tmp_path / "in.ome.tif")
    assert found.resolution == pytest.approx((5.0, 5.0))
    assert found.metadata == {"unit": "µm", "spacing": 1.0}
