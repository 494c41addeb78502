"""Messages of the dock, word by word."""

import math
from types import SimpleNamespace

import pytest

from napari_redenoise._napari._words import counted
from napari_redenoise._napari.denoise.panels._progress import ProgressPanel
from napari_redenoise._napari.denoise.panels._quality import summary
from napari_redenoise.model import Snapshot


@pytest.fixture
def panel(qtbot):
    shown = ProgressPanel()
    qtbot.addWidget(shown)
    losses = {0: math.nan, 50: 0.8, 100: 0.7}
    shown.offer([Snapshot(n, loss, {}, {}) for n, loss in losses.items()], can_train=True)
    return shown


@pytest.mark.parametrize(
    ("position", "words"),
    [
        (0, "Step 0 of 100 (before training)."),
        (1, "Step 50 of 100; loss 0.800."),
        (2, "Step 100 of 100 (last, in use); loss 0.700."),
    ],
)
def test_a_snapshot_has_a_loss_after_its_first_step(panel, position, words) -> None:
    panel.slider.setValue(position)
    assert panel.where.text() == words


def test_one_of_a_kind_is_singular() -> None:
    assert counted(1, "training step") == "1 training step"
    assert counted(0, "training step") == "0 training steps"


def test_a_run_of_one_step_is_reported_in_the_singular(dock, noisy) -> None:
    dock.use(**{"training.steps": 1})
    dock.viewer.add_image(noisy, name="cells")
    dock.run()
    assert "Done: 1 training step in" in dock.widget.status.text()


@pytest.mark.parametrize(
    ("marks", "words"),
    [
        ("good good good good good", "The checks found nothing wrong: see the tab Quality."),
        (
            "good unknown good unknown good",
            "3 of 5 checks could be made; they found nothing wrong: see the tab Quality.",
        ),
        (
            "unknown good unknown",
            "1 of 3 checks could be made; it found nothing wrong: see the tab Quality.",
        ),
        ("unknown unknown", "0 of 2 checks could be made: see the tab Quality."),
        ("good bad unknown caution", "Look at the tab Quality: check 1, check 3."),
    ],
)
def test_the_summary_counts_the_checks_that_were_made(marks, words) -> None:
    checks = [SimpleNamespace(name=f"Check {n}", mark=m) for n, m in enumerate(marks.split())]
    assert summary(SimpleNamespace(checks=checks)) == words
