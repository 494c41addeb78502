"""Batch processing without the command: files, manifest, what is done again, and what is left."""

import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile
from skimage.io import imsave

from napari_redenoise import Config, Redenoiser
from napari_redenoise.errors import ConfigError, InputError, OutputError
from napari_redenoise.io import read_image, write_tiff
from napari_redenoise.recipes import (
    BatchRun,
    BatchSettings,
    FileDone,
    FileFailed,
    FileSkipped,
    FileStarted,
    ModelTrained,
    find_images,
)
from napari_redenoise.recipes.batch import _file_work, _shared_model
from napari_redenoise.training import StepDone

FAST = Config().replace(
    {
        "network.kind": "standard",
        "network.levels": 2,
        "network.encoder_width": 8,
        "network.decoder_width": 16,
        "objective.kind": "noise2self",
        "training.start": "random",
        "training.steps": 2,
        "training.patch_size": 32,
        "training.batch_size": 2,
        "training.precision": "float32",
    }
)
TWO_BRANCHES = FAST.replace({"network.kind": "adarenet"})


def write_image(path: Path, seed: int = 0, shape: tuple[int, ...] = (40, 48)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.random.default_rng(seed).poisson(50, shape).astype(np.uint16))
    return path


@pytest.fixture
def raw(tmp_path: Path, monkeypatch) -> Path:
    """Two images of one name, one in a subfolder."""
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "raw" / "a.tif", 1)
    write_image(tmp_path / "raw" / "b" / "a.tif", 2)
    return Path("raw")


OUT = Path("out")


def batch(*inputs: object, folder: Path = OUT, check=None, **settings) -> BatchRun:
    chosen = BatchSettings(**{"config": FAST, **settings})
    folders = [folder] if chosen.masks is None else [folder, chosen.masks]
    return BatchRun(find_images(inputs, folders), folder, chosen, "cpu", check)


def run(*inputs: object, stop=None, **settings) -> dict[type, list]:
    """Events of a batch by their class."""
    found: dict[type, list] = {}
    for event in batch(*(inputs or ("raw/**/*.tif",)), **settings).events(stop or (lambda: False)):
        found.setdefault(type(event), []).append(event)
    return found


def outputs(events: dict[type, list], kind: type) -> list[str]:
    return [event.file.output.as_posix() for event in events.get(kind, [])]


def records(folder: Path = OUT) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def results(folder: Path = OUT) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


# -- which images, and where their results go ----------------------------------------------------


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


# -- the run and its manifest ---------------------------------------------------------------------


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
    assert len(run()[FileSkipped]) == 2


def test_results_of_a_file_are_all_written_or_none(raw, monkeypatch):
    def full(path, *arguments, **keywords):
        if path.parts[0] == "masks" and path.parent.name == "b":
            raise OutputError(f"{path} cannot be written (No space left on device)")
        return write_tiff(path, *arguments, **keywords)

    monkeypatch.setattr(_file_work, "write_tiff", full)
    wanted = {"config": TWO_BRANCHES, "masks": Path("masks"), "has_branches": True}
    events = run(**wanted)
    expected = ["a-equivariant.tif", "a-standard.tif", "a.tif"]
    assert results() == [*expected, "manifest.jsonl"]
    assert results(Path("masks")) == ["a.tif"]
    assert [event.reason for event in events[FileFailed]] == [
        "masks/b/a.tif cannot be written (No space left on device)"
    ]
    monkeypatch.setattr(_file_work, "write_tiff", write_tiff)
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


def test_results_have_the_type_of_their_source(raw):
    run("raw/*.tif", as_source=True)
    assert tifffile.imread("out/a.tif").dtype == np.uint16


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


# -- reading ahead --------------------------------------------------------------------------------


def follow_reading(monkeypatch) -> list[tuple[str, str]]:
    """Names of images, and the threads that read them."""
    read, found = _file_work.read_image, []

    def reading(path, axes):
        found.append((path.name, threading.current_thread().name.split("_")[0]))
        return read(path, axes)

    monkeypatch.setattr(_file_work, "read_image", reading)
    return found


def test_the_next_files_are_read_while_one_is_denoised(raw, monkeypatch):
    for number in range(6):
        write_image(raw / f"{number}.tif")
    found, at_once = follow_reading(monkeypatch), []
    for event in batch("raw/[0-9].tif").events():
        if isinstance(event, FileDone):
            at_once.append(len(found))
    assert {thread for _, thread in found} == {"batches"}
    # Of every file before it is denoised; never more than two beyond the one at work.
    assert all(done <= read <= done + 2 for done, read in enumerate(at_once, 1))
    assert at_once[0] > 1


def test_large_files_are_read_in_their_turn(raw, monkeypatch):
    monkeypatch.setattr(_file_work, "MOST_READ_AHEAD", 0)
    found = follow_reading(monkeypatch)
    events = batch("raw/**/*.tif").events()
    while not isinstance(next(events), FileDone):
        assert len(found) <= 1
    assert len(found) == 1
    assert len(list(events)) > 1
    assert {thread for _, thread in found} == {"MainThread"}


# -- one model for all ----------------------------------------------------------------------------


def test_a_model_trained_on_one_image_denoises_all(raw):
    elsewhere = write_image(Path("beads.tif"), 5)
    events = run(train_on=elsewhere)
    assert len(events[StepDone]) == 2
    (trained,) = events[ModelTrained]
    assert (trained.record["model"], trained.record["images"]) == (
        "model.safetensors",
        ["../beads.tif"],
    )
    model = Redenoiser.load(OUT / "model.safetensors", "cpu")
    for name in ("a.tif", "b/a.tif"):
        expected = model.predict(tifffile.imread(raw / name)).denoised
        np.testing.assert_allclose(tifffile.imread(OUT / name), expected, rtol=1e-5)
    # New images are denoised with the model that is there.
    write_image(raw / "c.tif", 6)
    events = run(train_on=elsewhere)
    assert StepDone not in events
    assert (len(events[FileSkipped]), outputs(events, FileDone)) == (2, ["out/c.tif"])


def test_a_changed_training_replaces_nothing_unasked(raw):
    run(train_on="all")
    before = (OUT / "model.safetensors").read_bytes()
    other = {"train_on": "all", "config": FAST.replace({"training.seed": 1})}
    assert len(run(**other)[FileFailed]) == 2
    assert (OUT / "model.safetensors").read_bytes() == before
    write_image(raw / "c.tif", 6)
    with pytest.raises(OutputError, match=r"model\.safetensors exists already"):
        run(**other)
    assert len(run(**other, overwrite=True)[FileDone]) == 3
    assert (OUT / "model.safetensors").read_bytes() != before


def test_a_model_is_trained_on_a_sample_of_all(raw, monkeypatch):
    monkeypatch.setattr(_shared_model, "MOST_FILES", 3)
    for number in range(5):
        write_image(raw / f"{number}.tif", number, (2, 32, 40) if number % 2 else (40, 48))
    (raw / "0.tif").write_bytes(b"of the day")
    tifffile.imwrite(raw / "2.tif", np.full((40, 48), 7, np.uint16))
    seen = []
    fit = Redenoiser.fit_events

    def fitting(self, image, axes, *, images, **keywords):
        seen.extend(array.shape for array in (image, *images))
        return fit(self, image, axes, images=images, **keywords)

    monkeypatch.setattr(Redenoiser, "fit_events", fitting)
    events = run("raw/[0-9].tif", train_on="all")
    # The first and the middle one cannot be trained on: others of the batch replace them.
    assert events[ModelTrained][0].record["images"] == [
        "../raw/4.tif",
        "../raw/1.tif",
        "../raw/3.tif",
    ]
    assert seen == [(1, 1, 40, 48), (2, 1, 32, 40), (2, 1, 32, 40)]
    assert outputs(events, FileFailed) == ["out/0.tif"]
    assert len(events[FileDone]) == 4


def test_other_trainings_are_not_taken_for_one(raw):
    run()
    # Each image had a training of its own, with the same configuration.
    reasons = [event.reason for event in run(train_on="all")[FileFailed]]
    assert len(reasons) == 2
    assert "of other settings" in reasons[0]
    assert not (OUT / "model.safetensors").exists()


def test_a_stopped_training_of_all_saves_nothing(raw):
    steps: list[StepDone] = []
    for event in batch("raw/**/*.tif", train_on="all").events(steps.__len__):
        steps += [event] if isinstance(event, StepDone) else []
    assert len(steps) == 1
    assert results() == []


def test_a_given_model_denoises_all_without_training(raw):
    model = Path("trained.safetensors")
    for seed in (0, 1):
        config = FAST.replace({"training.seed": seed})
        image = tifffile.imread(raw / "a.tif")
        Redenoiser(config, "cpu").fit(image).save(model, overwrite=True)
        events = run(model=model, overwrite=True)
        assert StepDone not in events
        assert len(events[FileDone]) == 2
        assert len(run(model=model)[FileSkipped]) == 2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": Path("m"), "train_on": "all"}, "a given model is not trained"),
        ({"save_model": Path("m")}, "every image has its own model"),
        (
            {"train_on": "all", "config": FAST.replace({"objective.kind": "noise2noise"})},
            "consecutive frames of one image",
        ),
    ],
)
def test_settings_that_exclude_each_other_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        BatchSettings(**settings)
