"""Folders of images: one rule of conversion, and unusable files skipped by name."""

from pathlib import Path

import numpy as np
import pytest
import skimage.io
import tifffile
from PIL import Image
from typer.testing import CliRunner

from napari_redenoise import Config, FolderConfig, FolderTraining
from napari_redenoise._cli import app
from napari_redenoise.data import ImageFolder
from napari_redenoise.errors import InputError
from napari_redenoise.recipes import EpochDone

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (20, 24), dtype=np.uint8)
# With every brightness and shade, smooth so that JPEG keeps it.
COLOUR = np.stack(
    [
        np.tile(np.linspace(start, stop, 24), (20, 1))
        for start, stop in ((0, 250), (90, 30), (200, 80))
    ],
    axis=-1,
).astype(np.uint8)
DEEP = RNG.integers(0, 65536, (20, 24), dtype=np.uint16)


def only(path: Path, channels: int | None = None) -> np.ndarray:
    """The one image of a folder."""
    return ImageFolder.open(path.parent, 1, channels).read(0)


def in_rows(colour: np.ndarray) -> np.ndarray:
    return colour.transpose(2, 0, 1)


# Conversion


def test_alpha_is_dropped(tmp_path: Path) -> None:
    alpha = np.full((20, 24, 1), 7, np.uint8)
    for name in ("a.png", "b.tif"):
        skimage.io.imsave(
            tmp_path / name, np.concatenate([COLOUR, alpha], axis=2), check_contrast=False
        )
    Image.fromarray(np.stack([GREY, alpha[..., 0]], axis=-1), "LA").save(tmp_path / "c.png")
    folder = ImageFolder.open(tmp_path, 3)
    assert folder.channels == 3
    for number in (0, 1):
        np.testing.assert_array_equal(folder.read(number), in_rows(COLOUR))
    np.testing.assert_array_equal(folder.read(2), np.stack([GREY] * 3))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_palettes_are_looked_up(tmp_path: Path, name: str) -> None:
    palette = RNG.integers(0, 256, (16, 3), dtype=np.uint8)
    indices = RNG.integers(0, 16, (20, 24), dtype=np.uint8)
    image = Image.fromarray(indices, "P")
    image.putpalette(palette.ravel().tolist())
    image.save(tmp_path / name)
    np.testing.assert_array_equal(only(tmp_path / name), in_rows(palette[indices]))


@pytest.mark.parametrize(("name", "tolerance"), [("a.tif", 1.5), ("a.jpg", 12)])
def test_cmyk_becomes_rgb(tmp_path: Path, name: str, tolerance: float) -> None:
    """R = (255 - C)(255 - K) / 255, and so on: with every ink the ink's complement, darkened."""
    inks = np.concatenate([COLOUR, np.full((20, 24, 1), 60, np.uint8)], axis=2)
    Image.fromarray(inks, "CMYK").save(tmp_path / name, quality=95)
    expected = (255.0 - in_rows(COLOUR)) * (255 - 60) / 255
    np.testing.assert_allclose(only(tmp_path / name), expected, atol=tolerance)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_grey_of_16_bits_keeps_them(tmp_path: Path, name: str) -> None:
    skimage.io.imsave(tmp_path / name, DEEP, check_contrast=False)
    np.testing.assert_allclose(only(tmp_path / name)[0], DEEP / 257, atol=1e-4)
    assert ImageFolder.open(tmp_path, 1).white == 65535


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colour_tiffs_keep_their_bits_however_they_are_ordered(tmp_path, planar, dtype) -> None:
    image = COLOUR.astype(dtype)
    if dtype == np.uint16:
        image = image * 256 + DEEP[..., None] % 256
    stored = image if planar == "contig" else in_rows(image)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar)
    expected = in_rows(image) * (255 / np.iinfo(dtype).max)
    np.testing.assert_allclose(only(tmp_path / "a.tif"), expected, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiffs_in_which_0_is_white_are_inverted(tmp_path: Path, dtype) -> None:
    stored = GREY.astype(dtype) * (np.iinfo(dtype).max // 255)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite")
    np.testing.assert_allclose(only(tmp_path / "a.tif")[0], 255.0 - GREY, atol=1e-4)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_compressed_tiffs_are_read(tmp_path: Path, compression: str) -> None:
    options, atol = ({"quality": 95}, 8) if compression == "jpeg" else ({}, 0)
    Image.fromarray(COLOUR).save(tmp_path / "a.tif", compression=compression, **options)
    np.testing.assert_allclose(only(tmp_path / "a.tif"), in_rows(COLOUR), atol=atol)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_count_from_0_to_1(tmp_path: Path, dtype) -> None:
    tifffile.imwrite(tmp_path / "a.tif", (GREY / 255).astype(dtype))
    np.testing.assert_allclose(only(tmp_path / "a.tif")[0], GREY, atol=1e-4)


def test_images_are_converted_to_the_channels_of_the_first(tmp_path: Path) -> None:
    skimage.io.imsave(tmp_path / "a.png", GREY, check_contrast=False)
    tifffile.imwrite(tmp_path / "b.tif", COLOUR.astype(np.uint16) * 257, photometric="rgb")
    skimage.io.imsave(tmp_path / "c.png", DEEP, check_contrast=False)
    folder = ImageFolder.open(tmp_path, 3)
    assert (folder.channels, folder.white) == (1, 255)
    luminance = COLOUR @ [0.2125, 0.7154, 0.0721]
    for number, expected in enumerate((GREY, luminance, DEEP / 257)):
        np.testing.assert_allclose(folder.read(number)[0], expected, atol=1e-3)


def test_a_window_is_read_as_it_lies_in_the_image(tmp_path: Path) -> None:
    skimage.io.imsave(tmp_path / "a.png", COLOUR, check_contrast=False)
    seen = []

    def window(height: int, width: int) -> tuple[slice, slice]:
        seen.append((height, width))
        return slice(2, 7), slice(4, 20)

    crop = ImageFolder.open(tmp_path, 1).read(0, window)
    np.testing.assert_array_equal(crop, in_rows(COLOUR)[:, 2:7, 4:20])
    assert seen == [(20, 24)]


def test_what_is_read_may_be_written_to(tmp_path: Path) -> None:
    """It is a copy: the next reader finds the image as it was."""
    tifffile.imwrite(tmp_path / "a.tif", (GREY / 255).astype(np.float32))
    folder = ImageFolder.open(tmp_path, 1)
    before = folder.read(0).copy()
    folder.read(0)[...] = 0
    np.testing.assert_array_equal(folder.read(0), before)


# Unusable files


def scene(seed: int, size: tuple[int, int] = (40, 44)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def cut(path: Path) -> None:
    """Keep the header and half of the pixels."""
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def save_odd_ones(folder: Path) -> dict[str, str]:
    """Files that are unusable by their headers, and what is said of each."""
    skimage.io.imsave(folder / "tiny.png", scene(1, (12, 60)), check_contrast=False)
    (folder / "words.jpg").write_text("not an image")
    (folder / "empty.png").write_bytes(b"")
    tifffile.imwrite(folder / "stack.tif", np.zeros((5, 40, 40), np.uint8))
    tifffile.imwrite(folder / "imagej.tif", np.zeros((5, 40, 40), np.uint8), imagej=True)
    tifffile.imwrite(folder / "wide.tif", np.zeros((40, 40), np.int32))
    tifffile.imwrite(folder / "short.tif", scene(2))
    cut(folder / "short.tif")
    (folder / "folder.png").mkdir()
    return {
        "tiny.png": "12 x 60 pixels",
        "words.jpg": "cannot be read as an image",
        "empty.png": "cannot be read as an image",
        "stack.tif": "shape (5, 40, 40)",
        "imagej.tif": "shape (5, 40, 40)",
        "wide.tif": "int32",
        "short.tif": "ends before its last pixel",
    }


@pytest.fixture
def good(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(5):
        skimage.io.imsave(folder / f"{number}.png", scene(number), check_contrast=False)
    return folder


def test_files_with_an_invalid_header_are_skipped(good: Path) -> None:
    expected = save_odd_ones(good)
    folder = ImageFolder.open(good, 100)
    assert [path.name for path in folder.paths] == [f"{number}.png" for number in range(5)]
    said = {path.name: why for path, why in folder.skipped.items()}
    assert said.keys() == expected.keys()
    for name, words in expected.items():
        assert name in said[name]
        assert words in said[name]


def test_unusable_files_do_not_count(good: Path) -> None:
    (good / "1.png").write_bytes(b"")
    assert [path.name for path in ImageFolder.open(good, 2).paths] == ["0.png", "2.png"]


def test_the_first_usable_image_decides_on_channels_and_white(good: Path) -> None:
    (good / "+0.png").write_bytes(b"")
    tifffile.imwrite(good / "+1.tif", COLOUR.astype(np.uint16), photometric="rgb")
    folder = ImageFolder.open(good, 3)
    assert (folder.channels, folder.white) == (3, 65535)


def test_a_folder_without_usable_images_is_refused(tmp_path: Path) -> None:
    number = len(save_odd_ones(tmp_path))
    with pytest.raises(
        InputError, match=r"holds no usable image .*: .*empty\.png cannot be read"
    ) as e:
        ImageFolder.open(tmp_path, 100)
    assert f"(and {number - 1} more)" in str(e.value)
    assert "repair or remove it" in str(e.value)


def test_an_image_that_cannot_be_decoded_is_unreadable(good: Path) -> None:
    cut(good / "2.png")
    folder = ImageFolder.open(good, 100)
    assert [number for number, _ in folder.readable()] == [0, 1, 3, 4]
    assert [path.name for path in folder.unreadable] == ["2.png"]
    with pytest.raises(InputError, match=r"2\.png cannot be read"):
        folder.read(2)


def test_a_folder_of_which_nothing_can_be_decoded_is_refused(good: Path) -> None:
    for path in good.iterdir():
        cut(path)
    with pytest.raises(InputError, match=r"holds no usable image \(and 4 more\): .*0\.png"):
        list(ImageFolder.open(good, 100).readable())


# Training and evaluation with unusable images among others


@pytest.fixture
def small(tiny: Config) -> Config:
    return tiny.replace(
        {
            "training.patch_size": 24,
            "objective.kind": "noise2noise",
            "network.kind": "standard",
        }
    )


def test_the_next_image_takes_the_place_of_an_unreadable_one(small: Config, good: Path) -> None:
    cut(good / "2.png")
    cut(good / "4.png")
    seeds = {}
    for workers in (0, 3):
        settings = FolderConfig(epochs=2, noise_param=1e-3)
        training = FolderTraining(small, settings, good, good, "cpu", workers)
        epochs = [event for event in training.events() if isinstance(event, EpochDone)]
        for epoch in epochs:
            # Of the training and of the validation.
            names = [why.split(" cannot")[0].rsplit("/")[-1] for why in epoch.unreadable]
            assert names == ["2.png", "4.png"] * 2
            assert np.isfinite(epoch.psnr)
        seeds[workers] = training.state.losses
    assert seeds[0] == seeds[3]
    shown = []
    for step in range(3):
        for crop in training._make_batch(step).noisy[:, :1].numpy():
            grey = training.normalisation.undo(crop)[0]
            shown += [
                number
                for number in (0, 1, 3)
                for windows in [np.lib.stride_tricks.sliding_window_view(scene(number), grey.shape)]
                if np.abs(windows - grey).max((2, 3)).min() < 0.1
            ]
    # 2 is replaced by 3, and 4 by 0; six crops fill three batches.
    assert len(shown) == 6
    assert shown.count(3) >= 2
    assert shown.count(0) >= 2


def test_a_training_whose_images_are_all_gone_says_so(small: Config, good: Path) -> None:
    training = FolderTraining(small, FolderConfig(epochs=1), good, device="cpu", workers=0)
    training.images._cache._images.clear()
    for path in good.iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"no image in .* can be read any more"):
        list(training.events())


def invoke(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def train_on(folder: Path, into: Path, *more: object):
    options = "--nb-epochs 1 --batch-size 4 --crop-size 24 --backbone standard --device cpu"
    line = ("train", "--train-dir", folder, "--ckpt-save-path", into, *options.split(), *more)
    return invoke(*line)


def test_the_command_names_what_it_skips_and_goes_through(good: Path, tmp_path: Path) -> None:
    cut(good / "2.png")
    (good / "words.png").write_text("not an image")
    done = train_on(good, tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "5 images of 1 channel(s)" in done.output
    assert "1 image is skipped:" in done.output
    assert f"{good / 'words.png'} cannot be read as an image" in done.output
    assert "1 image is unreadable and replaced by others:" in done.output
    assert f"{good / '2.png'} cannot be read as an image" in done.output
    model = tmp_path / "run" / "epoch-001.safetensors"
    done = invoke("evaluate", model, "--test-dir", good, "--noise-param", 25)
    assert done.exit_code == 0, done.output
    assert [line.split()[0] for line in done.output.splitlines()[3:8]] == [
        "0.png", "1.png", "3.png", "4.png", "mean"
    ]  # fmt: skip
    assert "2 images are skipped:" in done.output


def test_a_long_list_of_skipped_images_is_cut_short(good: Path, tmp_path: Path) -> None:
    for number in range(8):
        (good / f"words-{number}.png").write_text("not an image")
    said = train_on(good, tmp_path / "run").output
    assert "8 images are skipped:" in said
    assert "and 3 more" in said
    assert said.count("words-") == 5


# Subfolders


@pytest.fixture
def nested(good: Path) -> Path:
    for name in ("b/c", ".hidden", "a"):
        (good / name).mkdir(parents=True)
        skimage.io.imsave(good / name / "0.png", scene(len(name) + 20), check_contrast=False)
    return good


def test_subfolders_are_listed_on_request_alone(nested: Path) -> None:
    assert len(ImageFolder.open(nested, 100)) == 5
    folder = ImageFolder.open(nested, 100, subfolders=True)
    names = [folder.name(number) for number in range(len(folder))]
    assert names == ["0.png", "1.png", "2.png", "3.png", "4.png", "a/0.png", "b/c/0.png"]
    np.testing.assert_array_equal(folder.read(6)[0], scene(23))


def test_subfolders_of_a_command(nested: Path, tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    assert "5 images" in train_on(nested, tmp_path / "flat").output
    done = train_on(nested, run, "--subfolders", "--valid-dir", nested)
    assert "7 images" in done.output
    # They are part of what a run is resumed with.
    assert "folder.subfolders" in str(train_on(nested, run, "--resume").exception)
    model = run / "epoch-001.safetensors"
    line = ("evaluate", model, "--test-dir", nested, "--noise-param", 25, "--out", out)
    done = invoke(*line, "--subfolders")
    assert done.exit_code == 0, done.output
    table = (out / "table.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in (table[0], *table[-3:])] == [
        "image", "a/0.png", "b/c/0.png", "mean"
    ]  # fmt: skip
    montages = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
    assert montages == ["0.png", "1.png", "2.png", "3.png", "4.png", "a/0.png", "b/c/0.png"]
    np.testing.assert_array_equal(skimage.io.imread(out / "b" / "c" / "0.png")[:, -44:], scene(23))


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_results_do_not_go_where_images_are_read(nested: Path, tmp_path, command: str) -> None:
    def run(into: Path, *more: str):
        if command == "train":
            return train_on(nested, into, *more)
        model = tmp_path / "run" / "epoch-001.safetensors"
        line = ("evaluate", model, "--test-dir", nested, "--noise-param", 25, "--out", into)
        return invoke(*line, *more)

    assert train_on(nested, tmp_path / "run").exit_code == 0
    for into, more in ((nested, ()), (nested / "results", ("--subfolders",))):
        assert "holds the clean images" in str(run(into, *more).exception)
    assert not (nested / "results").exists()
    assert run(nested / "results").exit_code == 0
