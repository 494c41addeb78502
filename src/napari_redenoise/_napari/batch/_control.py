"""The behaviour of the tab *Batch*: listing, running, opening."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_redenoise._napari._activity import Activity
from napari_redenoise._napari._background_task import Task
from napari_redenoise._napari._words import counted, duration
from napari_redenoise._napari.batch._choices import BatchChoices, RunOptions
from napari_redenoise._napari.batch._file_layers import FileLayer, read_pair
from napari_redenoise._napari.batch._panel import NO_IMAGES, BatchPanel
from napari_redenoise._napari.batch._table import DONE, FAILED, UP_TO_DATE, WAITING
from napari_redenoise._napari.batch._thumbnails import Thumbnails
from napari_redenoise._napari.batch._work import BatchWork, Listed
from napari_redenoise.errors import RedenoiseError
from napari_redenoise.model import TileDone
from napari_redenoise.recipes import (
    BatchFile,
    FileDone,
    FileFailed,
    FileSkipped,
    FileStarted,
    ModelTrained,
    TrainingPlanned,
)
from napari_redenoise.training import StepDone

VIEW_MS = 300
"""Milliseconds between two looks at which rows are in view."""

NO_OVERWRITING = ", or allow overwriting"
"""A remedy of the command that the dock does not have."""


class BatchControl(QObject):
    """Lists the images of a batch, runs it, and opens its results.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    panel : BatchPanel
    options : callable
        Returns the `RunOptions` of the dock, or raises a `RedenoiseError`.

    Attributes
    ----------
    work : BatchWork or None
        The current run.
    """

    running_changed = Signal()

    def __init__(self, viewer: Any, panel: BatchPanel, options: Callable[[], RunOptions]) -> None:
        super().__init__(panel)
        self._viewer, self._panel, self._options = viewer, panel, options
        self.work: BatchWork | None = None
        self._activity: Activity | None = None
        self._names: dict[Path, str] = {}
        self._results: dict[Path, Path] = {}
        self._current: Path | None = None
        self._counts: Counter[str] = Counter()
        self._listing = 0
        self._refusal = ""
        self._has_left = False
        self._thumbnails = Thumbnails(self)
        self._thumbnails.made.connect(panel.table.show_thumbnail)
        self._view = QTimer(self)
        self._view.setInterval(VIEW_MS)
        self._view.timeout.connect(self._want_thumbnails)
        panel.inputs_changed.connect(self.list_images)
        panel.button.clicked.connect(self._pressed)
        panel.open_button.clicked.connect(self.open_chosen)
        panel.table.cellDoubleClicked.connect(self.open_chosen)
        self._describe()

    @property
    def is_running(self) -> bool:
        """Whether a batch is running."""
        return self.work is not None

    def show_available(self, refusal: str, trained_name: str) -> None:
        """Follow the dock: why no batch may start, and the trained network of the options."""
        self._refusal = refusal
        self._panel.show_trained(trained_name)
        self._describe()

    def leave(self) -> None:
        """Stop: the dock or the viewer is closed. Finished files stay."""
        self._has_left = True
        self._view.stop()
        self._thumbnails.leave()
        work, self.work = self.work, None
        if work is not None:
            work.leave()
            self._end_activity()

    # -- listing ------------------------------------------------------------------------------

    def list_images(self) -> None:
        """List the images in a thread: folders may be large or far away."""
        choices = self._panel.value()
        if not choices.inputs or self.is_running:
            return
        self._listing += 1
        number = self._listing
        self._panel.say("")
        self._panel.chosen.setText("Listing the images.")
        Task(
            partial(_found, choices),
            returned=partial(self._on_listed, number),
            errored=partial(self._on_unlisted, number),
        )

    def _on_listed(self, number: int, images: dict[Path, Path]) -> None:
        if number != self._listing or self._has_left:
            return
        self._show({image: name.as_posix() for image, name in images.items()})

    def _on_unlisted(self, number: int, error: Exception) -> None:
        if number != self._listing or self._has_left:
            return
        self._show({})
        self._panel.chosen.setText(f"{error}.")

    def _show(self, names: dict[Path, str]) -> None:
        self._names, self._results = names, {}
        self._panel.show_images(names)
        self._view.start()
        self._describe()

    def _want_thumbnails(self) -> None:
        table = self._panel.table
        if table.isVisibleTo(table.window()):
            self._thumbnails.want(table.visible_keys())

    def _describe(self) -> None:
        """Enable the button where a batch can start."""
        if self.is_running:
            return
        if not self._panel.inputs:
            self._panel.chosen.setText(NO_IMAGES)
        self._panel.button.setEnabled(bool(self._panel.table.keys) and not self._refusal)
        self._panel.button.setToolTip(self._refusal)

    # -- running ------------------------------------------------------------------------------

    def _pressed(self) -> None:
        if self.work is None:
            self.start()
            return
        self.work.stop.set()
        self._panel.button.setEnabled(False)
        self._panel.say("Stopping; finished images are kept.")

    def start(self) -> None:
        """Denoise the images that are not up to date; errors are shown."""
        if self.is_running or self._refusal:
            return
        try:
            choices, options = self._panel.value(), self._options()
            # Refused here and not after the listing.
            if choices.training != "given":
                choices.settings(options, None)
        except RedenoiseError as error:
            self._panel.say(f"{error}.")
            return
        self._counts, self._current = Counter(), None
        self._panel.show_running()
        self._activity = Activity("Denoising a batch")
        self.work = BatchWork(choices, options)
        self.work.happened.connect(self._on_event)
        self.work.ended.connect(self._on_end)
        self.work.start()
        self.running_changed.emit()

    def _on_event(self, event: object) -> None:
        match event:
            case Listed():
                self._on_files(event.files)
            case FileSkipped():
                self._close(event.file, UP_TO_DATE, "", event.record.get("quality"))
            case FileStarted():
                self._current = event.file.image
                self._tell("reading")
                self._panel.say(f"Image {event.number} of {event.count}: {event.file.image.name}")
            case TrainingPlanned():
                self._tell("training", "\n".join(event.sentences))
            case StepDone():
                self._tell(f"training {event.step} of {event.steps}")
            case ModelTrained():
                self._panel.say("The network is trained.")
            case TileDone():
                share = round(100 * event.tile / event.tiles)
                self._tell(f"denoising {share} %" if event.tile < event.tiles else "checking")
            case FileDone():
                seconds = duration(event.record["seconds"])
                notes = [f"Denoised in {seconds}.", *event.record["cautions"]]
                self._close(event.file, DONE, "\n".join(notes), event.record["quality"])
            case FileFailed():
                self._close(event.file, FAILED, _sentence(event.reason))

    def _on_files(self, files: tuple[BatchFile, ...]) -> None:
        self._panel.table.list_images(
            {file.image: self._names.get(file.image, file.image.name) for file in files}
        )
        self._results = {file.image: file.output for file in files}
        self._panel.progress.setRange(0, len(files))
        self._panel.progress.setValue(0)

    def _tell(self, state: str, tooltip: str = "") -> None:
        """Show the state of the current image, or of the training that all images share."""
        if self._current is not None:
            self._panel.table.show_state(self._current, state, tooltip)
        elif self.work is not None and not self.work.stop.is_set():
            self._panel.say(f"One network for all images: {state}.")

    def _close(
        self, file: BatchFile, state: str, tooltip: str, quality: dict[str, Any] | None = None
    ) -> None:
        """Show how the work on an image has ended."""
        self._panel.table.show_state(file.image, state, tooltip, quality)
        self._counts[state] += 1
        self._current = None if file.image == self._current else self._current
        done, total = sum(self._counts.values()), len(self._results)
        self._panel.progress.setValue(done)
        if self._activity is not None:
            self._activity.show(done, total)
        self._panel.show_openable()

    def _on_end(self, error: str) -> None:
        work, self.work = self.work, None
        if work is None:
            return
        self._end_activity()
        if self._current is not None:
            self._panel.table.show_state(self._current, WAITING)
        self._panel.show_idle()
        self._panel.say(error or self._outcome(is_stopped=work.stop.is_set()))
        self._describe()
        self.running_changed.emit()

    def _end_activity(self) -> None:
        if self._activity is not None:
            self._activity.close()
            self._activity = None

    def _outcome(self, *, is_stopped: bool) -> str:
        """The outcome of a run, in words."""
        counts, total = self._counts, len(self._results)
        kept = counts[UP_TO_DATE]
        said = [f"Denoised {counts[DONE]} of {counted(total, 'image')}."]
        if kept:
            said.append(f"{kept} {'was' if kept == 1 else 'were'} up to date.")
        if counts[FAILED]:
            said.append(f"{counts[FAILED]} failed: rest the pointer on its state for the reason.")
        worst = self._panel.table.worst_row()
        if worst:
            said.append(f"Look at {worst} first.")
        if is_stopped and sum(counts.values()) < total:
            return " ".join(["Stopped.", *said, "Start continues."])
        return " ".join(said)

    # -- opening ------------------------------------------------------------------------------

    def open_chosen(self) -> None:
        """Add the image of the selected row and its result as layers."""
        table = self._panel.table
        image = table.chosen
        if image not in self._results or not table.has_result(image):
            return
        self._panel.say(f"Opening {image.name}.")
        Task(
            partial(_pair, image, self._results[image]),
            returned=self._on_read,
            errored=self._on_unreadable,
        )

    def _on_read(self, layers: tuple[FileLayer, FileLayer]) -> None:
        if self._has_left:
            return
        for layer in layers:
            self._viewer.add_image(layer.data, **layer.keywords)
        self._panel.say(f"Added '{layers[0].keywords['name']}' and its result as layers.")

    def _on_unreadable(self, error: Exception) -> None:
        if not self._has_left:
            self._panel.say(_sentence(str(error)))


def _found(choices: BatchChoices) -> dict[Path, Path]:
    return choices.find()


def _pair(image: Path, output: Path) -> tuple[FileLayer, FileLayer]:
    return read_pair(image, output)


def _sentence(reason: str) -> str:
    """A reason as a sentence of the dock."""
    return f"{reason.removesuffix(NO_OVERWRITING)}."
