"""Batch processing: files that are read ahead, and one model for all."""

import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_redenoise import Redenoiser
from napari_redenoise.errors import ConfigError, OutputError
from napari_redenoise.recipes import (
    BatchSettings,
    FileDone,
    FileFailed,
    FileSkipped,
    ModelTrained,
)
from napari_redenoise.recipes.batch import _file_work, _shared_model
from napari_redenoise.training import StepDone

from ._batches import FAST, OUT, batch, outputs, results, run, write_image

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
    assert [shape[-2:] for shape in seen] == [(40, 48), (32, 40), (32, 40)]
    assert [np.prod(shape[:-2]) for shape in seen] == [1, 2, 2]
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
