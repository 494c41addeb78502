"""Prediction by the workers of a dask cluster: bit-identical, whatever is lost on the way."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import distributed
import numpy as np
import pytest
from distributed import LocalCluster

from napari_redenoise import Config, Redenoiser
from napari_redenoise.data import Planes
from napari_redenoise.distributed import Block, Job, _cluster, _worker, plane_blocks
from napari_redenoise.errors import ClusterError, RedenoiseError
from napari_redenoise.io import ImageFile, OmeZarrStream, read_image, run_mark, write_ome_zarr

SHAPE = 4, 2, 60, 48


@pytest.fixture
def model(tmp_path: Path, noisy: np.ndarray, tiny: Config) -> Path:
    config = tiny.replace({"network.kind": "adarenet", "network.channels": 2})
    image = np.stack([noisy, noisy + 1])
    return Redenoiser(config, "cpu").fit(image, "CYX").save(tmp_path / "m.safetensors")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    stack = np.random.default_rng(0).poisson(50, SHAPE).astype(np.uint16)
    return write_ome_zarr(tmp_path / "in.zarr", stack, ImageFile(stack, "TCYX"))


@pytest.fixture
def expected(model: Path, source: Path) -> Redenoiser:
    """What one process makes of the source."""
    return Redenoiser.load(model, "cpu").predict(np.asarray(read_image(source).array), "TCYX")


@pytest.fixture
def threads(monkeypatch) -> Iterator[None]:
    """Local clusters of threads, which start at once."""
    made = partial(LocalCluster, processes=False)
    monkeypatch.setattr(distributed, "LocalCluster", made)


def in_threads(workers: int = 2) -> LocalCluster:
    return LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=False, dashboard_address=None
    )


def pixels(path: Path) -> np.ndarray:
    """In the order of the source, C before T being that of no OME-Zarr."""
    return np.asarray(read_image(path).array)


def after(monkeypatch, number: int, act) -> list[object]:
    """Act once when so many blocks are written; returns what `act` has returned."""
    note, noted, found = OmeZarrStream.note_block, [], []

    def acting(self, *arguments):
        note(self, *arguments)
        noted.append(arguments)
        if len(noted) == number:
            found.append(act())

    monkeypatch.setattr(OmeZarrStream, "note_block", acting)
    return found


def test_a_killed_worker_is_replaced_bit_by_bit(
    redenoise, source, model, expected, tmp_path, monkeypatch
):
    out, mask = tmp_path / "out.zarr", tmp_path / "mask.zarr"
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=0
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        pids = client.run(os.getpid)

        # Sent by value: workers cannot import the tests.
        def loads_of_the_model() -> int:
            return _worker._prepared.cache_info().misses

        def kill() -> int:
            pid = next(iter(pids.values()))
            os.kill(pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
            return pid

        killed = after(monkeypatch, 1, kill)
        options = ("--model", model, "--device", "cpu", "--mask", mask)
        address = cluster.scheduler_address
        status, said, errors = redenoise("denoise", source, out, *options, "--scheduler", address)
        # On a busy machine the death of a worker is noticed late.
        left = client.run(os.getpid, on_error="ignore").values()
        loads = client.run(loads_of_the_model, on_error="ignore").values()
    assert status == 0, errors
    assert "wrote" in said
    assert killed
    assert killed[0] not in left
    np.testing.assert_array_equal(pixels(out).view(np.uint32), expected.denoised.view(np.uint32))
    np.testing.assert_array_equal(pixels(mask), expected.mask)
    assert max(loads) <= 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "in.zarr", "m.safetensors", "mask.zarr", "out.zarr"
    ]  # fmt: skip


def test_a_lost_scheduler_leaves_a_run_that_continues(
    redenoise, source, model, expected, tmp_path, monkeypatch, threads
):
    out = tmp_path / "out.zarr"
    command = ("denoise", source, out, "--model", model, "--device", "cpu")
    with in_threads() as cluster, monkeypatch.context() as patch:
        after(patch, 2, cluster.close)
        status, _, errors = redenoise(*command, "--scheduler", cluster.scheduler_address)
    assert status == 1
    assert "the connection to the scheduler is lost: start it" in errors
    folder = tmp_path / ".out.zarr.unfinished"
    assert f"{folder} holds the model and the planes that are written" in errors
    written = (folder / "out.zarr.progress").read_text().count(":")
    assert 2 <= written < len(expected.denoised)
    status, said, errors = redenoise(*command, "--workers", 3)
    assert status == 0, errors
    assert f"continues the unfinished run: {written} of 4 blocks are written" in said
    np.testing.assert_array_equal(pixels(out), expected.denoised)


def test_ctrl_c_leaves_a_run_that_continues(
    redenoise, source, model, expected, tmp_path, monkeypatch, threads
):
    out = tmp_path / "out.zarr"
    command = ("denoise", source, out, "--model", model, "--device", "cpu", "--workers", 2)
    with monkeypatch.context() as patch:
        after(patch, 2, lambda: signal.raise_signal(signal.SIGINT))
        status, _, errors = redenoise(*command)
    assert status == 130
    assert "the same command continues" in errors
    assert not out.exists()
    status, said, errors = redenoise(*command)
    assert status == 0, errors
    assert "2 of 4 blocks are written" in said
    np.testing.assert_array_equal(pixels(out), expected.denoised)


def test_workers_denoise_after_a_training(redenoise, source, tmp_path, tiny, threads):
    out, alone = tmp_path / "out.zarr", tmp_path / "alone.zarr"
    training = ("--from-scratch", "--objective", "noise2self", "--steps", 2, "--device", "cpu",
                "--set", "network.levels=2", "--set", "network.encoder_width=8",
                "--set", "network.decoder_width=16", "--set", "training.patch_size=32",
                "--as-source")  # fmt: skip
    status, _, errors = redenoise("denoise", source, out, *training, "--workers", 1)
    assert status == 0, errors
    assert redenoise("denoise", source, alone, *training)[0] == 0
    assert pixels(out).dtype == np.uint16
    np.testing.assert_array_equal(pixels(out), pixels(alone))


def test_a_large_plane_is_divided_with_the_same_pixels(
    redenoise, tmp_path, noisy, tiny, monkeypatch, threads
):
    image = np.random.default_rng(1).poisson(50, (64, 800)).astype(np.uint16)
    source = write_ome_zarr(tmp_path / "in.zarr", image, ImageFile(image, "YX"))
    config = tiny.replace({"tiling.tile": 256})
    model = Redenoiser(config, "cpu").fit(noisy).save(tmp_path / "m.safetensors")
    expected = Redenoiser.load(model, "cpu").predict(image)
    monkeypatch.setattr("napari_redenoise.distributed._blocks._SIDE_OF_FEW", 512)
    options = ("--model", model, "--device", "cpu", "--workers", 2)
    status, _, errors = redenoise("denoise", source, tmp_path / "out.zarr", *options)
    assert status == 0, errors
    assert "2/2" in errors
    np.testing.assert_array_equal(pixels(tmp_path / "out.zarr"), expected.denoised)


@pytest.mark.parametrize("written", [(512, 512), (1024, 4096)])
@pytest.mark.parametrize("shape", [(3, 2304, 2048), (1, 9000, 12345), (40, 5000, 7000)])
def test_blocks_cover_every_pixel_once(shape, written):
    planes = Planes(np.broadcast_to(np.uint8(0), shape), "ZYX")
    blocks = plane_blocks(planes, written)
    assert list(blocks) == [(number,) for number in range(shape[0])]
    covered = np.zeros(shape[1:], np.uint8)
    for block in blocks[0,]:
        covered[block.window] += 1
        assert block.place[0] % written[0] == block.place[1] % written[1] == 0
    assert covered.min() == covered.max() == 1
    assert len(plane_blocks(planes, written, whole=True)[0,]) == 1


@pytest.fixture
def job(source: Path, model: Path, tmp_path: Path) -> Job:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    stream = OmeZarrStream(tmp_path / "out.zarr", read_image(source), keep_in=folder)
    outputs = (("denoised", str(stream.partial)),)
    mark = run_mark(folder)
    return Job(str(source), None, None, SHAPE, str(folder), mark, str(model), outputs, "cpu")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"versions": ("0.0.1", "2.0")}, "the command has 0.0.1 and 2.0: install the same"),
        ({"folder": "/elsewhere"}, "does not see /elsewhere: put image and result into a folder"),
        ({"shape": (1, 2, 60, 48)}, "reads another image as"),
        ({"image": "/gone.zarr"}, "there is no image file /gone.zarr: check the name"),
    ],
    ids=["versions", "folder", "image", "no-image"],
)
def test_workers_that_cannot_work_say_why(job, change, words, monkeypatch):
    monkeypatch.setattr(_worker, "_this_worker", lambda: ("w", 1))
    with pytest.raises(RedenoiseError, match=words):
        _worker.denoise_block(replace(job, **change), Block((0,), (0, 60), (0, 48)))


def test_a_run_that_has_ended_is_not_written(job, monkeypatch):
    monkeypatch.setattr(_worker, "_this_worker", lambda: ("w", 1))
    block = Block((0,), (0, 60), (0, 48))
    _worker.denoise_block(job, block)
    # A run with other settings has the folder now.
    (Path(job.folder) / "run.json").write_text("[]")
    with pytest.raises(ClusterError, match="has ended meanwhile"):
        _worker.denoise_block(job, block)


def test_workers_of_one_computer_have_gpus_of_their_own():
    available = ["cuda:0", "cuda:1", "cpu"]
    assert _worker._device(None, "SLURMCluster-0-3", available) == "cuda:1"
    assert _worker._device("auto", "2", available) == "cuda:0"
    assert _worker._device("cpu", "1", available) == "cpu"
    # Each sees its own one only.
    assert _worker._device(None, "1", ["cuda:0", "cpu"]) is None


def test_other_errors_of_a_worker_are_explained(redenoise, source, model, tmp_path, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("no kernel")

    monkeypatch.setattr(distributed, "LocalCluster", partial(LocalCluster, processes=False))
    monkeypatch.setattr(_worker._Prepared, "denoise", broken)
    options = ("--model", model, "--device", "cpu", "--workers", 1)
    status, _, errors = redenoise("denoise", source, tmp_path / "out.zarr", *options)
    assert status == 1
    assert "redenoise: a worker failed (no kernel): see its log" in errors


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--workers", 2, "--scheduler", "tcp://a:1"), "omit one of them"),
        (("--workers", 2, "--mask", "mask.tif"), "mask.tif is none: give a name that ends in"),
        (("--scheduler", "tcp://127.0.0.1:9"), "does not answer within 0.2 s: check the address"),
        (("--scheduler", "nonsense://a"), "does not answer within 0.2 s: check the address"),
    ],
)
def test_clusters_that_cannot_be_used_are_refused(
    redenoise, source, model, tmp_path, monkeypatch, options, words
):
    monkeypatch.setattr(_cluster, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(Redenoiser, "predict_events", lambda *_, **__: pytest.fail("it denoises"))
    status, _, errors = redenoise(
        "denoise", source, tmp_path / "out.zarr", "--model", model, *options
    )
    assert status == 1
    assert words in errors
    assert not (tmp_path / ".out.zarr.unfinished").exists()


def test_a_missing_package_and_batches_are_refused(redenoise, source, tmp_path, monkeypatch):
    command = ("denoise", source, tmp_path / "out.zarr", "--workers", 2)
    monkeypatch.setattr(_cluster, "find_spec", lambda _: None)
    status, _, errors = redenoise(*command)
    assert status == 1
    assert "pip install 'napari-redenoise[distributed]'" in errors
    status, _, errors = redenoise("denoise", source, "--out-dir", tmp_path, "--workers", 2)
    assert status == 1
    assert "--workers belongs to one image" in errors


def test_models_that_draw_random_numbers_are_refused(redenoise, source, tmp_path, threads):
    options = ("--from-scratch", "--objective", "r2r", "--noise", "1,0,2", "--workers", 1)
    status, _, errors = redenoise("denoise", source, tmp_path / "out.zarr", *options)
    assert status == 1
    assert "R2R from random weights draws random numbers plane after plane" in errors
    assert "training" not in errors
