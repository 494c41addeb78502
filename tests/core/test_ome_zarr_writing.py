"""Results are written as OME-Zarr 0.5: pixels, levels, metadata, and nothing incomplete."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from napari_redenoise.data import Planes
from napari_redenoise.errors import NameTakenError, OutputError
from napari_redenoise.io import (
    ImageFile,
    OmeZarrStream,
    _ome_levels,
    check_output,
    ome_form,
    ome_zarr_stream,
    read_image,
    unit_symbol,
    write_ome_zarr,
    write_tiff,
)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(100, 10, shape).astype(np.float32)


def attributes(path: Path) -> dict:
    """The attributes as they are in the file, without a reader."""
    return json.loads((path / "zarr.json").read_text())["attributes"]


SCALED = {"metadata": {"unit": "um", "spacing": 2.0, "finterval": 0.5}, "resolution": (4.0, 5.0)}


@pytest.mark.parametrize(
    ("axes", "stored", "scale"),
    [
        ("YX", "YX", [0.2, 0.25]),
        ("TZYX", "TZYX", [0.5, 2.0, 0.2, 0.25]),
        ("ZCTYX", "TCZYX", [0.5, 1.0, 2.0, 0.2, 0.25]),
        ("TYXC", "TCYX", [0.5, 1.0, 0.2, 0.25]),
        ("STYX", "TSYX", [0.5, 1.0, 0.2, 0.25]),
    ],
)
def test_axes_are_ordered_and_scaled(
    tmp_path: Path, axes: str, stored: str, scale: list[float]
) -> None:
    array = noise(*(20 if axis in "YX" else 2 + number for number, axis in enumerate(axes)))
    path = write_ome_zarr(tmp_path / "out.zarr", array, ImageFile(array, axes, **SCALED))
    image = read_image(path)
    assert image.axes == stored
    np.testing.assert_array_equal(
        image.array, array.transpose([axes.index(axis) for axis in stored])
    )
    assert ome_form(array.shape, ImageFile(array, axes)).read(image.array).shape == array.shape
    (multiscales,) = attributes(path)["ome"]["multiscales"]
    (level,) = multiscales["datasets"]
    assert level == {
        "path": "0",
        "coordinateTransformations": [{"type": "scale", "scale": pytest.approx(scale)}],
    }
    kinds = {"T": "time", "C": "channel", "S": None}
    units = {"T": "second", "C": None, "S": None}
    assert [(axis["name"], axis.get("type"), axis.get("unit")) for axis in multiscales["axes"]] == [
        (one.lower(), kinds.get(one, "space"), units.get(one, "micrometer")) for one in stored
    ]
    assert attributes(path)["ome"]["version"] == "0.5"
    assert zarr.open_array(path / "0").metadata.dimension_names == tuple(stored.lower())


def test_metadata_of_an_ome_zarr_are_kept(tmp_path: Path) -> None:
    array = noise(2, 3, 20, 30)
    axes = [
        {"name": "channel", "type": "channel"},
        {"name": "depth", "type": "space", "unit": "nanometer"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    moved = [
        {"type": "scale", "scale": [1.0, 250.0, 0.5, 0.5]},
        {"type": "translation", "translation": [0.0, 1.0, 2.0, 3.0]},
    ]
    window = {"start": 0, "end": 9, "min": 0, "max": 99}
    omero = {"channels": [{"color": "00FF00", "window": window, "label": one} for one in "ab"]}
    group = zarr.create_group(tmp_path / "in.zarr")
    group.create_array("0", data=array)
    datasets = [{"path": "0", "coordinateTransformations": moved}]
    multiscales = [{"name": "cells", "axes": axes, "datasets": datasets}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales, "omero": omero}
    source = read_image(tmp_path / "in.zarr")
    assert source.axes == "CSYX"
    path = write_ome_zarr(tmp_path / "out.zarr", array, source, provenance={"steps": 3})
    found = attributes(path)
    assert found["ome"]["omero"] == omero
    assert found["ome"]["multiscales"][0]["name"] == "cells"
    assert found["ome"]["multiscales"][0]["axes"] == axes
    assert found["ome"]["multiscales"][0]["datasets"] == datasets
    assert found["redenoise"] == {"steps": 3}
    # A mask has no channels, and neither colours nor windows.
    mask = write_ome_zarr(tmp_path / "mask.zarr", array[0], source.without_channels())
    assert "omero" not in attributes(mask)["ome"]
    assert attributes(mask)["ome"]["multiscales"][0]["axes"] == axes[1:]
    # The same scale in the terms of ImageJ.
    image = read_image(write_tiff(tmp_path / "out.tif", array[0, 0], replace(source, axes="YX")))
    assert (unit_symbol(image.metadata["unit"]), image.resolution) == ("µm", (2.0, 2.0))


def test_axes_given_by_the_user_are_written(tmp_path: Path) -> None:
    array = noise(3, 20, 30)
    write_ome_zarr(tmp_path / "in.zarr", array, ImageFile(array, "ZYX", **SCALED))
    source = read_image(tmp_path / "in.zarr", "TYX")
    path = write_ome_zarr(tmp_path / "out.zarr", array, source)
    (multiscales,) = attributes(path)["ome"]["multiscales"]
    assert multiscales["axes"][0] == {"name": "t", "type": "time"}
    assert multiscales["datasets"][0]["coordinateTransformations"][0]["scale"] == [1.0, 0.2, 0.25]


def test_levels_are_means_with_the_position_of_their_centres(tmp_path: Path) -> None:
    array = noise(2, 1030, 601)
    path = write_ome_zarr(tmp_path / "out.zarr", array, ImageFile(array, "TYX", **SCALED))
    datasets = attributes(path)["ome"]["multiscales"][0]["datasets"]
    assert [dataset["path"] for dataset in datasets] == ["0", "1", "2", "3"]
    fine = array.astype(np.float64)
    for level, factor in ((1, 2), (2, 4), (3, 8)):
        rows, columns = fine.shape[1] // 2, fine.shape[2] // 2
        fine = fine[:, : 2 * rows, : 2 * columns].reshape(2, rows, 2, columns, 2).mean((2, 4))
        found = zarr.open_array(path / str(level))
        assert found.shape == (2, rows, columns)
        np.testing.assert_allclose(found[:], fine, rtol=1e-6)
        scale, translation = datasets[level]["coordinateTransformations"]
        assert scale["scale"] == pytest.approx([0.5, 0.2 * factor, 0.25 * factor])
        # The centre of the first pixels: (0 + ... + factor - 1) / factor pixels.
        middle = (factor - 1) / 2
        assert translation["translation"] == pytest.approx([0, 0.2 * middle, 0.25 * middle])
    assert max(found.shape[1:]) <= 256


@pytest.mark.parametrize(
    ("dtype", "pixels", "mean"),
    [
        (np.float32, [1, 2, 3, np.nan], 2),
        (np.float32, [np.nan] * 4, np.nan),
        (np.uint16, [65535, 65535, 65535, 65534], 65535),
        (np.uint8, [0, 0, 1, 2], 1),
        (np.int16, [-5, -5, -6, -6], -6),
    ],
)
def test_a_mean_ignores_missing_pixels_and_keeps_the_dtype(dtype, pixels, mean) -> None:
    found = _ome_levels.halved(np.array(pixels, dtype).reshape(2, 2))
    assert (found.dtype, found.shape) == (dtype, (1, 1))
    np.testing.assert_equal(found.item(), mean)


def test_many_chunks_are_sharded(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(_ome_levels, "_CHUNK", 32)
    array = noise(1500, 1100)
    path = write_ome_zarr(tmp_path / "out.zarr", array, ImageFile(array, "YX"))
    level = zarr.open_array(path / "0")
    assert (level.chunks, level.shards) == ((32, 32), (64, 256))
    np.testing.assert_array_equal(level[:], array)
    files = [one for one in (path / "0" / "c").rglob("*") if one.is_file()]
    assert len(files) == math.ceil(1500 / 64) * math.ceil(1100 / 256)
    assert zarr.open_array(path / "1").shards is None


def test_tiles_are_written_once_in_whole_chunks(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(_ome_levels, "_CHUNK", 32)
    array = noise(3, 2, 100, 90)
    planes = Planes(array, "TCYX")
    written = []
    put = zarr.storage.LocalStore.set

    async def counted(self, key, value):
        written.append(key)
        await put(self, key, value)

    monkeypatch.setattr(zarr.storage.LocalStore, "set", counted)
    with ome_zarr_stream(tmp_path / "out.zarr", ImageFile(array, "TCYX")) as stream:
        for sample in planes.indices():
            for top in range(0, 100, 24):
                for left in range(0, 90, 50):
                    rows, columns = slice(top, min(top + 24, 100)), slice(left, min(left + 50, 90))
                    planes.write(stream, sample, rows, columns, planes.read(sample, rows, columns))
        chunks = [key for key in written if "/c/" in f"/{key}"]
        assert len(chunks) == len(set(chunks)) == 3 * 2 * 4 * 3
        assert not (tmp_path / "out.zarr").exists()
    np.testing.assert_array_equal(read_image(tmp_path / "out.zarr").array, array)
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]


def test_tiles_may_be_predicted_again(tmp_path: Path) -> None:
    """As after a lack of memory, with smaller tiles."""
    array = noise(2, 600, 40)
    with ome_zarr_stream(tmp_path / "out.zarr", ImageFile(array, "ZYX")) as stream:
        for offset in (1, 2):
            stream[0, slice(0, 550), slice(0, 40)] = array[0, :550] + offset
        assert stream.finished == set()
        for number in range(2):
            for top in range(0, 600, 100):
                part = array[number, top : top + 100]
                stream[number, slice(top, top + 100), slice(0, 40)] = part
        assert stream.finished == {(0,), (1,)}
    np.testing.assert_array_equal(read_image(tmp_path / "out.zarr").array, array)


def test_integers_are_rounded_and_never_wrap(tmp_path: Path) -> None:
    values = np.full((20, 20), 7.6, np.float32)
    values[0, :3] = -3, 70000, np.nan
    source = ImageFile(np.zeros((20, 20), np.uint16), "YX")
    with ome_zarr_stream(tmp_path / "out.zarr", source, dtype=np.uint16) as stream:
        stream[slice(0, 20), slice(0, 20)] = values
    found = np.asarray(read_image(tmp_path / "out.zarr").array)
    assert found.dtype == np.uint16
    assert found[0, :4].tolist() == [0, 65535, 0, 8]


def test_an_image_that_is_not_finished_is_not_written(tmp_path: Path) -> None:
    stream = OmeZarrStream(tmp_path / "out.zarr", ImageFile(noise(20, 20), "YX"))
    stream[slice(0, 10), slice(0, 20)] = noise(10, 20)
    with pytest.raises(OutputError, match="is not finished, it lacks 1 of 1 planes"):
        stream.move_to(tmp_path / "out.zarr")
    stream.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError),
        ome_zarr_stream(tmp_path / "out.zarr", ImageFile(noise(20, 20), "YX")),
    ):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_an_existing_image_needs_overwrite_and_is_replaced(tmp_path: Path) -> None:
    path, like = tmp_path / "out.zarr", ImageFile(noise(20, 20), "YX")
    write_ome_zarr(path, noise(20, 20), like)
    with pytest.raises(NameTakenError, match="allow overwriting"):
        write_ome_zarr(path, noise(20, 20) + 1, like)
    write_ome_zarr(path, noise(20, 20) + 1, like, overwrite=True)
    np.testing.assert_array_equal(read_image(path).array, noise(20, 20) + 1)
    assert [one.name for one in tmp_path.iterdir()] == ["out.zarr"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_other_folders_and_files_are_never_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "out.zarr"
    if kind == "folder":
        path.mkdir()
        (path / "thesis.tex").write_text("theirs")
    else:
        path.write_text("theirs")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="choose another name"):
            check_output(path, overwrite=overwrite)
        with pytest.raises(OutputError, match="choose another name"):
            write_ome_zarr(path, noise(20, 20), ImageFile(noise(20, 20), "YX"), overwrite=overwrite)
    assert [one.name for one in tmp_path.iterdir()] == ["out.zarr"]


def test_a_name_taken_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.zarr"
    stream = OmeZarrStream(path, ImageFile(noise(20, 20), "YX"))
    stream[slice(0, 20), slice(0, 20)] = noise(20, 20)
    path.mkdir()
    (path / "theirs").touch()
    with pytest.raises(NameTakenError):
        stream.move_to(path)
    stream.move_to(tmp_path / "out-1.zarr")
    assert (path / "theirs").exists()
    np.testing.assert_array_equal(read_image(tmp_path / "out-1.zarr").array, noise(20, 20))


def test_a_full_disk_is_said_with_the_size(tmp_path: Path, monkeypatch) -> None:
    async def full(*_):
        raise OSError(28, "No space left on device")

    stream = OmeZarrStream(tmp_path / "out.zarr", ImageFile(noise(20, 20), "YX"))
    monkeypatch.setattr(zarr.storage.LocalStore, "set", full)
    with pytest.raises(OutputError, match=r"cannot be written \(No space .* needs 1\.6 kB"):
        stream[slice(0, 20), slice(0, 20)] = noise(20, 20)


def test_axes_beyond_the_format_are_refused(tmp_path: Path) -> None:
    array = noise(2, 2, 20, 20)
    with pytest.raises(OutputError, match="image has P and C: give other axes"):
        write_ome_zarr(tmp_path / "out.zarr", array, ImageFile(array, "PCYX"))


def test_what_the_format_cannot_hold_is_named() -> None:
    like = ImageFile(noise(20, 20), "YX", {"unit": "parsec"}, (4.0, 4.0), white_is_zero=True)
    lost = ome_form((20, 20), like).lost_metadata
    assert lost == ("the display of 0 as white", "the unit 'parsec'")
    assert ome_form((20, 20), ImageFile(noise(20, 20), "YX", **SCALED)).lost_metadata == ()


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"ends in \.tif or \.zarr"):
        check_output(tmp_path / "out.zarr.zip")
    with pytest.raises(OutputError, match=r"ends in \.tif"):
        write_tiff(tmp_path / "out.zarr", noise(20, 20), ImageFile(noise(20, 20), "YX"))


def test_an_independent_library_accepts_the_file(tmp_path: Path) -> None:
    yaozarrs = pytest.importorskip("yaozarrs")
    source = tmp_path / "in.tif"
    tifffile.imwrite(source, noise(2, 3, 300, 300), imagej=True, resolution=(4.0, 4.0),
                     metadata={"axes": "ZCYX", "unit": "um", "spacing": 2.0})  # fmt: skip
    image = read_image(source)
    path = write_ome_zarr(tmp_path / "out.zarr", image.array, image, provenance={"steps": 1})
    yaozarrs.validate_zarr_store(str(path))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32"])
def test_integers_of_a_level_are_rounded_means(dtype):
    limits = np.iinfo(dtype)
    pixels = np.random.default_rng(0).integers(limits.min, limits.max, (34, 65), dtype, True)
    pixels[:4] = limits.max
    means = pixels[:, :64].reshape(17, 2, 32, 2).astype(np.float64).mean((1, 3))
    found = _ome_levels.halved(pixels[:, :64])
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, np.rint(means))
