"""What `redenoise inspect` says of models and images."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image
from safetensors.torch import save_file

from napari_redenoise import Redenoiser
from napari_redenoise.io import ImageFile, write_ome_zarr
from napari_redenoise.nn import build_network

STACK = np.random.default_rng(0).poisson(50, (3, 32, 40)).astype(np.uint16)


@pytest.fixture
def model(tiny, noisy, tmp_path):
    changes = {"objective.kind": "noise2void", "objective.mask_shape": ("010", "111", "010")}
    trained = Redenoiser(tiny.replace(changes), device="cpu").fit(noisy)
    return trained.save(tmp_path / "m.safetensors")


def test_a_model_says_how_it_was_trained(redenoise, model, tiny):
    status, said, errors = redenoise("inspect", model)
    assert (status, errors) == (0, "")
    lines = dict(line.split(": ", 1) for line in said.splitlines())
    assert lines["network"].startswith("adarenet, group C4, 2 levels, 1 channel(s), ")
    assert lines["objective"] == "noise2void, mask 010/111/010"
    assert lines["training"] == "3 steps, from random weights, seed 0"
    assert lines["trained on"] == "70 × 54 pixels, axes YX"
    assert "None" not in said
    # The numbers that torch counts.
    counted = sum(one.numel() for one in build_network(tiny.network).state_dict().values())
    described = json.loads(redenoise("inspect", model, "--json")[1])
    assert described["parameters"] == counted
    assert described["config"]["training"]["steps"] == 3
    assert described["plan"]["config"] == described["config"]
    assert described["bytes"] == model.stat().st_size


def test_the_noise_of_a_model_is_said(redenoise, tiny, noisy, tmp_path):
    noise = {"gain": (2.0,), "offset": (-0.5,), "read_noise": (0.25,)}
    config = tiny.replace({"objective.kind": "r2r", "objective.noise": noise})
    path = Redenoiser(config, device="cpu").fit(noisy).save(tmp_path / "m.safetensors")
    assert "noise: gain 2, offset -0.5, read noise 0.25" in redenoise("inspect", path)[1]


def test_a_model_is_inspected_without_torch(model):
    program = (
        "import sys, importlib.util as u\n"
        "spec = u.find_spec('napari_redenoise')\n"
        "name = spec.submodule_search_locations[0] + '/io/_model_inspection.py'\n"
        "module = u.module_from_spec(s := u.spec_from_file_location('m', name))\n"
        "s.loader.exec_module(module)\n"
        "from pathlib import Path\n"
        "print(module.inspect_model(Path(sys.argv[1]))['format'], 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(model)]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert found.split() == ["napari-redenoise/1", "False"]


def test_a_tiff_says_its_series_axes_and_pixel_sizes(redenoise, tmp_path):
    path = tmp_path / "a.ome.tif"
    metadata = {"axes": "CYX", "Channel": {"Name": ["nuclei", "cells", "dust"]},
                "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm",
                "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"}  # fmt: skip
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(STACK, photometric="minisblack", metadata=metadata, compression="lzw")
        file.write(STACK[0, :20, :20], photometric="minisblack")
    status, said, _ = redenoise("inspect", path)
    assert status == 0
    assert "format: OME-TIFF" in said
    assert "shape: 3 × 32 × 40, axes CYX, uint16" in said
    assert "size of a pixel along X: 0.25 µm" in said
    assert "size of a pixel along Y: 0.5 µm" in said
    assert "channels: nuclei, cells, dust" in said
    assert "compression: lzw" in said
    assert "series 0: 3 × 32 × 40, axes CYX, uint16, read" in said
    assert "series 1: 20 × 20, axes YX, uint16\n" in said
    described = json.loads(redenoise("inspect", path, "--series", 1, "--json")[1])
    assert (described["series_read"], described["shape"]) == (1, [20, 20])


def test_an_imagej_stack_has_spacing_and_interval(redenoise, tmp_path):
    metadata = {"axes": "TYX", "unit": "um", "finterval": 1.5}
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, resolution=(4, 2), metadata=metadata)
    described = json.loads(redenoise("inspect", tmp_path / "a.tif", "--json")[1])
    assert described["format"] == "ImageJ TIFF"
    sizes = {axis: one["size"] for axis, one in described["pixel_size"].items()}
    assert sizes == {"X": 0.25, "Y": 0.5, "T": 1.5}
    assert described["pixel_size"]["T"]["unit"] == "s"


def test_what_is_missing_is_said(redenoise, tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK, imagej=True)
    path.write_bytes(path.read_bytes()[: -STACK[0].nbytes])
    assert "note: missing or cut off: 1 of 3 planes" in redenoise("inspect", path)[1]


def test_a_result_in_ome_zarr_says_who_made_it(redenoise, tiny, noisy, tmp_path):
    result = Redenoiser(tiny, device="cpu").fit(noisy).predict(noisy)
    like = ImageFile(noisy, "YX", {"unit": "µm"}, (2.0, 2.0), 1)
    path = write_ome_zarr(tmp_path / "a.zarr", result.denoised, like, provenance=result.provenance)
    status, said, _ = redenoise("inspect", path)
    assert status == 0
    assert "format: OME-Zarr 0.5" in said
    assert "size of a pixel along X: 0.5 µm" in said
    assert "denoised by: napari-redenoise" in said
    assert "objective: noise2self" in said
    assert "training: 3 steps" in said
    described = json.loads(redenoise("inspect", path, "--json")[1])
    assert described["levels"][0] == [70, 54]
    assert described["provenance"]["steps"] == 3


def test_a_png_is_described(redenoise, tmp_path):
    Image.fromarray(STACK[0].astype(np.uint8)).save(tmp_path / "a.png")
    said = redenoise("inspect", tmp_path / "a.png")[1]
    assert "format: PNG" in said
    assert "shape: 32 × 40, axes YX, uint8" in said


@pytest.mark.parametrize("content", ["nothing", "text", "other"])
def test_what_cannot_be_inspected_is_refused(redenoise, tmp_path, content):
    path = tmp_path / "m.safetensors"
    if content == "text":
        path.write_text("no model")
    elif content == "other":
        save_file({"weight": __import__("torch").zeros(3)}, path)
    status, _, errors = redenoise("inspect", path)
    assert status == 1
    assert len(errors.splitlines()) == 1
    assert errors.startswith("redenoise: ")
