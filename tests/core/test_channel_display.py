"""Names, colours and windows of channels go from a source into its result."""

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr

from napari_redenoise.io import (
    RGB,
    ImageFile,
    lost_metadata,
    read_image,
    write_ome_zarr,
    write_tiff,
)
from napari_redenoise.io._channels import Channel, czi_channels, lsm_channels

ARRAY = np.arange(2 * 3 * 20 * 30, dtype=np.uint16).reshape(2, 3, 20, 30)
NAMED = (
    Channel("DAPI", "0000FF"),
    Channel("GFP", "00FF00"),
    Channel("mCherry", "FF0000"),
)


def omero(path) -> list[dict]:
    return zarr.open_group(path).attrs["ome"]["omero"]["channels"]


def ome_tiff(path, **channel):
    metadata = {"axes": "ZCYX", "Channel": channel} if channel else {"axes": "ZCYX"}
    tifffile.imwrite(path, ARRAY, ome=True, photometric="minisblack", metadata=metadata)
    return path


def test_ome_tiff_channels_reach_ome_zarr(tmp_path) -> None:
    # Blue, green and red as OME writes them: signed 32 bits of red, green, blue, alpha.
    colours = [0x0000FFFF, 0x00FF00FF, 0xFF0000FF - 2**32]
    source = read_image(
        ome_tiff(tmp_path / "in.ome.tif", Name=["DAPI", "GFP", "mCherry"], Color=colours)
    )
    assert source.channels == NAMED
    # Values above those of the source, so that the window is that of the result.
    result = np.float32(10) * ARRAY
    path = write_ome_zarr(tmp_path / "out.zarr", result, source)
    found = omero(path)
    assert [one["label"] for one in found] == ["DAPI", "GFP", "mCherry"]
    assert [one["color"] for one in found] == ["0000FF", "00FF00", "FF0000"]
    for number, one in enumerate(found):
        window = one["window"]
        assert window["start"] == result[:, number].min()
        assert window["end"] == result[:, number].max()
    yaozarrs.validate_zarr_store(path)
    # And from there into the next result.
    assert [one.name for one in read_image(path).channels] == ["DAPI", "GFP", "mCherry"]


def test_names_alone_get_colours(tmp_path) -> None:
    source = read_image(ome_tiff(tmp_path / "in.ome.tif", Name=["a", "b", "c"]))
    found = omero(write_ome_zarr(tmp_path / "out.zarr", ARRAY, source))
    assert [one["color"] for one in found] == ["00FFFF", "FFFF00", "FF00FF"]
    assert {(one["window"]["min"], one["window"]["max"]) for one in found} == {(0, 65535)}


def test_without_names_and_colours_nothing_is_made_up(tmp_path) -> None:
    plain = tmp_path / "plain.tif"
    tifffile.imwrite(plain, ARRAY, imagej=True, metadata={"axes": "ZCYX"})
    for source in (read_image(ome_tiff(tmp_path / "in.ome.tif")), read_image(plain)):
        assert source.channels == ()
        path = write_ome_zarr(tmp_path / "out.zarr", ARRAY, source, overwrite=True)
        assert "omero" not in zarr.open_group(path).attrs["ome"]


def test_imagej_colours_and_windows_are_kept(tmp_path) -> None:
    tables = [np.zeros((3, 256), np.uint8) for _ in range(3)]
    for number, table in enumerate(tables):
        table[number] = np.arange(256)
    metadata = {
        "axes": "ZCYX",
        "mode": "composite",
        "LUTs": tables,
        "Ranges": (0.0, 100.0, 5.0, 200.0, 7.0, 3000.0),
        "Labels": ["nuclei", "actin", "mito"] * 2,
    }
    tifffile.imwrite(tmp_path / "in.tif", ARRAY, imagej=True, metadata=metadata)
    source = read_image(tmp_path / "in.tif")
    expected = (
        Channel("nuclei", "FF0000", (0, 100)),
        Channel("actin", "00FF00", (5, 200)),
        Channel("mito", "0000FF", (7, 3000)),
    )
    assert source.channels == expected
    found = omero(write_ome_zarr(tmp_path / "out.zarr", ARRAY, source))
    assert [(one["window"]["start"], one["window"]["end"]) for one in found] == [
        (0, 100),
        (5, 200),
        (7, 3000),
    ]
    # As TIFF it is a composite in the same colours.
    written = write_tiff(tmp_path / "out.tif", ARRAY, source)
    assert read_image(written).channels == expected
    with tifffile.TiffFile(written) as file:
        assert file.imagej_metadata["mode"] == "composite"
    # Through OME-Zarr and back.
    again = read_image(tmp_path / "out.zarr")
    assert again.axes == "CZYX"
    back = write_tiff(tmp_path / "back.tif", ARRAY.swapaxes(0, 1), again)
    assert read_image(back).channels == expected


def test_a_table_of_many_colours_is_no_channel_colour(tmp_path) -> None:
    table = np.stack([np.arange(256), np.arange(256)[::-1], np.full(256, 9)]).astype(np.uint8)
    metadata = {"axes": "ZCYX", "mode": "composite", "LUTs": [table] * 3}
    tifffile.imwrite(tmp_path / "in.tif", ARRAY, imagej=True, metadata=metadata)
    assert read_image(tmp_path / "in.tif").channels == ()


def test_labels_of_slices_are_no_names(tmp_path) -> None:
    metadata = {"axes": "ZCYX", "Labels": [f"slice {number}" for number in range(6)]}
    tifffile.imwrite(tmp_path / "in.tif", ARRAY, imagej=True, metadata=metadata)
    assert read_image(tmp_path / "in.tif").channels == ()


@pytest.mark.parametrize("name", ["colours.tif", "colours.png"])
def test_a_colour_image_is_red_green_and_blue(tmp_path, name) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    if name.endswith("tif"):
        tifffile.imwrite(tmp_path / name, colours, photometric="rgb")
    else:
        from PIL import Image

        Image.fromarray(colours).save(tmp_path / name)
    source = read_image(tmp_path / name)
    assert source.channels == RGB
    found = omero(write_ome_zarr(tmp_path / "out.zarr", colours, source))
    assert [one["color"] for one in found] == ["FF0000", "00FF00", "0000FF"]


def test_another_number_of_channels_is_not_described(tmp_path) -> None:
    source = ImageFile(ARRAY[:, :2], "ZCYX", channels=NAMED)
    path = write_ome_zarr(tmp_path / "out.zarr", ARRAY[:, :2], source)
    assert "omero" not in zarr.open_group(path).attrs["ome"]
    mask = write_ome_zarr(
        tmp_path / "mask.zarr", ARRAY[:, 0], replace(source, array=ARRAY).without_channels()
    )
    assert "omero" not in zarr.open_group(mask).attrs["ome"]


def test_a_constant_or_unknown_channel_has_a_window(tmp_path) -> None:
    array = np.float32(ARRAY)
    array[:, 0], array[:, 1] = 7, np.nan
    found = omero(
        write_ome_zarr(tmp_path / "out.zarr", array, ImageFile(array, "ZCYX", channels=NAMED))
    )
    assert [(one["window"]["start"], one["window"]["end"]) for one in found[:2]] == [(7, 8), (0, 1)]


def test_zeiss_channels() -> None:
    colours = {"ColorNames": ["Ch1", "Ch2"], "Colors": [[0, 255, 0, 0], [255, 0, 0, 0]]}
    assert lsm_channels({"ChannelColors": colours}) == (
        Channel("Ch1", "00FF00"),
        Channel("Ch2", "FF0000"),
    )
    metadata = ElementTree.fromstring(
        "<a><Dimensions><Channels><Channel Id='Channel:0' Name='EGFP'/>"
        "<Channel Id='Channel:1' Name='DAPI'/></Channels></Dimensions><DisplaySetting><Channels>"
        "<Channel Id='Channel:1'><Color>#FF0000FF</Color></Channel></Channels></DisplaySetting></a>"
    )
    assert czi_channels(metadata, range(2)) == (Channel("EGFP"), Channel("DAPI", "0000FF"))
    assert czi_channels(metadata, range(1, 2)) == (Channel("DAPI", "0000FF"),)
    assert czi_channels(metadata, range(3)) == ()


@pytest.mark.parametrize(("axes", "labels"), [("ZCYX", list("abcdéf")), ("CZYX", None)])
def test_texts_of_imagej_are_kept(tmp_path, axes, labels):
    noisy, written = tmp_path / "noisy.tif", tmp_path / "written.tif"
    texts = {"Info": "objective 63x\nexposure 5 ms", "Labels": list("abcdéf")}
    stack = np.arange(6 * 32 * 40, dtype=np.uint16).reshape(3, 2, 32, 40)
    tifffile.imwrite(noisy, stack, imagej=True, metadata={"axes": "ZCYX", **texts})
    source = read_image(noisy)
    # Read in another order, its slices are others.
    write_tiff(written, source.array, replace(source, axes=axes))
    with tifffile.TiffFile(written) as file:
        assert file.imagej_metadata["Info"] == texts["Info"]
        assert file.imagej_metadata.get("Labels") == labels


def test_labels_of_other_slices_are_not_kept(tmp_path):
    noisy, written = tmp_path / "noisy.tif", tmp_path / "written.tif"
    stack = np.arange(3 * 32 * 40, dtype=np.uint16).reshape(3, 32, 40)
    metadata = {"axes": "ZYX", "Labels": list("abc")}
    tifffile.imwrite(noisy, stack, imagej=True, metadata=metadata)
    source = read_image(noisy)
    write_tiff(written, source.array[0], replace(source, axes="YX"))
    with tifffile.TiffFile(written) as file:
        assert "Labels" not in file.imagej_metadata


def test_the_name_of_a_single_channel_is_kept(tmp_path):
    metadata = {"axes": "ZYX", "Channel": {"Name": ["GFP"]}}
    tifffile.imwrite(tmp_path / "in.ome.tif", ARRAY[:, 0], ome=True, metadata=metadata)
    source = read_image(tmp_path / "in.ome.tif")
    assert source.channels[0].name == "GFP"
    write_tiff(tmp_path / "out.tif", source.array, source)
    assert read_image(tmp_path / "out.tif").channels[0].name == "GFP"


@pytest.mark.parametrize(("dtype", "is_lost"), [(np.float64, True), (np.float32, False)])
def test_channels_that_a_tiff_cannot_hold_are_told(tmp_path, dtype, is_lost):
    source = read_image(ome_tiff(tmp_path / "in.ome.tif", Name=["DAPI", "GFP", "mCherry"]))
    lost = lost_metadata(source.array.astype(dtype), source)
    assert lost == (("the names, colours and contrast of its channels",) if is_lost else ())
