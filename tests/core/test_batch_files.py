"""Batch processing: which images are denoised, and where their results go."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from skimage.io import imsave

from napari_redenoise.errors import InputError, OutputError
from napari_redenoise.io import _result_format, read_image, write_ome_zarr
from napari_redenoise.recipes import (
    BatchSettings,
    FileDone,
    FileFailed,
    FileSkipped,
    find_images,
)
from napari_redenoise.recipes.batch._files import name_results

from ._batches import TWO_BRANCHES, batch, outputs, run, write_image


def names(inputs: list, folders: tuple[Path, ...] = (), **options: bool) -> dict[str, str]:
    found = find_images(inputs, folders, **options)
    return {image.as_posix(): relative.as_posix() for image, relative in found.items()}


BOTH = {"raw/a.tif": "a.tif", "raw/b/a.tif": "b/a.tif"}


@pytest.mark.parametrize(
    ("inputs", "options"),
    [
        (["raw/**/*.tif"], {}),
        (["raw/a.tif", "raw/b/a.tif"], {}),
        (["raw/*.tif", "raw/b"], {}),
        (["raw/*"], {}),
        (["raw"], {"subfolders": True}),
        (["raw/a.tif", "raw/*.tif", "raw/b/../b/a.tif", "raw/b"], {}),
    ],
)
def test_images_keep_their_place_in_the_common_folder(raw, inputs, options):
    found = names(inputs, **options)
    assert {os.path.normpath(image): place for image, place in found.items()} == BOTH


def test_a_folder_gives_its_images_alone(raw):
    (raw / "notes.txt").write_text("of the day")
    write_image(raw / ".hidden.tif")
    assert names(["raw"]) == {"raw/a.tif": "a.tif"}


def test_an_existing_name_is_no_pattern(raw):
    write_image(raw / "cell[1].tif")
    write_image(raw / "cell1.tif")
    assert names(["raw/cell[1].tif"]) == {"raw/cell[1].tif": "cell[1].tif"}
    assert names(["raw/cell[0-9].tif"]) == {"raw/cell1.tif": "cell1.tif"}


def test_names_may_begin_with_a_tilde(raw, monkeypatch):
    monkeypatch.setenv("HOME", str(Path("raw").absolute()))
    write_image(Path("~x.tif"))
    assert names(["~x.tif"]) == {"~x.tif": "~x.tif"}
    assert list(names(["~nobody.tif"])) == ["~nobody.tif"]
    assert list(names(["~/a.tif"])) == [Path("raw/a.tif").absolute().as_posix()]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (["raw/*.png"], "no file matches raw/*.png: check the pattern"),
        (["raw/*.tif", "raw/*.png"], "no file matches raw/*.png"),
        (["empty"], "there are no images to denoise in empty: give files, patterns"),
    ],
)
def test_inputs_without_images_are_refused(raw, inputs, words):
    Path("empty").mkdir()
    with pytest.raises(InputError) as caught:
        find_images(inputs)
    assert words in str(caught.value)


def test_names_that_match_no_image_are_refused(raw):
    with pytest.raises(InputError, match=r"whose names match \[\*: check the pattern"):
        find_images(["raw"], pattern="[*")


def test_results_are_never_denoised_again(raw):
    folder = raw / "out"
    run(folder=folder)
    # Of another folder for results, they are told by the manifest in the one that holds them.
    for folders in ((folder,), (raw / "other",), (Path("elsewhere"),)):
        for inputs, options in (
            (["raw/**/*.tif"], {}),
            (["raw"], {"subfolders": True}),
            (["raw/a.tif", "raw/b/a.tif", "raw/out/a.tif", "raw/out/b/a.tif"], {}),
        ):
            assert names(inputs, folders, **options) == BOTH
    # A file in the folder for results is none, even if no manifest tells so.
    write_image(folder / "partial.tif")
    assert names(["raw/**/*.tif"], (folder,)) == BOTH
    assert "raw/out/partial.tif" in names(["raw/**/*.tif"])
    assert outputs(run(folder=folder), FileSkipped) == ["raw/out/a.tif", "raw/out/b/a.tif"]


def test_an_image_named_in_the_folder_for_results_is_kept(raw):
    write_image(raw / "c.tif", 3)
    inputs, folder = ["raw/c.tif", "raw/b/a.tif"], raw / "b"
    made = ["raw/b/c.tif", "raw/b/b/a.tif"]
    assert outputs(run(*inputs, folder=folder), FileDone) == made
    # Also where a shell lists the results of the first run, even without their manifest.
    (folder / "manifest.jsonl").rename(raw / "moved")
    assert list(names([*inputs, *made], (folder,))) == inputs


def test_the_folder_of_results_may_contain_the_images(raw):
    events = run("raw/b/*.tif", folder=raw / "b" / ".." / "..")
    assert [Path(path).name for path in outputs(events, FileDone)] == ["a.tif"]
    assert Path("a.tif").is_file()


@pytest.mark.parametrize("folder", ["raw", "link", "raw/b/.."])
def test_results_never_replace_images(raw, folder):
    Path("link").symlink_to("raw", target_is_directory=True)
    before = (raw / "a.tif").read_bytes()
    with pytest.raises(OutputError, match=r"a\.tif is read by this run: choose another folder"):
        batch("raw/*.tif", folder=Path(folder), overwrite=True)
    assert (raw / "a.tif").read_bytes() == before


def test_images_of_one_name_get_different_results(raw):
    pixels = tifffile.imread(raw / "a.tif").astype(np.uint8)
    for name in ("a.png", "a.jpg"):
        imsave(raw / name, pixels, check_contrast=False)
    done = outputs(run("raw"), FileDone)
    assert done == ["out/a.jpg.tif", "out/a.png.tif", "out/a.tif"]
    assert all(tifffile.imread(path).shape == (40, 48) for path in done)


def test_results_of_one_name_are_refused(raw):
    write_image(raw / "a-standard.tif")
    with pytest.raises(OutputError, match=r"two results would be written as .*a-standard\.tif"):
        batch("raw/*.tif", config=TWO_BRANCHES, has_branches=True)


def test_a_pattern_chooses_the_images_of_a_folder(raw):
    for name in ("b.TIF", "c.lsm", "notes.txt", ".d.tif"):
        write_image(raw / name)
    assert set(names(["raw"], pattern="*.tif")) == {"raw/a.tif", "raw/b.TIF"}
    assert set(names(["raw"], pattern="*.lsm", subfolders=True)) == {"raw/c.lsm"}
    assert set(names(["raw"], pattern="a*", subfolders=True)) == set(BOTH)


def test_an_ome_zarr_in_a_folder_is_one_image(raw):
    write_ome_zarr(raw / "b" / "z.zarr", np.zeros((40, 48), np.uint16), read_image(raw / "a.tif"))
    assert set(names(["raw"], subfolders=True)) == {*BOTH, "raw/b/z.zarr"}
    assert names(["raw/b/z.zarr"]) == {"raw/b/z.zarr": "z.zarr"}


@pytest.mark.parametrize(
    ("output_format", "results"),
    [
        (None, ["a.png.tif", "a.tif", "z.zarr"]),
        ("tiff", ["a.png.tif", "a.tif", "z.zarr.tif"]),
        ("zarr", ["a.png.zarr", "a.zarr", "z.zarr"]),
    ],
)
def test_results_have_the_format_that_was_chosen(raw, output_format, results):
    source = read_image(raw / "a.tif")
    imsave(raw / "a.png", source.array.astype(np.uint8), check_contrast=False)
    write_ome_zarr(raw / "z.zarr", source.array, source)
    done = outputs(run("raw", output_format=output_format), FileDone)
    assert done == [f"out/{name}" for name in results]
    for path in done:
        found = read_image(path)
        assert (found.array.shape, found.array.dtype) == (source.array.shape, np.float32)
    again = run("raw", output_format=output_format)
    assert outputs(again, FileSkipped) == done
    assert [event.record["state"] for event in again[FileSkipped]] == ["done"] * 3


@pytest.mark.parametrize(
    ("limit", "as_source", "name"),
    [
        # 40 x 48 pixels of float32, or of uint16.
        (7680, False, "a.tif"),
        (7679, False, "a.zarr"),
        (7679, True, "a.tif"),
        (3839, True, "a.zarr"),
    ],
)
def test_results_too_large_for_tiff_are_ome_zarr(raw, monkeypatch, limit, as_source, name):
    monkeypatch.setattr(_result_format, "LEAST_BYTES", 0)
    monkeypatch.setattr(_result_format, "MOST_BYTES_IN_TIFF", limit)
    images = {raw / "a.tif": Path("a.tif")}
    files = name_results(images, Path("out"), BatchSettings(as_source=as_source))
    assert files[0].output == Path("out", name)
    # A chosen format counts more.
    files = name_results(images, Path("out"), BatchSettings(output_format="tiff"))
    assert files[0].output == Path("out/a.tif")


def test_images_of_unknown_size_become_tiffs(raw, monkeypatch):
    monkeypatch.setattr(_result_format, "LEAST_BYTES", 0)
    monkeypatch.setattr(_result_format, "MOST_BYTES_IN_TIFF", 0)
    (raw / "broken.tif").write_bytes(b"II*")
    images = {raw / name: Path(name) for name in ("broken.tif", "missing.tif")}
    results = [file.output.name for file in name_results(images, Path("out"), BatchSettings())]
    assert results == ["broken.tif", "missing.tif"]


def test_a_changed_ome_zarr_is_reported_and_kept(raw):
    source = read_image(raw / "a.tif")
    write_ome_zarr(raw / "z.zarr", source.array, source)
    run("raw/z.zarr")
    write_ome_zarr(raw / "z.zarr", source.array + 1, source, overwrite=True)
    (failed,) = run("raw/z.zarr")[FileFailed]
    assert "out/z.zarr exists already, of another state of the image" in failed.reason
    assert outputs(run("raw/z.zarr", overwrite=True), FileDone) == ["out/z.zarr"]


def test_a_folder_that_is_no_ome_zarr_is_never_replaced(raw):
    (raw.parent / "out" / "a.zarr").mkdir(parents=True)
    (raw.parent / "out" / "a.zarr" / "notes.txt").write_text("mine")
    (failed,) = run("raw/a.tif", output_format="zarr", overwrite=True)[FileFailed]
    assert "out/a.zarr exists and is no OME-Zarr" in failed.reason
    assert (raw.parent / "out" / "a.zarr" / "notes.txt").read_text() == "mine"


def test_a_folder_stands_for_files_of_microscopes_too(tmp_path):
    for name in ("a.nd2", "b.LIF", "c.czi", "d.txt"):
        (tmp_path / name).touch()
    found = find_images([tmp_path])
    assert [path.name for path in found] == ["a.nd2", "b.LIF", "c.czi"]


def test_a_pattern_in_a_folder_named_like_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_image(Path("data [1]/a.tif"))
    write_image(Path("data 1/b.tif"))
    assert names(["data [1]/*.tif"]) == {"data [1]/a.tif": "a.tif"}
    assert names([tmp_path / "data [1]" / "*.tif"]) == {f"{tmp_path}/data [1]/a.tif": "a.tif"}
    with pytest.raises(InputError, match="no file matches"):
        find_images(["data [1]/*.png"])


def test_fields_of_a_plate_and_stores_by_other_names(raw):
    source = read_image(write_image(raw / "x.tif"))
    stores = [raw / "plate.zarr" / well / "0" for well in ("A", "B")] + [raw / "store"]
    for store in stores:
        store.parent.mkdir(parents=True, exist_ok=True)
        write_ome_zarr(raw / "x.zarr", source.array, source).rename(store)
    images = find_images([raw / "plate.zarr" / "*" / "0"])
    found = name_results(images, Path("out"), BatchSettings())
    assert [one.output.as_posix() for one in found] == ["out/A/0.zarr", "out/B/0.zarr"]
    assert raw / "store" in find_images([raw])
    events = run(raw / "plate.zarr" / "A" / "0")
    assert outputs(events, FileDone) == ["out/0.zarr"]
    assert outputs(run(raw / "plate.zarr" / "A" / "0"), FileSkipped) == ["out/0.zarr"]


def test_an_address_is_refused_in_words():
    with pytest.raises(InputError, match="is an address, and a batch takes files"):
        find_images(["https://example.org/image.zarr"])


def test_a_loop_of_links_fails_alone(raw, redenoise):
    (raw / "loop.tif").symlink_to("loop.tif")
    events = run("raw/loop.tif", "raw/a.tif")
    assert outputs(events, FileDone) == ["out/a.tif"]
    assert "raw/loop.tif" in events[FileFailed][0].reason
    status, _, errors = redenoise("denoise", raw / "loop.tif", "new.tif", "--instant")
    assert (status, "unexpected" in errors, "loop.tif" in errors) == (1, False, True), errors
    status, _, errors = redenoise("denoise", raw / "a.tif", raw / "loop.tif", "--instant")
    assert (status, "unexpected" in errors) == (1, False), errors
