"""Exit codes of the command, and errors that nobody expected."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_redenoise import Redenoiser
from napari_redenoise._cli import _check, _noise
from napari_redenoise.recipes import FolderTraining

FAST = ("--from-scratch", "--backbone", "standard", "--objective", "noise2self", "--device", "cpu",
        "--set", "network.levels=2", "--set", "network.encoder_width=8", "--steps", "1",
        "--set", "network.decoder_width=16", "--set", "training.patch_size=32")  # fmt: skip


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, np.random.default_rng(0).poisson(50, (48, 56)).astype(np.uint16))
    return path


@pytest.fixture
def logs(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def fail_with(monkeypatch, error: BaseException) -> None:
    def failing(*_, **__):
        raise error

    monkeypatch.setattr(_check, "read_noted", failing)


def test_an_unexpected_error_writes_a_log_and_says_where(redenoise, image, monkeypatch, logs):
    fail_with(monkeypatch, ZeroDivisionError("by\nzero"))
    status, said, errors = redenoise("check", image, image)
    assert (status, said) == (1, "")
    (log,) = logs.glob("redenoise-error-*.log")
    assert errors == (
        "redenoise: unexpected error (ZeroDivisionError: by): please report it with its log, "
        f"{log}\n"
    )
    text = log.read_text()
    assert text.startswith(f"redenoise check {image} {image}\nPython ")
    assert "torch " in text
    assert "Traceback (most recent call last)" in text


def test_a_lack_of_memory_is_said_as_such(redenoise, image, monkeypatch, logs):
    fail_with(monkeypatch, MemoryError())
    _, _, errors = redenoise("check", image, image)
    assert errors.startswith("redenoise: the memory is too small (MemoryError): close other")


def test_a_log_that_cannot_be_written_is_no_second_error(redenoise, image, monkeypatch, logs):
    fail_with(monkeypatch, ValueError("odd"))
    monkeypatch.setattr(tempfile, "tempdir", str(logs / "gone"))
    status, _, errors = redenoise("check", image, image)
    assert status == 1
    assert re.match(r"redenoise: unexpected error \(ValueError: odd\): please report it; ", errors)
    assert "Traceback" not in errors


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are Unicode")
def test_names_of_another_encoding_are_printed(redenoise, image, tmp_path, monkeypatch, logs):
    name = os.fsdecode(b"caf\xe9.tif")
    path = image.rename(tmp_path / name)
    assert "image: " + str(tmp_path / "caf\\udce9.tif") in redenoise("inspect", path)[1]
    assert json.loads(redenoise("inspect", path, "--json")[1])["file"] == str(path)
    status, said, errors = redenoise("denoise", path, "--out-dir", tmp_path / "out", "--instant")
    assert (status, "denoised 1 of 1 images" in said) == (0, True), errors
    options = ("--instant", "--json")
    status, said, errors = redenoise("denoise", path, tmp_path / f"new-{name}", *options)
    assert status == 0, errors
    assert [json.loads(line) for line in said.splitlines()][-2]["text"].endswith(f"new-{name}")
    fail_with(monkeypatch, ZeroDivisionError())
    redenoise("check", path, path)
    (log,) = logs.glob("redenoise-error-*.log")
    assert "caf\\udce9.tif" in log.read_text()


def test_json_of_another_encoding_is_json(image, tmp_path):
    path = image.rename(tmp_path / "zelle-\u00fc.tif")
    command = [sys.executable, "-c", "from napari_redenoise import _cli; _cli.main()"]
    found = subprocess.run(
        [*command, "inspect", str(path), "--json"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    assert json.loads(found.stdout)["file"] == str(path)


def test_done_is_0(redenoise, image):
    assert redenoise("noise", image)[0] == 0


def test_refused_is_1(redenoise, tmp_path):
    status, _, errors = redenoise("noise", tmp_path / "gone.tif")
    assert status == 1
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("words", [("noise",), ("noise", "--wrong", "a.tif"), ("wrong",)])
def test_wrong_usage_is_2(redenoise, words):
    assert redenoise(*words)[0] == 2


def test_ctrl_c_is_130_in_every_command(redenoise, image, monkeypatch):
    def interrupted(*_, **__):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(_noise, "read_noted", interrupted)
    status, _, errors = redenoise("noise", image)
    assert status == 130
    assert "Traceback" not in errors


def test_a_partly_failed_batch_is_3_and_a_failed_one_1(redenoise, image, tmp_path):
    (tmp_path / "broken.tif").write_bytes(b"no image")
    options = ("--out-dir", tmp_path / "out", *FAST)
    assert redenoise("denoise", tmp_path / "broken.tif", *options)[0] == 1
    assert redenoise("denoise", tmp_path / "broken.tif", image, *options)[0] == 3
    # The good one is up to date now.
    assert redenoise("denoise", tmp_path / "broken.tif", image, *options)[0] == 3


def events(said: str) -> list[dict]:
    return [json.loads(line) for line in said.splitlines()]


def test_json_prints_an_event_a_line(redenoise, image, tmp_path):
    options = [option for option in FAST if option not in ("--steps", "1")]
    model, out = tmp_path / "m.safetensors", tmp_path / "out.tif"
    status, said, errors = redenoise(
        "denoise", image, out, "--json", "--save-model", model, *options, "--steps", 2, "--report"
    )
    assert status == 0, errors
    found = events(said)
    kinds = [one["event"] for one in found]
    assert kinds[0] == "start"
    assert kinds[-1] == "end"
    assert found[-1] == {"event": "end", "exit_code": 0}
    steps = [one for one in found if one["event"] == "step"]
    assert [(one["step"], one["steps"]) for one in steps] == [(1, 2), (2, 2)]
    assert all(isinstance(one["loss"], float) for one in steps)
    (plan,) = (one for one in found if one["event"] == "plan")
    assert plan["plan"]["config"]["objective"]["kind"] == "noise2self"
    tiles = [one for one in found if one["event"] == "tile"]
    assert tiles[-1]["tile"] == tiles[-1]["tiles"]
    written = [one["path"] for one in found if one["event"] == "written"]
    assert written == [str(model), str(out)]
    (quality,) = (one for one in found if one["event"] == "quality")
    assert quality["report"]["mark"]


def test_json_says_what_was_refused(redenoise, tmp_path):
    status, said, errors = redenoise("denoise", tmp_path / "gone.tif", tmp_path / "a.tif", "--json")
    assert status == 1
    found = events(said)
    assert [one["event"] for one in found] == ["start", "error", "end"]
    assert f"redenoise: {found[1]['message']}\n" == errors
    assert found[2]["exit_code"] == 1


def test_json_of_an_interrupted_run_ends_with_its_code(redenoise, image, tmp_path, monkeypatch):
    fit = Redenoiser.fit_events

    def interrupted(self, *arguments, **keywords):
        for event in fit(self, *arguments, **keywords):
            yield event
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Redenoiser, "fit_events", interrupted)
    options = (*FAST, "--set", "training.seed=3", "--json")
    status, said, _ = redenoise("denoise", image, tmp_path / "a.tif", *options)
    assert status == 130
    found = events(said)
    assert found[-1] == {"event": "end", "exit_code": 130}
    assert [Path(one["path"]).name for one in found if one["event"] == "written"] == [
        "a.redenoise.safetensors"
    ]


def test_json_of_a_batch_has_an_event_a_file(redenoise, image, tmp_path):
    (tmp_path / "broken.tif").write_bytes(b"no image")
    files = (tmp_path / "broken.tif", image)
    options = ("--out-dir", tmp_path / "out", *FAST, "--json")
    status, said, _ = redenoise("denoise", *files, *options)
    assert status == 3
    found = events(said)
    done = [one for one in found if one["event"] == "file_done"]
    assert [Path(one["record"]["output"]).name for one in done] == ["in.tif"]
    failed = [one for one in found if one["event"] == "file_failed"]
    assert "broken.tif" in failed[0]["message"]
    assert found[-1] == {"event": "end", "exit_code": 3}
    (plan,) = (one for one in found if one["event"] == "plan")
    assert Path(plan["image"]).name == "in.tif"
    assert plan["plan"]["config"]["objective"]["kind"] == "noise2self"
    again = events(redenoise("denoise", *files, *options)[1])
    assert [one["event"] for one in again].count("file_skipped") == 1


@pytest.fixture
def training(tmp_path) -> tuple[str, ...]:
    """Arguments of a training on a folder: 2 epochs of 2 steps."""
    folder = tmp_path / "clean"
    folder.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40), np.uint8)
        tifffile.imwrite(folder / f"{number}.tif", pixels)
    sizes = ("--nb-epochs", "2", "--batch-size", "2", "--crop-size", "32")
    return (
        "train", "--train-dir", str(folder), "--ckpt-save-path", str(tmp_path / "kept"), *sizes,
        "--backbone", "standard", "--device", "cpu", "--json",
    )  # fmt: skip


def test_json_of_a_folder_training(redenoise, training, tmp_path):
    status, said, errors = redenoise(*training, "--valid-dir", tmp_path / "clean")
    assert status == 0, errors
    found = events(said)
    (plan,) = (one["plan"] for one in found if one["event"] == "plan")
    assert (plan["images"], plan["channels"], plan["steps_per_epoch"]) == (3, 1, 2)
    assert plan["folder"]["noise_type"] == "gaussian"
    steps = [one for one in found if one["event"] == "step"]
    assert [(one["step"], one["steps"]) for one in steps] == [(n, 4) for n in range(1, 5)]
    assert all(isinstance(one["loss"], float) for one in steps)
    epochs = [one for one in found if one["event"] == "epoch"]
    assert [(one["epoch"], one["epochs"]) for one in epochs] == [(1, 2), (2, 2)]
    assert epochs[1]["psnr"] > 0
    written = [Path(one["path"]) for one in found if one["event"] == "written"]
    assert [one.name for one in written] == ["epoch-001.safetensors", "epoch-002.safetensors"]
    assert all(one.is_file() for one in written)
    assert found[0]["event"] == "start"
    assert found[-1] == {"event": "end", "exit_code": 0}


def test_json_of_a_folder_training_that_is_refused(redenoise, training, tmp_path):
    assert redenoise(*training)[0] == 0
    status, said, errors = redenoise(*training)
    assert status == 1
    found = events(said)
    assert [one["event"] for one in found] == ["start", "error", "end"]
    assert "add --resume to continue it" in found[1]["message"]
    assert f"redenoise: {found[1]['message']}\n" == errors


def test_json_of_an_interrupted_folder_training(redenoise, training, tmp_path, monkeypatch):
    training_events = FolderTraining.events

    def interrupted(self):
        for event in training_events(self):
            signal.raise_signal(signal.SIGTERM)
            yield event

    monkeypatch.setattr(FolderTraining, "events", interrupted)
    status, said, errors = redenoise(*training)
    assert status == 143
    assert events(said)[-1] == {"event": "end", "exit_code": 143}
    assert "stopped at step 1; continue with --resume" in errors
    monkeypatch.undo()
    status, said, _ = redenoise(*training, "--resume")
    assert status == 0
    assert [one["step"] for one in events(said) if one["event"] == "step"] == [2, 3, 4]


def test_a_shell_completes_commands():
    program = "from napari_redenoise._cli import main; main()"
    words = {
        "_REDENOISE_COMPLETE": "complete_bash",
        "COMP_WORDS": "redenoise in",
        "COMP_CWORD": "1",
    }
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv = ['redenoise']; {program}"],
        env={**os.environ, **words}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert found.stdout.split() == ["inspect"]


def test_the_completion_can_be_installed(redenoise):
    assert "--install-completion" in redenoise("--help")[1]
