"""What a newcomer reads: words that belong to the chosen layer, whole, and with the time left."""

from types import SimpleNamespace

import pytest
from qtpy.QtCore import Qt

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
    control._on_files(files)
    control._on_event(FileStarted(files[0], 1, 4))
    assert panel.status.text() == "Image 1 of 4: 0.tif"
    control._on_event(FileDone(files[0], {"seconds": 40.0, "cautions": [], "quality": None}))
    control._on_event(FileStarted(files[1], 2, 4))
    assert panel.status.text() == "Image 2 of 4: 1.tif, about 2 min left"
