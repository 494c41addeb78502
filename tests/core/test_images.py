import os
from pathlib import Path

import numpy as np
import pytest
import skimage.io
import tifffile
import zarr

from napari_redenoise.data import Planes
from napari_redenoise.errors import InputError, OutputError
from napari_redenoise.io import (
    ImageFile,
    _images,
    _result_arrays,
    check_output,
    ome_files,
    read_image,
    result_array,
    write_tiff,
)


def pixels(*shape: int, dtype: type = np.uint16) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.integers(0, 200, shape).astype(dtype)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "source.tif"


@pytest.fixture
def result(tmp_path: Path) -> Path:
    return tmp_path / "result.tif"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, np.int16])
def test_a_plain_tiff_is_read_as_a_plane(source: Path, dtype) -> None:
    array = pixels(20, 30, dtype=dtype)
    tifffile.imwrite(source, array)
    image = read_image(source)
    np.testing.assert_array_equal(image.array, array)
    assert (image.axes, image.array.dtype) == ("YX", dtype)


@pytest.mark.parametrize("shape", [(5, 20, 30), (4, 5, 20, 30), (2, 4, 5, 20, 30)])
def test_stacks_of_unknown_axes_can_be_denoised(source: Path, shape) -> None:
    tifffile.imwrite(source, pixels(*shape))
    image = read_image(source)
    planes = Planes(image.array, image.axes)
    assert (planes.sample_shape, planes.channels) == (shape[:-2], 1)


@pytest.mark.parametrize(
    "array", [pixels(20, 30, 3, dtype=np.uint8), pixels(20, 30, dtype=np.uint8)]
)
def test_a_png_is_read_grey_or_in_colour(tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / "image.PNG"
    skimage.io.imsave(path, array, check_contrast=False)
    image = read_image(path)
    np.testing.assert_array_equal(image.array, array)
    assert image.axes == ("YXC" if array.ndim == 3 else "YX")


HYPERSTACKS = {
    "TZCYX": (2, 3, 2, 20, 30),
    "TYX": (4, 20, 30),
    "ZYX": (3, 20, 30),
    "CYX": (2, 20, 30),
    "ZCYX": (3, 2, 20, 30),
}


@pytest.mark.parametrize("axes", HYPERSTACKS)
def test_an_imagej_hyperstack_keeps_axes_scale_and_units(source, result, axes: str) -> None:
    array = pixels(*HYPERSTACKS[axes])
    metadata = {"axes": axes, "spacing": 0.7, "unit": "um", "finterval": 1.5}
    tifffile.imwrite(source, array, imagej=True, resolution=(4.0, 5.0), metadata=metadata)
    image = read_image(source)
    np.testing.assert_array_equal(image.array, array)
    assert image.axes == axes
    assert image.metadata["spacing"] == 0.7
    denoised = image.array.astype(np.float32) / 3
    write_tiff(result, denoised, image)
    with tifffile.TiffFile(result) as file:
        series = file.series[0]
        assert (series.axes, series.shape) == (axes, array.shape)
        np.testing.assert_array_equal(series.asarray(), denoised)
        assert file.imagej_metadata["spacing"] == 0.7
        assert file.imagej_metadata["unit"] == "um"
        assert file.imagej_metadata["finterval"] == 1.5
        assert file.pages[0].resolution == (4.0, 5.0)


def test_what_was_written_reads_back_with_the_same_scale(source: Path, result: Path) -> None:
    tifffile.imwrite(
        source,
        pixels(3, 20, 30),
        imagej=True,
        resolution=(9.5, 9.5),
        metadata={"axes": "ZYX", "spacing": 2.5, "unit": "um"},
    )
    first = read_image(source)
    second = read_image(write_tiff(result, first.array, first))
    assert second.axes == first.axes
    assert second.resolution == pytest.approx(first.resolution)
    assert second.resolution_unit == first.resolution_unit
    for key in ("spacing", "unit"):
        assert second.metadata[key] == first.metadata[key]


def test_resolution_in_inches_or_centimetres_keeps_its_unit(source: Path, result: Path) -> None:
    tifffile.imwrite(
        source, pixels(20, 30), resolution=(300, 300), resolutionunit="CENTIMETER", metadata=None
    )
    image = read_image(source)
    write_tiff(result, image.array, image)
    with tifffile.TiffFile(result) as file:
        assert file.pages[0].resolution == (300, 300)
        assert file.pages[0].resolutionunit == tifffile.RESUNIT.CENTIMETER


@pytest.mark.parametrize("shape", [(20, 30, 3), (4, 20, 30, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_colour_images_stay_colour_images(source, result, shape, dtype) -> None:
    array = pixels(*shape, dtype=np.uint8)
    tifffile.imwrite(source, array, photometric="rgb")
    image = read_image(source)
    planes = Planes(image.array, image.axes)
    assert image.axes.endswith("YXC")
    assert (planes.channels, len(planes)) == (3, 4 if len(shape) == 4 else 1)
    denoised = image.array.astype(dtype)
    write_tiff(result, denoised, image)
    again = read_image(result)
    np.testing.assert_array_equal(again.array, denoised)
    assert again.axes == image.axes
    with tifffile.TiffFile(result) as file:
        assert file.pages[0].photometric == tifffile.PHOTOMETRIC.RGB


def test_planar_colour_images_have_channels(source: Path) -> None:
    array = pixels(3, 20, 30, dtype=np.uint8)
    tifffile.imwrite(source, array, photometric="rgb", planarconfig="separate")
    image = read_image(source)
    np.testing.assert_array_equal(image.array, array)
    assert image.axes == "CYX"


@pytest.mark.parametrize(("axes", "shape"), [("YXC", (20, 30, 3)), ("TZCYX", (2, 3, 2, 20, 30))])
def test_a_mask_is_written_without_channels(result: Path, axes: str, shape) -> None:
    array = pixels(*shape, dtype=np.uint8)
    planes = Planes(array, axes)
    mask = np.random.default_rng(0).random(planes.shape_without_channels).astype(np.float32)
    image = read_image(write_tiff(result, mask, ImageFile(array, axes)))
    assert image.axes == planes.axes_without_channels
    np.testing.assert_array_equal(image.array, mask)


@pytest.mark.parametrize("axes", ["XYZ", "YXT", "CTYX", "YXZC"])
def test_unusual_orders_of_axes_are_written_with_their_names(result, axes: str) -> None:
    sizes = {"X": 30, "Y": 20, "Z": 3, "T": 4, "C": 2}
    array = pixels(*(sizes[axis] for axis in axes), dtype=np.float32)
    image = read_image(write_tiff(result, array, ImageFile(array, axes)))
    assert sorted(image.axes) == sorted(axes)
    expected = array.transpose([axes.index(axis) for axis in image.axes])
    np.testing.assert_array_equal(image.array, expected)


@pytest.mark.parametrize("axes", ["TYX", "ZYX", "STZYX", "PZYX"])
def test_dtypes_and_axes_unknown_to_imagej_are_written(result, axes: str) -> None:
    shape = {"S": 2, "P": 2, "T": 3, "Z": 4, "Y": 20, "X": 30}
    array = pixels(*(shape[axis] for axis in axes), dtype=np.float64)
    image = read_image(write_tiff(result, array, ImageFile(array, axes)))
    assert (image.axes, image.array.dtype) == (axes, np.float64)
    np.testing.assert_array_equal(image.array, array)


SHAPES = {"YX": (40, 30), "TYX": (3, 40, 30), "YXC": (40, 30, 3), "TCZYX": (2, 3, 2, 40, 30),
          "XYT": (30, 40, 2), "PYX": (2, 40, 30)}  # fmt: skip


@pytest.mark.parametrize("axes", SHAPES)
@pytest.mark.parametrize("channels", [True, False])
def test_results_on_disk_are_written_as_those_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, axes: str, channels: bool
) -> None:
    monkeypatch.setattr(_result_arrays, "MOST_BYTES_IN_MEMORY", 0)
    planes = Planes(np.zeros(SHAPES[axes], np.float32), axes)
    on_disk = result_array(planes, channels=channels)
    assert not isinstance(on_disk, np.ndarray)
    values = np.random.default_rng(0).random(on_disk.shape).astype(np.float32)
    on_disk[...] = values
    like = ImageFile(planes.array, axes, {"unit": "um", "spacing": 2.0}, (4.0, 4.0))
    written = write_tiff(tmp_path / "disk.tif", on_disk, like)
    expected = write_tiff(tmp_path / "memory.tif", values, like)
    assert written.read_bytes() == expected.read_bytes()
    image = read_image(written)
    own = axes if channels else planes.axes_without_channels
    order = [own.index(axis) for axis in image.axes]
    np.testing.assert_array_equal(image.array, values.transpose(order))


class Watched:
    """An array that notes how much is read of it at once."""

    def __init__(self, array: np.ndarray) -> None:
        self.shape, self.dtype, self.most = array.shape, array.dtype, 0
        self._array = array

    def __getitem__(self, key):
        window = self._array[key]
        self.most = max(self.most, window.size)
        return window


@pytest.mark.parametrize("axes", ["ZCYX", "YXTC"])
def test_one_plane_at_a_time_is_read(result: Path, axes: str) -> None:
    sizes = {"Z": 5, "T": 5, "C": 2, "Y": 20, "X": 30}
    array = Watched(pixels(*(sizes[axis] for axis in axes), dtype=np.float32))
    write_tiff(result, array, ImageFile(array, axes))
    assert array.most == 20 * 30


@pytest.mark.parametrize(("axes", "shape"), [("TCYX", (3, 2, 20, 30)), ("TYXC", (4, 20, 30, 3))])
def test_what_imagej_s_tiff_cannot_hold_is_a_bigtiff(
    result: Path, monkeypatch: pytest.MonkeyPatch, axes: str, shape
) -> None:
    array = pixels(*shape, dtype=np.float32)
    like = ImageFile(array, axes, {"unit": "µm", "spacing": 0.5, "finterval": 2.0}, (4.0, 5.0), 1)
    for most, big in ((array.nbytes, False), (array.nbytes - 1, True)):
        monkeypatch.setattr(_images, "MOST_BYTES_IN_TIFF", most)
        write_tiff(result, array, like, overwrite=True)
        with tifffile.TiffFile(result) as file:
            assert file.is_bigtiff is big
            assert file.is_imagej is (not big and axes == "TCYX")
        image = read_image(result)
        assert image.axes == axes
        assert image.resolution == (4.0, 5.0)
        assert image.metadata["spacing"] == 0.5
        np.testing.assert_array_equal(image.array, array)
    assert image.metadata["unit"] == "µm"


def test_an_ome_tiff_is_read_with_its_axes_and_pixel_sizes(tmp_path: Path, result: Path) -> None:
    path = tmp_path / "image.ome.tif"
    array = pixels(2, 3, 2, 20, 30)
    metadata = {
        "axes": "TCZYX",
        "PhysicalSizeX": 0.25,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 0.5,
        "PhysicalSizeYUnit": "µm",
        "PhysicalSizeZ": 2.0,
        "PhysicalSizeZUnit": "µm",
        "TimeIncrement": 3.0,
    }
    tifffile.imwrite(path, array, metadata=metadata)
    image = read_image(path)
    assert image.axes == "TCZYX"
    np.testing.assert_array_equal(image.array, array)
    write_tiff(result, image.array.astype(np.float32), image)
    with tifffile.TiffFile(result) as file:
        assert file.series[0].axes == "TZCYX"
        np.testing.assert_array_equal(file.asarray(), array.swapaxes(1, 2))
        # ImageJ counts pixels per unit.
        assert file.pages[0].resolution == (4.0, 2.0)
        assert file.imagej_metadata["spacing"] == 2.0
        assert file.imagej_metadata["finterval"] == 3.0
        assert file.imagej_metadata["unit"] == r"\u00B5m"


def test_the_axes_of_a_file_can_be_overruled(source: Path) -> None:
    tifffile.imwrite(source, pixels(3, 20, 30), imagej=True, metadata={"axes": "ZYX"})
    image = read_image(source, axes="cyx")
    assert image.axes == "CYX"
    assert Planes(image.array, image.axes).channels == 3


def test_an_existing_result_is_refused_and_left_intact(result: Path) -> None:
    result.write_bytes(b"precious")
    array = pixels(20, 30)
    with pytest.raises(OutputError, match="exists already: choose another name"):
        write_tiff(result, array, ImageFile(array, "YX"))
    assert result.read_bytes() == b"precious"
    write_tiff(result, array, ImageFile(array, "YX"), overwrite=True)
    np.testing.assert_array_equal(tifffile.imread(result), array)


def test_a_result_that_is_no_tiff_by_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        OutputError, match=r"cannot be written as image\.png: give a name that ends in \.tif"
    ):
        check_output(tmp_path / "image.png")


def test_nothing_but_the_result_is_left_in_a_new_folder(tmp_path: Path) -> None:
    array = pixels(20, 30)
    path = write_tiff(tmp_path / "new" / "result.tiff", array, ImageFile(array, "YX"))
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_keeps_the_file_that_was_there(
    result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    result.write_bytes(b"precious")
    monkeypatch.setattr(tifffile, "imwrite", full)
    array = pixels(20, 30)
    with pytest.raises(OutputError, match="no space left"):
        write_tiff(result, array, ImageFile(array, "YX"), overwrite=True)
    assert result.read_bytes() == b"precious"
    assert list(result.parent.iterdir()) == [result]


def test_a_folder_is_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder: name an image file in it"):
        read_image(tmp_path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no image file .*gone\.tif: check the name"):
        read_image(tmp_path / "gone.tif")


@pytest.mark.parametrize("name", ["image.tif", "image.png", "image.jpg", "image.txt", "image"])
@pytest.mark.parametrize("content", [b"", b"this is no image", bytes(range(256)) * 9, b"II*\0"])
def test_a_file_that_is_no_image_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read as an image"):
        read_image(path)


@pytest.mark.parametrize("kept", [9, 30, 100, 250, 700, 1000])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("name", ["image.tif", "image.png"])
def test_a_truncated_image_is_refused(tmp_path: Path, name, compression, kept: int) -> None:
    path = tmp_path / name
    if name.endswith("tif"):
        tifffile.imwrite(path, pixels(40, 30), compression=compression)
    else:
        skimage.io.imsave(path, pixels(40, 30, dtype=np.uint8), check_contrast=False)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match="cannot be read as an image"):
        read_image(path)


def test_transparency_is_left_out_of_a_colour_tiff(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 255, (20, 30, 4), dtype=np.uint8)
    array[..., 3] = 255
    path = tmp_path / "rgba.tif"
    tifffile.imwrite(path, array, photometric="rgb", extrasamples=["unassalpha"])
    image = read_image(path)
    assert image.axes == "YXC"
    np.testing.assert_array_equal(image.array, array[..., :3])


def test_an_error_without_words_is_named_by_its_class(tmp_path: Path, monkeypatch) -> None:
    def failing(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("napari_redenoise.io._images.read_other", failing)
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"as an image \(AssertionError\): repair it"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("shape", "dtype", "axes"),
    [
        ((2, 3, 4, 20, 30), np.float32, "STZYX"),
        ((2, 20, 30), np.float32, "SYX"),
        ((3, 20, 30), np.int16, "ZYX"),
        ((20, 30, 3), np.uint8, "YXC"),
    ],
)
def test_a_name_of_ome_keeps_the_form_of_others(tmp_path, shape, dtype, axes) -> None:
    array = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    source = ImageFile(
        array, axes, {"unit": "µm", "spacing": 2.0}, resolution=(4.0, 4.0), resolution_unit=1
    )
    found = [
        read_image(write_tiff(tmp_path / name, array, source)) for name in ("a.tif", "a.ome.tif")
    ]
    for image in found:
        assert image.axes == found[0].axes
        assert image.resolution == (4, 4)
        assert image.metadata.get("unit") == found[0].metadata.get("unit")
        np.testing.assert_array_equal(image.array, array)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.tif")
    with pytest.raises(InputError, match="is no file but a device or a pipe"):
        read_image(tmp_path / "pipe.tif")


@pytest.mark.parametrize("name", ["a b.tif", "in.zarr"])
def test_a_local_address_is_a_path(tmp_path, name):
    pixels = np.arange(400, dtype=np.uint16).reshape(20, 20)
    write = tifffile.imwrite if name.endswith(".tif") else zarr.save_array
    write(tmp_path / name, pixels)
    found = read_image((tmp_path / name).as_uri())
    np.testing.assert_array_equal(np.asarray(found.array), pixels)


def test_a_damaged_header_is_said_in_words(tmp_path, capfd):
    (tmp_path / "bad.tif").write_bytes(b"II*\0\x08\0\0\0")
    with pytest.raises(InputError, match=r"\(it is damaged\): repair it"):
        read_image(tmp_path / "bad.tif")
    assert ome_files(tmp_path / "bad.tif") == []
    assert capfd.readouterr() == ("", "")
