"""A run into OME-Zarr that was killed is continued, with the result of an uninterrupted one."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from napari_redenoise import Redenoiser
from napari_redenoise.errors import OutputError
from napari_redenoise.io import (
    ImageFile,
    OmeZarrStream,
    UnfinishedRun,
    fingerprint,
    load_model,
    read_image,
)

FAST = ("--from-scratch", "--objective", "noise2self", "--device", "cpu", "--steps", "2",
        "--set", "network.levels=2", "--set", "network.encoder_width=8",
        "--set", "network.decoder_width=16", "--set", "training.patch_size=32")  # fmt: skip

KILLED = """
import os, signal, sys
from napari_redenoise import _cli
from napari_redenoise.io import OmeZarrStream
note = OmeZarrStream._note
def killed(self, *row):
    note(self, *row)
    if self._path.name == "mask.zarr" and row == (1, 0):
        os.kill(os.getpid(), signal.SIGKILL)
OmeZarrStream._note = killed
_cli.main()
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    stack = np.random.default_rng(0).poisson(50, (4, 48, 56)).astype(np.uint16)
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, stack, photometric="minisblack", metadata={"axes": "ZYX"})
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def interrupt(monkeypatch, planes: int) -> None:
    """Have a signal come when so many planes are predicted."""
    predict = Redenoiser.predict_events

    def interrupted(self, *arguments, **keywords):
        for number, event in enumerate(predict(self, *arguments, **keywords)):
            if number + 1 == planes:
                signal.raise_signal(signal.SIGINT)
            yield event

    monkeypatch.setattr(Redenoiser, "predict_events", interrupted)


def no_training(monkeypatch) -> None:
    monkeypatch.setattr(Redenoiser, "fit_events", lambda *_, **__: pytest.fail("it trains"))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
def test_a_killed_run_is_continued_bit_by_bit(redenoise, source, tmp_path, monkeypatch):
    out, mask = tmp_path / "out.zarr", tmp_path / "mask.zarr"
    command = ["denoise", source, out, "--mask", mask, *FAST]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, command)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    folder = tmp_path / ".out.zarr.unfinished"
    assert names(tmp_path) == [folder.name, "in.tif"]
    model = shutil.copy(folder / "model.safetensors", tmp_path / "m.safetensors")
    no_training(monkeypatch)
    status, said, errors = redenoise(*command)
    assert status == 0, errors
    assert "continues the unfinished run: 2 of 4 planes are written" in said
    assert names(tmp_path) == ["in.tif", "m.safetensors", "mask.zarr", "out.zarr"]
    options = ("--mask", tmp_path / "mask2.zarr", "--model", model, "--device", "cpu")
    assert redenoise("denoise", source, tmp_path / "out2.zarr", *options)[0] == 0
    for name in ("out", "mask"):
        once, twice = (
            np.asarray(read_image(tmp_path / f"{name}{which}.zarr").array) for which in ("2", "")
        )
        np.testing.assert_array_equal(twice.view(np.uint32), once.view(np.uint32))


def test_an_interrupted_run_is_continued_by_the_same_command(
    redenoise, source, tmp_path, monkeypatch
):
    command = ["denoise", source, tmp_path / "out.zarr", *FAST]
    with monkeypatch.context() as patch:
        interrupt(patch, 3)
        status, _, errors = redenoise(*command)
    assert status == 130
    folder = tmp_path / ".out.zarr.unfinished"
    assert f"stopped after 2 of 2 steps: {folder} holds the model and the planes" in errors
    assert "the same command continues" in errors
    assert names(tmp_path) == [folder.name, "in.tif"]
    no_training(monkeypatch)
    status, said, errors = redenoise(*command)
    assert status == 0, errors
    assert "continues the unfinished run: 3 of 4 planes are written" in said
    assert names(tmp_path) == ["in.tif", "out.zarr"]
    assert read_image(tmp_path / "out.zarr").array.shape == (4, 48, 56)


@pytest.mark.parametrize("change", ["seed", "image", "as-source"])
def test_a_run_that_would_make_another_result_begins_anew(
    redenoise, source, tmp_path, monkeypatch, change
):
    command = ["denoise", source, tmp_path / "out.zarr", *FAST]
    with monkeypatch.context() as patch:
        interrupt(patch, 3)
        assert redenoise(*command)[0] == 130
    if change == "image":
        stack = tifffile.imread(source) + 1
        tifffile.imwrite(source, stack, photometric="minisblack", metadata={"axes": "ZYX"})
    options = {"seed": ("--seed", "7"), "image": (), "as-source": ("--as-source",)}[change]
    status, said, _ = redenoise(*command, *options)
    assert status == 0
    assert "continues" not in said
    assert "wrote" in said
    assert names(tmp_path) == ["in.tif", "out.zarr"]


def test_every_unfinished_result_lies_beside_its_own(redenoise, source, tmp_path, monkeypatch):
    other = tmp_path / "other"
    # Of one name: in one folder, they would be one file.
    mask, folder = other / "out.zarr", ".out.zarr.unfinished"
    command = ["denoise", source, tmp_path / "out.zarr", "--mask", mask, *FAST]
    with monkeypatch.context() as patch:
        interrupt(patch, 3)
        assert redenoise(*command)[0] == 130
    assert (names(tmp_path), names(other)) == ([folder, "in.tif", "other"], [folder])
    assert (other / folder / "out.zarr").is_dir()
    no_training(monkeypatch)
    status, said, errors = redenoise(*command)
    assert status == 0, errors
    assert "continues the unfinished run: 3 of 4 planes are written" in said
    assert (names(tmp_path), names(other)) == (["in.tif", "other", "out.zarr"], ["out.zarr"])
    assert float(np.max(read_image(mask).array)) <= 1


def test_a_result_that_was_written_is_written_again(redenoise, source, tmp_path, monkeypatch):
    command = ["denoise", source, tmp_path / "out.zarr", "--mask", tmp_path / "mask.zarr", *FAST]
    move = OmeZarrStream.move_to

    def full(self, path, **keywords):
        if path.name == "mask.zarr":
            raise OutputError(f"{path} cannot be written (No space left on device)")
        move(self, path, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(OmeZarrStream, "move_to", full)
        status, _, errors = redenoise(*command)
    assert status == 3
    assert "the same command, with --overwrite, continues" in errors
    no_training(monkeypatch)
    status, _, errors = redenoise(*command, "--overwrite")
    assert status == 0, errors
    assert names(tmp_path) == ["in.tif", "mask.zarr", "out.zarr"]


def test_before_the_prediction_the_model_is_kept_as_ever(redenoise, source, tmp_path, monkeypatch):
    fit = Redenoiser.fit_events

    def interrupted(self, *arguments, **keywords):
        for event in fit(self, *arguments, **keywords):
            yield event
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Redenoiser, "fit_events", interrupted)
    assert redenoise("denoise", source, tmp_path / "out.zarr", *FAST)[0] == 130
    assert names(tmp_path) == ["in.tif", "out.redenoise.safetensors"]
    assert load_model(tmp_path / "out.redenoise.safetensors")[3]["steps"] == 1


def test_a_stream_continues_with_the_planes_that_are_written(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(12, 20, 30)).astype(np.float32)
    like, path = ImageFile(array, "TYX"), tmp_path / "out.zarr"
    whole = slice(0, 20), slice(0, 30)
    first = OmeZarrStream(path, like, keep_in=tmp_path)
    for number in (1, 11):
        first[number, *whole] = array[number]
    first[2, slice(0, 10), slice(0, 30)] = array[2, :10]
    first.remove()
    # A killed process may have written half a line: "1" of "10;".
    with (tmp_path / "out.zarr.progress").open("a") as file:
        file.write("1")
    # Continued elsewhere, as by another process.
    again = OmeZarrStream(tmp_path / "out.zarr", like, keep_in=tmp_path)
    assert again.finished == {(1,), (11,)}
    with pytest.raises(OutputError, match="lacks 10 of 12 planes"):
        again.move_to(tmp_path / "other.zarr")
    for number in {*range(12)} - {1, 11}:
        again[number, *whole] = array[number]
    again.move_to(tmp_path / "other.zarr")
    np.testing.assert_array_equal(read_image(tmp_path / "other.zarr").array, array)


def test_a_result_is_written_by_one_process_at_a_time(tmp_path: Path) -> None:
    run = UnfinishedRun(tmp_path / "out.zarr", {"seed": 1})
    with pytest.raises(OutputError, match=r"another process is writing .*out\.zarr"):
        UnfinishedRun(tmp_path / "out.zarr", {"seed": 1})
    run.model.touch()
    run.close()
    again = UnfinishedRun(tmp_path / "out.zarr", {"seed": 1})
    assert again.is_continued
    again.close()
    other = UnfinishedRun(tmp_path / "out.zarr", {"seed": 2})
    assert not other.is_continued
    other.close()
    assert names(tmp_path) == []


def test_a_fingerprint_changes_with_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "in.zarr"
    (folder / "0").mkdir(parents=True)
    (folder / "0" / "chunk").write_bytes(b"12")
    before = fingerprint(folder)
    assert fingerprint(folder) == before
    os.utime(folder / "0" / "chunk", ns=(0, 2**62))
    assert fingerprint(folder) != before
    assert fingerprint(None) is None
    assert fingerprint(tmp_path / "gone") == [str(tmp_path / "gone"), 0, 0, 0]


def test_half_a_line_hides_no_plane(tmp_path: Path) -> None:
    planes = np.arange(13 * 16 * 16, dtype=np.float32).reshape(13, 16, 16) + 1
    like, path = ImageFile(planes, "ZYX"), tmp_path / "out.zarr"
    first = OmeZarrStream(path, like, keep_in=tmp_path)
    for number in (0, 1):
        first[number, :, :] = planes[number]
    progress = tmp_path / "out.zarr.progress"
    # The disk was full in the middle of the line of plane 1.
    progress.write_text(progress.read_text()[:-2])
    for number in (1, 2):
        again = OmeZarrStream(path, like, keep_in=tmp_path)
        assert again.finished == {(one,) for one in range(number)}
        again[number, :, :] = planes[number]
    rest = OmeZarrStream(path, like, keep_in=tmp_path)
    assert rest.finished == {(0,), (1,), (2,)}


def test_a_fingerprint_looks_into_zip_files_and_ome(tmp_path: Path) -> None:
    archive = tmp_path / "x.zip"
    archive.write_bytes(b"one")
    before = fingerprint(archive / "image.zarr")
    archive.write_bytes(b"other")
    assert fingerprint(archive / "image.zarr") != before
    companion = tmp_path / "x.companion.ome"
    companion.write_text('<?xml version="1.0"?><OME><UUID FileName="t0.tif">u</UUID></OME>')
    before = fingerprint(companion)
    tifffile.imwrite(tmp_path / "t0.tif", np.zeros((8, 8), np.uint8))
    assert fingerprint(companion) != before


def test_a_remote_store_is_known_by_its_metadata(tmp_path: Path) -> None:
    def state(side: int) -> list:
        address = "memory://store"
        store = zarr.storage.FsspecStore.from_url(address)
        zarr.create_array(store, shape=(side, side), dtype="u1", overwrite=True)
        return fingerprint(Path(address))

    first = state(8)
    assert state(8) == first
    assert state(9) != first
