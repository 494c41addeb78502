"""Cautions in the summary: the layer is denoised already, or the view has no preview."""

import numpy as np
import pytest
import tifffile

from napari_redenoise._napari.denoise._cautions import DENOISED_ALREADY, NO_NOISE, NO_PREVIEW
from napari_redenoise._napari.denoise._survey import Survey
from napari_redenoise.model import measure_noise


def choose(dock, layer):
    dock.viewer.layers.selection.active = layer
    assert dock.widget.layer_choice.value == layer


def said(dock):
    return dock.widget.plan.text()


def test_a_denoised_layer_is_named_as_such(dock, noisy):
    cells = dock.viewer.add_image(noisy, name="cells")
    dock.run()
    choose(dock, dock.viewer.layers["cells denoised (AdaReNet, N2S)"])
    assert said(dock).startswith(DENOISED_ALREADY)
    # It can be denoised nevertheless.
    assert dock.widget.button.isEnabled()
    choose(dock, cells)
    assert DENOISED_ALREADY not in said(dock)


@pytest.mark.parametrize("ending", ["tif", "zarr"])
def test_a_saved_result_is_known_when_it_is_opened_again(dock, noisy, tmp_path, ending):
    dock.viewer.add_image(noisy, name="cells")
    dock.run()
    dock.widget.finished_run.save_image(tmp_path / f"out.{ending}")
    dock.wait(lambda: "Wrote" in dock.widget.status.text())
    (opened,) = dock.viewer.open(tmp_path / f"out.{ending}", plugin="napari")[:1]
    choose(dock, opened)
    assert said(dock).startswith(DENOISED_ALREADY)


def test_a_noisy_file_has_no_caution(dock, noisy, tmp_path):
    tifffile.imwrite(tmp_path / "cells.tif", noisy)
    (opened,) = dock.viewer.open(tmp_path / "cells.tif", plugin="napari")
    choose(dock, opened)
    assert said(dock).startswith("Image of")


def test_an_image_without_noise_may_be_denoised_already(dock, noisy, monkeypatch):
    ramp = np.add.outer(np.arange(96.0), np.arange(96.0)).astype(np.float32)
    monkeypatch.setattr(
        "napari_redenoise._napari.denoise._surveys.survey",
        lambda _, source, *__, **___: Survey(5.0, measure_noise(source.array, source.axes)),
    )
    choose(dock, dock.viewer.add_image(ramp, name="ramp"))
    dock.wait(lambda: not dock.widget.is_measuring)
    assert said(dock).startswith(NO_NOISE)
    choose(dock, dock.viewer.add_image(noisy, name="cells"))
    dock.wait(lambda: not dock.widget.is_measuring)
    assert NO_NOISE not in said(dock)


def test_the_3d_view_says_that_it_has_no_preview(dock, noisy):
    dock.use(**{"training.steps": 1_000_000})
    dock.viewer.add_image(np.stack([noisy] * 3), name="cells")
    assert NO_PREVIEW not in said(dock)
    dock.viewer.dims.ndisplay = 3
    assert said(dock).startswith(NO_PREVIEW)
    dock.press()
    dock.wait(lambda: NO_PREVIEW in dock.widget.status.text())
    # The summary stays during the run, and the view may change.
    assert NO_PREVIEW not in said(dock)
    assert "cells preview" not in dock.names
    # The preview appears with the 2-D view.
    dock.viewer.dims.ndisplay = 2
    dock.wait(lambda: "cells preview" in dock.names)
    dock.wait(lambda: NO_PREVIEW not in dock.widget.status.text())
    dock.viewer.dims.ndisplay = 3
    dock.press()
    dock.wait_for_end()
    assert "cells denoised (AdaReNet, N2S)" in dock.names
