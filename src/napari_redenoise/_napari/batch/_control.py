"""The behaviour of the tab *Batch*: listing, running, opening."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_redenoise._napari._background_task import Task
from napari_redenoise._napari._words import as_tooltip, counted, duration, refusal
from napari_redenoise._napari.batch._choices import RunOptions
from napari_redenoise._napari.batch._file_layers import FileLayer, read_pair
from napari_redenoise._napari.batch._panel import NO_IMAGES, BatchPanel
from napari_redenoise._napari.batch._table import (
    DONE,
    FAILED,
    UP_TO_DATE,
    WAITING,
    BatchTable,
)
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

LISTING = "Listing the images."
NO_OUTPUT = "There is no folder for the results: choose one."
NO_LAYER = "No image layer is selected: select one or several in the layer list."
REASON = "rest the pointer on the state for the reason."

VIEW_MS = 300
"""Milliseconds between two looks at which rows are in view."""


class BatchControl(QObject):
    """Lists the images of a batch, runs it, and opens its results.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    panel : BatchPanel
    options : callable
        Returns the `RunOptions` of the dock, or raises a `RedenoiseError`.
    selected_layers : callable
        Returns the selected image layers.

    Attributes
    ----------
    work : BatchWork or None
        The current run of files.
    has_running_layers : bool
        Whether layers are being denoised.
    """

    running_changed = Signal()

    layers_started = Signal(object, str)
    """Layers to denoise, the one to train on first, and the kind of training."""

    layers_stopped = Signal()

    def __init__(
        self,
        viewer: Any,
        panel: BatchPanel,
        options: Callable[[], RunOptions],
        selected_layers: Callable[[], list[Any]],
    ) -> None:
        super().__init__(panel)
        self._viewer, self._panel, self._options = viewer, panel, options
        self.work: BatchWork | None = None
        self._selected_layers = selected_layers
        # Weak, since deleted layers would keep their pixels in memory.
        self._layers: WeakValueDictionary[Any, Any] = WeakValueDictionary()
        self.has_running_layers = False
        self._names: dict[Path, str] = {}
        self._results: dict[Path, Path] = {}
        self._current: Path | None = None
        self._counts: Counter[str] = Counter()
        self._seconds: list[float] = []
        self._listing, self._is_listing = 0, False
        self._refusal = ""
        self._has_left = False
        self._thumbnails = Thumbnails(self)
        self._thumbnails.made.connect(panel.table.show_thumbnail)
        self._view = QTimer(self)
        self._view.setInterval(VIEW_MS)
        self._view.timeout.connect(self._want_thumbnails)
        panel.inputs_changed.connect(self.list_images)
        panel.output.textChanged.connect(self._describe)
        panel.layers_button.clicked.connect(self.list_layers)
        panel.button.clicked.connect(self._pressed)
        panel.open_button.clicked.connect(self.open_chosen)
        panel.table.cellDoubleClicked.connect(self.open_chosen)
        self._describe()

    @property
    def is_running(self) -> bool:
        """Whether a batch of files is running."""
        return self.work is not None

    @property
    def table(self) -> BatchTable:
        """The table of the panel."""
        return self._panel.table

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

    # -- listing ------------------------------------------------------------------------------

    def list_images(self) -> None:
        """List the images in a thread: folders may be large or far away."""
        choices = self._panel.value()
        if not choices.inputs or self.is_running:
            return
        self._listing += 1
        number, self._is_listing = self._listing, True
        self._panel.say("")
        self._panel.chosen.setText(LISTING)
        self._describe()
        Task(
            choices.find,
            returned=partial(self._on_listed, number),
            errored=partial(self._on_unlisted, number),
        )

    def list_layers(self) -> None:
        """List the selected image layers."""
        layers = self._selected_layers()
        if not layers:
            self._panel.say(NO_LAYER)
            return
        # A listing of files may be in progress.
        self._listing += 1
        self._is_listing = False
        self._layers = WeakValueDictionary({layer.unique_id: layer for layer in layers})
        self._panel.say("")
        self._panel.show_layers({key: str(layer.name) for key, layer in self._layers.items()})
        for key, layer in self._layers.items():
            self.table.show_thumbnail(key, np.ascontiguousarray(layer.thumbnail[..., :3]))
        self._describe()

    def _on_listed(self, number: int, images: dict[Path, Path]) -> None:
        if number != self._listing or self._has_left:
            return
        self._show({image: name.as_posix() for image, name in images.items()})

    def _on_unlisted(self, number: int, error: Exception) -> None:
        if number != self._listing or self._has_left:
            return
        self._show({})
        self._panel.chosen.setText(refusal(error))

    def _show(self, names: dict[Path, str]) -> None:
        self._names, self._results, self._is_listing = names, {}, False
        self._panel.show_images(names)
        self._view.start()
        self._describe()

    def _want_thumbnails(self) -> None:
        table = self._panel.table
        if table.isVisibleTo(table.window()):
            self._thumbnails.want(table.visible_keys())

    def _describe(self, _: str = "") -> None:
        """Enable the button where a batch can start."""
        if self.is_running or self.has_running_layers:
            return
        if not self._panel.inputs and not self._panel.has_layers:
            self._panel.chosen.setText(NO_IMAGES)
        reason = self._why_not()
        self._panel.button.setEnabled(bool(self._panel.table.keys) and not reason)
        self._panel.button.setToolTip(as_tooltip(reason))

    def _why_not(self) -> str:
        """Why no batch can start; empty where one can."""
        if self._refusal or self._panel.has_layers:
            return self._refusal
        if self._is_listing:
            return LISTING
        return "" if self._panel.has_output else NO_OUTPUT

    # -- running ------------------------------------------------------------------------------

    def _pressed(self) -> None:
        if self.work is None and not self.has_running_layers:
            self.start()
            return
        if self.work is None:
            self.layers_stopped.emit()
        else:
            self.work.stop.set()
        self._panel.button.setEnabled(False)
        self._panel.say("Stopping; finished images are kept.")

    def start(self) -> None:
        """Denoise the images that are not up to date; errors are shown."""
        if self.is_running or self._why_not():
            return
        if self._panel.has_layers:
            self._start_layers()
            return
        try:
            choices, options = self._panel.value(), self._options()
            # Refused here and not after the listing.
            if choices.training != "given":
                choices.settings(options, None)
        except RedenoiseError as error:
            self._panel.say(refusal(error))
            return
        self._counts, self._seconds, self._current = Counter(), [], None
        self._panel.show_running()
        self.work = BatchWork(choices, options)
        self.work.happened.connect(self._on_event)
        self.work.ended.connect(self._on_end)
        self.work.start()
        self.running_changed.emit()

    def _start_layers(self) -> None:
        """Have the dock denoise the listed layers that are still there."""
        present = [one for one in self._layers.items() if one[1] in self._viewer.layers]
        if not present:
            self._panel.say(NO_LAYER)
            return
        choices = self._panel.value()
        if choices.training == "one":
            present.sort(key=lambda one: one[0] != choices.train_on)
        self.has_running_layers = True
        self._panel.show_running()
        self._panel.say("Denoising the layers.")
        self.table.list_images({key: str(layer.name) for key, layer in self._layers.items()})
        self.layers_started.emit([layer for _, layer in present], choices.training)

    def end_layers(self, error: str = "") -> None:
        """All runs of layers have ended, or could not begin."""
        if not self.has_running_layers:
            return
        self.has_running_layers = False
        states = [self.table.state(key) for key in self._layers]
        failed = f" {states.count(FAILED)} failed: {REASON}" if FAILED in states else ""
        count = counted(len(states), "layer")
        self._panel.show_idle()
        self._panel.say(error or f"Denoised {states.count(DONE)} of {count}.{failed}")
        self._describe()

    def _on_event(self, event: object) -> None:
        match event:
            case Listed():
                self._on_files(event.files)
            case FileSkipped():
                self._close(event.file, UP_TO_DATE, "", event.record.get("quality"))
            case FileStarted():
                self._current = event.file.image
                self._tell("reading")
                left = self._time_left(event.count - event.number + 1)
                place = f"Image {event.number} of {event.count}"
                self._panel.say(f"{place}: {event.file.image.name}{left}")
            case TrainingPlanned():
                self._tell("training", "\n".join(event.plan.sentences()))
            case StepDone():
                self._tell(f"training {event.step} of {event.steps}")
            case ModelTrained():
                self._panel.say("The network is trained.")
            case TileDone():
                share = round(100 * event.tile / event.tiles)
                self._tell(f"denoising {share} %" if event.tile < event.tiles else "checking")
            case FileDone():
                self._seconds.append(event.record["seconds"])
                seconds = duration(self._seconds[-1])
                notes = [f"Denoised in {seconds}.", *event.record["cautions"]]
                self._close(event.file, DONE, "\n".join(notes), event.record["quality"])
            case FileFailed():
                self._close(event.file, FAILED, refusal(event.reason))

    def _time_left(self, images: int) -> str:
        """The time for some images, by those that are done; empty before the first one."""
        if not self._seconds:
            return ""
        return f", about {duration(images * mean(self._seconds))} left"

    def _on_files(self, files: tuple[BatchFile, ...]) -> None:
        names = {file.image: self._names.get(file.image, file.image.name) for file in files}
        self._panel.describe_images(len(names), [key for key in self._names if key not in names])
        self._names = names
        self._panel.table.list_images(names)
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
        self._panel.progress.setValue(sum(self._counts.values()))
        self._panel.show_openable()

    def _on_end(self, error: str) -> None:
        work, self.work = self.work, None
        if work is None:
            return
        if self._current is not None:
            self._panel.table.show_state(self._current, WAITING)
        self._panel.show_idle()
        self._panel.say(error or self._outcome(is_stopped=work.stop.is_set()))
        self._describe()
        self.running_changed.emit()

    def _outcome(self, *, is_stopped: bool) -> str:
        """The outcome of a run, in words."""
        counts, total = self._counts, len(self._results)
        kept = counts[UP_TO_DATE]
        said = [f"Denoised {counts[DONE]} of {counted(total, 'image')}."]
        if kept:
            said.append(f"{kept} {'was' if kept == 1 else 'were'} up to date.")
        if counts[FAILED]:
            said.append(f"{counts[FAILED]} failed: {REASON}")
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
            partial(read_pair, image, self._results[image]),
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
            self._panel.say(refusal(error))
