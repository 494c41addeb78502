"""`redenoise denoise` that does not get to its end: what it has is kept, and said."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_redenoise import Redenoiser
from napari_redenoise._cli._interruption import interruption
from napari_redenoise.io import _safe_writing, load_model
from napari_redenoise.model import Session

FAST = ("--from-scratch", "--backbone", "standard", "--objective", "noise2self", "--device", "cpu",
        "--set", "network.levels=2", "--set", "network.encoder_width=8",
        "--set", "network.decoder_width=16", "--set", "training.patch_size=32")  # fmt: skip
LONG = (*FAST, "--steps", "1000000")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, np.random.default_rng(0).poisson(50, (48, 56)).astype(np.uint16))
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def signal_after(monkeypatch, steps: int, *numbers: int) -> None:
    """Have signals come while a training has made so many steps."""
    fit = Redenoiser.fit_events

    def interrupted(self, *arguments, **keywords):
        for number, event in enumerate(fit(self, *arguments, **keywords)):
            yield event
            if number + 1 == steps:
                for one in numbers:
                    signal.raise_signal(one)

    monkeypatch.setattr(Redenoiser, "fit_events", interrupted)


SIGNALS = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("wanted", [True, False])
def test_a_signal_ends_the_training_and_keeps_the_model(
    redenoise, image, tmp_path, monkeypatch, name, wanted
):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    out, model = tmp_path / "out.tif", tmp_path / "out.redenoise.safetensors"
    options = ()
    if wanted:
        model = tmp_path / "m.safetensors"
        options = ("--save-model", model)
    signal_after(monkeypatch, 3, number)
    status, said, errors = redenoise("denoise", image, out, "--axes", "YX", *LONG, *options)
    assert status == 128 + number
    assert signal.getsignal(number) == before
    assert names(tmp_path) == sorted(["in.tif", model.name])
    assert load_model(model)[3]["steps"] == 3
    assert f"wrote {model}" in said
    (line,) = (line for line in errors.splitlines() if line.startswith("redenoise: "))
    assert line.startswith(f"redenoise: stopped after 3 of 1000000 steps: {model} holds")
    # What is said is what has to be done.
    monkeypatch.undo()
    _, *words = shlex.split(re.search("redenoise denoise .*", line)[0])
    assert words == ["denoise", str(image), str(out), "--axes", "YX", "--device", "cpu",
                     "--model", str(model)]  # fmt: skip
    # Undone with the rest: the command line is that of the tests again.
    monkeypatch.setattr(sys, "argv", [])
    assert redenoise(*words)[0] == 0
    assert tifffile.imread(out).shape == (48, 56)


def test_a_kept_model_replaces_no_other(redenoise, image, tmp_path, monkeypatch):
    (tmp_path / "out.redenoise.safetensors").write_bytes(b"of yesterday")
    signal_after(monkeypatch, 2, signal.SIGINT)
    status, _, _ = redenoise("denoise", image, tmp_path / "out.tif", *LONG, "--overwrite")
    assert status == 130
    assert (tmp_path / "out.redenoise.safetensors").read_bytes() == b"of yesterday"
    assert load_model(tmp_path / "out.redenoise-1.safetensors")[3]["steps"] == 2


def test_a_signal_while_it_denoises_keeps_the_model(redenoise, image, tmp_path, monkeypatch):
    predict = Redenoiser.predict_events

    def interrupted(self, *arguments, **keywords):
        signal.raise_signal(signal.SIGINT)
        return predict(self, *arguments, **keywords)

    monkeypatch.setattr(Redenoiser, "predict_events", interrupted)
    status, _, errors = redenoise("denoise", image, tmp_path / "out.tif", *FAST, "--steps", 2)
    assert status == 130
    assert "holds the trained model; to denoise with it: redenoise denoise" in errors
    assert names(tmp_path) == ["in.tif", "out.redenoise.safetensors"]


def test_a_second_ctrl_c_ends_at_once(redenoise, image, tmp_path, monkeypatch):
    signal_after(monkeypatch, 2, signal.SIGINT, signal.SIGINT)
    status, _, errors = redenoise("denoise", image, tmp_path / "out.tif", *LONG)
    assert status == 130
    assert errors.splitlines()[-1] == "redenoise: stopped"
    assert names(tmp_path) == ["in.tif"]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no such signal")
def test_a_closed_terminal_may_send_two_signals(redenoise, image, tmp_path, monkeypatch):
    signal_after(monkeypatch, 2, signal.SIGHUP, signal.SIGHUP, signal.SIGTERM)
    assert redenoise("denoise", image, tmp_path / "out.tif", *LONG)[0] == 129
    assert names(tmp_path) == ["in.tif", "out.redenoise.safetensors"]


def test_before_the_first_step_a_signal_ends_at_once(redenoise, image, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("it went on")

    monkeypatch.setattr(Redenoiser, "fit_events", interrupted)
    status, _, errors = redenoise("denoise", image, tmp_path / "out.tif", *LONG)
    assert status == 143
    assert errors.endswith("redenoise: stopped\n")
    assert names(tmp_path) == ["in.tif"]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no such signal")
def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruption() as asked:
            signal.raise_signal(signal.SIGHUP)
            assert not asked.is_set()
            signal.raise_signal(signal.SIGTERM)
            assert asked.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


# -- other processes ----------------------------------------------------------------------------


def started(image: Path, *options: str, **streams) -> subprocess.Popen:
    program = "from napari_redenoise._cli import main; main()"
    command = [sys.executable, "-c", program, "denoise", image.name, "out.tif", *LONG, *options]
    return subprocess.Popen(command, cwd=image.parent, **streams)


def read_steps(stream, steps: int) -> None:
    """Wait until a bar tells of so many steps."""
    told, text = 0, ""
    while told < steps:
        read = os.read(stream.fileno(), 4096).decode(errors="replace")
        assert read, text
        text += read
        told = max([0, *map(int, re.findall(r"(\d+)/1000000", text))])


@pytest.mark.skipif(sys.platform == "win32", reason="its pipes do not tell who reads")
@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_closed_pipe_ends_the_training_and_keeps_the_model(image, tmp_path, closed):
    process = started(image, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    read_steps(process.stderr, 2)
    getattr(process, closed).close()
    other = process.stderr if closed == "stdout" else process.stdout
    rest = other.read().decode(errors="replace")
    assert process.wait(60) == 141
    assert names(tmp_path) == ["in.tif", "out.redenoise.safetensors"]
    assert "Traceback" not in rest
    assert "BrokenPipe" not in rest
    assert ("holds the trained model" if closed == "stdout" else "wrote") in rest


@pytest.mark.skipif(sys.platform == "win32", reason="its pipes do not tell who reads")
def test_a_pipe_closed_before_the_first_step_keeps_a_step(image, tmp_path):
    process = started(image, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 141, errors
    assert load_model(tmp_path / "out.redenoise.safetensors")[3]["steps"] >= 1


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /dev/full")
@pytest.mark.parametrize("words", [["inspect"], ["inspect", "--json"], ["noise"], ["check"]])
def test_what_nobody_can_read_is_no_unexpected_error(image, words):
    program = "from napari_redenoise._cli import main; main()"
    files = [image] * (2 if words == ["check"] else 1)
    command = [sys.executable, "-c", program, *words, *files]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed, Path("/dev/full").open("wb") as full:
        found = [
            subprocess.run(command, stdout=stream, stderr=subprocess.PIPE, text=True, check=False)
            for stream in (closed, full)
        ]
    assert [one.returncode for one in found] == [141, 1], found
    assert found[0].stderr == ""
    assert "standard output cannot be written (No space left on device): free" in found[1].stderr


@pytest.mark.skipif(sys.platform == "win32", reason="its pipes do not tell who reads")
def test_a_trained_model_is_applied_though_nobody_reads(redenoise, image, tmp_path):
    model = tmp_path / "m.safetensors"
    options = ("--save-model", model, *FAST, "--steps", 1)
    redenoise("denoise", image, tmp_path / "first.tif", *options)
    program = "from napari_redenoise._cli import main; main()"
    command = [sys.executable, "-c", program, "denoise", image, tmp_path / "out.tif"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([*command, "--model", model], **streams)
    process.stdout.close()
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    assert b"BrokenPipe" not in errors
    assert tifffile.imread(tmp_path / "out.tif").shape == (48, 56)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise there")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_from_outside_is_followed_soon(image, tmp_path, name):
    process = started(image, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    read_steps(process.stderr, 2)
    process.send_signal(getattr(signal, name))
    # The training itself would take far longer.
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + getattr(signal, name)
    assert b"Traceback" not in errors
    assert names(tmp_path) == ["in.tif", "out.redenoise.safetensors"]


# -- results that cannot be written -------------------------------------------------------------


def appear(monkeypatch, *paths: Path) -> None:
    """Have files of others come into being while it denoises."""
    allocate = Session.allocate

    def appearing(self, *arguments, **keywords):
        for path in paths:
            path.write_bytes(b"theirs")
        return allocate(self, *arguments, **keywords)

    monkeypatch.setattr(Session, "allocate", appearing)


def test_results_whose_names_are_taken_meanwhile_get_others(
    redenoise, image, tmp_path, monkeypatch
):
    out, mask = tmp_path / "out.tif", tmp_path / "mask.tif"
    appear(monkeypatch, out, mask)
    options = [option for option in FAST if option not in ("--backbone", "standard")]
    status, said, _ = redenoise("denoise", image, out, "--mask", mask, *options, "--steps", 1)
    assert status == 0
    assert (out.read_bytes(), mask.read_bytes()) == (b"theirs", b"theirs")
    assert f"wrote {tmp_path / 'out-1.tif'}, because out.tif exists now" in said
    assert f"wrote {tmp_path / 'mask-1.tif'}, because mask.tif exists now" in said
    assert tifffile.imread(tmp_path / "out-1.tif").shape == (48, 56)
    assert tifffile.imread(tmp_path / "mask-1.tif").shape == (48, 56)


def test_a_model_whose_name_is_taken_meanwhile_gets_another(
    redenoise, image, tmp_path, monkeypatch
):
    model = tmp_path / "m.safetensors"
    fit = Redenoiser.fit_events

    def appearing(self, *arguments, **keywords):
        yield from fit(self, *arguments, **keywords)
        model.write_bytes(b"theirs")

    monkeypatch.setattr(Redenoiser, "fit_events", appearing)
    options = ("--save-model", model, *FAST, "--steps", 1)
    status, said, _ = redenoise("denoise", image, tmp_path / "out.tif", *options)
    assert status == 0
    assert model.read_bytes() == b"theirs"
    assert "m-1.safetensors, because m.safetensors exists now" in said
    assert load_model(tmp_path / "m-1.safetensors")[3]["steps"] == 1


def test_overwrite_replaces_files_created_during_the_run(redenoise, image, tmp_path, monkeypatch):
    out = tmp_path / "out.tif"
    appear(monkeypatch, out)
    assert redenoise("denoise", image, out, *FAST, "--steps", 1, "--overwrite")[0] == 0
    assert tifffile.imread(out).shape == (48, 56)
    assert names(tmp_path) == ["in.tif", "out.tif"]


@pytest.mark.parametrize("lost", ["out.tif", "mask.tif", "m.safetensors"])
def test_an_unwritable_result_does_not_affect_the_others(
    redenoise, image, tmp_path, monkeypatch, lost
):
    replace = os.replace

    def full(source, target):
        if Path(target).name == lost:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    results = {name: tmp_path / name for name in ("out.tif", "mask.tif", "m.safetensors")}
    options = [option for option in FAST if option not in ("--backbone", "standard")]
    arguments = ("--mask", results["mask.tif"], "--save-model", results["m.safetensors"])
    status, said, errors = redenoise(
        "denoise", image, results["out.tif"], *arguments, *options, "--steps", 1
    )
    assert status == 3
    expected = {"in.tif", *results} - {lost}
    # The model itself is kept under the other name.
    kept = {"out.redenoise.safetensors"} if lost == "m.safetensors" else set()
    assert set(names(tmp_path)) == expected | kept
    assert f"redenoise: {tmp_path / lost} cannot be written (No space left on device; it" in errors
    assert f"wrote {tmp_path / lost}" not in said
    assert "Traceback" not in errors


def test_the_model_of_an_unwritable_result_is_kept_elsewhere(
    redenoise, image, tmp_path, monkeypatch
):
    replace, elsewhere = os.replace, tmp_path / "elsewhere"
    elsewhere.mkdir()
    full = tmp_path / "full"

    def limited(source, target):
        if Path(target).parent == full:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", limited)
    monkeypatch.chdir(elsewhere)
    status, _, errors = redenoise("denoise", image, full / "out.tif", *FAST, "--steps", 1)
    assert status == 1
    assert names(full) == []
    assert names(elsewhere) == ["out.redenoise.safetensors"]
    assert "not all results are written: out.redenoise.safetensors holds" in errors


def test_a_failure_while_it_denoises_keeps_the_model(redenoise, image, tmp_path, monkeypatch):
    def failing(*_, **__):
        raise MemoryError

    monkeypatch.setattr(Redenoiser, "predict_events", failing)
    status, _, errors = redenoise("denoise", image, tmp_path / "out.tif", *FAST, "--steps", 2)
    assert status == 1
    assert "redenoise: the memory is too small (MemoryError)" in errors
    assert "Traceback" not in errors
    assert load_model(tmp_path / "out.redenoise.safetensors")[3]["steps"] == 2


# -- what is refused before the training ----------------------------------------------------------


@pytest.fixture
def untrained(monkeypatch):
    def trained(*_, **__):
        pytest.fail("it trains")

    monkeypatch.setattr(Redenoiser, "fit_events", trained)


def test_results_larger_than_the_free_space_are_refused(
    redenoise, image, tmp_path, monkeypatch, untrained
):
    found = type(_safe_writing.shutil.disk_usage(tmp_path))
    monkeypatch.setattr(
        _safe_writing.shutil, "disk_usage", lambda _: found(10**6, 10**6 - 1000, 1000)
    )
    status, _, errors = redenoise("denoise", image, tmp_path / "out.tif", *LONG)
    assert status == 1
    assert re.search(r"the results need [\d.]+ kB in .* and 1\.0 kB are free: free some", errors)


@pytest.mark.parametrize("option", [None, "--mask", "--save-model"])
def test_folders_and_long_names_are_refused(redenoise, image, tmp_path, untrained, option):
    suffix = ".safetensors" if option == "--save-model" else ".tif"
    taken, long = tmp_path / f"taken{suffix}", tmp_path / f"{'a' * 300}{suffix}"
    taken.mkdir()
    for path in (taken, long):
        targets = (path,) if option is None else (tmp_path / "out.tif", option, path)
        status, _, errors = redenoise("denoise", image, *targets, "--steps", 1, "--overwrite")
        assert status == 1
        assert "is a folder" in errors or "cannot be written" in errors


@pytest.mark.parametrize("letter", ["a", "ä"])
def test_the_kept_model_of_a_long_name_has_a_shorter_one(
    redenoise, image, tmp_path, monkeypatch, letter
):
    stem = letter * (244 // len(letter.encode()))
    signal_after(monkeypatch, 1, signal.SIGTERM)
    status, _, errors = redenoise("denoise", image, tmp_path / f"{stem}.tif", *LONG)
    assert status == 128 + signal.SIGTERM, errors
    (model,) = tmp_path.glob("*.safetensors")
    assert stem.startswith(model.name.removesuffix(".redenoise.safetensors"))
    assert 220 < len(model.name.encode()) <= 255


def test_a_scale_beyond_tiff_is_reported_before_and_left_out(redenoise, image, tmp_path):
    spoilt, out = tmp_path / "spoilt.ome.tif", tmp_path / "out.tif"
    metadata = {"axes": "YX", "PhysicalSizeX": "nan", "PhysicalSizeY": 0.5}
    tifffile.imwrite(spoilt, tifffile.imread(image), metadata=metadata)
    status, said, errors = redenoise("denoise", spoilt, out, *FAST, "--steps", 1)
    assert status == 0, errors
    assert said.startswith("caution: the results lack the resolution (nan, 2.0)")
    assert tifffile.imread(out).shape == (48, 56)


@pytest.mark.skipif(os.name != "posix", reason="closes streams by a shell")
@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_closed_streams_end_no_run(image, tmp_path, closed):
    program = shlex.join([sys.executable, "-c", "from napari_redenoise._cli import main; main()"])
    line = f"{program} denoise in.tif out.tif --instant {closed}"
    assert subprocess.run(line, shell=True, cwd=tmp_path, check=False).returncode == 0
    assert tifffile.imread(tmp_path / "out.tif").shape == (48, 56)
