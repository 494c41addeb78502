"""Layers and files have the position and the name of the noisy layer, as they are now."""

import numpy as np
import pytest
import tifffile

DENOISED = "cells denoised (AdaReNet, N2S)"
MASK = "cells fusion mask"
SCALE, UNITS = (0.1, 0.2), ("um", "um")


@pytest.fixture
def running(dock, noisy):
    """A dock that trains on an image, whose preview is shown."""
    dock.use(**{"training.steps": 2000})
    dock.viewer.add_image(noisy, name="cells")
    dock.press()
    dock.wait_for_step(1)
    dock.wait(lambda: dock.widget.run.result is not None)
    return dock


@pytest.fixture
def done(dock, noisy):
    """A dock with a checked result of an image."""
    dock.viewer.add_image(noisy, name="cells")
    dock.run()
    dock.wait(lambda: dock.widget.finished_run.is_checked)
    return dock


def stop(dock):
    dock.press()
    dock.wait_for_end()


def add(dock, kind):
    """Press the button of further layers; return them."""
    before = len(dock.viewer.layers)
    dock.widget.result.extras[kind].click()
    dock.wait(lambda: not dock.widget.finished_run.is_busy)
    return list(dock.viewer.layers)[before:]


def units(layer):
    return [str(unit) for unit in layer.units]


def test_a_source_moved_during_a_run_takes_its_result_along(running):
    source = running.viewer.layers["cells"]
    running.widget.pause_button.click()
    source.scale, source.translate, source.units = SCALE, (5, 6), UNITS
    together = []
    running.viewer.layers.events.inserted.connect(
        lambda _: together.append({tuple(units(layer)) for layer in running.viewer.layers})
    )
    stop(running)
    # napari warns of layers with other units.
    assert together == [{("micrometer", "micrometer")}]
    for name in (DENOISED, MASK):
        layer = running.viewer.layers[name]
        np.testing.assert_allclose(layer.scale, SCALE)
        np.testing.assert_allclose(layer.translate, (5, 6))
        assert units(layer) == ["micrometer"] * 2


def test_the_preview_follows_its_source(running):
    source, preview = running.viewer.layers["cells"], running.widget.run.result
    preview.opacity = 0.5
    source.affine = np.array([[0, 2, 1], [-2, 0, 3], [0, 0, 1]], float)
    running.wait(lambda: preview.data_to_world((1, 2))[0] == 5)
    # By hand: (0 * 1 + 2 * 2 + 1, -2 * 1 + 0 * 2 + 3).
    np.testing.assert_allclose(preview.data_to_world((1, 2)), (5, 1))
    assert preview.opacity == 0.5


def test_a_preview_that_was_moved_aside_stays_there(running):
    running.widget.run.result.translate = (0, 100)
    stop(running)
    np.testing.assert_allclose(running.viewer.layers[DENOISED].translate, (0, 100))
    np.testing.assert_allclose(running.viewer.layers[MASK].translate, (0, 0))


def test_a_source_renamed_during_a_run_names_its_result(running):
    running.viewer.layers["cells"].name = "renamed"
    stop(running)
    assert running.names == ["renamed", "renamed fusion mask", "renamed denoised (AdaReNet, N2S)"]
    assert "Added 'renamed denoised" in running.widget.status.text()
    made = running.viewer.layers[-1].metadata["napari-redenoise"]
    assert made["source"] == "renamed"


def test_further_layers_lie_over_a_source_that_was_moved(done, noisy):
    for layer in done.viewer.layers:
        layer.scale, layer.units = SCALE, UNITS
    for kind, count in (("residual", 1), ("branches", 2), ("rotation", 1)):
        added = add(done, kind)
        assert len(added) == count
        for layer in added:
            np.testing.assert_allclose(layer.scale, SCALE)
            assert units(layer) == ["micrometer"] * 2


def test_files_have_the_pixel_size_of_now(done, tmp_path):
    for layer in done.viewer.layers:
        layer.scale, layer.units = SCALE, UNITS
    done.widget.finished_run.save_image(tmp_path / "a.tif")
    done.wait(lambda: "Wrote" in done.widget.status.text())
    done.widget.finished_run.save_all(tmp_path)
    done.wait(lambda: not done.widget.finished_run.is_busy)
    for path in (tmp_path / "a.tif", tmp_path / "cells denoised" / "cells-residual.tif"):
        with tifffile.TiffFile(path) as written:
            tags = written.pages[0].tags
            across, down = (np.divide(*tags[f"{axis}Resolution"].value) for axis in "XY")
            assert (across, down) == pytest.approx((5, 10))
            assert written.imagej_metadata["unit"] == "\\u00B5m"


def test_a_deleted_source_leaves_the_position_to_its_result(done, tmp_path):
    result = done.viewer.layers[DENOISED]
    done.viewer.layers.remove("cells")
    result.scale = SCALE
    done.viewer.layers.selection.active = result
    (residual,) = add(done, "residual")
    np.testing.assert_allclose(residual.scale, SCALE)
    assert residual.name == "cells residual"


def test_maps_and_snapshots_of_a_moved_stack_lie_over_it(dock, noisy):
    source = dock.viewer.add_image(np.stack([noisy, noisy + 1, noisy + 2]), name="cells")
    dock.run()
    dock.wait(lambda: dock.widget.finished_run.is_checked)
    for layer in dock.viewer.layers:
        layer.scale = (5, 0.2, 0.3)
    dock.viewer.dims.set_current_step(0, 2)
    (disagreement,) = add(dock, "rotation")
    dock.widget.training.slider.setValue(0)
    dock.wait(lambda: any("at step" in name for name in dock.names))
    snapshot = next(layer for layer in dock.viewer.layers if "at step" in layer.name)
    for layer in (disagreement, snapshot):
        for corner in ((0, 0, 0), (0, 71, 89)):
            here = source.data_to_world(np.add(corner, (2, 0, 0)))
            np.testing.assert_allclose(layer.data_to_world(corner), here)
