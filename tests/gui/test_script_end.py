"""A script ends while the plugin works in the background."""

import subprocess
import sys
from pathlib import Path

import tifffile

BEGIN = """
import sys, time
import napari, numpy as np, torch
from qtpy.QtWidgets import QApplication
from napari_redenoise._napari import DenoiseWidget
from napari_redenoise._napari.denoise import _finished_run, _survey, _surveys
from napari_redenoise.config import Config

_surveys.survey = lambda *_, **__: _survey.Survey(5.0, None)
torch.set_num_threads(1)
small = {
    "network.kind": "standard",
    "network.levels": 2,
    "network.encoder_width": 8,
    "network.decoder_width": 16,
    "objective.kind": "noise2self",
    "training.patch_size": 32,
    "training.batch_size": 2,
}

def begin(layer_source, **changes):
    viewer = napari.Viewer(show=False)
    if isinstance(layer_source, str):
        viewer.open(layer_source, plugin="napari")
    else:
        viewer.add_image(layer_source, name="cells")
    widget = DenoiseWidget(viewer, Config().replace({**small, **changes}))
    viewer.window.add_dock_widget(widget)
    widget.start()
    return viewer, widget

def wait(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        QApplication.processEvents()
        time.sleep(0.01)

noisy = np.random.default_rng(0).poisson(50, (48, 48)).astype(np.uint16)
"""
CHECKS = """
def checks(*_, should_stop, **__):
    def work(seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            torch.nn.functional.conv2d(torch.zeros(1, 1, 256, 256), torch.zeros(8, 1, 9, 9))

    while not should_stop():
        work(0.1)
    # A part of the checks that does not ask.
    work(1.5)
    print("the checks ended", flush=True)

_finished_run.assess = checks
viewer, widget = begin(noisy, **{"training.steps": 2})
wait(lambda: widget.finished_run is not None and widget.finished_run.is_checking)
"""
TRAINING = """
viewer, widget = begin(sys.argv[1], **{"training.steps": 1_000_000})
wait(lambda: widget.run.step is not None and widget.run.step.step >= 2)
"""


def run(code, *arguments):
    """Run a script to its end."""
    return subprocess.run(
        [sys.executable, "-c", BEGIN + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_quality_checks_end_with_the_script():
    ended = run(CHECKS + "sys.exit(3)")
    assert ended.returncode == 3, ended.stderr
    assert ended.stdout == "the checks ended\n"
    assert ended.stderr == ""


def test_a_training_ends_with_the_script_and_is_kept(tmp_path, noisy):
    image = tmp_path / "cells.tif"
    tifffile.imwrite(image, noisy)
    ended = run(TRAINING, image)
    assert ended.returncode == 0, ended.stderr
    assert Path(f"{image.with_suffix('')}.redenoise.safetensors").is_file()


def test_a_file_is_written_to_its_end(tmp_path):
    code = """
import threading
begun = threading.Event()

def write(denoiser, wanted):
    begun.set()
    # Longer than the time that other work has.
    time.sleep(_background_task.LONGEST_END + 0.5)
    wanted.write_text("complete")
    return "Wrote it."

from napari_redenoise._napari import _background_task
_background_task.LONGEST_END = 0.5
_finished_run.write_package = write
_finished_run.assess = lambda *_, **__: None
viewer, widget = begin(noisy, **{"training.steps": 2})
wait(lambda: widget.finished_run is not None and widget.finished_run.is_checked)
widget.finished_run.export_model(sys.argv[1])
begun.wait(60)
"""
    package = tmp_path / "cells.zip"
    ended = run(code, package)
    assert ended.returncode == 0, ended.stderr
    assert package.read_text() == "complete"


def test_exit_ends_napari_and_keeps_the_training(tmp_path, noisy):
    image = tmp_path / "cells.tif"
    tifffile.imwrite(image, noisy)
    code = """
from napari._app_model import get_app_model
from napari.settings import get_settings

get_settings().application.confirm_close_window = False
window = viewer.window._qt_window
QApplication.activeWindow = staticmethod(lambda: window)
get_app_model().commands.execute_command("napari.window.file.quit_dialog").result()
widget._question.choices["keep"].click()
assert not napari.Viewer._instances, "the viewer is open"
print("closed", flush=True)
"""
    ended = run(TRAINING + code, image)
    assert ended.stdout == "closed\n", ended.stderr
    assert ended.returncode == 0
    assert Path(f"{image.with_suffix('')}.redenoise.safetensors").is_file()


def test_a_script_ends_after_a_dock_was_opened_again():
    code = """
viewer, widget = begin(noisy, **{"training.steps": 2})
viewer.window._qt_window.show()
wait(lambda: widget.finished_run is not None and widget.finished_run.is_checked)
dock = widget.parentWidget()
dock.destroyOnClose()
wait(lambda: widget.parentWidget() is None)
dock, again = viewer.window.add_plugin_dock_widget("napari-redenoise", "Denoise")
wait(lambda: again.finished_run is not None)
"""
    # What Qt finds when the interpreter ends is in no fixed order.
    for _ in range(3):
        ended = run(code)
        assert ended.returncode == 0, ended.stderr
