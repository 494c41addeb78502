"""Layout of the dock *Denoise*, idle and during a run."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import ComboBox
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_redenoise._napari._eliding_box import narrow
from napari_redenoise._napari._scrolling import scrolled
from napari_redenoise._napari._words import WrappedLabel, as_tooltip
from napari_redenoise._napari.batch._panel import BatchPanel
from napari_redenoise._napari.denoise.panels._axes import AxesChoice
from napari_redenoise._napari.denoise.panels._noise import NoisePanel
from napari_redenoise._napari.denoise.panels._options import OptionsForm
from napari_redenoise._napari.denoise.panels._progress import ProgressPanel
from napari_redenoise._napari.denoise.panels._quality import QualityPanel
from napari_redenoise._napari.denoise.panels._result import ResultPanel
from napari_redenoise.config import Config

LOWEST_TABS = 220
"""Pixels; height of the tabs in a low dock."""

NARROW_TABS = "QTabBar::tab { padding-left: 2px; padding-right: 2px; }"
"""Six tabs with napari's own padding would make the dock wider than its neighbours."""


class DenoiseLayout(QWidget):
    """The widgets of the dock, without their behaviour."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._config = config
        self.layer_choice = ComboBox(label="Image layer", choices=(), nullable=True)
        self.layer_choice.tooltip = "The noisy image. Follows the layer selected in the layer list."
        narrow(self.layer_choice.native)
        self.axes = AxesChoice()
        self.plan = WrappedLabel()
        self.button = QPushButton("&Denoise")
        self.instant_button = QPushButton("Inst&ant")
        self.pause_button = QPushButton("Pa&use")
        self.pause_button.setCheckable(True)
        self.progress = QProgressBar()
        self.status = WrappedLabel()
        self.keeps_tab = False
        self.details_button = QPushButton("Show the error lo&g")
        self.details_button.setVisible(False)
        self.options = OptionsForm(config)
        self.objective = self.options.objective
        self.noise = NoisePanel()
        self.training = ProgressPanel()
        self.loss_plot = self.training.loss_plot
        self.result = ResultPanel()
        self.quality = QualityPanel()
        self.batch = BatchPanel()
        self.tabs = QTabWidget()
        self._refusal = ""
        self._lay_out()
        self.show_idle()

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        label = QLabel("Noisy &image layer")
        label.setBuddy(self.layer_choice.native)
        buttons = QHBoxLayout()
        buttons.addWidget(self.button, 2)
        buttons.addWidget(self.instant_button, 1)
        buttons.addWidget(self.pause_button)
        for widget in (label, self.layer_choice.native, self.axes, self.plan):
            layout.addWidget(widget)
        layout.addLayout(buttons)
        layout.addWidget(self.progress)
        layout.addWidget(self.status)
        layout.addWidget(self.details_button)
        self.say("")
        layout.addWidget(self.tabs, 1)
        for name, tooltip, page in (
            ("Noise", "Noise of the layer, and the objective that suits it", self.noise),
            ("Options", "Options of the training", self.options),
            ("Training", "Loss and snapshots of the training", self.training),
            ("Result", "Compare, inspect and save the result", self.result),
            ("Quality", "Quality checks of the result", self.quality),
            ("Batch", "Denoise many image files into a folder", self.batch),
        ):
            number = self.tabs.addTab(scrolled(page), name)
            self.tabs.setTabToolTip(number, tooltip)
        # All tabs are visible at once: the dock is as wide as they need.
        self.tabs.setUsesScrollButtons(False)
        self.tabs.setStyleSheet(NARROW_TABS)
        # Next to other docks their pages would be a line high.
        self.tabs.setMinimumHeight(LOWEST_TABS)

    def say(self, sentence: str, *, tooltip: str = "") -> None:
        """Show a message below the button; without one, hide its label."""
        self.status.setText(sentence)
        self.status.setToolTip(as_tooltip(tooltip))
        self.status.setVisible(bool(sentence))

    def refuse(self, sentence: str, *, tooltip: str = "") -> None:
        """Show why something cannot be done, until another choice may have changed that."""
        self.say(sentence, tooltip=tooltip)
        self._refusal = sentence

    @property
    def is_refusing(self) -> bool:
        """Whether the message says why something cannot be done."""
        return bool(self._refusal) and self.status.text() == self._refusal

    def withdraw_refusal(self, _: Any = None) -> None:
        """Hide a refusal."""
        if self.is_refusing:
            self.say("")

    def show_theme(self, colour: str) -> None:
        """Draw the plots in the text colour of the theme."""
        for plot in (self.loss_plot, self.noise.variance, self.noise.correlation):
            plot.set_colour(colour)

    def show_busy(self, *, busy: bool) -> None:
        """Show the progress of layers that are computed after a run."""
        self.progress.setVisible(busy)
        self.progress.setRange(0, 0)

    def open_tab(self, page: QWidget) -> None:
        """Bring a tab to the front, unless the user watches a batch of layers."""
        if self.keeps_tab:
            return
        for number in range(self.tabs.count()):
            area = self.tabs.widget(number)
            if isinstance(area, QScrollArea) and area.widget() is page:
                self.tabs.setCurrentIndex(number)

    def show_running(self, *, trains: bool) -> None:
        """Show the controls of a run."""
        self.progress.setVisible(True)
        self.progress.setRange(0, 0)
        self.pause_button.setChecked(False)
        self.pause_button.setVisible(trains)
        self.instant_button.setVisible(False)
        self.layer_choice.enabled = False
        for part in (self.axes, self.options):
            part.setEnabled(False)
        self.button.setText("Stop and &denoise" if trains else "Cancel")
        self.button.setEnabled(True)
        self.details_button.setVisible(False)
        self.say("Reading the image.")
        if trains:
            self.open_tab(self.training)

    def show_paused(self, *, paused: bool) -> None:
        """Show whether the run is paused."""
        self.pause_button.setText("Res&ume" if paused else "Pa&use")

    def show_idle(self) -> None:
        """Show the controls before a run."""
        self.progress.setVisible(False)
        self.pause_button.setVisible(False)
        self.pause_button.setText("Pa&use")
        self.instant_button.setVisible(True)
        self.layer_choice.enabled = True
        for part in (self.axes, self.options):
            part.setEnabled(True)
        self.button.setText("&Denoise")
