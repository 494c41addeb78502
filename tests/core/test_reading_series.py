"""Reading of TIFFs that hold several images, too few planes, or metadata that do not fit them."""

import contextlib
import logging
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_redenoise.errors import InputError
from napari_redenoise.io import read_image

STACK = np.random.default_rng(0).poisson(50, (6, 32, 40)).astype(np.uint16)
SMALL = STACK[0, :20, :24]


def write_series(path: Path, *arrays: np.ndarray, **options: object) -> Path:
    with tifffile.TiffWriter(path) as file:
        for array in arrays:
            file.write(array, photometric="minisblack", metadata=None, **options)
    return path


def imagej(path: Path, axes: str = "ZYX", shape: tuple[int, ...] = STACK.shape) -> bytes:
    metadata = {"axes": axes, "unit": "um", "spacing": 0.5}
    tifffile.imwrite(path, STACK.reshape(shape), imagej=True, resolution=(4, 4), metadata=metadata)
    return path.read_bytes()


def ome(path: Path, axes: str = "ZYX", shape: tuple[int, ...] = STACK.shape) -> bytes:
    metadata = {"axes": axes, "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
    tifffile.imwrite(path, STACK.reshape(shape), photometric="minisblack", metadata=metadata)
    return path.read_bytes()


# -- several series ---------------------------------------------------------------------------


@pytest.mark.parametrize("first", [True, False])
def test_the_largest_series_is_read_and_the_others_are_named(tmp_path, first: bool) -> None:
    arrays = (SMALL, STACK) if first else (STACK, SMALL)
    image = read_image(write_series(tmp_path / "a.tif", *arrays))
    np.testing.assert_array_equal(image.array, STACK)
    small, large = ("20 × 24, uint16", "6 × 32 × 40, uint16")
    listed = f"0 ({small}), 1 ({large})" if first else f"0 ({large}), 1 ({small})"
    assert image.notes == (
        f"it holds 2 series: {listed}; series {int(first)}, the largest, is read: give another "
        "number with --series for the others",
    )


def test_a_series_is_chosen_by_its_number(tmp_path) -> None:
    path = write_series(tmp_path / "a.tif", SMALL, STACK)
    image = read_image(path, series=0)
    np.testing.assert_array_equal(image.array, SMALL)
    assert image.notes == ()


@pytest.mark.parametrize("number", [-1, 2])
def test_a_series_that_is_not_there_is_refused(tmp_path, number: int) -> None:
    path = write_series(tmp_path / "a.tif", SMALL, STACK)
    with pytest.raises(InputError, match=f"no series {number} in it: give a number from 0 to 1"):
        read_image(path, series=number)


@pytest.mark.parametrize("name", ["one.tif", "one.png"])
def test_a_single_image_has_the_series_0_alone(tmp_path, name: str) -> None:
    Image.fromarray(SMALL.astype(np.uint8)).save(tmp_path / name)
    assert read_image(tmp_path / name, series=0).axes == "YX"
    with pytest.raises(InputError, match="no series 1 in it: give 0 or none"):
        read_image(tmp_path / name, series=1)


def test_a_large_colour_thumbnail_is_smaller_than_the_image(tmp_path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        # More numbers, but fewer pixels.
        file.write(np.zeros((24, 40, 3), np.uint8), photometric="rgb", metadata=None)
        file.write(STACK[0], metadata=None)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array, STACK[0])


@pytest.mark.parametrize("place", [0, 1, 4, 11])
@pytest.mark.parametrize("odd", [SMALL, STACK[0].astype(np.uint8), STACK[0].astype(np.int16)])
def test_a_page_that_differs_is_a_series_of_its_own(tmp_path, place: int, odd) -> None:
    pages = [*STACK, *STACK]
    path = write_series(tmp_path / "a.tif", *pages[:place], odd, *pages[place + 1 :])
    image = read_image(path)
    expected = np.stack([*pages[:place], *pages[place + 1 :]])
    np.testing.assert_array_equal(image.array, expected)
    assert "it holds 2 series" in image.notes[0]
    np.testing.assert_array_equal(read_image(path, series=int(place > 0)).array, odd)


def test_many_series_are_counted_and_not_all_listed(tmp_path) -> None:
    path = write_series(tmp_path / "a.tif", *(np.zeros((20 + i, 20), np.uint8) for i in range(11)))
    (note,) = read_image(path).notes
    assert "it holds 11 series" in note
    assert "7 (27 × 20, uint8) and 3 more; series 10, the largest" in note


def test_pyramids_are_one_series_of_full_resolution(tmp_path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        file.write(STACK[0], subifds=1, metadata={"axes": "YX"})
        file.write(STACK[0][::2, ::2], subfiletype=1)
    image = read_image(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(image.array, STACK[0])
    assert image.notes == ()


# -- missing planes ---------------------------------------------------------------------------


def held(path: Path, whole: bytes, kept: int) -> np.ndarray:
    """Read the first bytes of a file; check that a note says what is missing."""
    path.write_bytes(whole[:kept])
    image = read_image(path)
    lack = len(STACK) - len(image.array)
    assert any(f"missing or cut off: {lack} of 6 planes" in note for note in image.notes)
    return image.array


@pytest.mark.parametrize("planes", [1, 3, 5])
@pytest.mark.parametrize("write", [imagej, lambda path: tifffile.imwrite(path, STACK)])
def test_planes_of_a_cut_stack_are_read_as_far_as_they_are_whole(tmp_path, write, planes) -> None:
    write(tmp_path / "a.tif")
    whole = (tmp_path / "a.tif").read_bytes()
    start = whole.index(STACK[0].tobytes())
    kept = start + (planes + 1) * STACK[0].nbytes - 1
    np.testing.assert_array_equal(held(tmp_path / "b.tif", whole, kept), STACK[:planes])


def test_big_endian_pixels_of_a_cut_stack_are_right(tmp_path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", STACK, imagej=True, byteorder=">", metadata={"axes": "ZYX"}
    )
    whole = (tmp_path / "a.tif").read_bytes()
    assert whole[:2] == b"MM"
    array = held(tmp_path / "b.tif", whole, len(whole) * 2 // 3)
    np.testing.assert_array_equal(array, STACK[: len(array)])
    assert array.dtype.isnative


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_a_cut_list_of_pages_is_said(tmp_path, compression) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for plane in STACK:
            file.write(plane, metadata=None, compression=compression, contiguous=False)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    image = read_image(path)
    np.testing.assert_array_equal(image.array, STACK[: len(image.array)])
    assert 1 <= len(image.array) < 4
    assert any("is cut off after page" in note for note in image.notes)


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_cut_stack_of_known_shape_keeps_its_pages(tmp_path, share) -> None:
    """tifffile names the shape, which fits no more, and gives the first page alone."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK, compression="lzw")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    image = read_image(path)
    assert len(STACK) * (share - 0.2) <= len(image.array) < len(STACK)
    np.testing.assert_array_equal(image.array, STACK[: len(image.array)])
    assert any("metadata do not fit its" in note for note in image.notes)
    assert any("is cut off after page" in note for note in image.notes)


def test_planes_between_other_bytes_are_not_read_as_one_block(tmp_path) -> None:
    text = "ImageJ=1.54\nimages=6\nslices=6\n"
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK[0], description=text, metadata=None)
    with tifffile.TiffFile(path) as file:
        place = file.pages.next_page_offset
    whole = bytearray(path.read_bytes()) + bytes(100) + STACK[1].tobytes()
    # The second page would follow its plane.
    whole[place : place + 4] = len(whole).to_bytes(4, "little")
    path.write_bytes(whole)
    image = read_image(path)
    np.testing.assert_array_equal(image.array, STACK[:1])
    assert any("missing or cut off: 5 of 6 planes" in note for note in image.notes)


def test_time_points_that_lack_planes_are_left_out(tmp_path) -> None:
    whole = imagej(tmp_path / "a.tif", "TZYX", (3, 2, 32, 40))
    (tmp_path / "b.tif").write_bytes(whole[: len(whole) * 6 // 10])
    image = read_image(tmp_path / "b.tif")
    assert (image.axes, image.metadata["spacing"], image.resolution) == ("TZYX", 0.5, (4, 4))
    np.testing.assert_array_equal(image.array, STACK.reshape(3, 2, 32, 40)[:1])
    assert any("1 of 3 entries of axis T are read" in note for note in image.notes)


def test_metadata_that_declare_more_planes_are_reported(tmp_path) -> None:
    whole = imagej(tmp_path / "a.tif").replace(b"images=6\nslices=6", b"images=9\nslices=9")
    (tmp_path / "a.tif").write_bytes(whole)
    whole = ome(tmp_path / "b.ome.tif").replace(b'SizeZ="6"', b'SizeZ="9"')
    (tmp_path / "b.ome.tif").write_bytes(whole)
    for name in ("a.tif", "b.ome.tif"):
        image = read_image(tmp_path / name)
        assert image.axes == "ZYX"
        np.testing.assert_array_equal(image.array, STACK)
        assert image.notes == (
            "missing or cut off: 3 of 9 planes; 6 of 9 entries of axis Z are read, copy or export "
            "the file again for the others",
        )


@pytest.mark.parametrize("name", ["a.tif", "b.ome.tif"])
def test_more_planes_than_declared_are_read(tmp_path, name) -> None:
    whole = imagej(tmp_path / "a.tif").replace(b"images=6\nslices=6", b"images=3\nslices=3")
    (tmp_path / "a.tif").write_bytes(whole)
    whole = ome(tmp_path / "b.ome.tif").replace(b'SizeZ="6"', b'SizeZ="3"')
    (tmp_path / "b.ome.tif").write_bytes(whole)
    image = read_image(tmp_path / name)
    np.testing.assert_array_equal(image.array, STACK)
    assert "its metadata declare 3 planes but it holds 6" in image.notes[0]
    # The pixel size still holds.
    assert image.resolution == (4, 4)


@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}, {"rowsperstrip": 8}])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_a_plane_that_ends_too_early_is_refused(tmp_path, options, compression) -> None:
    write_series(tmp_path / "a.tif", STACK[0], compression=compression, **options)
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[:-100])
    with pytest.raises(InputError, match=r"too early \(missing or cut off: 1 of 1 planes\)"):
        read_image(tmp_path / "a.tif")


def test_nothing_is_printed_by_the_decoder(tmp_path, monkeypatch, capfd) -> None:
    whole = imagej(tmp_path / "a.tif")
    (tmp_path / "a.tif").write_bytes(whole[: len(whole) // 2])
    logger = logging.getLogger("tifffile")
    # As in a program, where nobody listens.
    monkeypatch.setattr(logger, "propagate", False)
    before = list(logger.handlers)
    read_image(tmp_path / "a.tif")
    assert capfd.readouterr() == ("", "")
    assert logger.handlers == before


# -- OME metadata -----------------------------------------------------------------------------

HEAD = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
UUIDS = ("urn:uuid:1", "urn:uuid:2", "urn:uuid:3")


def ome_files(folder: Path) -> list[Path]:
    """A stack of three time points with two planes each, each in its own file."""
    data = "".join(
        f'<TiffData FirstT="{t}" IFD="0" PlaneCount="2"><UUID FileName="{t}.ome.tif">{uuid}</UUID>'
        "</TiffData>"
        for t, uuid in enumerate(UUIDS)
    )
    pixels = (
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZTC" Type="uint16" '
        'SizeX="40" SizeY="32" SizeZ="2" SizeT="3" SizeC="1" PhysicalSizeX="0.5" '
        f'PhysicalSizeY="0.5"><Channel ID="Channel:0"/>{data}</Pixels></Image></OME>'
    )
    paths = [folder / f"{t}.ome.tif" for t in range(3)]
    for t, path in enumerate(paths):
        text = f'{HEAD}UUID="{UUIDS[t]}">{pixels}'
        planes = STACK[2 * t : 2 * t + 2]
        tifffile.imwrite(path, planes, description=text, metadata=None, photometric="minisblack")
    return paths


def test_an_ome_tiff_of_several_files_is_read_as_a_whole(tmp_path) -> None:
    image = read_image(ome_files(tmp_path)[0])
    assert (image.axes, image.resolution, image.notes) == ("TZYX", (2, 2), ())
    np.testing.assert_array_equal(image.array, STACK.reshape(3, 2, 32, 40))


@pytest.mark.parametrize("gone", [1, 2])
def test_files_of_an_ome_tiff_that_are_missing_are_said(tmp_path, gone: int) -> None:
    paths = ome_files(tmp_path)
    paths[gone].unlink()
    image = read_image(paths[0])
    kept = [t for t in range(3) if t != gone]
    np.testing.assert_array_equal(image.array, STACK.reshape(3, 2, 32, 40)[kept])
    assert image.axes == "TZYX"
    assert "missing or cut off: 2 of 6 planes; 2 of 3 entries of axis T" in image.notes[0]


def test_metadata_in_a_companion_file_do_not_cost_the_pixels(tmp_path) -> None:
    text = f'{HEAD}UUID="{UUIDS[0]}"><BinaryOnly MetadataFile="a.ome" UUID="{UUIDS[1]}"/></OME>'
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, STACK, description=text, metadata=None, photometric="minisblack")
    image = read_image(path)
    np.testing.assert_array_equal(image.array, STACK)
    assert image.axes == "ZYX"
    assert image.notes == (
        "its OME metadata lie in a.ome, which is missing: they are not used for its axes, name "
        "these with --axes",
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"</OME>", b"<OME/>"),
        (b"DimensionOrder=", b"DimensionOrdex="),
        (b'SizeZ="6"', b'SizeZ="x"'),
        (b"<Pixels ", b"<Pixelz "),
        (b'DimensionOrder="XYCZT"', b'DimensionOrder="XYCZ?"'),
    ],
)
def test_damaged_ome_metadata_do_not_cost_the_pixels(tmp_path, old, new) -> None:
    whole = ome(tmp_path / "a.ome.tif")
    assert old in whole
    (tmp_path / "a.ome.tif").write_bytes(whole.replace(old, new))
    image = read_image(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(image.array, STACK)
    assert image.axes == "ZYX"
    assert "metadata are damaged" in image.notes[0]


def test_samples_that_ome_calls_time_points_are_time_points(tmp_path) -> None:
    # Older versions of tifffile wrote four planes as red, green, blue and alpha.
    pixels = (
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="40" '
        'SizeY="32" SizeZ="1" SizeT="4" SizeC="1"><Channel ID="Channel:0" SamplesPerPixel="1"/>'
        '<TiffData IFD="0" PlaneCount="4"/></Pixels></Image></OME>'
    )
    options = {"photometric": "rgb", "planarconfig": "separate", "extrasamples": ["unassalpha"]}
    text = f'{HEAD}UUID="{UUIDS[0]}">{pixels}'
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, STACK[:4], description=text, metadata=None, **options)
    image = read_image(path)
    assert image.axes == "TYX"
    np.testing.assert_array_equal(image.array, STACK[:4])


# -- content and ending -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.btf", "a.tf8", "a.tf2", "a.lsm", "a.stk", "a.png", "a"])
@pytest.mark.parametrize("write", [imagej, ome])
def test_a_tiff_by_any_name_is_read_as_a_tiff(tmp_path, name: str, write) -> None:
    whole = write(tmp_path / "a.ome.tif", "ZCYX", (3, 2, 32, 40))
    expected = read_image(tmp_path / "a.ome.tif")
    (tmp_path / name).write_bytes(whole)
    image = read_image(tmp_path / name)
    assert (image.axes, image.resolution) == ("ZCYX", (4, 4))
    assert (image.metadata, image.notes) == (expected.metadata, ())
    np.testing.assert_array_equal(image.array, STACK.reshape(3, 2, 32, 40))


def test_a_bigtiff_is_known_by_its_content(tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.bin", STACK, bigtiff=True, metadata={"axes": "TYX"})
    assert read_image(tmp_path / "a.bin").axes == "TYX"


def test_a_png_that_is_called_tiff_is_read(tmp_path) -> None:
    Image.fromarray(STACK[0]).save(tmp_path / "a.tif", format="PNG")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array, STACK[0])


# -- refusals in words ------------------------------------------------------------------------


def test_impossible_sizes_are_refused(tmp_path) -> None:
    whole = bytearray(write_series(tmp_path / "a.tif", STACK[0]).read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        tags = file.pages[0].tags
        places = [tags[name].valueoffset for name in ("ImageWidth", "ImageLength", "RowsPerStrip")]
    for place in places:
        whole[place : place + 4] = (2**31 - 1).to_bytes(4, "little")
    (tmp_path / "a.tif").write_bytes(whole)
    with pytest.raises(InputError, match=r"its pixels end too early"):
        read_image(tmp_path / "a.tif")


def test_an_image_beyond_memory_is_refused(tmp_path, monkeypatch) -> None:
    def too_large(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 8.00 EiB")

    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", too_large)
    path = write_series(tmp_path / "a.tif", STACK)
    with pytest.raises(InputError, match=r"memory is too small \(Unable to allocate 8\.00 EiB\)"):
        read_image(path)


def test_a_png_beyond_the_limit_of_pillow_is_refused(tmp_path, monkeypatch) -> None:
    Image.new("L", (100, 100)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InputError, match=r"\(Image size \(10000 pixels\) exceeds limit"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.nii", "a.czi", "a.nd2", "a.npy", "a.mha"])
def test_formats_without_a_reader_are_refused(tmp_path, name: str) -> None:
    (tmp_path / name).write_bytes(bytes(3000))
    with pytest.raises(InputError, match="cannot be read as an image"):
        read_image(tmp_path / name)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_headers_end_in_words(tmp_path, seed: int) -> None:
    random = np.random.default_rng(seed)
    wholes = [imagej(tmp_path / "a.tif"), ome(tmp_path / "b.ome.tif")]
    for _ in range(20):
        damaged = bytearray(wholes[random.integers(len(wholes))])
        for place in random.integers(4, 500, 3):
            damaged[place] = random.integers(256)
        (tmp_path / "c.tif").write_bytes(damaged)
        # Any other error would be a traceback.
        with contextlib.suppress(InputError):
            read_image(tmp_path / "c.tif")
