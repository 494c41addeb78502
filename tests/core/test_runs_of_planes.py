"""Of large stacks and batches, consecutive planes are trained on: they keep their neighbours."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from napari_redenoise import Config, Redenoiser
from napari_redenoise.data import Planes, representative_runs
from napari_redenoise.model import _corrections, _prediction, _training_images
from napari_redenoise.model._corrections import Correction, Corrections, Offsets
from napari_redenoise.model._neighbours import SHARED
from napari_redenoise.recipes import FileDone, ModelTrained, TrainingPlanned

from ._batches import FAST, OUT, records, run

CPU, ROWS = torch.device("cpu"), Corrections("rows")
SEEING = FAST.replace({"network.context": "auto"})


def numbered(*shape: int, side: int = 16) -> np.ndarray:
    """Planes whose pixels differ, and whose mean is their number."""
    within = np.random.default_rng(0).uniform(-0.4, 0.4, (side, side))
    within -= within.mean()
    return (np.arange(np.prod(shape)).reshape(*shape, 1, 1) + within).astype(np.float32)


def plane(planes: Planes, sample: tuple[int, ...]) -> np.ndarray:
    return planes.read(sample, slice(0, planes.height), slice(0, planes.width))


@pytest.mark.parametrize("axes", ["TYX", "ZYX", "TZYX", "ZTYX", "STYX"])
def test_runs_keep_the_neighbours_of_their_planes(axes: str) -> None:
    shape = (40,) if len(axes) == 3 else (9, 8)
    stack = Planes(numbered(*shape), axes, context=2)
    runs = representative_runs(stack, 20 * 16**2)
    assert (runs.axes, runs.context_axes) == ("STZCYX", stack.context_axes)
    assert len(runs) <= 20
    seen = set()
    for sample in runs.indices():
        number = round(float(plane(runs, sample).mean()))
        seen.add(number)
        there = tuple(map(int, np.unravel_index(number, shape)))
        np.testing.assert_array_equal(plane(runs, sample), plane(stack, there))
        pairs = zip(runs.neighbours(sample), stack.neighbours(there), strict=True)
        for beside, expected in pairs:
            if beside is not None:
                np.testing.assert_array_equal(plane(runs, beside), plane(stack, expected))
    # Both halves of the stack are seen.
    assert min(seen) < np.prod(shape) / 2 < max(seen)
    complete = [None not in runs.neighbours(sample) for sample in runs.indices()]
    assert any(complete)


def test_a_small_stack_is_one_run_of_all() -> None:
    for axes, shape, expected in (
        ("TZYX", (4, 9), (1, 4, 9, 1, 16, 16)),
        ("YX", (), (1, 1, 1, 1, 16, 16)),
        ("SYX", (12,), (12, 1, 1, 1, 16, 16)),
        ("ZSYX", (9, 3), (3, 1, 9, 1, 16, 16)),
    ):
        runs = representative_runs(Planes(numbered(*shape), axes), 36 * 16**2)
        assert runs.array.shape == expected


def test_runs_of_large_planes_are_cut_to_a_window() -> None:
    stack = np.random.default_rng(0).normal(size=(20, 200, 300)).astype(np.float32)
    region = np.zeros((200, 300), bool)
    region[:, 250:] = True
    runs = representative_runs(Planes(stack, "TYX", region), 2 * 8 * 140 * 140)
    assert runs.array.shape == (2, 8, 1, 1, 140, 140)
    np.testing.assert_array_equal(plane(runs, (1, 2, 0))[0], stack[12, 29:169, 160:300])
    everything = slice(0, 140), slice(0, 140)
    assert runs.inside((0, 0, 0), *everything).mean() == pytest.approx(50 / 140)


def test_runs_lie_where_there_is_something_to_learn() -> None:
    stack = np.zeros((40, 16, 16), np.float32)
    stack[30:] = numbered(10)
    runs = representative_runs(Planes(stack, "TYX"), 16 * 16**2)
    assert all(plane(runs, (number, 4, 0)).std() > 0 for number in range(runs.array.shape[0]))


# -- line correction of large stacks --------------------------------------------------------------


def lined_stack(frames: int = 12) -> np.ndarray:
    """A still scene under white noise, with row offsets."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:64, :64]
    scene = 200 + 80 * np.sin(rows / 5) * np.sin(columns / 7)
    lines = rng.normal(0, 8, (frames, 64, 1))
    return (scene + rng.normal(0, 10, (frames, 64, 64)) + lines).astype(np.float32)


def test_neighbours_of_a_large_lined_stack_are_shown(tiny: Config, monkeypatch) -> None:
    monkeypatch.setattr(_training_images, "MAX_CORRECTED", 10 * 64**2)
    measured, shown = [], []
    real, compared = _corrections._measure, _training_images.compare_usable

    def offsets(planes, sample, *rest):
        measured.append((id(planes), sample))
        return real(planes, sample, *rest)

    def comparing(objective):
        inner = compared(objective)

        def sample(patches, generator):
            shown.append(patches.context)
            return inner(patches, generator)

        return sample

    monkeypatch.setattr(_corrections, "_measure", offsets)
    monkeypatch.setattr("napari_redenoise.model._run.compare_usable", comparing)
    changes = {"network.context": 2, "objective.lines": "rows", "training.batch_size": 16}
    Redenoiser(tiny.replace(changes), "cpu").fit(lined_stack(), "TYX")
    assert len(measured) == len(set(measured)) <= 10
    marks = torch.cat(shown)[:, 4:, 0, 0]
    assert marks.shape[1] == 4
    assert (marks.sum(1) == 4).any()
    # The offsets of the neighbours are subtracted, too: rows have the mean of the scene.
    levels = torch.cat(shown)[:, :4]
    assert levels.abs().max() < 4


@pytest.mark.parametrize(("axes", "shape"), [("TYX", (30,)), ("TZYX", (6, 5)), ("ZTYX", (5, 6))])
def test_line_offsets_are_measured_once_and_dropped(monkeypatch, axes, shape) -> None:
    stack = numbered(*shape)
    measured, held = [], []

    def offsets(planes, sample, *rest):
        measured.append(sample)
        return (Correction(Offsets(np.zeros(16), np.zeros(16)), None),)

    def in_tiles(network, planes, *, samples, **rest):
        held.append(len(planes.corrections))
        needed = [samples[0], *planes.neighbours(samples[0])]
        assert all(one is None or one in planes.corrections for one in needed)
        yield _prediction.TileDone(1, 1, samples[0])

    monkeypatch.setattr(_corrections, "_measure", offsets)
    monkeypatch.setattr(_prediction, "predict_in_tiles", in_tiles)
    planes = Planes(stack, axes, context=2)
    rest = None, {}, Config(), CPU, None, None
    list(_prediction.predict_planes(None, planes, *rest, tta=False, corrections=ROWS))
    assert len(measured) == len(set(measured)) == len(stack.reshape(-1, 16, 16))
    # No more than those of the planes that are at work, however long the stack.
    assert max(held) <= 5 * planes.planes_between_neighbours


# -- one training for a batch ---------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("raw").mkdir()
    return Path("raw")


def write(name: str, stack: np.ndarray, axes: str) -> None:
    tifffile.imwrite(f"raw/{name}.tif", stack, ome=True, metadata={"axes": axes})


def movie(frames: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:48, :48]
    scene = 30 + 20 * np.sin(rows / 5) * np.sin(columns / 7)
    return rng.poisson(scene, (frames, 48, 48)).astype(np.uint16)


def context_of_model() -> int:
    return Redenoiser.load(OUT / "model.safetensors", "cpu").session.plan.config.network.context


def sentences(events: dict[type, list]) -> list[str]:
    return events[TrainingPlanned][0].plan.sentences()


@pytest.mark.parametrize("first", ["YX", "TYX"])
def test_one_training_of_all_shows_neighbours(files, first: str) -> None:
    write("a", movie(1)[0] if first == "YX" else movie(6), first)
    write("b", movie(6, 1), "TYX" if first == "YX" else "ZYX")
    write("c", movie(1, 2)[0], "YX")
    write("d", movie(12, 3).reshape(4, 3, 48, 48), "TZYX")
    events = run("raw/*.tif", train_on="all", config=SEEING)
    assert "neighbours: 2 planes on either side are used" in sentences(events)
    assert len(events[FileDone]) == 4
    assert context_of_model() == 2
    trained, *others = records()
    assert trained["plan"]["config"]["network"]["context"] == 2
    done = [one for one in others if one["state"] == "done"]
    assert all(one["plan"]["config"]["network"]["context"] == 2 for one in done)
    # As the model by itself denoises the stack, with neighbours.
    model = Redenoiser.load(OUT / "model.safetensors", "cpu")
    axes = "TYX" if first == "YX" else "ZYX"
    expected = model.predict(movie(6, 1), axes).denoised
    np.testing.assert_allclose(tifffile.imread(OUT / "b.tif"), expected, rtol=1e-5)


def test_patches_of_a_sample_come_with_neighbours(files, monkeypatch) -> None:
    write("a", movie(1)[0], "YX")
    write("b", movie(6, 1), "TYX")
    seen = []
    fit = Redenoiser.fit_events

    def fitting(self, image, axes, *, images, **keywords):
        seen.extend((axes, array.shape) for array in (image, *images))
        return fit(self, image, axes, images=images, **keywords)

    monkeypatch.setattr(Redenoiser, "fit_events", fitting)
    run("raw/*.tif", train_on="all", config=SEEING)
    assert seen == [("STZCYX", (1, 1, 1, 1, 48, 48)), ("STZCYX", (1, 6, 1, 1, 48, 48))]


def test_one_stack_that_shares_noise_is_enough(files) -> None:
    write("a", movie(8), "TYX")
    write("b", np.repeat(movie(4, 1), 2, axis=0), "TYX")
    events = run("raw/*.tif", train_on="all", config=SEEING)
    assert f"neighbours: not used, since {SHARED}" in sentences(events)
    assert context_of_model() == 0
    assert events[ModelTrained][0].record["plan"]["no_neighbours"] == SHARED


def test_a_training_on_one_stack_shows_neighbours(files) -> None:
    write("a", movie(6), "TYX")
    write("b", movie(1, 1)[0], "YX")
    write("c", movie(5, 2), "ZYX")
    events = run("raw/*.tif", train_on=Path("raw/a.tif"), config=SEEING)
    assert "neighbours: 2 planes on either side are used" in sentences(events)
    assert len(events[FileDone]) == 3
    assert context_of_model() == 2


def test_planes_of_a_batch_are_read_in_bounds(files, monkeypatch) -> None:
    from napari_redenoise.recipes.batch import _shared_model

    monkeypatch.setattr(_shared_model, "MOST_PIXELS", 2 * 16 * 48**2)
    write("a", movie(60), "TYX")
    write("b", movie(1)[0], "YX")
    shapes = [one.shape for one in _shared_model._sample(sorted(files.iterdir()), None).values()]
    assert shapes == [(2, 8, 1, 1, 48, 48), (1, 1, 1, 1, 48, 48)]


def test_the_command_says_it_of_a_training_of_all(files, redenoise) -> None:
    write("a", movie(6), "TYX")
    write("b", movie(1)[0], "YX")
    options = "--from-scratch --steps 1 --set network.levels=2 --set network.encoder_width=8"
    options += " --set network.decoder_width=8 --set training.patch_size=16 --json"
    command = ("denoise", "raw", "--out-dir", "out", "--train-on", "all", *options.split())
    code, said, errors = redenoise(*command)
    assert code == 0, errors
    lines = [json.loads(line) for line in said.splitlines()]
    assert any("2 planes on either side are used" in json.dumps(line) for line in lines)


def test_a_batch_of_single_images_has_no_neighbours(files) -> None:
    write("a", movie(1)[0], "YX")
    write("b", movie(1, 1)[0], "YX")
    events = run("raw/*.tif", train_on="all", config=SEEING)
    assert not any("neighbours" in sentence for sentence in sentences(events))
    assert context_of_model() == 0
