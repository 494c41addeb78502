"""Code that is copied for a layer whose pixels are not those of its file asks to save the layer."""

import runpy
import shlex

import numpy as np
import pytest
import tifffile

from napari_redenoise._napari.denoise import _run_as_code

SAVE = "; save the layer under the name in it first."


@pytest.fixture
def opened(dock, noisy, tmp_path):
    """Opens an image or a stack, as a layer of its file."""

    def open_file(pixels=None):
        path = tmp_path / "im.tif"
        tifffile.imwrite(path, np.asarray(noisy if pixels is None else pixels, np.uint16))
        dock.use(**{"network.kind": "standard", "training.steps": 2})
        (layer,) = dock.viewer.open(path, plugin="napari")
        return layer

    return open_file


def replaced(layer):
    layer.data = (3 * layer.data + 100).astype(np.uint16)


def as_floats(layer):
    layer.data = layer.data.astype(np.float32)


def in_place(layer):
    layer.data[30:, 40:] //= 2
    layer.refresh()


def cropped(layer):
    layer.data = layer.data[:64, :64]


@pytest.mark.parametrize("change", [replaced, as_floats, in_place, cropped])
def test_changed_pixels_are_to_be_saved_first(dock, opened, tmp_path, monkeypatch, change):
    layer = opened()
    change(layer)
    dock.run()
    text = dock.copied("Copy as Python")
    assert dock.widget.status.text() == f"Copied the script{SAVE}"
    assert "im.tif" not in text
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("image.tif", layer.data)
    exec(compile(text, "script", "exec"), {})
    denoised = dock.widget.finished_run.result.data
    np.testing.assert_allclose(tifffile.imread("denoised.tif"), denoised, rtol=1e-3, atol=1)
    command = shlex.split(dock.copied("Copy as command"), comments=True)
    assert command[:3] == ["redenoise", "denoise", "image.tif"]
    assert dock.widget.status.text() == f"Copied the command line{SAVE}"


def test_unchanged_pixels_are_read_from_the_file(dock, opened, tmp_path, monkeypatch):
    opened()
    dock.run()
    (tmp_path / "again.py").write_text(dock.copied("Copy as Python"))
    assert dock.widget.status.text() == "Copied the script."
    monkeypatch.chdir(tmp_path)
    runpy.run_path("again.py", run_name="__main__")
    denoised = dock.widget.finished_run.result.data
    np.testing.assert_allclose(tifffile.imread("denoised.tif"), denoised, rtol=1e-3, atol=1)


@pytest.mark.parametrize("most", [2**26, 1])
def test_changed_planes_of_a_stack_are_found(dock, opened, monkeypatch, most):
    # Of large stacks the first plane, the last one and one between them are compared.
    monkeypatch.setattr(_run_as_code, "MOST_COMPARED", most)
    layer = opened(np.random.default_rng(0).poisson(50, (5, 40, 48)))
    layer.data[2] //= 2
    dock.run()
    assert "im.tif" not in dock.copied("Copy as command")
    layer.data[2] = tifffile.imread(layer.source.path)[2]
    assert "im.tif" in dock.copied("Copy as command")


def test_a_second_shot_without_a_file_is_to_be_saved_first(dock, opened):
    layer = opened()
    dock.viewer.add_image(layer.data[::-1].copy(), name="second")
    dock.widget.layer_choice.value = layer
    objective = dock.widget.options.objective
    objective.choose("noise2noise")
    objective.second.setCurrentIndex(1)
    dock.run()
    assert "im.tif" in dock.copied("Copy as Python")
    assert dock.widget.status.text() == f"Copied the script{SAVE}"
