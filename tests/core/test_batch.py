"""Batch processing without the command: the run, its manifest, and what is made again."""

import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_redenoise import Redenoiser
from napari_redenoise.errors import ConfigError, InputError, OutputError
from napari_redenoise.io import _result_files, read_image, write_tiff
from napari_redenoise.recipes import (
    FileDone,
    FileFailed,
    FileSkipped,
    FileStarted,
)
from napari_redenoise.recipes.batch import _file_work
from napari_redenoise.training import StepDone

from ._batches import FAST, OUT, TWO_BRANCHES, batch, outputs, records, results, run, write_image


def test_every_image_is_denoised_as_alone(raw):
    events = run(check=lambda *_: {"mark": "good", "sentences": ["good: Noise."]})
    assert outputs(events, FileStarted) == outputs(events, FileDone) == ["out/a.tif", "out/b/a.tif"]
    source = read_image(raw / "b" / "a.tif")
    alone = Redenoiser(FAST, "cpu").fit(source.array, source.axes).predict(source.array)
    np.testing.assert_allclose(tifffile.imread("out/b/a.tif"), alone.denoised, rtol=1e-5)
    done = [record for record in records() if record["state"] == "done"]
    assert [(one["input"], one["output"]) for one in done] == [
        ("../raw/a.tif", "a.tif"),
        ("../raw/b/a.tif", "b/a.tif"),
    ]
    for one in done:
        assert one["plan"]["config"]["objective"]["kind"] == "noise2self"
        assert one["quality"] == {"mark": "good", "sentences": ["good: Noise."]}
        assert 0 < one["seconds"] < 600
    assert done == [event.record for event in events[FileDone]]


def test_the_manifest_is_written_as_it_goes(raw):
    for event in batch("raw/**/*.tif").events():
        if isinstance(event, FileDone):
            last = records()[-1]
            assert (last["state"], last["output"]) == (
                "done",
                event.file.output.relative_to("out").as_posix(),
            )


def test_what_is_done_is_skipped(raw):
    run()
    before = Path("out/a.tif").stat().st_mtime_ns
    write_image(raw / "c.tif", 3)
    events = run()
    assert outputs(events, FileSkipped) == ["out/a.tif", "out/b/a.tif"]
    assert outputs(events, FileDone) == ["out/c.tif"]
    # Not even with permission to replace files, or a stopped run would begin anew.
    assert len(run(overwrite=True)[FileSkipped]) == 3
    assert Path("out/a.tif").stat().st_mtime_ns == before


def test_images_and_results_can_be_moved_together(raw, tmp_path):
    run()
    (tmp_path / "project").mkdir()
    for name in ("raw", "out"):
        (tmp_path / name).rename(tmp_path / "project" / name)
    events = run(tmp_path / "project/raw/**/*.tif", folder=tmp_path / "project/out")
    assert len(events[FileSkipped]) == 2


def touch_image(raw: Path) -> dict:
    status = (raw / "a.tif").stat()
    os.utime(raw / "a.tif", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    return {}


def resize_image(raw: Path) -> dict:
    status = (raw / "a.tif").stat()
    write_image(raw / "a.tif", 1, (2, 40, 48))
    os.utime(raw / "a.tif", ns=(status.st_atime_ns, status.st_mtime_ns))
    return {}


def set_steps(_: Path) -> dict:
    return {"config": FAST.replace({"training.steps": 1})}


def round_results(_: Path) -> dict:
    return {"as_source": True}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (touch_image, ", of another state of the image"),
        (resize_image, ", of another state of the image"),
        (set_steps, ", of other settings"),
        (round_results, ", of other settings"),
    ],
)
def test_changed_images_and_settings_are_denoised_again(raw, change, words):
    run("raw/*.tif")
    before = Path("out/a.tif").read_bytes()
    changes = change(raw)
    (failed,) = run("raw/*.tif", **changes)[FileFailed]
    expected = f"out/a.tif exists already{words}: choose another folder, or allow overwriting"
    assert failed.reason == expected
    assert Path("out/a.tif").read_bytes() == before
    assert outputs(run("raw/*.tif", overwrite=True, **changes), FileDone) == ["out/a.tif"]
    assert outputs(run("raw/*.tif", **changes), FileSkipped) == ["out/a.tif"]


def test_removed_results_are_made_again(raw):
    run()
    Path("out/b/a.tif").unlink()
    events = run()
    assert (outputs(events, FileSkipped), outputs(events, FileDone)) == (
        ["out/a.tif"],
        ["out/b/a.tif"],
    )


def test_files_of_others_are_not_replaced(raw):
    OUT.mkdir()
    Path("out/a.tif").write_bytes(b"precious")
    events = run()
    (failed,) = events[FileFailed]
    assert failed.reason == (
        "out/a.tif exists already: choose another folder, or allow overwriting"
    )
    assert Path("out/a.tif").read_bytes() == b"precious"
    assert outputs(events, FileDone) == ["out/b/a.tif"]
    run(overwrite=True)
    assert tifffile.imread("out/a.tif").shape == (40, 48)


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_came_in_place_of_a_result_is_kept(raw, kind):
    run()
    place = Path("out/a.tif")
    place.unlink()
    if kind == "file":
        place.write_bytes(b"precious")
    elif kind == "folder":
        place.mkdir()
    else:
        place.symlink_to("nowhere")
    (failed,) = run()[FileFailed]
    words = "is a folder" if kind == "folder" else "exists already, written by another program"
    assert words in failed.reason
    assert (place.is_dir(), place.is_symlink()) == (kind == "folder", kind == "link")


def test_metadata_that_is_lost_is_recorded(raw):
    pixels = tifffile.imread(raw / "a.tif")
    tags = {"imagej": True, "metadata": {"axes": "YX", "finterval": -1}}
    tifffile.imwrite(raw / "a.tif", pixels, **tags)
    plain, (lost,) = (event.record["cautions"] for event in reversed(run()[FileDone]))
    assert plain == []
    assert lost == "the results lack the frame interval -1, which TIFF cannot store"


def test_files_that_appear_during_the_run_are_kept(raw, monkeypatch):
    fit = Redenoiser.fit_events

    def appearing(self, *arguments, **keywords):
        Path("out/a.tif").write_bytes(b"theirs")
        return fit(self, *arguments, **keywords)

    monkeypatch.setattr(Redenoiser, "fit_events", appearing)
    (failed,) = run("raw/*.tif")[FileFailed]
    assert "exists already" in failed.reason
    assert Path("out/a.tif").read_bytes() == b"theirs"


BROKEN = {"empty": b"", "no image": b"of the day", "truncated": None}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_does_not_stop_the_rest(raw, content):
    broken = write_image(raw / "aa.tif")
    broken.write_bytes(broken.read_bytes()[:500] if content is None else content)
    tifffile.imwrite(raw / "ab.tif", np.zeros((40, 48), np.uint16))
    events = run()
    assert outputs(events, FileDone) == ["out/a.tif", "out/b/a.tif"]
    assert outputs(events, FileFailed) == ["out/aa.tif", "out/ab.tif"]
    for event in events[FileFailed]:
        assert event.reason.count(str(event.file.image)) == 1
    assert [one["output"] for one in records() if one["state"] == "failed"] == ["aa.tif", "ab.tif"]
    # It is tried again.
    write_image(broken, 3)
    (raw / "ab.tif").unlink()
    assert outputs(run(), FileDone) == ["out/aa.tif"]


@pytest.mark.parametrize("error", [AssertionError, EOFError, TypeError, ZeroDivisionError])
def test_every_error_of_a_decoder_is_a_failure(raw, monkeypatch, error):
    imread = tifffile.TiffPageSeries.asarray

    def failing(self, *arguments, **keywords):
        if self.shape == (1, 1):
            raise error
        return imread(self, *arguments, **keywords)

    # As of some files with random bytes in their header.
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", failing)
    write_image(raw / "aa.tif", shape=(1, 1))
    events = run()
    assert [event.reason for event in events[FileFailed]] == [
        f"raw/aa.tif cannot be read as an image ({error.__name__}): "
        "repair it or choose another file"
    ]
    assert len(events[FileDone]) == 2


def test_a_missing_file_and_full_memory_are_failures(raw, monkeypatch):
    read = _file_work.read_image

    def limited(path, axes):
        if path.parent.name == "b":
            raise MemoryError
        return read(path, axes)

    monkeypatch.setattr(_file_work, "read_image", limited)
    events = run("raw/missing.tif", "raw/b/a.tif", "raw/a.tif")
    missing, large = (event.reason for event in events[FileFailed])
    assert missing == "there is no image file raw/missing.tif: check the name"
    assert large.startswith("raw/b/a.tif does not fit into memory")
    assert outputs(events, FileDone) == ["out/a.tif"]


def test_a_stopped_run_leaves_nothing_of_the_file_at_work(raw):
    steps = []

    def stop() -> bool:
        return len(steps) == 3

    events = []
    for event in batch("raw/**/*.tif").events(stop):
        events.append(type(event))
        steps += [event] if isinstance(event, StepDone) else []
    assert events.count(FileDone) == 1
    assert events[-1] is StepDone
    assert results() == ["a.tif", "manifest.jsonl"]
    assert {one["output"] for one in records()} == {"a.tif"}
    events = run()
    assert (len(events[FileSkipped]), outputs(events, FileDone)) == (1, ["out/b/a.tif"])


def test_a_run_that_is_left_can_be_continued(raw):
    running = batch("raw/**/*.tif")
    events = running.events()
    while not isinstance(next(events), FileDone):
        pass
    events.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]
    # The same object, as after Stop in a dock.
    again = list(running.events())
    assert [type(again[0]), type(again[-1])] == [FileSkipped, FileDone]


@pytest.mark.parametrize("rest", [0, 1, 30])
def test_a_process_killed_while_it_writes_is_continued(raw, rest):
    run()
    manifest = OUT / "manifest.jsonl"
    *lines, last = manifest.read_bytes().splitlines(keepends=True)
    manifest.write_bytes(b"".join(lines) + last[:rest])
    events = run()
    assert (outputs(events, FileSkipped), outputs(events, FileDone)) == (
        ["out/a.tif"],
        ["out/b/a.tif"],
    )
    assert len(run()[FileSkipped]) == 2


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"5",
        b"null",
        b"[]",
        b'{"state": 5}',
        b'{"state": "done", "output": []}',
        b"\xff\x00",
        b"{}\n",
    ],
)
def test_broken_lines_of_a_manifest_are_ignored(raw, line):
    run("raw/*.tif")
    manifest = OUT / "manifest.jsonl"
    manifest.write_bytes(line + b"\n" + manifest.read_bytes() + line)
    assert outputs(run(), FileDone) == ["out/b/a.tif"]
    # New records begin on a line of their own.
    new = manifest.read_text(errors="replace").splitlines()[-2:]
    assert [json.loads(record)["state"] for record in new] == ["writing", "done"]
    assert len(run()[FileSkipped]) == 2


def test_results_of_a_file_are_all_written_or_none(raw, monkeypatch):
    def full(path, *arguments, **keywords):
        if path.parts[0] == "masks" and path.parent.name == "b":
            raise OutputError(f"{path} cannot be written (No space left on device)")
        return write_tiff(path, *arguments, **keywords)

    monkeypatch.setattr(_result_files, "write_tiff", full)
    wanted = {"config": TWO_BRANCHES, "masks": Path("masks"), "has_branches": True}
    events = run(**wanted)
    expected = ["a-equivariant.tif", "a-standard.tif", "a.tif"]
    assert results() == [*expected, "manifest.jsonl"]
    assert results(Path("masks")) == ["a.tif"]
    assert [event.reason for event in events[FileFailed]] == [
        "masks/b/a.tif cannot be written (No space left on device)"
    ]
    monkeypatch.setattr(_result_files, "write_tiff", write_tiff)
    assert outputs(run(**wanted), FileDone) == ["out/b/a.tif"]
    mask = tifffile.imread("masks/b/a.tif")
    assert 0 <= mask.min() <= mask.max() <= 1
    # A result that is missing is made again, without permission to replace the others.
    Path("out/b/a-standard.tif").unlink()
    events = run(**wanted)
    assert (outputs(events, FileSkipped), outputs(events, FileDone)) == (
        ["out/a.tif"],
        ["out/b/a.tif"],
    )


@pytest.mark.parametrize("output_format", ["tiff", "zarr"])
def test_a_failed_overwrite_keeps_the_results_before(raw, monkeypatch, output_format):
    wanted = {"config": TWO_BRANCHES, "masks": Path("masks"), "output_format": output_format}
    run("raw/a.tif", **wanted)
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    name = "write_tiff" if output_format == "tiff" else "write_ome_zarr"
    write = getattr(_result_files, name)

    def full(path, *arguments, **keywords):
        if path.parts[0] == "masks":
            raise OutputError(f"{path} cannot be written (No space left on device)")
        return write(path, *arguments, **keywords)

    monkeypatch.setattr(_result_files, name, full)
    events = run("raw/a.tif", **wanted, overwrite=True, as_source=True)
    assert len(events[FileFailed]) == 1
    after = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    manifest = OUT / "manifest.jsonl"
    assert after.pop(manifest).startswith(before.pop(manifest))
    assert after == before


def test_results_have_the_type_of_their_source(raw):
    run("raw/*.tif", as_source=True)
    assert tifffile.imread("out/a.tif").dtype == np.uint16


def test_only_grey_levels_are_displayed_inverted(raw):
    pixels = np.random.default_rng(0).poisson(50, (40, 48)).astype(np.uint16)
    tifffile.imwrite(raw / "inverted.tif", pixels, photometric="miniswhite")
    run("raw/inverted.tif", config=TWO_BRANCHES, masks=Path("masks"))
    assert read_image("out/inverted.tif").white_is_zero
    assert not read_image("masks/inverted.tif").white_is_zero


@pytest.mark.parametrize("settings", [{"masks": Path("masks")}, {"has_branches": True}])
def test_masks_and_branches_need_the_adarenet(raw, settings):
    with pytest.raises(ConfigError, match="only the adarenet"):
        batch("raw", **settings)


def test_quality_that_cannot_be_checked_is_unknown(raw):
    def check(*_):
        raise InputError("the noise cannot be measured: choose another image")

    (done,) = run("raw/*.tif", check=check)[FileDone]
    assert done.record["quality"] == {
        "mark": "unknown",
        "sentences": ["the noise cannot be measured: choose another image"],
    }


def test_files_of_file_managers_change_no_result(raw):
    run(output_format="zarr")
    Path("out/a.zarr/.DS_Store").write_text("Finder")
    assert len(run(output_format="zarr")[FileSkipped]) == 2


def test_two_runs_at_once_leave_results_that_are_skipped(raw):
    events = batch("raw/a.tif").events()
    # The first one has listed what is to be done when the second one does it.
    next(event for event in events if isinstance(event, FileStarted))
    assert outputs(run("raw/a.tif"), FileDone) == ["out/a.tif"]
    rest = list(events)
    assert [type(event) for event in rest if isinstance(event, FileDone | FileFailed)] == [
        FileFailed
    ]
    assert records()[-1]["state"] == "failed"
    assert outputs(run("raw/a.tif"), FileSkipped) == ["out/a.tif"]


def test_an_unexpected_error_is_a_failure_of_one_file(raw, monkeypatch):
    whole = _file_work.FileWork._predict
    monkeypatch.setattr(_file_work.FileWork, "_predict", _failing_for("out/a.tif", whole))
    events = run()
    (failed,) = events[FileFailed]
    assert "unexpected error (KeyError('odd')): see manifest.jsonl" in failed.reason
    assert outputs(events, FileDone) == ["out/b/a.tif"]
    record = next(one for one in records() if one["state"] == "failed")
    assert "in failing" in record["trace"]


def _failing_for(name, whole):
    def failing(self, denoiser, source):
        if self.file.output.as_posix() == name:
            raise KeyError("odd")
        return whole(self, denoiser, source)

    return failing
