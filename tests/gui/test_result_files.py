"""The files that the dock writes of a result."""

from pathlib import Path
from threading import Event
from zipfile import ZipFile, is_zipfile

import numpy as np
import pytest
import zarr
from qtpy.QtWidgets import QFileDialog

from napari_redenoise._napari._words import file_name
from napari_redenoise._napari.denoise import _package, _result_files
from napari_redenoise._napari.denoise._result_files import (
    KINDS,
    TIFF,
    ZARR,
    kinds,
    with_ending,
)
from napari_redenoise.errors import OutputError
from napari_redenoise.io import _result_arrays, is_own_result, read_image
from napari_redenoise.model import Redenoiser, export_denoiser

DENOISED = "cells denoised (AdaReNet, N2S)"
DIALOG = "napari_redenoise._napari.denoise._finished_run.QFileDialog"
PACKAGE_DIALOG = "napari_redenoise._napari.denoise._package.QFileDialog"
NARROW_PAGE = 306
"""Pixels; what a dock of 330 leaves for the page of a tab."""


@pytest.fixture
def done(dock, noisy):
    """A dock with a checked result of a z-stack, whose pixel size has no unit."""
    stack = np.stack([noisy, noisy[::-1]])
    dock.viewer.add_image(stack, name="cells", scale=(0.3, 0.1, 0.1), axis_labels=("z", "y", "x"))
    dock.run()
    dock.wait(lambda: dock.widget.finished_run.is_checked)
    return dock


def save_all(dock, folder, monkeypatch):
    """Press the button and choose a folder; return the new one."""
    monkeypatch.setattr(f"{DIALOG}.getExistingDirectory", lambda *_: str(folder))
    before = set(folder.iterdir())
    dock.widget.result.save_all_button.click()
    dock.wait(lambda: not dock.widget.finished_run.is_busy)
    (made,) = set(folder.iterdir()) - before
    return made


def choose(monkeypatch, path, kind):
    """Answer the dialog for a file name."""
    monkeypatch.setattr(f"{DIALOG}.getSaveFileName", lambda *_: (str(path), kind))


def test_one_press_saves_all_of_a_result(done, tmp_path, monkeypatch):
    made = save_all(done, tmp_path, monkeypatch)
    assert made.name == "cells denoised"
    assert {path.name for path in made.iterdir()} == {
        "cells-denoised.tif",
        "cells-equivariant-branch.tif",
        "cells-fusion-mask.tif",
        "cells-model.safetensors",
        "cells-report.txt",
        "cells-residual.tif",
        "cells-standard-branch.tif",
    }
    layers = done.viewer.layers
    noisy, denoised = layers["cells"].data, layers[DENOISED].data
    model = Redenoiser.load(made / "cells-model.safetensors")
    expected = model.predict(noisy, "ZYX", branches=True)
    for name, pixels in (
        ("denoised", denoised),
        ("fusion-mask", layers["cells fusion mask"].data),
        ("residual", noisy - denoised),
        ("standard-branch", expected.standard),
        ("equivariant-branch", expected.equivariant),
    ):
        image = read_image(made / f"cells-{name}.tif")
        np.testing.assert_allclose(image.array, pixels, rtol=1e-3, atol=0.5)
        assert image.axes == "ZYX"
        assert image.metadata["spacing"] == pytest.approx(0.3)
        assert image.resolution == pytest.approx((10, 10))
    said = (made / "cells-report.txt").read_text(encoding="utf-8")
    for check in done.widget.quality.report.checks:
        assert f"{check.mark}: {check.name}: {check.figure}" in said
    assert '"kind": "noise2self"' in said
    assert str(made) in done.widget.status.text()
    assert done.widget.status.text().startswith("Wrote 7 files to ")


def test_a_second_press_replaces_nothing(done, tmp_path, monkeypatch):
    first = save_all(done, tmp_path, monkeypatch)
    before = {path: path.read_bytes() for path in first.iterdir()}
    second = save_all(done, tmp_path, monkeypatch)
    assert second.name == "cells denoised-1"
    assert {path: path.read_bytes() for path in first.iterdir()} == before
    assert len(list(second.iterdir())) == len(before)
    assert str(second) in done.widget.status.text()


def test_a_file_that_fails_does_not_stop_the_others(done, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise OutputError("the disk is full: free some space")

    monkeypatch.setattr(_result_files, "residual_image", fails)
    made = save_all(done, tmp_path, monkeypatch)
    assert not (made / "cells-residual.tif").exists()
    assert (made / "cells-standard-branch.tif").is_file()
    assert "cells-residual.tif is not written: the disk is full" in done.widget.status.text()


def test_all_is_saved_after_the_quality_checks_only(done):
    button, run = done.widget.result.save_all_button, done.widget.finished_run
    assert button.isEnabled()
    run.is_checked = False
    done.widget._result_tabs._refresh()
    assert not button.isEnabled()
    assert "quality checks" in button.toolTip()


def test_no_folder_is_made_where_none_is_chosen(done, tmp_path, monkeypatch):
    monkeypatch.setattr(f"{DIALOG}.getExistingDirectory", lambda *_: "")
    done.widget.result.save_all_button.click()
    assert not done.widget.finished_run.is_busy
    assert not list(tmp_path.iterdir())


def test_a_result_is_saved_as_ome_zarr(done, tmp_path, monkeypatch):
    choose(monkeypatch, tmp_path / "result.tif", KINDS[ZARR])
    done.widget.result.buttons["Save image..."].click()
    done.wait(lambda: "Wrote" in done.widget.status.text())
    path = tmp_path / "result.zarr"
    image = read_image(path)
    np.testing.assert_array_equal(np.asarray(image.array), done.viewer.layers[DENOISED].data)
    ome = zarr.open(path, mode="r").attrs["ome"]["multiscales"][0]
    # The layer has a scale and no units.
    assert ome["axes"][0] == {"name": "z", "type": "space"}
    assert ome["datasets"][0]["coordinateTransformations"][0]["scale"] == [0.3, 0.1, 0.1]
    assert zarr.open(path, mode="r").attrs["redenoise"]["steps"] == 4
    assert is_own_result(path)


def test_an_existing_ome_zarr_is_not_replaced(done, tmp_path, monkeypatch):
    there = tmp_path / "result.zarr"
    zarr.create_group(there, attributes={"precious": True})
    choose(monkeypatch, there, KINDS[ZARR])
    done.widget.result.buttons["Save image..."].click()
    done.wait(lambda: "exists" in done.widget.status.text())
    assert zarr.open(there, mode="r").attrs["precious"]


def test_results_larger_than_memory_are_saved_as_ome_zarr(dock, noisy, tmp_path, monkeypatch):
    monkeypatch.setattr(_result_arrays, "MOST_BYTES_IN_MEMORY", 1000)
    dock.viewer.add_image(noisy, name="cells")
    dock.run()
    dock.wait(lambda: dock.widget.finished_run.is_checked)
    offered = []

    def answer(parent, title, wanted, filters):
        offered.extend([wanted, filters])
        return str(tmp_path / Path(wanted).name), KINDS[ZARR]

    monkeypatch.setattr(f"{DIALOG}.getSaveFileName", answer)
    dock.widget.result.buttons["Save image..."].click()
    dock.wait(lambda: "Wrote" in dock.widget.status.text())
    assert offered[0].endswith(f"{DENOISED}.zarr")
    assert offered[1].startswith("OME-Zarr")
    made = save_all(dock, tmp_path, monkeypatch)
    assert (made / "cells-denoised.zarr").is_dir()
    assert (made / "cells-fusion-mask.zarr").is_dir()


def test_a_layer_name_becomes_a_file_name():
    assert file_name("day 1/cells: a?") == "day 1_cells_ a_"
    assert file_name("..") == "image"
    assert file_name("a" * 300) == "a" * 180
    assert file_name("\u00e9" * 118) == "\u00e9" * 90
    assert file_name("\udcff" * 200) == "\udcff" * 180


def test_long_names_are_cut_and_all_files_are_written(dock, noisy, tmp_path, monkeypatch):
    dock.viewer.add_image(noisy, name="\u00e9" * 118)
    dock.run()
    dock.wait(lambda: dock.widget.finished_run.is_checked)
    stem = "\u00e9" * 90
    monkeypatch.setattr(f"{DIALOG}.getSaveFileName", lambda *asked: (asked[2], asked[3]))
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
    for button, ending in (("Save image...", "tif"), ("Save model...", "safetensors")):
        dock.widget.result.buttons[button].click()
        dock.wait((tmp_path / f"{stem}.{ending}").exists)
    made = save_all(dock, tmp_path, monkeypatch)
    assert "not written" not in dock.widget.status.text()
    assert len(list(made.iterdir())) == 7


def test_a_typed_name_that_is_too_long_is_refused(done, tmp_path, monkeypatch):
    choose(monkeypatch, tmp_path / f"{'a' * 300}.tif", KINDS[TIFF])
    done.widget.result.buttons["Save image..."].click()
    done.wait(lambda: "cannot be written" in done.widget.status.text())


@pytest.mark.parametrize(
    ("typed", "kind", "name"),
    [
        ("a", "", "a.tif"),
        ("a", KINDS[ZARR], "a.zarr"),
        ("a v1.2", KINDS[TIFF], "a v1.2.tif"),
        # The user chose another filter, and left the offered ending.
        ("a.tif", KINDS[ZARR], "a.zarr"),
        # The user typed an ending.
        ("a.zarr", KINDS[TIFF], "a.zarr"),
        ("a.TIFF", KINDS[ZARR], "a.TIFF"),
    ],
)
def test_the_ending_is_typed_or_that_of_the_filter(typed, kind, name):
    assert with_ending(typed, kind, TIFF) == Path(name)


def test_the_first_filter_is_that_of_the_offered_name():
    assert kinds(TIFF) == "TIFF (*.tif *.tiff);;OME-Zarr (*.zarr)"
    assert kinds(ZARR) == "OME-Zarr (*.zarr);;TIFF (*.tif *.tiff)"


# -- the BioImage Model Zoo -------------------------------------------------------------------


def export(dock):
    """Press the button, and wait for the outcome."""
    dock.widget.result.export_button.click()
    dock.wait(lambda: not dock.widget.finished_run.is_busy)
    return dock.widget.status.text()


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Names that the dialog offers; it is answered with their last part, in another folder."""
    offered = []

    def answer(parent, title, wanted, kind, options):
        offered.append((wanted, kind, options))
        return str(tmp_path / Path(wanted).name), kind

    monkeypatch.setattr(f"{PACKAGE_DIALOG}.getSaveFileName", answer)
    return offered


def test_the_network_is_exported_to_the_model_zoo(done, tmp_path, asked):
    said = export(done)
    package = tmp_path / "cells.bioimageio.zip"
    # The result is of a stack, whose neighbouring planes the package cannot use.
    assert said.startswith(f"Wrote {package}. Note: this model uses the neighbouring planes")
    assert Path(asked[0][0]).name == package.name
    # Its network is tested in test_bioimageio.py.
    expected = tmp_path / "expected.zip"
    export_denoiser(done.widget.finished_run.job.denoiser, expected)
    assert ZipFile(package).read("output.npy") == ZipFile(expected).read("output.npy")


def test_a_second_package_gets_another_name(done, tmp_path, asked):
    first = tmp_path / "cells.bioimageio.zip"
    first.write_text("mine")
    said = export(done)
    assert first.read_text() == "mine"
    assert is_zipfile(tmp_path / "cells.bioimageio-1.zip")
    assert "cells.bioimageio-1.zip" in said
    assert "'cells.bioimageio.zip' exists and is kept." in said
    # The dialog must not promise to replace it.
    assert asked[0][2] & QFileDialog.Option.DontConfirmOverwrite


def test_the_viewer_is_alive_while_a_package_is_written(done, asked, monkeypatch):
    begun, go_on = Event(), Event()

    def slow(*_):
        begun.set()
        go_on.wait(10)

    monkeypatch.setattr(_package, "export_denoiser", slow)
    monkeypatch.setattr(_package, "write_under_free_name", lambda path, write: write(path) or path)
    done.widget.result.export_button.click()
    done.wait(begun.is_set)
    result = done.widget.result
    assert "package" in done.widget.status.text()
    assert not result.export_button.isEnabled()
    assert result.buttons["Copy as Python"].isEnabled()
    go_on.set()
    done.wait(lambda: "Wrote" in done.widget.status.text())
    assert result.export_button.isEnabled()


def test_a_network_that_cannot_be_exported_is_said(done, tmp_path, asked, monkeypatch):
    def fails(*_):
        raise RuntimeError("no such operator")

    monkeypatch.setattr("napari_redenoise.io._bioimageio_file.torchscript", fails)
    said = export(done)
    assert said == (
        "The network cannot be exported (no such operator): use Save model for its weights."
    )
    assert not list(tmp_path.iterdir())


def test_no_package_is_written_where_no_name_is_chosen(done, monkeypatch):
    monkeypatch.setattr(f"{PACKAGE_DIALOG}.getSaveFileName", lambda *_, **__: ("", ""))
    before = done.widget.status.text()
    assert export(done) == before


def test_no_button_of_the_result_is_cut_off(done):
    # Buttons ask for the width of their text.
    assert done.widget.result.minimumSizeHint().width() <= NARROW_PAGE


def test_a_failed_save_is_said_after_the_layer_is_deleted(done, tmp_path, monkeypatch):
    go_on = Event()

    def failing(*_, **__):
        go_on.wait(30)
        raise OutputError("the disk is full: free some space")

    monkeypatch.setattr("napari_redenoise._napari.denoise._finished_run.write_image", failing)
    done.widget.finished_run.save_image(tmp_path / "a.tif")
    done.viewer.layers.remove(DENOISED)
    go_on.set()
    done.wait(lambda: "The disk is full" in done.widget.status.text())


def test_save_all_ends_after_the_layer_is_deleted(done, tmp_path, monkeypatch):
    monkeypatch.setattr(f"{DIALOG}.getExistingDirectory", lambda *_: str(tmp_path))
    done.widget.result.save_all_button.click()
    done.viewer.layers.remove(DENOISED)
    done.wait(lambda: done.widget.status.text().startswith("Wrote 7 files to"))
    assert (tmp_path / "cells denoised" / "cells-equivariant-branch.tif").is_file()
