"""What the command says about image files, and what it writes beside the grey levels."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_redenoise import Config
from napari_redenoise._cli._results import Targets
from napari_redenoise._cli._single_image import SingleImage
from napari_redenoise.io import read_image

RANDOM = np.random.default_rng(0)
SMALL = RANDOM.poisson(50, (48, 48)).astype(np.uint16)
STACK = RANDOM.poisson(50, (2, 64, 64)).astype(np.uint16)


@pytest.fixture
def movie(tmp_path):
    with tifffile.TiffWriter(tmp_path / "movie.tif") as file:
        file.write(SMALL, metadata=None)
        file.write(STACK, photometric="minisblack", metadata=None)
    return tmp_path / "movie.tif"


def test_the_largest_series_is_denoised_and_the_others_are_named(redenoise, movie, tmp_path):
    status, said, errors = redenoise("denoise", movie, tmp_path / "out.tif", "--steps", 0)
    assert status == 0
    assert tifffile.imread(tmp_path / "out.tif").shape == STACK.shape
    assert "movie.tif: it holds 2 series: 0 (48 × 48, uint16), 1 (2 × 64 × 64, uint16)" in errors
    assert "it holds" not in said


def test_a_series_can_be_chosen(redenoise, movie, tmp_path):
    out = tmp_path / "out.tif"
    status, _, errors = redenoise("denoise", movie, out, "--steps", 0, "--series", 0)
    assert status == 0
    assert tifffile.imread(out).shape == SMALL.shape
    assert "series" not in errors
    status, _, errors = redenoise("check", movie, out, "--series", 0)
    assert status == 0, errors


def test_a_second_shot_is_read_once(redenoise, movie, tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", STACK[::-1], photometric="minisblack")
    options = ("--target", movie, "--objective", "noise2noise", "--steps", 0)
    status, _, errors = redenoise("denoise", tmp_path / "in.tif", tmp_path / "out.tif", *options)
    assert (status, errors.count("movie.tif: it holds 2 series")) == (0, 1), errors


def test_a_series_that_is_not_there_ends_the_command(redenoise, movie):
    status, _, errors = redenoise("noise", movie, "--series", 2)
    assert (status, "there is no series 2 in it: give a number from 0 to 1" in errors) == (1, True)


def test_notes_do_not_disturb_json(redenoise, movie):
    status, said, errors = redenoise("noise", movie, "--json")
    assert status == 0
    assert len(json.loads(said)) == 1
    assert "it holds 2 series" in errors


def test_the_command_of_a_kept_model_reads_the_same_series():
    one = SingleImage(Path("in.tif"), Targets(Path("out.tif")), Config(), axes="TYX", series=0)
    words = one.command()
    assert words == ["redenoise", "denoise", "in.tif", "out.tif", "--axes", "TYX", "--series", "0"]
    assert "--series" not in replace(one, series=None).command()


def test_the_mask_of_an_inverted_image_is_not_inverted(redenoise, tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", SMALL, photometric="miniswhite")
    out, mask = tmp_path / "out.tif", tmp_path / "mask.tif"
    options = ("--steps", 0, "--mask", mask)
    assert redenoise("denoise", tmp_path / "in.tif", out, *options)[0] == 0
    assert read_image(out).white_is_zero
    assert not read_image(mask).white_is_zero
    # The same grey levels, not their complement.
    assert tifffile.imread(out).mean() == pytest.approx(SMALL.mean(), rel=0.02)
