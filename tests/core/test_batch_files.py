"""Batch processing: which images are denoised, and where their results go."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from skimage.io import imsave

from napari_redenoise.errors import InputError, OutputError
from napari_redenoise.recipes import (
    FileDone,
    FileSkipped,
    find_images,
)

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
