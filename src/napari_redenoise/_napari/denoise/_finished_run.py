"""A finished run: its layers, and how it is compared, checked and saved."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from napari.layers import Image
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QApplication, QFileDialog, QWidget

from napari_redenoise._napari import _garbage_collection
from napari_redenoise._napari._add_layers import add_image
from napari_redenoise._napari._background_task import Task
from napari_redenoise._napari._layers import LayerData, LayerImage, method_of, placed_now
from napari_redenoise._napari._maps import window_placement
from napari_redenoise._napari._view import current_window
from napari_redenoise._napari._words import file_name, listed, refusal
from napari_redenoise._napari.denoise._extra_layers import (
    OF_VIEW,
    Extra,
    ExtraKind,
    extra_layers,
)
from napari_redenoise._napari.denoise._layer_run import PAINT_MS, LayerRun
from napari_redenoise._napari.denoise._package import ask_package, write_package
from napari_redenoise._napari.denoise._result_files import (
    RunFiles,
    ending_of,
    file_like,
    kinds,
    with_ending,
    write_image,
)
from napari_redenoise._napari.denoise._run import Job
from napari_redenoise._napari.denoise._run_as_code import (
    find_files,
    is_repeatable,
    run_as_code,
)
from napari_redenoise.assessment import QualityReport, as_denoiser, assess, pixel_size_of
from napari_redenoise.config import Config
from napari_redenoise.errors import RedenoiseError
from napari_redenoise.model import RunAsCode
from napari_redenoise.noise import NoiseReport

logger = logging.getLogger(__name__)


class FinishedRun(QObject):
    """A finished run and its layers.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    outcome : LayerRun or FinishedRun
        A run that has ended with a result, or a finished run that was left.
    parent : QWidget
        Window of the viewer, which keeps the run where its dock is closed; parent of dialogs.
    reports : tuple of NoiseReport or None
        Noise of the noisy layer, if measured.
    losses : sequence of (int, float)
        Step and loss of the training.

    Attributes
    ----------
    layer, result : napari.layers.Image
        The noisy and the denoised layer.
    job : Job
    provenance : dict
        Metadata of the result.
    mask : array-like or None
        Fusion mask.
    batch : list of FinishedRun
        All results of the same press, itself among them.
    report : QualityReport or None
        Result of the quality checks.
    """

    said = Signal(str)
    """A message on the outcome of an action."""

    assessed = Signal(object)
    """This run, whose quality checks have ended; ``report`` is None if they failed."""

    busy_changed = Signal()
    """Further layers begin to be computed, or all are added."""

    progressed = Signal(int, int)
    """Value and maximum of the computation of further layers."""

    def __init__(
        self,
        viewer: Any,
        outcome: LayerRun | FinishedRun,
        parent: QWidget,
        reports: tuple[NoiseReport, ...] | None,
        losses: Sequence[tuple[int, float]],
    ) -> None:
        super().__init__(parent)
        self.layer: Image = outcome.layer
        self.result: Any = outcome.result
        self.job: Job = outcome.job
        self.provenance: dict[str, Any] = dict(outcome.provenance or {})
        self.mask: Any = outcome.mask
        self._viewer = viewer
        self._reports, self.losses = reports, tuple(losses)
        self.ended_at = datetime.now()
        self.batch: list[FinishedRun] = [self]
        self._stop = Event()
        self._writing, self._is_dropped = 0, False
        self._pending: list[LayerData] = []
        self._extras: list[Any] = list(outcome.covers)
        self._added: list[str] = []
        self.legends: dict[ExtraKind, str] = {}
        self.is_busy = False
        self.is_checking = self.is_checked = False
        self.report: QualityReport | None = None

    @property
    def config(self) -> Config:
        """Configuration of the run, without automatic values."""
        return Config(**self.provenance["config"])

    @property
    def title(self) -> str:
        """Source, method and time."""
        method = method_of(self.provenance)
        return f"{self.source_name}: {method}, {self.ended_at:%H:%M:%S}"

    @property
    def source_name(self) -> str:
        """Name of the noisy layer, or the one it had before it was deleted."""
        return str(self.layer.name)

    @property
    def source(self) -> LayerImage:
        """The noisy image, with the name and position of its layer now, else of the result."""
        return placed_now(self.job.source, self._viewer.layers, self.layer, self.result)

    @property
    def covers(self) -> tuple[Any, ...]:
        """Layers of the run that would cover the noisy one."""
        return tuple(self._extras)

    @property
    def has_source(self) -> bool:
        """Whether the noisy layer is still in the viewer."""
        return self.layer in self._viewer.layers

    def concerns(self, layer: Any) -> bool:
        """Whether a layer is the noisy or the denoised one."""
        return layer is not None and layer in (self.layer, self.result)

    def leave(self) -> None:
        """Stop background work: the result is dropped, or the dock is closed."""
        self._stop.set()
        self._pending = []

    @property
    def is_left(self) -> bool:
        """Whether its dock was closed, so that another one may show it."""
        return self._stop.is_set() and not self._is_dropped

    def renewed(self) -> FinishedRun:
        """Replace a run that was left by one that works again."""
        run = FinishedRun(self._viewer, self, self.parent(), self._reports, self.losses)
        run.ended_at, run.legends = self.ended_at, self.legends
        run.report, run.is_checked = self.report, self.is_checked
        run.batch = self.batch
        run.batch[run.batch.index(self)] = run
        self.drop()
        return run

    def drop(self) -> None:
        """Release the model and the images; files that are being written are finished."""
        self.leave()
        if self.is_busy:
            self._set_busy(busy=False)
            self.said.emit("")
        self._is_dropped = True
        self._delete_if_idle()

    def _delete_if_idle(self) -> None:
        if self._is_dropped and not self._writing:
            self.deleteLater()

    # -- comparing ----------------------------------------------------------------------------

    def blend(self, share: float) -> None:
        """Set the opacity of the denoised layer over the noisy one, which no map covers."""
        self.result.visible = True
        if self.has_source:
            self.layer.visible = True
        for extra in self._extras:
            extra.visible = False
        self.result.opacity = share

    def check_quality(self) -> None:
        """Run the quality checks in the background; `assessed` follows."""
        source, denoised, reports = self.source, self.result.data, self._reports
        self.is_checking = True

        def run_checks() -> QualityReport:
            return assess(
                source.array,
                denoised,
                source.axes,
                reports=reports,
                denoiser=as_denoiser(self.job.denoiser, self._stop.is_set),
                pixel_size=pixel_size_of(file_like(source)),
                should_stop=self._stop.is_set,
            )

        def errored(error: Exception) -> None:
            if isinstance(error, RedenoiseError):
                logger.warning("the quality checks could not be made: %s", error)
            else:
                logger.error("the quality checks failed", exc_info=error)
            self._set_report(None)

        task = object()
        _garbage_collection.begin(task)
        Task(
            run_checks,
            returned=self._set_report,
            errored=errored,
            finished=lambda: _garbage_collection.end(task),
            stop=self._stop,
        )

    def _set_report(self, report: QualityReport | None) -> None:
        self.is_checking = False
        if not self._stop.is_set():
            self.report, self.is_checked = report, True
            self.assessed.emit(self)

    def add(self, kind: ExtraKind) -> None:
        """Compute further layers of a kind in the background; they are added hidden."""
        source = self.source
        window = placed = None
        if self.is_busy:
            self.said.emit("Other layers are being computed: wait for them.")
            return
        if kind in OF_VIEW:
            window = current_window(self._viewer, self.layer, source) if self.has_source else None
            if window is None:
                self.said.emit(
                    "This map is of a plane of the noisy layer: show its y and x in the 2-D view."
                )
                return
            placed = window_placement(self.layer, source, window)
        self._set_busy(busy=True)
        self.said.emit("Computing the layers.")
        denoiser, denoised, reports = self.job.denoiser, self.result.data, self._reports

        def compute() -> Extra:
            return extra_layers(
                kind,
                denoiser,
                source,
                denoised,
                placed or {},
                window,
                self._stop.is_set,
                reports,
                self._report_progress,
            )

        Task(
            compute,
            returned=lambda made: self._on_layers(kind, made),
            errored=self._on_extra_errored,
            stop=self._stop,
        )

    def _set_busy(self, *, busy: bool) -> None:
        self.is_busy = busy
        self.busy_changed.emit()

    def _report_progress(self, value: int, maximum: int) -> None:
        # Called in another thread: Qt raises RuntimeError where this object was deleted.
        with contextlib.suppress(RuntimeError):
            self.progressed.emit(value, maximum)

    def _on_layers(self, kind: ExtraKind, made: Extra) -> None:
        if made.layers and made.legend:
            self.legends[kind] = made.legend
        self._pending = [] if self._stop.is_set() else made.layers
        self._added = []
        self._add_next()

    def _add_next(self) -> None:
        """Add one layer per event-loop iteration, so that the viewer stays responsive."""
        if not self._pending:
            if not self._stop.is_set():
                self._set_busy(busy=False)
                self.said.emit(_added_in_words(self._added))
            return
        data, keywords, _ = self._pending.pop(0)
        # Hidden, because it would cover the images that the user compares.
        layer = add_image(self._viewer, data, {**keywords, "visible": False})
        self._extras.append(layer)
        self._added.append(f"'{layer.name}'")
        QTimer.singleShot(PAINT_MS, self._add_next)

    def _on_extra_errored(self, error: Exception) -> None:
        self._be_idle()
        self._on_errored(error)

    def _on_errored(self, error: Exception) -> None:
        if self._stop.is_set():
            logger.error("an action on a finished run failed", exc_info=error)
            return
        self._say_error(error)

    def _say_error(self, error: Exception) -> None:
        if isinstance(error, RedenoiseError):
            self.said.emit(refusal(error))
            return
        logger.error("an action on a finished run failed", exc_info=error)
        self.said.emit(f"Unexpected error ({error}): see the log for details.")

    # -- saving -------------------------------------------------------------------------------

    def save_image(self, path: str | Path | None = None) -> None:
        """Write the denoised image in the background; without ``path`` a dialog asks for it."""
        data, provenance = self.result.data, self.provenance
        offered = ending_of(data)
        title, wanted = "Save the denoised image", f"{file_name(self.result.name)}{offered}"
        name, kind = (path, "") if path else self._ask(title, wanted, kinds(offered))
        if not name:
            return
        target = with_ending(str(name), kind, offered)
        source = self.source
        if source.file is not None and target.resolve() == Path(source.file).resolve():
            self.said.emit("That file is the noisy image itself: choose another name.")
            return
        # The dialog confirmed overwriting for the name as it was entered, but not of folders.
        # os.path instead of Path: it returns False for names that are too long.
        overwrite = path is None and target == Path(name) and not os.path.isdir(target)

        def write() -> str:
            like = file_like(source)
            lost = write_image(target, data, like, overwrite=overwrite, provenance=provenance)
            return f"Wrote {target}{', without ' + ', '.join(lost) if lost else ''}."

        self._in_background(write)

    def save_model(self, path: str | Path | None = None) -> None:
        """Write the trained model in the background; without ``path`` a dialog asks for it."""
        wanted = f"{file_name(self.source_name)}.safetensors"
        name = path or self._ask("Save the model", wanted, "*.safetensors")[0]
        if not name:
            return
        target = Path(name)
        target = target.with_suffix(".safetensors") if not target.suffix else target
        overwrite = path is None and target == Path(name)
        denoiser = self.job.denoiser
        self._in_background(lambda: f"Wrote {denoiser.save(target, overwrite=overwrite)}.")

    def export_model(self, path: str | Path | None = None) -> None:
        """Write a package of the BioImage Model Zoo; without ``path`` a dialog asks for it.

        An existing file is kept: the package gets another name.
        """
        if self.is_busy:
            return
        wanted = self._folder() / file_name(self.source_name)
        target = ask_package(self.parent(), wanted) if path is None else Path(path)
        if target is None:
            return
        export = partial(write_package, self.job.denoiser, target)
        self._set_busy(busy=True)
        self.said.emit("Writing the package for the BioImage Model Zoo.")
        self._in_background(export, finished=self._be_idle)

    def save_all(self, folder: str | Path | None = None) -> None:
        """Write all of the result into a new folder; without ``folder`` a dialog asks for one."""
        title = "Save all: a new folder is made in this one"
        folder = folder or QFileDialog.getExistingDirectory(
            self.parent(), title, str(self._folder())
        )
        if not folder or self.is_busy:
            return
        exits = Event()
        files = RunFiles(
            self.title,
            self.source,
            self.result.data,
            self.mask,
            self.job.denoiser,
            self.provenance,
            self.report,
        )
        write = partial(files.write, Path(folder), exits.is_set, self._report_progress)
        self._set_busy(busy=True)
        self.said.emit("Writing the files.")
        self._in_background(write, finished=self._be_idle, stop=exits)

    def _be_idle(self) -> None:
        if not self._stop.is_set():
            self._set_busy(busy=False)

    def _folder(self) -> Path:
        """Folder of the noisy image."""
        return Path(self.job.source.file).parent if self.job.source.file else Path.home()

    def _ask(self, title: str, name: str, kinds: str) -> tuple[str, str]:
        """Ask for a file name and its kind; the dialog confirms overwriting."""
        wanted = str(self._folder() / name)
        chosen, kind = QFileDialog.getSaveFileName(self.parent(), title, wanted, kinds)
        return str(chosen), str(kind)

    def _in_background(
        self,
        write: Callable[[], str],
        finished: Callable[[], None] | None = None,
        stop: Event | None = None,
    ) -> None:
        # Its outcome is said even if the layer was deleted meanwhile.
        def ended() -> None:
            self._writing -= 1
            if finished is not None:
                finished()
            self._delete_if_idle()

        self._writing += 1
        Task(
            write,
            returned=self.said.emit,
            errored=self._say_error,
            finished=ended,
            stop=stop,
            must_end=True,
        )

    def copy_python(self) -> None:
        """Copy a script that repeats the run."""
        self._copy(RunAsCode.script, "script")

    def copy_command(self) -> None:
        """Copy a command line that repeats the run."""
        self._copy(RunAsCode.command, "command line")

    def _copy(self, write: Callable[[RunAsCode], str], what: str) -> None:
        """Copy code, after the files of its layers were compared with them."""

        def copy(found: tuple[Job, int | None]) -> None:
            if not self._stop.is_set():
                job, series = found
                text = write(run_as_code(job, self.provenance, series))
                QApplication.clipboard().setText(text)
                self.said.emit(f"Copied the {what}{_to_save_first(job)}.")

        Task(partial(find_files, self.job), returned=copy, errored=self._on_errored)


def _to_save_first(job: Job) -> str:
    """What has to be saved before the copied code runs, in words."""
    unsaved = [one for one in (job.source, job.target) if one is not None and not one.file]
    beside = ""
    if unsaved:
        layers, names = ("layer", "name") if len(unsaved) == 1 else ("layers", "names")
        beside = f"; save the {layers} under the {names} in it first"
    if not is_repeatable(job):
        beside += "; save the model as model.safetensors, with Save model"
    return beside


def _added_in_words(names: Sequence[str]) -> str:
    which = "its eye" if len(names) == 1 else "their eyes"
    return f"Added {listed(names)}, hidden: click {which} in the layer list."
