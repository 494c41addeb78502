"""Grey levels and colours as they are stored and displayed: compressions, palettes, alpha."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_redenoise.errors import InputError
from napari_redenoise.io import ImageFile, cast_like, read_image, write_tiff

RANDOM = np.random.default_rng(0)
GREY = RANDOM.poisson(40, (32, 40)).astype(np.uint8)
DEEP = RANDOM.integers(0, 65536, (32, 40)).astype(np.uint16)
COLOUR = RANDOM.integers(0, 256, (32, 40, 3)).astype(np.uint8)
ALPHA_LEFT_OUT = ("its alpha channel is left out",)


# -- compressions -----------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("array", [GREY, DEEP, COLOUR])
def test_compressed_tiffs_of_other_programs_are_read(tmp_path, compression, array) -> None:
    Image.fromarray(array).save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array, array)


@pytest.mark.parametrize("compression", ["lzw", "zlib", "zstd", "lzma", "jpeg2000", "lerc"])
@pytest.mark.parametrize("predictor", [False, True])
def test_lossless_tiffs_are_read_exactly(tmp_path, compression, predictor) -> None:
    stack = np.stack([DEEP, DEEP[::-1]])
    options = {"predictor": True} if predictor and compression in ("lzw", "zlib") else {}
    tifffile.imwrite(tmp_path / "a.tif", stack, compression=compression, **options)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array, stack)


def test_a_jpeg_compressed_tiff_is_read_in_its_colours(tmp_path) -> None:
    red = np.full((64, 64, 3), (200, 30, 30), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", red, photometric="rgb", compression="jpeg")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages[0].photometric == tifffile.PHOTOMETRIC.YCBCR
    image = read_image(tmp_path / "a.tif")
    assert image.axes == "YXC"
    np.testing.assert_allclose(image.array, red, atol=2)


def test_a_fax_is_read_for_regions(tmp_path) -> None:
    marked = DEEP > 30000
    Image.fromarray(marked).save(tmp_path / "a.tif", compression="group4")
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.array != 0, marked)


# -- 0 is white -------------------------------------------------------------------------------


def seen(path: Path) -> float:
    """Mean brightness in Pillow, which inverts what is marked so."""
    return float(np.asarray(Image.open(path).convert("L")).mean())


@pytest.mark.parametrize("shape", [(32, 40), (1, 32, 40)])
def test_a_result_is_as_light_as_its_source(tmp_path, shape) -> None:
    tifffile.imwrite(tmp_path / "in.tif", GREY.reshape(shape), photometric="miniswhite")
    source = read_image(tmp_path / "in.tif")
    # Stored levels, in which the noise is measured.
    np.testing.assert_array_equal(source.array.reshape(GREY.shape), GREY)
    denoised = cast_like(source.array, source.axes, source.array.astype(np.float32))
    write_tiff(tmp_path / "out.tif", denoised, source)
    assert seen(tmp_path / "in.tif") == pytest.approx(255 - GREY.mean())
    assert seen(tmp_path / "out.tif") == pytest.approx(255 - GREY.mean())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, np.int16])
@pytest.mark.parametrize("photometric", ["miniswhite", "minisblack"])
def test_whether_0_is_white_is_carried_over(tmp_path, dtype, photometric) -> None:
    stack = np.stack([GREY, GREY[::-1]])
    tifffile.imwrite(tmp_path / "in.tif", stack, photometric=photometric)
    source = read_image(tmp_path / "in.tif")
    write_tiff(tmp_path / "out.tif", source.array.astype(dtype), source)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert {page.photometric.name.lower() for page in file.pages} == {photometric}
        np.testing.assert_array_equal(file.asarray(), stack)
    assert read_image(tmp_path / "out.tif").white_is_zero is (photometric == "miniswhite")


@pytest.mark.parametrize("name", ["in.tif", "in.jpg"])
def test_an_image_is_displayed_in_the_orientation_of_its_source(tmp_path, name) -> None:
    exif = Image.Exif()
    exif[274] = 6
    if name == "in.jpg":
        Image.fromarray(GREY).save(tmp_path / name, exif=exif)
    else:
        tifffile.imwrite(tmp_path / name, GREY, extratags=[(274, "H", 1, 6, False)])
    source = read_image(tmp_path / name)
    assert (source.array.shape, source.orientation) == (GREY.shape, 6)
    write_tiff(tmp_path / "out.tif", source.array, source)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.pages[0].tags["Orientation"].value == 6
    assert read_image(tmp_path / "out.tif").orientation == 6


# -- palettes ---------------------------------------------------------------------------------

TABLE = RANDOM.integers(0, 256, (3, 256)).astype(np.uint16)
GREEN = np.zeros((3, 256), np.uint16)
GREEN[1] = np.arange(256) * 257
FALLING = np.repeat(np.arange(256)[None, ::-1] * 257, 3, axis=0).astype(np.uint16)


@pytest.mark.parametrize("factor", [256, 257])
def test_a_palette_of_colours_is_converted(tmp_path, factor) -> None:
    table = TABLE * factor
    stack = np.stack([GREY, GREY[::-1]])
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="palette", colormap=table)
    image = read_image(tmp_path / "a.tif")
    assert (image.axes, image.array.dtype) == ("ZYXC", np.uint8)
    np.testing.assert_array_equal(image.array, TABLE.T[stack])


def test_a_palette_of_16_bits_keeps_them(tmp_path) -> None:
    table = RANDOM.integers(0, 65536, (3, 256)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="palette", colormap=table)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array, table.T[GREY])


def test_a_palette_of_greys_becomes_grey_levels_as_displayed(tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="palette", colormap=FALLING)
    image = read_image(tmp_path / "a.tif")
    assert (image.axes, image.notes) == ("YX", ())
    np.testing.assert_array_equal(image.array, 255 - GREY)


@pytest.mark.parametrize(
    ("table", "imagej"), [(GREEN, False), (GREEN, True), (TABLE * 257, True), (FALLING, True)]
)
def test_a_colour_table_for_display_does_not_change_levels(tmp_path, table, imagej) -> None:
    options = {} if imagej else {"photometric": "palette"}
    tifffile.imwrite(tmp_path / "a.tif", GREY, imagej=imagej, colormap=table, **options)
    image = read_image(tmp_path / "a.tif")
    assert image.axes == "YX"
    np.testing.assert_array_equal(image.array, GREY)
    assert image.notes == ("its colour table is left out: the result has its grey levels",)


def test_a_palette_png_is_read_in_its_colours(tmp_path) -> None:
    few = np.array([(200, 30, 30), (10, 20, 90), (0, 0, 0)], np.uint8)[GREY % 3]
    Image.fromarray(few).quantize(3).save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == "P"
    image = read_image(tmp_path / "a.png")
    assert image.axes == "YXC"
    np.testing.assert_array_equal(image.array, few)


def test_a_grey_palette_png_is_grey(tmp_path) -> None:
    Image.fromarray(GREY).convert("P").save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.axes == "YX"
    np.testing.assert_array_equal(image.array, GREY)


def test_the_calibration_of_imagej_is_said_to_be_left_out(tmp_path) -> None:
    metadata = {"axes": "YX", "cf": 0, "c0": -32768.0, "c1": 1.0}
    tifffile.imwrite(tmp_path / "a.tif", DEEP, imagej=True, metadata=metadata)
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.array, DEEP)
    assert "its calibration of grey levels, -32768" in image.notes[0]


# -- alpha and other samples ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_the_alpha_of_grey_images_is_left_out(tmp_path, name) -> None:
    opacity = Image.fromarray(RANDOM.integers(0, 256, GREY.shape).astype(np.uint8))
    Image.merge("LA", [Image.fromarray(GREY), opacity]).save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert (image.axes, image.notes) == ("YX", ALPHA_LEFT_OUT)
    np.testing.assert_array_equal(image.array, GREY)


def test_the_alpha_of_a_colour_png_is_left_out(tmp_path) -> None:
    Image.fromarray(np.dstack([COLOUR, GREY])).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert (image.axes, image.notes) == ("YXC", ALPHA_LEFT_OUT)
    np.testing.assert_array_equal(image.array, COLOUR)


@pytest.mark.parametrize("samples", [2, 3, 4])
def test_a_png_of_16_bits_a_colour_is_read_with_all_of_them(tmp_path, samples) -> None:
    array = RANDOM.integers(0, 65536, (32, 40, samples)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(array))
    image = read_image(tmp_path / "a.png")
    assert image.notes == (() if samples == 3 else ALPHA_LEFT_OUT)
    expected = array[..., 0] if samples == 2 else array[..., :3]
    np.testing.assert_array_equal(image.array, expected)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize(
    ("kind", "note"),
    [
        ("unassalpha", "its alpha channel is left out"),
        ("unspecified", "its samples beside red, green and blue are left out"),
    ],
)
def test_samples_beside_the_colours_are_left_out(tmp_path, planar, kind, note) -> None:
    four = np.dstack([COLOUR, GREY])
    array = np.moveaxis(four, -1, 0).copy() if planar else four
    options = {"planarconfig": "separate" if planar else "contig", "extrasamples": [kind]}
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", **options)
    image = read_image(tmp_path / "a.tif")
    assert (image.axes, image.notes) == ("CYX" if planar else "YXC", (note,))
    np.testing.assert_array_equal(image.array, array[:3] if planar else array[..., :3])


@pytest.mark.parametrize("count", [2, 4, 5])
def test_channels_that_are_no_colours_are_all_kept(tmp_path, count) -> None:
    array = RANDOM.integers(0, 65536, (32, 40, count)).astype(np.uint16)
    options = {"planarconfig": "contig", "extrasamples": ["unspecified"] * (count - 1)}
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", **options)
    image = read_image(tmp_path / "a.tif")
    assert (image.axes, image.notes) == ("YXC", ())
    np.testing.assert_array_equal(image.array, array)
    again = read_image(write_tiff(tmp_path / "out.tif", array, image))
    assert again.axes == "CYX"
    np.testing.assert_array_equal(again.array, np.moveaxis(array, -1, 0))


def test_four_channels_are_not_written_as_colours_with_alpha(tmp_path) -> None:
    array = RANDOM.random((32, 40, 4))
    again = read_image(write_tiff(tmp_path / "out.tif", array, ImageFile(array, "YXC")))
    order = [again.axes.index(axis) for axis in "YXC"]
    np.testing.assert_array_equal(again.array.transpose(order), array)


# -- refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "name", "kind"),
    [
        ("CMYK", "a.tif", "CMYK"),
        ("CMYK", "a.jpg", "CMYK"),
        ("LAB", "a.tif", "CIELAB"),
        ("YCbCr", "a.tif", "YCBCR"),
    ],
)
def test_colours_that_are_not_rgb_are_refused(tmp_path, mode, name, kind) -> None:
    Image.new(mode, (40, 32)).save(tmp_path / name)
    with pytest.raises(
        InputError, match=f"colours of the kind {kind}, expected grey levels or RGB: convert it"
    ):
        read_image(tmp_path / name)


def test_a_colour_filter_array_is_refused(tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", DEEP, photometric="cfa")
    with pytest.raises(InputError, match="colours of the kind CFA"):
        read_image(tmp_path / "a.tif")


def test_the_images_of_an_animation_are_not_lost_silently(tmp_path) -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(GREY[::-1].copy())]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    image = read_image(tmp_path / "a.gif")
    np.testing.assert_array_equal(image.array, GREY)
    assert image.notes == ("it holds 2 images and the first is read: save the others as TIFF",)


def test_colours_of_many_images_are_written_as_pages(tmp_path):
    colours = np.arange(5 * 24 * 30 * 3, dtype=np.uint8).reshape(5, 24, 30, 3)
    tifffile.imwrite(tmp_path / "colours.tif", colours, imagej=True)
    found = read_image(tmp_path / "colours.tif")
    assert found.axes == "ZYXC"
    write_tiff(tmp_path / "written.tif", found.array, found)
    with tifffile.TiffFile(tmp_path / "written.tif") as file:
        assert [page.shape for page in file.pages] == [(24, 30, 3)] * 5
        np.testing.assert_array_equal(file.asarray(), colours)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.pgm", b"P5\n# made by hand\n20 20\n4095\n" + bytes(800)),
        ("a.ppm", b"P6 20 20 65535\n" + bytes(2400)),
    ],
)
def test_grey_levels_that_are_scaled_are_noted(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert "may be scaled, or lose bits" in read_image(tmp_path / name).notes[0]


@pytest.mark.parametrize(
    ("dtype", "ending"), [(np.uint8, "pgm"), (np.uint16, "pgm"), (np.uint8, "png")]
)
def test_grey_levels_that_stay_are_not_noted(tmp_path, dtype, ending):
    levels = (np.arange(400).reshape(20, 20) * 150).astype(dtype)
    Image.fromarray(levels).save(tmp_path / f"a.{ending}")
    found = read_image(tmp_path / f"a.{ending}")
    np.testing.assert_array_equal(found.array, levels)
    assert not found.notes
