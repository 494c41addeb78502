"""What a newcomer meets: whole words on the chosen layer, the time left, pixel sizes that stay."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt

from napari_redenoise._napari._layers import read_layer
from napari_redenoise._napari.denoise._result_files import file_like
from napari_redenoise.recipes import FileDone, FileStarted


@pytest.fixture
def done(dock, noisy):
    """A dock with the result of a layer, whose checks are complete."""
    dock.viewer.add_image(noisy, name="cells")
    dock.run()
    dock.wait(lambda: dock.widget.quality.report is not None)
    return dock


def test_an_outcome_is_hidden_for_another_layer(done, noisy):
    status = done.widget.status
    assert "Added 'cells denoised" in status.text()
    # The denoised layer belongs to it.
    done.viewer.layers.selection.active = done.viewer.layers[-1]
    assert "Added 'cells denoised" in status.text()
    # Below this refusal it would read as if the layer were denoised.
    done.viewer.add_image(noisy[:8, :8], name="tiny")
    assert "too small" in done.widget.plan.text()
    assert status.text() == ""


def test_checks_do_not_reveal_a_hidden_outcome(dock, noisy):
    dock.viewer.add_image(noisy, name="cells")
    dock.run()
    run = dock.widget.finished_run
    dock.viewer.add_image(noisy[:8, :8], name="tiny")
    dock.wait(lambda: run.is_checked)
    assert dock.widget.status.text() == ""


def test_a_listed_result_is_readable_in_a_narrow_dock(done):
    choice, title = done.widget.result.choice, done.widget.finished_run.title
    assert choice.itemData(0, Qt.ItemDataRole.ToolTipRole) == title
    assert choice.toolTip().startswith(f"{title}. ")


def test_a_batch_says_how_long_it_takes(dock, tmp_path):
    control, panel = dock.widget._batch, dock.widget.batch
    files = [SimpleNamespace(image=tmp_path / f"{n}.tif", output=tmp_path) for n in range(4)]
    panel.inputs = (tmp_path,)
    control._on_files(files)
    control._on_event(FileStarted(files[0], 1, 4))
    assert panel.status.text() == "Image 1 of 4: 0.tif"
    control._on_event(FileDone(files[0], {"seconds": 40.0, "cautions": [], "quality": None}))
    control._on_event(FileStarted(files[1], 2, 4))
    assert panel.status.text() == "Image 2 of 4: 1.tif, about 2 min left"


def opened(dock, path, array, **metadata):
    """A layer that napari's own reader made of an ImageJ TIFF with 4 pixels per micrometer."""
    scale = {"resolution": (4.0, 4.0), "metadata": {"unit": "um", **metadata}}
    tifffile.imwrite(path, array, imagej=True, **scale)
    (layer,) = dock.viewer.open(path, plugin="napari")
    assert (np.asarray(layer.scale) == 1).all()
    return layer


def test_a_saved_result_has_the_pixel_size_of_its_file(dock, noisy, tmp_path):
    opened(dock, tmp_path / "a.tif", noisy)
    dock.run()
    dock.widget.finished_run.save_image(tmp_path / "saved.tif")
    dock.wait(lambda: "Wrote" in dock.widget.status.text())
    with tifffile.TiffFile(tmp_path / "saved.tif") as file:
        numerator, denominator = file.pages[0].tags["XResolution"].value
        unit = file.imagej_metadata["unit"]
    assert numerator / denominator == pytest.approx(4)
    assert unit in ("um", "\\u00B5m", "µm")


def test_the_pixel_size_of_a_stack_is_that_of_its_file(dock, noisy, tmp_path):
    stack = np.stack([noisy, noisy])
    layer = opened(dock, tmp_path / "a.tif", stack, axes="ZYX", spacing=0.5)
    like = file_like(replace(read_layer(layer), axes="ZYX"))
    assert like.metadata["spacing"] == pytest.approx(0.5)
    # Of a view of the file nothing is known, and the size of a layer counts more.
    layer.data = layer.data[:, :40]
    assert file_like(replace(read_layer(layer), axes="ZYX")).resolution is None
    layer.data, layer.scale = stack, (1, 0.1, 0.1)
    assert file_like(replace(read_layer(layer), axes="ZYX")).resolution == pytest.approx((10, 10))


def test_a_deleted_file_does_not_keep_a_result_from_disk(dock, noisy, tmp_path):
    source = read_layer(opened(dock, tmp_path / "a.tif", noisy))
    (tmp_path / "a.tif").unlink()
    assert file_like(source).resolution is None
