"""`redenoise denoise --out-dir`: what it says, its exit codes, and what it refuses."""

import json
import re
import shlex
import signal
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_redenoise import Redenoiser
from napari_redenoise.io import load_model

PAGE = Path(__file__).parents[2] / "docs" / "batch.md"
NETWORK = ("--from-scratch", "--objective", "noise2self", "--device", "cpu",
           "--set", "network.levels=2", "--set", "network.encoder_width=8",
           "--set", "network.decoder_width=16", "--set", "training.patch_size=32")  # fmt: skip
FAST = ("--backbone", "standard", *NETWORK, "--steps", 2)


@pytest.fixture(autouse=True)
def raw(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("raw/a.tif", "raw/b/a.tif"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(name, rng.poisson(50, (48, 56)).astype(np.uint16))
    return Path("raw")


def records(folder: str = "out") -> list[dict]:
    lines = Path(folder, "manifest.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["state"] == "done"]


def test_a_pattern_is_denoised_into_a_folder(redenoise):
    status, said, _ = redenoise("denoise", "raw/**/*.tif", "--out-dir", "out", *FAST, "--report")
    assert status == 0
    assert "1 of 2: raw/a.tif" in said
    assert "wrote out/b/a.tif in " in said
    assert said.splitlines()[-1] == "denoised 2 of 2 images"
    for record in records():
        quality = record["quality"]
        assert quality["mark"] in ("good", "unknown", "caution", "bad")
        assert len(quality["sentences"]) == 6
        assert all(sentence in said for sentence in quality["sentences"])
        assert record["plan"]["config"]["training"]["steps"] == 2
    # Several arguments, as from a shell, are the same batch.
    status, said, _ = redenoise("denoise", "raw/a.tif", "raw/b/a.tif", "--out-dir", "out", *FAST)
    assert (status, said) == (0, "denoised 0 of 2 images, 2 were up to date\n")


def test_failures_are_listed_at_the_end(redenoise, raw, capsys):
    (raw / "aa.tif").write_bytes(b"of the day")
    command = ("denoise", "raw", "--out-dir", "denoised", "--subfolders", *FAST)
    status, said, errors = redenoise(*command)
    assert status == 3
    *_, summary, number, reason = errors.splitlines()
    assert summary.endswith("denoised 2 of 3 images")
    assert number == "not denoised: 1"
    assert reason.startswith("  raw/aa.tif cannot be read as an image, since its format is unknown")
    assert "wrote denoised/b/a.tif" in said
    # The page on batches tells how to find them in the manifest.
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    exec(block, {})
    assert f"aa.tif {reason.strip()}" in capsys.readouterr().out.splitlines()


def test_ctrl_c_leaves_what_is_done(redenoise, monkeypatch):
    fit, number = Redenoiser.fit_events, iter(range(100))

    def interrupted(self, *arguments, **keywords):
        for event in fit(self, *arguments, **keywords):
            yield event
            if next(number) == 2:
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Redenoiser, "fit_events", interrupted)
    before = signal.getsignal(signal.SIGINT)
    command = ("denoise", "raw/**/*.tif", "--out-dir", "out", *FAST)
    status, _, errors = redenoise(*command)
    assert status == 130
    assert signal.getsignal(signal.SIGINT) == before
    assert errors.splitlines()[-1].endswith(
        "redenoise: stopped; denoised 1 of 2 images; the same command continues"
    )
    assert sorted(path.name for path in Path("out").rglob("*.*")) == ["a.tif", "manifest.jsonl"]
    status, said, _ = redenoise(*command)
    assert status == 0
    assert said.splitlines()[-1] == "denoised 1 of 2 images, 1 was up to date"


def test_one_model_is_trained_for_all(redenoise):
    options = ("--out-dir", "out", "--train-on", "all", "--save-model", "m.safetensors", *FAST)
    status, said, errors = redenoise("denoise", "raw/**/*.tif", *options)
    assert status == 0, errors
    assert "trained ../m.safetensors in " in said
    assert load_model("m.safetensors")[3]["steps"] == 2
    status, said, _ = redenoise(
        "denoise", "raw/a.tif", "--out-dir", "again", "--model", "m.safetensors"
    )
    assert status == 0
    np.testing.assert_allclose(
        tifffile.imread("again/a.tif"), tifffile.imread("out/a.tif"), rtol=1e-5
    )


def test_masks_branches_and_types_are_those_of_a_single_run(redenoise):
    options = (*NETWORK, "--steps", 1, "--branches", "--as-source")
    redenoise("denoise", "raw/b/a.tif", "single.tif", "--mask", "single-mask.tif", *options)
    status, _, errors = redenoise(
        "denoise", "raw/**/*.tif", "--out-dir", "out", "--mask", "masks", *options
    )
    assert status == 0, errors
    for one, other in {
        "single.tif": "out/b/a.tif",
        "single-mask.tif": "masks/b/a.tif",
        "single-standard.tif": "out/b/a-standard.tif",
        "single-equivariant.tif": "out/b/a-equivariant.tif",
    }.items():
        expected = tifffile.imread(one)
        assert tifffile.imread(other).dtype == expected.dtype
        np.testing.assert_allclose(tifffile.imread(other), expected, rtol=1e-4, atol=1)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("raw/*.png --out-dir out", "no file matches raw/*.png: check the pattern"),
        ("raw/*.tif --out-dir raw", "raw/a.tif is read by this run: choose another folder"),
        ("raw --out-dir out --target raw/a.tif", "--target belongs to one image"),
        ("raw --out-dir out --region raw/a.tif", "--region belongs to one image"),
        ("raw --out-dir out --save-model m.safetensors", "every image has its own model"),
        ("raw --out-dir out --model m.safetensors --train-on all", "--model does not train"),
        ("raw --out-dir out --model m.safetensors", "there is no model file"),
        ("raw --out-dir out --backbone standard --mask masks", "only the adarenet"),
        ("raw --out-dir out --train-on no.tif", "there is no image file no.tif"),
        ("raw --out-dir out --train-on all --objective noise2noise", "consecutive frames"),
        ("raw/a.tif out.tif --train-on all", "--train-on belongs to several images: add --out-dir"),
        ("raw/a.tif out.tif --subfolders", "--subfolders belongs to several images"),
    ],
)
def test_what_a_batch_cannot_do_is_refused(redenoise, monkeypatch, command, words):
    monkeypatch.setattr(Redenoiser, "fit_events", lambda *_, **__: pytest.fail("it trains"))
    status, _, errors = redenoise("denoise", *shlex.split(command))
    assert status == 1
    assert errors.startswith("redenoise: ")
    assert words in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("raw/a.tif",), "missing: give a file, or a folder by --out-dir"),
        (("raw/a.tif", "raw/b/a.tif", "out.tif"), "several: add --out-dir"),
    ],
)
def test_a_single_image_has_one_output(redenoise, arguments, words):
    status, _, errors = redenoise("denoise", *arguments, *FAST)
    assert status == 2
    assert "OUTPUT" in errors
    assert words in errors
    assert not Path("out.tif").exists()
