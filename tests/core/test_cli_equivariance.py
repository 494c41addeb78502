import numpy as np
import pytest
import tifffile

from napari_redenoise import Redenoiser
from napari_redenoise.assessment._equivariance import equivariance, percent


@pytest.fixture
def model(tiny, noisy):
    return Redenoiser(tiny, device="cpu").fit(noisy)


@pytest.fixture
def files(tmp_path, model, noisy):
    image, weights = tmp_path / "cells.tif", tmp_path / "m.safetensors"
    metadata = {"axes": "TYX", "unit": "um"}
    stack = np.stack([noisy[::-1], noisy])
    tifffile.imwrite(image, stack, imagej=True, resolution=(4.0, 4.0), metadata=metadata)
    model.save(weights)
    return image, weights


def test_errors_are_printed_and_maps_are_written(redenoise, files, model, noisy, tmp_path):
    out = tmp_path / "maps"
    status, said, _ = redenoise("equivariance", *files, "--plane", 1, "--out", out)
    assert status == 0
    expected = equivariance(model, noisy)
    assert "disagreement under rotation by 90°, 70 × 54 pixels" in said
    for name, label in expected.labels.items():
        (line,) = (line for line in said.splitlines() if line.strip().startswith(label))
        assert line.endswith(percent(expected.errors[name]))
        path = out / f"cells-rotated-90-{name}.tif"
        assert f"wrote {path}" in said
        np.testing.assert_allclose(tifffile.imread(path), expected.differences[name], atol=1e-3)
    with tifffile.TiffFile(path) as file:
        assert file.imagej_metadata["unit"] == "um"
        assert file.pages[0].tags["XResolution"].value == (4, 1)


def test_other_angles_include_the_interpolation_error(redenoise, files):
    status, said, _ = redenoise("equivariance", *files, "--angle", 45)
    assert status == 0
    assert "rotation by 45°" in said
    assert "interpolation alone" in said


def test_maps_are_replaced_with_overwrite_only(redenoise, files, tmp_path):
    taken = tmp_path / "cells-rotated-90-denoised.tif"
    taken.write_bytes(b"precious")
    status, said, errors = redenoise("equivariance", *files, "--out", tmp_path)
    assert status == 1
    assert "exists already" in errors
    assert said == ""
    assert taken.read_bytes() == b"precious"
    assert redenoise("equivariance", *files, "--out", tmp_path, "--overwrite")[0] == 0
    assert tifffile.imread(taken).shape == (70, 54)


def test_wrong_arguments_are_refused_in_one_sentence(redenoise, files, tmp_path):
    image, weights = files
    for arguments, words in (
        ((tmp_path / "none.tif", weights), "no image file"),
        ((image, tmp_path / "none.safetensors"), "none.safetensors"),
        ((image, weights, "--plane", 2), "there is no plane 2"),
        ((image, weights, "--axes", "CYX"), "trained on 1 channel"),
        ((image, weights, "--angle", "nan"), "angle in degrees"),
    ):
        status, said, errors = redenoise("equivariance", *arguments)
        assert status == 1
        assert words in errors
        assert "Traceback" not in errors + said
