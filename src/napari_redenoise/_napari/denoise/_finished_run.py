"""Actions on a finished run: compare, check, save."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

from napari.layers import Image
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QApplication, QFileDialog, QWidget

from napari_redenoise._napari import _garbage_collection
from napari_redenoise._napari._add_layers import add_image
from napari_redenoise._napari._background_task import Task
from napari_redenoise._napari._layers import LayerData, image_file
from napari_redenoise._napari._maps import window_placement
from napari_redenoise._napari._view import current_window
from napari_redenoise._napari.denoise._extra_layers import OF_VIEW, ExtraKind, extra_layers
from napari_redenoise._napari.denoise._layer_run import PAINT_MS
from napari_redenoise._napari.denoise._run import Job
from napari_redenoise.assessment import QualityReport, as_denoiser, assess, pixel_size_of
from napari_redenoise.config import Config
from napari_redenoise.errors import RedenoiseError
from napari_redenoise.io import lost_metadata, write_tiff
from napari_redenoise.model import as_command, as_python
from napari_redenoise.noise import NoiseReport

logger = logging.getLogger(__name__)


class FinishedRun(QObject):
    """A finished run and its layers.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    layer, result : napari.layers.Image
        The noisy and the denoised layer.
    job : Job
    provenance : dict
        Metadata of the result.
    parent : QWidget
        Parent of dialogs.
    """

    said = Signal(str)
    """A message on the outcome of an action."""

    assessed = Signal()
    """The quality checks have ended; ``report`` is None if they failed."""

    def __init__(
        self,
        viewer: Any,
        layer: Image,
        result: Image,
        job: Job,
        provenance: dict[str, Any],
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self.layer, self.result, self.job, self.provenance = layer, result, job, provenance
        self._viewer, self._parent = viewer, parent
        self._stop = Event()
        self._pending: list[LayerData] = []
        self._added: list[str] = []
        self.is_busy = False
        self.is_checked = False
        self.report: QualityReport | None = None
        self._reports: tuple[NoiseReport, ...] | None = None

    @property
    def config(self) -> Config:
        """Configuration of the run, without automatic values."""
        return Config(**self.provenance["config"])

    def leave(self) -> None:
        """Stop background work: another run has ended, or the dock is closed."""
        self._stop.set()
        self._pending = []

    def drop(self) -> None:
        """Stop background work and release the model and the images."""
        self.leave()
        self.deleteLater()

    # -- comparing ----------------------------------------------------------------------------

    def blend(self, share: float) -> None:
        """Set the opacity of the denoised layer over the noisy one."""
        if self.result not in self._viewer.layers:
            self.said.emit("The denoised layer was deleted: denoise again.")
            return
        self.result.visible = True
        if self.layer in self._viewer.layers:
            self.layer.visible = True
        self.result.opacity = share

    def check_quality(self, reports: tuple[NoiseReport, ...] | None) -> None:
        """Run the quality checks in the background; `assessed` follows."""
        source, denoised = self.job.source, self.result.data
        self._reports = reports

        def run_checks() -> QualityReport:
            return assess(
                source.array,
                denoised,
                source.axes,
                reports=reports,
                denoiser=as_denoiser(self.job.denoiser, self._stop.is_set),
                pixel_size=pixel_size_of(image_file(source)),
                should_stop=self._stop.is_set,
            )

        def errored(error: Exception) -> None:
            logger.error("the quality checks failed", exc_info=error)
            self._set_report(None)

        task = object()
        _garbage_collection.begin(task)
        Task(
            run_checks,
            returned=self._set_report,
            errored=errored,
            finished=lambda: _garbage_collection.end(task),
        )

    def _set_report(self, report: QualityReport | None) -> None:
        if not self._stop.is_set():
            self.report, self.is_checked = report, True
            self.assessed.emit()

    def add(self, kind: ExtraKind) -> None:
        """Compute further layers of a kind in the background."""
        source = self.job.source
        window = placed = None
        if self.is_busy or self.result not in self._viewer.layers:
            busy = "Other layers are being computed: wait for them."
            deleted = "The denoised layer was deleted: denoise again."
            self.said.emit(busy if self.is_busy else deleted)
            return
        if kind in OF_VIEW:
            present = self.layer in self._viewer.layers
            window = current_window(self._viewer, self.layer, source) if present else None
            if window is None:
                self.said.emit("This map is of a plane: show the noisy layer in the 2-D view.")
                return
            placed = window_placement(self.layer, source, window)
        self.is_busy = True
        self.said.emit("Computing the layers.")
        denoiser, denoised, reports = self.job.denoiser, self.result.data, self._reports

        def compute() -> list[LayerData]:
            return extra_layers(
                kind, denoiser, source, denoised, placed or {}, window, self._stop.is_set, reports
            )

        Task(compute, returned=self._on_layers, errored=self._on_errored)

    def _on_layers(self, layers: list[LayerData]) -> None:
        self._pending = [] if self._stop.is_set() else layers
        self._added = []
        self._add_next()

    def _add_next(self) -> None:
        """Add one layer per event-loop iteration, so that the viewer stays responsive."""
        if not self._pending:
            self.is_busy = False
            if not self._stop.is_set():
                self.said.emit(f"Added {', '.join(self._added)}.")
            return
        data, keywords, _ = self._pending.pop(0)
        layer = add_image(self._viewer, data, keywords)
        self._added.append(f"'{layer.name}'")
        QTimer.singleShot(PAINT_MS, self._add_next)

    def _on_errored(self, error: Exception) -> None:
        if self._stop.is_set():
            logger.error("an action on a finished run failed", exc_info=error)
            return
        self.is_busy = False
        if isinstance(error, RedenoiseError):
            self.said.emit(f"{error}.")
            return
        logger.error("an action on a finished run failed", exc_info=error)
        self.said.emit(f"Unexpected error ({error}): see the log for details.")

    # -- saving -------------------------------------------------------------------------------

    def save_image(self, path: str | Path | None = None) -> None:
        """Write the denoised image in the background; without ``path`` a dialog asks for it."""
        name = path or self._ask("Save the denoised image", f"{self.result.name}.tif", "*.tif")
        if not name:
            return
        target = Path(name).with_suffix(".tif") if not Path(name).suffix else Path(name)
        source = self.job.source
        if source.file is not None and target.resolve() == Path(source.file).resolve():
            self.said.emit("That file is the noisy image itself: choose another name.")
            return
        data, like = self.result.data, image_file(source)
        # The dialog confirmed overwriting for the name as it was entered.
        overwrite = path is None and target == Path(name)

        def write() -> str:
            path = write_tiff(target, data, like, overwrite=overwrite)
            lost = lost_metadata(data, like)
            return f"Wrote {path}{', without ' + ', '.join(lost) if lost else ''}."

        self._in_background(write)

    def save_model(self, path: str | Path | None = None) -> None:
        """Write the trained model in the background; without ``path`` a dialog asks for it."""
        wanted = f"{self.job.source.name}.safetensors"
        name = path or self._ask("Save the model", wanted, "*.safetensors")
        if not name:
            return
        target = Path(name)
        target = target.with_suffix(".safetensors") if not target.suffix else target
        overwrite = path is None and target == Path(name)
        denoiser = self.job.denoiser
        self._in_background(lambda: f"Wrote {denoiser.save(target, overwrite=overwrite)}.")

    def _ask(self, title: str, name: str, kinds: str) -> str:
        """Ask for a file name; the dialog confirms overwriting."""
        folder = Path(self.job.source.file).parent if self.job.source.file else Path.home()
        chosen, _ = QFileDialog.getSaveFileName(self._parent, title, str(folder / name), kinds)
        return str(chosen)

    def _in_background(self, write: Callable[[], str]) -> None:
        def returned(sentence: str) -> None:
            if not self._stop.is_set():
                self.said.emit(sentence)

        Task(write, returned=returned, errored=self._on_errored)

    def copy_python(self) -> None:
        """Copy a script that repeats the run."""
        self._copy(as_python(**self._as_code()), "script")

    def copy_command(self) -> None:
        """Copy a command line that repeats the run."""
        self._copy(as_command(**self._as_code()), "command line")

    def _as_code(self) -> dict[str, Any]:
        job, steps = self.job, self.provenance["steps"]
        # Continued trainings, and those on several layers or a marked region, cannot be repeated
        # from one file: the code loads their model.
        trains = job.action == "train" and not job.others and job.region is None
        return {
            "config": Config(**self.provenance["asked"]),
            "source": job.source.file,
            "axes": job.source.axes,
            "target": None if job.target is None else job.target.file or "",
            "device": str(job.denoiser.device),
            "stop_after": steps if 0 < steps < self.config.training.total_steps else None,
            "model": None if trains else "model.safetensors",
            "as_source": job.as_source or job.source.colour,
        }

    def _copy(self, text: str, what: str) -> None:
        QApplication.clipboard().setText(text)
        beside = "" if self.job.source.file else "; save the layer under the name in it first"
        if self._as_code()["model"] is not None:
            beside += "; save the model as model.safetensors, with Save model"
        self.said.emit(f"Copied the {what}{beside}.")
