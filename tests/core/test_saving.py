"""Files of results: whole or not at all, under a name of their own, and no trace of killed runs."""

import errno
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_redenoise import Redenoiser
from napari_redenoise.data import Planes
from napari_redenoise.errors import NameTakenError, OutputError
from napari_redenoise.io import (
    ImageFile,
    RoundingArray,
    _result_arrays,
    _safe_writing,
    _temporary_folders,
    cast_like,
    check_folder,
    check_space,
    lost_metadata,
    read_image,
    restored_after_errors,
    result_array,
    round_to_integers,
    write_atomically,
    write_tiff,
    write_under_free_name,
)

PLANE = np.arange(20 * 30, dtype=np.float32).reshape(20, 30)
NAN, INF = float("nan"), float("inf")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# -- scale ------------------------------------------------------------------------------------


@pytest.mark.parametrize("resolution", [(NAN, 4.0), (4.0, INF), (0.0, 4.0), (4.0, -4.0),
                                        (1e-12, 4.0), (4.0, 1e12), (1e300, 1e300)])  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_a_resolution_that_is_none_is_left_out_and_said(tmp_path, resolution, dtype) -> None:
    stack = np.ones((3, 20, 30), dtype)
    like = ImageFile(stack, "ZYX", {"unit": "um", "spacing": 2.0}, resolution, 1)
    image = read_image(write_tiff(tmp_path / "out.tif", stack, like))
    np.testing.assert_array_equal(image.array, stack)
    # A unit and a spacing alone would say that pixels have the size 1.
    assert not {"unit", "spacing"} & image.metadata.keys()
    first, *others = lost_metadata(stack, like)
    assert first == f"the resolution {resolution} pixels per unit"
    assert others == ["the unit with it", "the spacing with it"]


@pytest.mark.parametrize("resolution", [(4.0, 5.0), (4.29e9, 3e-10), (5000.123456, 1 / 3)])
def test_a_resolution_at_the_limits_of_a_tiff_is_kept(tmp_path, resolution) -> None:
    like = ImageFile(PLANE, "YX", {"unit": "um"}, resolution, 1)
    image = read_image(write_tiff(tmp_path / "out.tif", PLANE, like))
    assert image.resolution == pytest.approx(resolution, rel=1e-6)
    assert lost_metadata(PLANE, like) == ()


@pytest.mark.parametrize("name", ["spacing", "finterval"])
@pytest.mark.parametrize("value", [0, -0.5, NAN, INF, "far", [1.0], 10**400])
@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_sizes_that_are_none_are_left_out_alone(tmp_path, name, value, dtype) -> None:
    like = ImageFile(PLANE, "YX", {"unit": "um", name: value}, (4.0, 4.0), 1)
    plane = PLANE.astype(dtype)
    image = read_image(write_tiff(tmp_path / "out.tif", plane, like))
    assert name not in image.metadata
    assert (image.metadata["unit"], image.resolution) == ("um", (4.0, 4.0))
    (said,) = lost_metadata(plane, like)
    assert said.endswith(repr(value))


@pytest.mark.parametrize("value", [np.float32(2), np.int64(2), "2.0", 2])
def test_sizes_of_any_type_of_number_are_kept(tmp_path, value) -> None:
    stack = np.ones((3, 20, 30), np.int16)
    like = ImageFile(stack, "ZYX", {"spacing": value})
    assert read_image(write_tiff(tmp_path / "a.tif", stack, like)).metadata["spacing"] == 2.0


@pytest.mark.parametrize("unit", [5, b"um", "a\nspacing=9", "\ud800", "", ["um"]])
@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_units_that_are_no_text_are_left_out(tmp_path, unit, dtype) -> None:
    like = ImageFile(PLANE, "YX", {"unit": unit}, (4.0, 4.0))
    image = read_image(write_tiff(tmp_path / "out.tif", PLANE.astype(dtype), like))
    assert not {"unit", "spacing"} & image.metadata.keys()
    assert image.resolution == (4.0, 4.0)
    assert lost_metadata(PLANE, like) == (f"the unit {unit!r}",)


@pytest.mark.parametrize("unit", ["µm", "Å", "微米"])
def test_units_beyond_ascii_are_kept(tmp_path, unit) -> None:
    like = ImageFile(PLANE, "YX", {"unit": unit}, (4.0, 4.0))
    image = read_image(write_tiff(tmp_path / "out.tif", PLANE, like))
    assert image.metadata["unit"].encode().decode("unicode_escape") == unit
    assert lost_metadata(PLANE, like) == ()


@pytest.mark.parametrize("unit", [0, 7, -1, 2**40])
def test_resolution_units_that_tiff_does_not_know_are_none(tmp_path, unit) -> None:
    like = ImageFile(PLANE, "YX", {}, (4.0, 5.0), unit)
    with tifffile.TiffFile(write_tiff(tmp_path / "out.tif", PLANE, like)) as file:
        assert file.pages[0].resolutionunit == tifffile.RESUNIT.NONE
        assert file.pages[0].resolution == (4.0, 5.0)


def test_a_tiff_with_a_broken_resolution_is_read_and_written(tmp_path) -> None:
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, PLANE, resolution=(4, 5), metadata=None)
    with tifffile.TiffFile(path) as file:
        tags = file.pages[0].tags
        places = {name: tags[name].offset for name in ("ResolutionUnit", "YResolution")}
    data = bytearray(path.read_bytes())
    data[places["ResolutionUnit"] + 8 : places["ResolutionUnit"] + 12] = bytes(4)
    path.write_bytes(data)
    assert read_image(path).resolution == (4.0, 5.0)
    write_tiff(tmp_path / "a.tif", PLANE, read_image(path))
    # No longer a fraction: the type LONG, and one of them.
    data[places["YResolution"] + 2 : places["YResolution"] + 4] = (4).to_bytes(2, "little")
    path.write_bytes(data)
    write_tiff(tmp_path / "b.tif", PLANE, read_image(path))


@pytest.mark.parametrize("size", ["nan", "inf", "-0.1", "0", "about 0.1"])
def test_an_ome_tiff_with_a_broken_pixel_size_is_written_without(tmp_path, size) -> None:
    path = tmp_path / "in.ome.tif"
    metadata = {"axes": "YX", "PhysicalSizeX": size, "PhysicalSizeY": 0.5}
    tifffile.imwrite(path, PLANE, metadata=metadata)
    image = read_image(write_tiff(tmp_path / "out.tif", PLANE, read_image(path)))
    np.testing.assert_array_equal(image.array, PLANE)
    assert image.resolution == (1.0, 1.0)


def test_a_header_that_is_refused_does_not_cost_the_result(tmp_path, monkeypatch) -> None:
    write = tifffile.imwrite

    def refusing(*arguments, metadata, **options):
        if "unit" in metadata:
            raise ValueError("no units today")
        write(*arguments, metadata=metadata, **options)

    monkeypatch.setattr(tifffile, "imwrite", refusing)
    like = ImageFile(PLANE, "YX", {"unit": "um"}, (4.0, 4.0), 1)
    assert lost_metadata(PLANE, like) == ("its scale and units",)
    np.testing.assert_array_equal(
        read_image(write_tiff(tmp_path / "out.tif", PLANE, like)).array, PLANE
    )


def test_what_no_tiff_holds_is_refused(tmp_path) -> None:
    array = PLANE.astype(np.longdouble)
    with pytest.raises(OutputError, match="cannot be written as TIFF"):
        lost_metadata(array, ImageFile(PLANE, "YX"))
    with pytest.raises(OutputError, match="cannot be written as TIFF"):
        write_tiff(tmp_path / "out.tif", array, ImageFile(PLANE, "YX"))
    assert names(tmp_path) == []


KINDS = ["?", "i1", "u1", "<i2", ">u2", ">i4", "u4", "i8", ">u8", "f2", ">f4", "f8"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(20, 30), (3, 20, 30)])
def test_every_kind_of_pixel_is_written_as_it_is(tmp_path, kind: str, shape) -> None:
    values = np.random.default_rng(0).integers(0, 2, shape)
    if np.dtype(kind).kind in "ui":
        limits = np.iinfo(kind)
        values = np.random.default_rng(0).integers(limits.min, limits.max, shape, kind[-2:])
    elif kind != "?":
        values = values * 1000.5
    array = values.astype(kind)
    image = read_image(
        write_tiff(tmp_path / "a.tif", array, ImageFile(array, "ZYX"[-len(shape) :]))
    )
    np.testing.assert_array_equal(image.array, array)
    assert image.array.dtype.kind == array.dtype.kind


# -- integers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", ">u2", "i2", "u4", "i4", ">i4", "u8", "i8"])
@pytest.mark.parametrize("given", [np.float16, np.float32, np.float64])
def test_integers_never_wrap(kind: str, given) -> None:
    limits = np.iinfo(kind)
    with np.errstate(over="ignore"):
        beyond = np.array([limits.max * 1.01, INF, limits.min - 300.0, -INF, NAN, 41.6], given)
    plane = np.tile(beyond, (16, 4))[:, :16]
    made = cast_like(np.zeros((16, 16), kind), "YX", plane)
    assert made.dtype == np.dtype(kind)
    expected = [limits.max, limits.max, limits.min, limits.min, 0, 42]
    assert made[0, :6].tolist() == expected


@pytest.mark.parametrize("kind", ["u4", "i4", "u8", "i8"])
def test_the_extremes_themselves_are_kept(kind: str) -> None:
    limits = np.iinfo(kind)
    values = np.array([limits.max, limits.min, limits.max // 2], np.float64)
    assert round_to_integers(values, kind)[:2].tolist() == [limits.max, limits.min]
    assert round_to_integers(values, kind)[2] == int(np.rint(values[2]))


# -- names ------------------------------------------------------------------------------------


def test_a_name_that_is_taken_meanwhile_is_not_replaced(tmp_path) -> None:
    path = tmp_path / "out.tif"

    def write() -> None:
        with write_atomically(path, overwrite=False) as partial:
            partial.write_bytes(b"ours")
            path.write_bytes(b"theirs")

    with pytest.raises(NameTakenError, match="exists already"):
        write()
    assert path.read_bytes() == b"theirs"
    assert names(tmp_path) == ["out.tif"]


@pytest.mark.parametrize("has_links", [True, False])
def test_a_name_never_belongs_to_an_empty_file(tmp_path, monkeypatch, has_links) -> None:
    path, replace, seen = tmp_path / "out.tif", os.replace, []

    def noted(source, target) -> None:
        seen.append(target.read_bytes())
        replace(source, target)

    def refused(*_) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "replace", noted)
    if not has_links:
        monkeypatch.setattr(os, "link", refused)
    with write_atomically(path, overwrite=False) as partial:
        partial.write_bytes(b"ours")
    # A process may be killed at this moment.
    assert seen == [b"ours" if has_links else b""]
    assert (path.read_bytes(), names(tmp_path)) == (b"ours", ["out.tif"])


def test_a_free_name_is_found_even_if_it_is_taken_again(tmp_path) -> None:
    (tmp_path / "out.tif").write_bytes(b"theirs")
    (tmp_path / "out-1.tif").symlink_to("nowhere")
    calls = []

    def write(path: Path) -> None:
        calls.append(path.name)
        if len(calls) == 1:
            path.write_bytes(b"theirs, just now")
            raise NameTakenError("taken")
        path.write_bytes(b"ours")

    found = write_under_free_name(tmp_path / "out.tif", write)
    assert calls == ["out-2.tif", "out-3.tif"]
    assert (found.name, found.read_bytes()) == ("out-3.tif", b"ours")
    assert write_under_free_name(tmp_path / "b.tif", lambda path: path.touch()).name == "b.tif"


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_folder_is_no_name_for_a_file(tmp_path, overwrite) -> None:
    (tmp_path / "out.tif").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        write_tiff(tmp_path / "out.tif", PLANE, ImageFile(PLANE, "YX"), overwrite=overwrite)


def test_a_name_that_the_folder_rejects_is_refused_early(tmp_path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        check_folder(tmp_path / f"{'a' * 300}.tif")
    assert names(tmp_path) == []


# -- room -------------------------------------------------------------------------------------


def test_results_that_need_more_than_is_free_are_refused(tmp_path, monkeypatch) -> None:
    usage = type(_safe_writing.shutil.disk_usage(tmp_path))
    monkeypatch.setattr(
        _safe_writing.shutil, "disk_usage", lambda _: usage(9e9, 8e9, 2_500_000_000)
    )
    one, other = tmp_path / "a.tif", tmp_path / "new" / "b.tif"
    check_space({one: 1_500_000_000, other: 1_000_000_000})
    with pytest.raises(OutputError) as caught:
        check_space({one: 1_500_000_000, other: 1_100_000_000})
    assert str(caught.value) == (
        f"the results need 2.6 GB in {tmp_path} and 2.5 GB are free: free some space, or choose "
        "another folder"
    )
    # Of some file systems nothing is known.
    monkeypatch.setattr(_safe_writing.shutil, "disk_usage", lambda _: usage(0, 0, 0))
    check_space({one: 10**12})


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EROFS, "Read-only"), "(Read-only): choose another folder or name"),
        (OSError("9 requested and 6 written"), "(the disk takes no more; it needs 5 bytes, and "),
        (OSError(errno.ENOSPC, "No space"), "(No space; it needs 5 bytes, and "),
    ],
)
def test_the_remedy_depends_on_the_error(tmp_path, error, words) -> None:
    with pytest.raises(OutputError) as caught, _safe_writing.explain_os_error(tmp_path / "a", 5):
        raise error
    assert f"{tmp_path / 'a'} cannot be written {words}" in str(caught.value)
    assert ("free some space" in str(caught.value)) == ("it needs" in words)


@contextmanager
def no_file_beyond(size: int):
    """What a full disk is to a process: writes fail midway."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_does_not_fit_leaves_nothing(tmp_path, tiny, noisy):
    model = Redenoiser(tiny, "cpu").fit(noisy)
    image = np.zeros((512, 512), np.float32)
    with no_file_beyond(2**14):
        with pytest.raises(OutputError, match=r"takes no more; it needs 1\.0 MB, and .* are free"):
            write_tiff(tmp_path / "out.tif", image, ImageFile(image, "YX"))
        with pytest.raises(OutputError, match=r"it needs .* kB, and .* are free"):
            model.save(tmp_path / "model.safetensors")
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["uint8", "int16", "uint32"])
@pytest.mark.parametrize("given", ["float16", "float32", "float64"])
def test_halves_go_to_the_even_integer(kind: str, given: str) -> None:
    values = np.array([0.5, 1.5, 2.5, 3.49, 3.51], given)
    assert round_to_integers(values, kind).tolist() == [0, 2, 2, 3, 4]


@pytest.mark.parametrize("on_disk", [False, True])
def test_an_array_rounds_what_is_assigned(monkeypatch, on_disk: bool) -> None:
    monkeypatch.setattr(_result_arrays, "MOST_BYTES_IN_MEMORY", 0 if on_disk else 10**6)
    planes = Planes(np.zeros((2, 16, 20), np.uint8), "TYX")
    rounding = RoundingArray(result_array(planes, dtype=np.uint8))
    values = np.random.default_rng(0).normal(100, 200, (2, 16, 20)).astype(np.float32)
    for frame in range(2):
        rounding[frame, 0:16, 0:20] = values[frame]
    expected = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(rounding.array[...], expected)
    np.testing.assert_array_equal(rounding[1, 3:5, :], expected[1, 3:5])
    assert (rounding.shape, rounding.dtype) == ((2, 16, 20), np.uint8)


def test_results_that_outgrow_the_disk_are_reported(tmp_path, monkeypatch, tiny) -> None:
    monkeypatch.setattr(_result_arrays, "MOST_BYTES_IN_MEMORY", 0)
    monkeypatch.setattr(_result_arrays, "_cache", tmp_path)
    image = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)
    model = Redenoiser(tiny, "cpu").fit(image)
    outputs = model.session.allocate(image)
    with no_file_beyond(2**12), pytest.raises(OutputError, match="is full, which holds results"):
        list(model.predict_events(image, outputs=outputs))


# -- what killed runs leave ---------------------------------------------------------------------

KILLED = """
import sys, time
import numpy as np
from pathlib import Path
from napari_redenoise.data import Planes
from napari_redenoise.io import set_results_folder, result_array, write_atomically
from napari_redenoise.io import _result_arrays

folder = Path(sys.argv[1])
_result_arrays.MOST_BYTES_IN_MEMORY = 0
set_results_folder(folder)
result_array(Planes(np.zeros((20, 30), np.float32), "YX"))[...] = 1
with write_atomically(folder / "out.tif") as partial:
    partial.write_bytes(b"half")
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other_run(tmp_path):
    """Another process amid its work in the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.communicate()


def tidy(folder: Path, monkeypatch) -> list[str]:
    """What is left after the next run has begun."""
    monkeypatch.setattr(_result_arrays, "_cache", folder)
    _result_arrays._remove_leftovers.cache_clear()
    check_folder(folder / "out.tif")
    result_array(Planes(PLANE, "YX"))
    return names(folder)


def test_what_a_killed_run_has_left_is_removed_by_the_next(tmp_path, other_run, monkeypatch):
    before = names(tmp_path)
    assert [name.split("-")[0] for name in before] == [".redenoise", "napari"]
    # Not as long as it lives.
    assert tidy(tmp_path, monkeypatch) == before
    other_run.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    other_run.wait()
    assert names(tmp_path) == before
    assert tidy(tmp_path, monkeypatch) == []


def test_leftovers_of_other_computers_and_programs_stay(tmp_path, other_run, monkeypatch):
    other_run.kill()
    other_run.wait()
    (tmp_path / "napari-redenoise-unknown").mkdir()
    before = names(tmp_path)
    monkeypatch.setattr(_temporary_folders.platform, "node", lambda: "elsewhere")
    assert tidy(tmp_path, monkeypatch) == before
    monkeypatch.undo()
    assert tidy(tmp_path, monkeypatch) == ["napari-redenoise-unknown"]


def test_folders_of_this_process_stay_while_in_use(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(_result_arrays, "_cache", tmp_path)
    monkeypatch.setattr(_result_arrays, "MOST_BYTES_IN_MEMORY", 0)
    result = result_array(Planes(PLANE, "YX"))
    result[...] = PLANE
    (folder,) = tmp_path.iterdir()
    assert tidy(tmp_path, monkeypatch) == [folder.name]
    np.testing.assert_array_equal(result[...], PLANE)


def test_a_file_system_without_locks_is_written_to_all_the_same(tmp_path, monkeypatch) -> None:
    def refused(*_, **__):
        raise NotImplementedError("no locks")

    monkeypatch.setattr(_temporary_folders.FileLock, "acquire", refused)
    path = write_tiff(tmp_path / "out.tif", PLANE, ImageFile(PLANE, "YX"))
    assert names(tmp_path) == [path.name]


@pytest.mark.parametrize("is_folder", [False, True])
@pytest.mark.parametrize("has_links", [False, True])
def test_what_is_replaced_is_restored_after_errors(tmp_path, monkeypatch, is_folder, has_links):
    old = tmp_path / "old"
    file = old / "chunk" if is_folder else old
    file.parent.mkdir(exist_ok=True)
    file.write_text("old")

    def refused(*_, **__):
        raise OSError("no links here")

    if not has_links:
        monkeypatch.setattr(os, "link", refused)

    def replace():
        # A killed process leaves it where it was.
        assert file.exists() == has_links
        file.parent.mkdir(exist_ok=True)
        new = file.with_name("new")
        new.write_text("new")
        os.replace(new, file)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), restored_after_errors(old):
        replace()
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert file.read_text() == "old"
