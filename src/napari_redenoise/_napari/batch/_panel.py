"""The tab *Batch*: choices, a table of images, and what is pressed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import QMimeData, QTimer, Signal
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_redenoise._napari._eliding_box import ElidingBox
from napari_redenoise._napari._words import WrappedLabel, as_tooltip, counted, listed, set_available
from napari_redenoise._napari.batch._choices import BatchChoices, Training
from napari_redenoise._napari.batch._table import BatchTable
from napari_redenoise.io import is_zarr
from napari_redenoise.recipes import OutputFormat

TRAININGS: dict[Training, tuple[str, str]] = {
    "each": ("On each image", "Every image has its own training, as if it were denoised alone."),
    "one": (
        "Once, on one image",
        "One training, on the image below. Its network denoises all images: faster, and all are "
        "denoised alike.",
    ),
    "all": (
        "Once, on a sample of all",
        "One training, on up to 16 images that are spread evenly over all. Its network denoises "
        "all images.",
    ),
    "none": (
        "None (Instant)",
        "The network that comes with the plugin denoises as it is. The fastest way; a training on "
        "the images is usually better.",
    ),
}
FORMATS: tuple[tuple[str, OutputFormat | None], ...] = (
    ("Automatic", None),
    ("TIFF", "tiff"),
    ("OME-Zarr", "zarr"),
)
FORMAT_TOOLTIP = (
    "Automatic: OME-Zarr for an OME-Zarr and for results beyond 4 GiB, and TIFF for others."
)
HINT = (
    "The tab Options holds for every image. Its training region, second shot and time limit have "
    "no effect here."
)
LAYER_HINT = (
    "The tab Options holds for every layer. Its training region and second shot have no effect "
    "here. Results become layers; nothing is written to disk."
)
NO_IMAGES = (
    "Choose a folder, files, or the selected layers, or drop files and folders here. No file is "
    "replaced."
)
FILES = (
    "Images (*.tif *.tiff *.png *.jpg *.jpeg *.btf *.tf8 *.lsm *.stk *.czi *.nd2 *.lif);;"
    "All files (*)"
)
RESULTS = "denoised"
_ROWS_OF_FILES = (1, 4, 5)
"""Rows of the form: names, folder and format of the results."""

NARROW = 32
"""Pixels; width of a button without words."""

MOST_NAMED = 3
"""Most missing images that are named."""

TYPING_MS = 400
"""Milliseconds without a key before a pattern is applied."""


class BatchPanel(QWidget):
    """The widgets of the batch, without their behaviour.

    Attributes
    ----------
    inputs : tuple of Path
        A folder, or files.
    has_layers : bool
        Whether layers are listed instead.
    is_idle : bool
        Whether the choices can be changed: no batch is running.
    """

    inputs_changed = Signal()
    """Other images are to be listed."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs: tuple[Path, ...] = ()
        self.has_layers = False
        self._suggested = ""
        self._trained_name = ""
        self.folder_button = QPushButton("F&older...")
        self.files_button = QPushButton("Fil&es...")
        self.layers_button = QPushButton("La&yers")
        self.chosen = WrappedLabel(NO_IMAGES)
        self.pattern = QLineEdit()
        self.subfolders = QCheckBox("subfolders")
        self.training = ElidingBox()
        self.train_on = ElidingBox()
        self.output = QLineEdit()
        self.output_button = QPushButton("...")
        self.format = ElidingBox()
        self.hint = WrappedLabel(HINT)
        self.button = QPushButton("&Start")
        self.open_button = QPushButton("Open result")
        self.progress = QProgressBar()
        self.status = WrappedLabel()
        self.table = BatchTable()
        self._form = QFormLayout()
        self.setAcceptDrops(True)
        self._fill()
        self._lay_out()
        self._connect()
        self._on_training()
        self.show_idle()

    def _fill(self) -> None:
        self.training.offer((label, training) for training, (label, _) in TRAININGS.items())
        self.format.offer(FORMATS)
        self.pattern.setPlaceholderText("e.g. *_raw.tif")
        for widget, tooltip in (
            (self.folder_button, "Denoises the images of a folder; or drop it on this tab."),
            (self.files_button, "Denoises the files that you choose; or drop them on this tab."),
            (self.layers_button, "Denoises the selected image layers. Results become layers."),
            (self.pattern, "Names of the images in the folder: * stands for any letters."),
            (self.subfolders, "Also denoises the images in subfolders."),
            (self.train_on, "The image of the training."),
            (
                self.output,
                "Results get the names of their images in this folder. A name without a path is a "
                "folder beside the images.",
            ),
            (self.output_button, "Choose the folder for the results."),
            (self.format, FORMAT_TOOLTIP),
            (self.open_button, "Adds the image of the selected row and its result as layers."),
        ):
            widget.setToolTip(tooltip)

    def _lay_out(self) -> None:
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.output_button.setMaximumWidth(NARROW)
        self.output_button.setAccessibleName("Choose the folder for the results")
        for label, widgets in (
            ("Images", (self.folder_button, self.files_button, self.layers_button)),
            ("&Names", (self.pattern, self.subfolders)),
            ("&Training", (self.training,)),
            ("Train on", (self.train_on,)),
            ("&Results in", (self.output, self.output_button)),
            ("For&mat", (self.format,)),
        ):
            name = QLabel(label)
            name.setBuddy(widgets[0])
            self._form.addRow(name, _row(widgets))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self._form)
        layout.addWidget(self.chosen)
        layout.addWidget(self.hint)
        buttons = QHBoxLayout()
        buttons.addWidget(self.button, 1)
        buttons.addWidget(self.open_button)
        layout.addLayout(buttons)
        layout.addWidget(self.progress)
        layout.addWidget(self.status)
        layout.addWidget(self.table, 1)

    def _connect(self) -> None:
        self._typing = QTimer(self)
        self._typing.setSingleShot(True)
        self._typing.setInterval(TYPING_MS)
        self._typing.timeout.connect(self.inputs_changed)
        for edit in (self.pattern, self.output):
            # It would take dropped files as text.
            edit.setAcceptDrops(False)
            edit.textEdited.connect(self._typing.start)
        self.subfolders.toggled.connect(self.inputs_changed)
        self.training.currentIndexChanged.connect(self._on_training)
        self.folder_button.clicked.connect(self._ask_folder)
        self.files_button.clicked.connect(self._ask_files)
        self.output_button.clicked.connect(self._ask_output)
        self.table.itemSelectionChanged.connect(self.show_openable)

    # -- choosing -----------------------------------------------------------------------------

    def choose_folder(self, folder: str | Path) -> None:
        """Denoise the images of a folder."""
        self._choose((Path(folder),), Path(folder))

    def choose_files(self, files: Iterable[str | Path]) -> None:
        """Denoise these files."""
        chosen = tuple(map(Path, files))
        self._choose(chosen, chosen[0].parent)

    def choose_dropped(self, paths: Sequence[Path]) -> None:
        """Denoise a folder, or files and folders together; an OME-Zarr counts as a file."""
        if len(paths) == 1 and paths[0].is_dir() and not is_zarr(paths[0]):
            self.choose_folder(paths[0])
        else:
            self.choose_files(paths)

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:
        """Accept files of this computer, unless a batch is running."""
        if event is not None and self.is_idle and _paths(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:
        """List the dropped files."""
        paths = [] if event is None else _paths(event.mimeData())
        if event is not None and self.is_idle and paths:
            event.acceptProposedAction()
            self.choose_dropped(paths)

    def _choose(self, inputs: tuple[Path, ...], folder: Path) -> None:
        self.inputs = inputs
        self._show_source(has_layers=False)
        for widget in (self.pattern, self.subfolders):
            set_available(widget, "" if self.has_folder else "Files are chosen, not a folder.", "")
        if self.output.text() in ("", self._suggested):
            self._suggested = str(folder / RESULTS)
            self.output.setText(self._suggested)
        self.inputs_changed.emit()

    @property
    def has_folder(self) -> bool:
        """Whether a folder is chosen, and not files."""
        return len(self.inputs) == 1 and self.inputs[0].is_dir()

    @property
    def has_output(self) -> bool:
        """Whether there is a folder for the results."""
        return bool(self.output.text().strip())

    def _images_folder(self) -> Path:
        return self.inputs[0] if self.has_folder else self.inputs[0].parent

    def _ask_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Images to denoise")
        if folder:
            # An OME-Zarr is a folder, too.
            self.choose_dropped([Path(folder)])

    def _ask_files(self) -> None:
        files, _ = QFileDialog.getOpenFileNames(self, "Images to denoise", "", FILES)
        if files:
            self.choose_files(files)

    def _ask_output(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for the results")
        if folder:
            self.output.setText(folder)
            self.inputs_changed.emit()

    def value(self) -> BatchChoices:
        """The choices."""
        text = self.output.text().strip()
        folder = Path(text).expanduser() if text else Path()
        if text and self.inputs:
            # A name alone is a folder beside the images, wherever napari was started.
            folder = self._images_folder() / folder
        return BatchChoices(
            self.inputs,
            folder,
            self.pattern.text().strip() if self.has_folder else None,
            self.subfolders.isChecked() and self.has_folder,
            self.training.currentData(),
            self.train_on.currentData(),
            self.format.currentData(),
        )

    # -- showing ------------------------------------------------------------------------------

    def show_images(self, images: Mapping[Path, str]) -> None:
        """List the images that would be denoised."""
        self._list(images)
        self.describe_images(len(images))

    def describe_images(self, number: int, missing: Sequence[Path] = ()) -> None:
        """Say how many images would be denoised, and which listed ones are missing now."""
        where = self._images_folder()
        said = [f"{counted(number, 'image')} of '{where.name}'."]
        if missing:
            names = [f"'{path.name}'" for path in missing[:MOST_NAMED]]
            more = len(missing) - len(names)
            said.append(f"Missing now: {listed([*names, f'{more} more'] if more else names)}.")
        self.chosen.setText(" ".join(said))
        self.chosen.setToolTip(as_tooltip(str(where)))

    def _list(self, names: Mapping[Any, str]) -> None:
        self.table.list_images(names)
        entries = [(name, key) for key, name in names.items()]
        self.train_on.offer(entries, keep=self.train_on.currentData())
        self.show_openable()

    def show_layers(self, names: Mapping[Any, str]) -> None:
        """List the layers that would be denoised."""
        self.inputs = ()
        self._show_source(has_layers=True)
        self._list(names)
        self.chosen.setText(f"{counted(len(names), 'selected layer')}.")

    def _show_source(self, *, has_layers: bool) -> None:
        """Show the choices of files, or those of layers."""
        self.has_layers = has_layers
        for row in _ROWS_OF_FILES:
            self._form.setRowVisible(row, not has_layers)
        self.open_button.setVisible(not has_layers)
        self.hint.setText(LAYER_HINT if has_layers else HINT)

    def show_trained(self, name: str) -> None:
        """Show the trained network of the options, which denoises all images; "" for none."""
        if name == self._trained_name:
            return
        self._trained_name = name
        number = self.training.findData("given")
        if number >= 0:
            self.training.removeItem(number)
        if name:
            self.training.addItem(f"None: network {name}", "given")
            self.training.setCurrentIndex(self.training.count() - 1)
        else:
            self.training.setCurrentIndex(0)
        self._on_training()

    def _on_training(self, _: int = 0) -> None:
        training: Training = self.training.currentData()
        reason = ""
        if self._trained_name:
            reason = "The network chosen in the tab Options denoises all images."
        set_available(self.training, reason, TRAININGS.get(training, ("", ""))[1])
        self._form.setRowVisible(3, training == "one")

    def say(self, sentence: str) -> None:
        """Show a message; without one, hide its label."""
        self.status.setText(sentence)
        self.status.setVisible(bool(sentence))

    def show_running(self) -> None:
        """Show the controls of a run."""
        self._set_choices_enabled(enabled=False)
        self.button.setText("&Stop")
        self.button.setEnabled(True)
        self.progress.setRange(0, 0)
        self.progress.setVisible(True)
        self.say("Listing the images.")

    def show_idle(self) -> None:
        """Show the controls before a run."""
        self._set_choices_enabled(enabled=True)
        self.button.setText("&Start")
        self.progress.setVisible(False)
        self.show_openable()

    def _set_choices_enabled(self, *, enabled: bool) -> None:
        self.is_idle = enabled
        for number in range(self._form.rowCount()):
            item = self._form.itemAt(number, QFormLayout.ItemRole.FieldRole)
            widget: Any = None if item is None else item.widget()
            if widget is not None:
                widget.setEnabled(enabled)

    def show_openable(self) -> None:
        """Enable opening where the selected image has a result."""
        self.open_button.setEnabled(self.table.has_result(self.table.chosen))


def _paths(data: QMimeData | None) -> list[Path]:
    """Dropped files and folders of this computer."""
    urls = data.urls() if data is not None else []
    return [Path(url.toLocalFile()) for url in urls if url.isLocalFile()]


def _row(widgets: Sequence[QWidget]) -> QWidget:
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        # Buttons with words share the width.
        is_narrow = isinstance(widget, QCheckBox) or widget.maximumWidth() == NARROW
        layout.addWidget(widget, 0 if is_narrow else 1)
    return row
