"""Batches made ahead: in order, the same by any number of workers, and without leftovers."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import skimage.io
import torch

from napari_redenoise import Config, FolderConfig, FolderTraining
from napari_redenoise.errors import ConfigError
from napari_redenoise.recipes._prefetch import default_workers, prefetch
from napari_redenoise.training import StepDone


def workers_alive() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("batches")]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_come_in_the_order_of_their_keys(workers: int) -> None:
    def make(key: int) -> int:
        time.sleep(0.003 * (key % 3))
        return key * key

    assert list(prefetch(make, range(20), workers)) == [key * key for key in range(20)]
    assert workers_alive() == []


def test_what_comes_next_is_made_before_it_is_asked_for() -> None:
    made = [threading.Event() for _ in range(9)]
    with_two = prefetch(lambda key: made[key].set(), range(9), 2)
    next(with_two)
    # One more than workers are waiting or being made, and never more.
    assert all(event.wait(5) for event in made[:4])
    assert not made[4].wait(0.05)
    with_two.close()


def test_several_are_made_at_once() -> None:
    together = threading.Barrier(3, timeout=5)
    assert list(prefetch(lambda _: together.wait() >= 0, range(6), 3)) == [True] * 6


def test_an_endless_stream_ends_with_its_reader() -> None:
    stream = prefetch(lambda key: key, itertools.count(), 2)
    assert [next(stream), next(stream)] == [0, 1]
    assert len(workers_alive()) > 0
    stream.close()
    assert workers_alive() == []


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_to_who_asks_and_ends_the_others(workers: int) -> None:
    def make(key: int) -> int:
        if key == 2:
            raise ValueError("the third")
        return key

    stream = prefetch(make, itertools.count(), workers)
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(ValueError, match="the third"):
        next(stream)
    assert workers_alive() == []


@pytest.mark.parametrize(("cores", "expected"), [(1, 0), (2, 1), (4, 3), (64, 4)])
def test_one_core_is_left_to_the_training(monkeypatch, cores: int, expected: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert default_workers() == expected


# In a training


@pytest.fixture
def small(tiny: Config) -> Config:
    return tiny.replace({"training.patch_size": 24, "objective.kind": "noise2noise"})


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(5):
        image = rng.integers(0, 256, (40, 32 + number), dtype=np.uint8)
        skimage.io.imsave(folder / f"{number}.png", image, check_contrast=False)
    return folder


def run_of(config: Config, images: Path, workers: int | None) -> FolderTraining:
    folder = FolderConfig(epochs=2, noise_type="poisson-gaussian")
    return FolderTraining(config, folder, images, images, "cpu", workers)


@pytest.mark.parametrize("kind", ["noise2noise", "r2r"])
def test_any_number_of_workers_gives_the_same_network(
    small: Config, images: Path, kind: str
) -> None:
    config = small.replace({"objective.kind": kind})
    runs = [run_of(config, images, workers) for workers in (0, 1, 3)]
    for run in runs:
        assert len(list(run.events())) == 8
    alone, *others = runs
    for other in others:
        assert other.state.losses == alone.state.losses
        for name, value in alone.state.average.state_dict().items():
            torch.testing.assert_close(
                other.state.average.state_dict()[name], value, rtol=0, atol=0, msg=name
            )


def test_a_run_may_be_resumed_with_other_workers(
    small: Config, images: Path, tmp_path: Path
) -> None:
    whole, first, second = (run_of(small, images, workers) for workers in (0, 3, 1))
    list(whole.events())
    for event in first.events():
        if isinstance(event, StepDone) and event.step == 4:
            break
    first.save_checkpoint(tmp_path / "state.safetensors")
    second.resume(tmp_path / "state.safetensors")
    list(second.events())
    assert second.state.losses == whole.state.losses


def test_a_batch_follows_from_its_number_alone(small: Config, images: Path) -> None:
    make = run_of(small, images, 0)._make_batch
    forwards = [make(step) for step in range(6)]
    for step in reversed(range(6)):
        torch.testing.assert_close(make(step).noisy, forwards[step].noisy, rtol=0, atol=0)
        assert make(step).noise == forwards[step].noise
    # No two crops have the same noise level: not even the image that fills up the last batch.
    levels = [level for batch in forwards for level in batch.noise.read_noise]
    assert len(set(levels)) == 12


def test_a_stopped_training_leaves_no_thread(small: Config, images: Path) -> None:
    events = run_of(small, images, 3).events()
    next(events)
    assert len(workers_alive()) > 0
    events.close()
    assert workers_alive() == []


@pytest.mark.skipif(os.name == "nt", reason="there Ctrl-C goes to whole consoles")
def test_ctrl_c_ends_the_command_soon_with_a_checkpoint(images: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    code = "from napari_redenoise._cli import main; main()"
    line = f"train --train-dir {images} --ckpt-save-path {run} --nb-epochs 100000 --crop-size 24"
    options = "--backbone standard --workers 3 --device cpu --report-interval 1"
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code, *line.split(), *options.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert any(said.startswith("step 2:") for said in process.stdout)
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(30) == 130
    assert (run / "training-checkpoint.safetensors").exists()


def test_fewer_workers_than_none_are_refused(small: Config, images: Path) -> None:
    with pytest.raises(ConfigError, match="number of workers is -1: give 0 or more"):
        run_of(small, images, -1)


def test_batches_for_cuda_lie_in_pinned_memory(small: Config, images: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    training = FolderTraining(small, FolderConfig(epochs=1), images, device="cuda")
    assert training._make_batch(0).noisy.is_pinned()
