"""The tab Batch lists images: large folders at once, and what changes until the start is said."""

import time
from pathlib import Path

import pytest

from napari_redenoise._napari.batch import _choices
from napari_redenoise._napari.batch._control import LISTING, NO_OUTPUT
from napari_redenoise._napari.batch._table import WAITING, BatchTable

from .test_batch_panel import Batch, write
from .test_batch_panel import batch as batch


@pytest.fixture
def folder(tmp_path):
    """Four small images."""
    for name in "abcd":
        write(tmp_path / "raw" / f"{name}.tif", ord(name))
    return tmp_path / "raw"


def test_a_table_of_many_images_is_filled_at_once(qtbot):
    table = BatchTable()
    qtbot.addWidget(table)
    names = {Path(f"/x/{number:04}.tif"): f"{number:04}.tif" for number in range(3000)}
    changes = []
    table.itemChanged.connect(changes.append)
    table.list_images(names)
    # The table follows every change of an item that it has: one for each is the least.
    assert len(changes) <= 2 * len(names)
    assert table.item(2999, 0).text() == "2999.tif"
    first = Path("/x/0000.tif")
    table.show_state(first, "done", quality={"mark": "good", "sentences": []})
    changes.clear()
    table.list_images(names)
    assert len(changes) == 1
    assert (table.state(first), table.quality(first)) == (WAITING, {})


def test_nothing_starts_before_the_images_are_listed(batch, folder, monkeypatch):
    monkeypatch.setattr(_choices, "find_images", lambda *_, **__: time.sleep(0.3) or {})
    batch.panel.choose_folder(folder)
    assert not batch.panel.button.isEnabled()
    assert batch.panel.button.toolTip() == LISTING
    monkeypatch.undo()
    batch.choose(folder)
    assert batch.panel.button.isEnabled()


def test_a_file_that_was_removed_is_named_at_the_start(batch, folder):
    batch.choose(folder)
    assert batch.panel.chosen.text() == "4 images of 'raw'."
    (folder / "b.tif").unlink()
    batch.run()
    assert batch.panel.chosen.text() == "3 images of 'raw'. Missing now: 'b.tif'."
    assert batch.panel.status.text().startswith("Denoised 3 of 3 images.")


def test_an_empty_folder_is_told_with_what_to_do(batch, tmp_path):
    batch.choose(tmp_path)
    said = batch.panel.chosen.text()
    assert said == (
        f"There are no images to denoise in {tmp_path}: choose another folder, or tick subfolders."
    )


def test_without_a_folder_for_results_nothing_starts(batch: Batch, folder):
    batch.choose(folder)
    batch.panel.output.setText(" ")
    assert not batch.panel.button.isEnabled()
    assert batch.panel.button.toolTip() == NO_OUTPUT
    batch.panel.output.setText("results")
    assert batch.panel.button.isEnabled()
