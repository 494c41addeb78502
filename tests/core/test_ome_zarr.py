"""OME-Zarr is read, in every version and place, or refused in a sentence."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import dask.array
import fsspec
import numpy as np
import pytest
import tifffile
import zarr

from napari_redenoise.data import Planes
from napari_redenoise.errors import InputError
from napari_redenoise.io import ImageFile, inspect_file, read_image, write_ome_zarr

PIXELS = np.random.default_rng(0).integers(0, 4000, (3, 2, 40, 50)).astype(np.uint16)
AXES = [
    {"name": "t", "type": "time", "unit": "millisecond"},
    {"name": "c", "type": "channel"},
    {"name": "y", "type": "space", "unit": "micrometer"},
    {"name": "x", "type": "space", "unit": "micrometer"},
]
WINDOW = {"start": 0, "end": 9, "min": 0, "max": 99}
OMERO = {"channels": [{"color": color, "window": WINDOW} for color in ("00FF00", "FF0000")]}


def multiscales(axes: Any = None, scale: Any = (500, 1, 0.25, 0.2), **more: Any) -> dict[str, Any]:
    transformations = [{"type": "scale", "scale": list(scale)}]
    datasets = [{"path": "0", "coordinateTransformations": transformations}]
    return {"multiscales": [{"axes": axes or AXES, "datasets": datasets, **more}], "omero": OMERO}


def write(
    store: Any, version: str = "0.5", pixels: np.ndarray = PIXELS, ome: Any = None, path: str = ""
) -> None:
    """Write a group with one level; the metadata are those of the version."""
    number = 3 if version == "0.5" else 2
    group = zarr.open_group(store, mode="a", zarr_format=number, path=path)
    chunks = (*[1] * (pixels.ndim - 2), 16, 16)
    keys = {"name": "v2", "separator": "/"} if number == 2 else None
    level = group.create_array(
        "0", shape=pixels.shape, chunks=chunks, dtype=pixels.dtype, chunk_key_encoding=keys
    )
    level[:] = pixels
    ome = multiscales() if ome is None else ome
    group.attrs.update({"ome": {"version": "0.5", **ome}} if number == 3 else ome)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_pixels_axes_and_scale_are_read(tmp_path: Path, version: str) -> None:
    write(tmp_path / "in.zarr", version)
    image = read_image(tmp_path / "in.zarr")
    assert image.axes == "TCYX"
    assert isinstance(image.array, dask.array.Array)
    assert image.array.dtype == np.uint16
    np.testing.assert_array_equal(image.array, PIXELS)
    assert image.metadata == {"unit": "µm", "finterval": 0.5}
    assert image.resolution == (5.0, 4.0)
    assert image.ome.omero == OMERO
    assert [axis.unit for axis in image.ome.axes] == [
        "millisecond",
        None,
        "micrometer",
        "micrometer",
    ]
    assert image.notes == ()


def test_a_window_is_read_as_planes_need_it(tmp_path: Path) -> None:
    write(tmp_path / "in.zarr")
    image = read_image(tmp_path / "in.zarr")
    window = Planes(image.array, image.axes).read((2,), slice(3, 20), slice(10, 45))
    np.testing.assert_array_equal(window, PIXELS[2, :, 3:20, 10:45])


def test_another_byte_order_is_converted(tmp_path: Path) -> None:
    write(tmp_path / "in.zarr", "0.4", PIXELS.astype(">u2"))
    image = read_image(tmp_path / "in.zarr")
    assert image.array.dtype == np.uint16
    assert image.array.dtype.isnative
    assert np.asarray(image.array).dtype.isnative
    np.testing.assert_array_equal(image.array, PIXELS)


@pytest.mark.parametrize("folder", ["", "in.zarr/", "data/in.zarr/"])
def test_a_zip_file_is_read(tmp_path: Path, folder: str) -> None:
    write(tmp_path / "in.zarr", "0.4")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as file:
        for path in (tmp_path / "in.zarr").rglob("*"):
            if path.is_file():
                file.write(path, folder + path.relative_to(tmp_path / "in.zarr").as_posix())
    image = read_image(tmp_path / "in.zip")
    assert image.axes == "TCYX"
    np.testing.assert_array_equal(image.array, PIXELS)
    np.testing.assert_array_equal(read_image(tmp_path / "in.zip" / "0").array, PIXELS)


@pytest.mark.parametrize("as_path", [False, True])
def test_an_address_is_read(as_path: bool) -> None:
    address = "memory://bucket/in.zarr"
    write(zarr.storage.FsspecStore.from_url(address))
    try:
        image = read_image(Path(address) if as_path else address)
        np.testing.assert_array_equal(image.array, PIXELS)
    finally:
        fsspec.filesystem("memory").rm("bucket", recursive=True)


@pytest.mark.parametrize(
    ("address", "words"),
    [("memory://nowhere/in.zarr", "cannot be opened"), ("nosuch://a/b.zarr", "cannot be")],
)
def test_an_address_without_an_image_is_refused(address: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_image(address)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_scales_of_all_levels_and_units_are_combined(tmp_path: Path, version: str) -> None:
    axes = [
        {"name": "z", "type": "space", "unit": "nanometer"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    ome = multiscales(
        axes,
        (250, 0.5, 0.25),
        coordinateTransformations=[
            {"type": "scale", "scale": [2, 1, 2]},
            {"type": "translation", "translation": [7, 8, 9]},
        ],
    )
    write(tmp_path / "in.zarr", version, PIXELS[:, 0], ome)
    image = read_image(tmp_path / "in.zarr")
    assert image.axes == "ZYX"
    assert image.metadata == {"unit": "µm", "spacing": 0.5}
    assert image.resolution == (2.0, 2.0)
    assert [axis.translation for axis in image.ome.axes] == [7, 8, 9]


@pytest.mark.parametrize(
    ("axes", "letters"),
    [
        (None, "TZYX"),
        (["z", "c", "y", "x"], "ZCYX"),
        ([{"name": "angle"}, *AXES[1:]], "SCYX"),
        ([{"name": "time", "type": "time"}, "z", "rows", "columns"], "TZYX"),
        (["s", "s", "y", "x"], "SPYX"),
    ],
)
def test_axes_of_old_versions_and_other_names_get_letters(
    tmp_path: Path, axes: Any, letters: str
) -> None:
    ome = multiscales(axes)
    if axes is None:
        del ome["multiscales"][0]["axes"]
    write(tmp_path / "in.zarr", "0.4", ome=ome)
    assert read_image(tmp_path / "in.zarr").axes == letters
    assert read_image(tmp_path / "in.zarr", "zcyx").axes == "ZCYX"


def test_five_axes_without_names_are_those_of_the_first_version(tmp_path: Path) -> None:
    ome = multiscales()
    del ome["multiscales"][0]["axes"]
    write(tmp_path / "in.zarr", "0.4", PIXELS[:, :, None], ome)
    assert read_image(tmp_path / "in.zarr").axes == "TCZYX"


def test_a_level_alone_is_read_without_scale(tmp_path: Path) -> None:
    write(tmp_path / "in.zarr")
    image = read_image(tmp_path / "in.zarr" / "0")
    assert (image.axes, image.resolution) == ("TZYX", None)
    np.testing.assert_array_equal(image.array, PIXELS)


def test_dimension_names_are_axes(tmp_path: Path) -> None:
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(2, 20, 30), dtype="u1", dimension_names=["c", "y", "x"]
    )
    array[:] = 1
    assert read_image(tmp_path / "a.zarr").axes == "CYX"


def test_the_only_image_of_a_converted_file_is_read(tmp_path: Path) -> None:
    root = zarr.open_group(tmp_path / "in.zarr", mode="w", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    write(tmp_path / "in.zarr", "0.4", path="0")
    np.testing.assert_array_equal(read_image(tmp_path / "in.zarr").array, PIXELS)
    write(tmp_path / "in.zarr", "0.4", path="1")
    with pytest.raises(InputError, match=r"holds 2 images: give one of .*in\.zarr/0, .*in\.zarr/1"):
        read_image(tmp_path / "in.zarr")
    np.testing.assert_array_equal(read_image(tmp_path / "in.zarr" / "1").array, PIXELS)


@pytest.mark.parametrize(
    ("transformations", "unknown"),
    [
        ([], "T, Y, X"),
        ([{"type": "translation", "translation": [0, 0, 5, 5]}], "T, Y, X"),
        ([{"type": "affine", "affine": [[1, 0, 0, 0, 0]] * 4}], "T, Y, X"),
        ([{"type": "scale", "path": "scale"}], "T, Y, X"),
        ([{"type": "scale", "scale": [0.25, 0.2]}], "T, Y, X"),
        ([{"type": "scale", "scale": [500, 1, 0, 0.2]}], "Y"),
        ([{"type": "scale", "scale": [500, 0, 0.25, -0.2]}], ""),
        ([{"type": "scale", "scale": [float("nan"), 1, 0.25, float("inf")]}], "T, X"),
        ([{"type": "identity"}], ""),
    ],
)
def test_sizes_that_are_none_are_left_out(tmp_path: Path, transformations, unknown: str) -> None:
    ome = multiscales()
    ome["multiscales"][0]["datasets"][0]["coordinateTransformations"] = transformations
    write(tmp_path / "in.zarr", ome=ome)
    image = read_image(tmp_path / "in.zarr")
    note = f"its metadata gives no usable size of a pixel along {unknown}: it is left out, set it"
    assert [one.startswith(note) for one in image.notes] == ([True] if unknown else [])
    shown = inspect_file(tmp_path / "in.zarr").get("pixel_size", {})
    assert set(shown) == set("TYX") - {*unknown.split(", ")}
    assert all(0 < known["size"] < np.inf for known in shown.values())
    write_ome_zarr(tmp_path / "out.zarr", image.array, image)
    text = (tmp_path / "out.zarr" / "zarr.json").read_text()
    assert all(word not in text for word in ("NaN", "Infinity", "-0.2"))
    assert inspect_file(tmp_path / "out.zarr").get("pixel_size", {}) == shown


@pytest.mark.parametrize(
    ("paths", "series", "named"),
    [
        (["0", "7"], None, ["0", "7"]),
        (["10", "9"], [], ["9", "10"]),
        (["b/1", "a/0"], ["b/1", "a/0"], ["b/1", "a/0"]),
    ],
)
def test_images_of_a_converted_file_are_named(tmp_path: Path, paths, series, named) -> None:
    root = zarr.open_group(tmp_path / "in.zarr", mode="w", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    if series is not None:
        root.create_group("OME").attrs["series"] = series
    for path in paths:
        write(tmp_path / "in.zarr", "0.4", path=path)
    first, second = (f".*in\\.zarr/{path}" for path in named)
    with pytest.raises(InputError, match=f"holds 2 images: give one of {first}, {second}"):
        read_image(tmp_path / "in.zarr")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_images_of_a_plate_are_named(tmp_path: Path, version: str) -> None:
    number = 3 if version == "0.5" else 2

    def group(path: str, ome: Any) -> None:
        made = zarr.open_group(tmp_path / "p.zarr", mode="a", zarr_format=number, path=path)
        made.attrs.update({"ome": ome} if number == 3 else ome)

    wells = [{"path": f"A/{column}"} for column in range(1, 6)]
    group("", {"plate": {"wells": wells}})
    group("A/1", {"well": {"images": [{"path": "f0"}, {"path": "f1"}]}})
    write(tmp_path / "p.zarr", version, path="A/1/f0")
    with pytest.raises(InputError, match=r"is a plate .*give one of .*p\.zarr/A/1/f0"):
        read_image(tmp_path / "p.zarr")
    with pytest.raises(InputError, match=r"is a well .*give one of .*A/1/f0, .*A/1/f1"):
        read_image(tmp_path / "p.zarr" / "A" / "1")
    np.testing.assert_array_equal(read_image(tmp_path / "p.zarr" / "A" / "1" / "f0").array, PIXELS)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_are_named_and_read_on_request(tmp_path: Path, version: str) -> None:
    write(tmp_path / "in.zarr", version)
    number = 3 if version == "0.5" else 2
    labels = zarr.open_group(tmp_path / "in.zarr", mode="a", zarr_format=number, path="labels")
    labels.attrs.update({"ome": {"labels": ["cells"]}} if number == 3 else {"labels": ["cells"]})
    write(tmp_path / "in.zarr", version, path="labels/cells")
    with pytest.raises(InputError, match=r"holds labels and no image: give .*labels/cells"):
        read_image(tmp_path / "in.zarr" / "labels")
    region = read_image(tmp_path / "in.zarr" / "labels" / "cells").array != 0
    np.testing.assert_array_equal(region, PIXELS != 0)


def test_a_group_without_multiscales_names_its_arrays(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "in.zarr", mode="w")
    group.create_array("raw", shape=(20, 20), dtype="u1")
    group.create_array("times", shape=(20,), dtype="u1")
    with pytest.raises(InputError, match=r"no multiscales.*: give \S*in\.zarr/raw$"):
        read_image(tmp_path / "in.zarr")


def test_a_missing_level_is_said(tmp_path: Path) -> None:
    write(tmp_path / "in.zarr")
    shutil.rmtree(tmp_path / "in.zarr" / "0")
    with pytest.raises(InputError, match=r"lacks the level 0.*copy it again"):
        read_image(tmp_path / "in.zarr")


def test_chunks_that_would_not_be_found_are_said(tmp_path: Path) -> None:
    write(tmp_path / "in.zarr", "0.4")
    path = tmp_path / "in.zarr" / "0" / ".zarray"
    metadata = json.loads(path.read_text())
    assert metadata.pop("dimension_separator") == "/"
    path.write_text(json.dumps(metadata))
    with pytest.raises(InputError, match='"dimension_separator": "/"'):
        read_image(tmp_path / "in.zarr")


@pytest.mark.parametrize(
    "ome", [{"multiscales": [{}]}, {"multiscales": [{"datasets": []}]}, {"multiscales": "none"}]
)
def test_damaged_metadata_are_refused_in_words(tmp_path: Path, ome: Any) -> None:
    write(tmp_path / "in.zarr", ome=ome)
    with pytest.raises(InputError, match=r"metadata of .* is damaged"):
        read_image(tmp_path / "in.zarr")


def test_axes_without_names_are_noted(tmp_path: Path) -> None:
    ome = multiscales()
    del ome["multiscales"][0]["axes"]
    write(tmp_path / "in.zarr", ome=ome)
    image = read_image(tmp_path / "in.zarr")
    words = f"its metadata names no axes: they are taken for {image.axes}, --axes gives others"
    assert image.notes == (words,)


def test_axes_of_another_number_are_noted(tmp_path: Path) -> None:
    write(tmp_path / "in.zarr", ome=multiscales(AXES[1:], (1, 1, 1)))
    image = read_image(tmp_path / "in.zarr")
    assert image.axes[-2:] == "YX"
    assert image.notes == ("its metadata names 3 axes and the image has 4: check the axes",)


@pytest.mark.parametrize("content", [b"", b"not json"])
def test_a_damaged_group_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "in.zarr").mkdir()
    (tmp_path / "in.zarr" / "zarr.json").write_bytes(content)
    with pytest.raises(InputError, match="cannot be opened as an OME-Zarr"):
        read_image(tmp_path / "in.zarr")


def test_a_damaged_chunk_is_refused_in_words(tmp_path: Path) -> None:
    write(tmp_path / "in.zarr")
    chunk = next(path for path in (tmp_path / "in.zarr" / "0" / "c").rglob("*") if path.is_file())
    chunk.write_bytes(b"no chunk")
    image = read_image(tmp_path / "in.zarr")
    with pytest.raises(InputError, match=r"pixels that cannot be read .*: copy it again"):
        np.asarray(image.array)


def test_a_folder_without_zarr_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder: name an image file in it"):
        read_image(tmp_path)


def zipped(path: Path, *stores: Path) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for store in stores:
            for one in store.rglob("*"):
                if one.is_file():
                    file.write(one, one.relative_to(store.parent).as_posix())
    return path


def test_a_zip_file_of_several_images(tmp_path: Path) -> None:
    stores = []
    for number in range(2):
        array = np.full((20, 30), number + 1, np.uint8)
        stores.append(
            write_ome_zarr(tmp_path / f"image{number}.zarr", array, ImageFile(array, "YX"))
        )
    archive = zipped(tmp_path / "two.zip", *stores)
    with pytest.raises(InputError, match=r"holds 2 images: give one of .*two.zip/image0.zarr"):
        read_image(archive)
    for number in range(2):
        found = read_image(archive / f"image{number}.zarr").array
        assert int(np.asarray(found).max()) == number + 1


def test_pixels_that_look_like_a_zip_file_are_read(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, 40000, np.uint8)
    pixels[39000:39004] = [*b"PK\5\6"]
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, pixels.reshape(200, 200))
    assert zipfile.is_zipfile(path)
    np.testing.assert_array_equal(read_image(path).array.ravel(), pixels)


def test_a_name_that_is_too_long_is_refused_in_words() -> None:
    with pytest.raises(InputError, match="there is no image file"):
        read_image("x" * 300)


@pytest.mark.parametrize(
    "channels",
    [None, [None], {"0": {}}, [{"window": [0, 1]}], [{"window": "x"}], [{"color": 16711680}]],
)
def test_damaged_channels_cost_no_pixels(tmp_path: Path, channels: object) -> None:
    array = np.ones((1, 20, 30), np.uint8)
    path = write_ome_zarr(tmp_path / "in.zarr", array, ImageFile(array, "CYX"))
    group = zarr.open_group(path, mode="r+")
    group.attrs["ome"] = {**group.attrs["ome"], "omero": {"channels": channels}}
    source = read_image(path)
    assert source.array.shape == (1, 20, 30)
    assert source.channels == ()
    result = write_ome_zarr(tmp_path / "out.zarr", array, source)
    assert "omero" not in zarr.open_group(result).attrs["ome"]
