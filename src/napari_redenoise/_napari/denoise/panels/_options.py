"""The part of the dock that holds the options: few, each with one good default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QSpinBox, QWidget

from napari_redenoise._napari._preferences import preferences
from napari_redenoise._napari._words import device_name, narrow
from napari_redenoise._napari.denoise.panels._model import ModelChoice
from napari_redenoise._napari.denoise.panels._objective import ObjectiveChoice
from napari_redenoise._napari.denoise.panels._region import TrainingRegionChoice
from napari_redenoise.config import Config
from napari_redenoise.devices import available_devices
from napari_redenoise.model import resolve_start

Preset = Literal["fast", "balanced", "best"]

PRESETS: dict[Preset, tuple[str, str]] = {
    "fast": (
        "Fast",
        "The rotation-equivariant U-Net alone: half the time, nearly the same picture, and no "
        "fusion mask.",
    ),
    "balanced": ("Balanced", "AdaReNet: both U-Nets, fused by a learned mask."),
    "best": (
        "Best",
        "AdaReNet, with three times the work: from three times as many patches at each step, or "
        "from scratch in three times as many steps.",
    ),
}
GROUPS = {
    "C4": "4 quarter turns",
    "D4": "4 quarter turns, mirrored or not",
    "C8": "8 eighth turns; slower to learn",
}
STARTS = {
    "pretrained": (
        "Shipped network",
        "Begins with the network that comes with the plugin and adapts it to your pixels. It was "
        "trained on drawn scenes (filaments, spots, nuclei, membranes, textures) and on "
        "photographs, all with synthetic noise; never on microscope images.",
    ),
    "random": (
        "From scratch",
        "Begins with random weights: nothing but your own pixels decides. Takes longer; try it "
        "where the shipped network invents structure, or misses it.",
    ),
}
LONGER = 3
LONGEST = 24 * 3600


@dataclass(frozen=True)
class Options:
    """What a user can choose beside what is learned from.

    ``seconds`` is the time that training and denoising may take together, None what suits the
    image; ``device`` None the fastest; ``as_source`` gives integers back for integers.
    """

    preset: Preset = "balanced"
    seconds: int | None = None
    group: str = "C4"
    device: str | None = None
    seed: int = 0
    as_source: bool = False
    start: Literal["pretrained", "random"] = "pretrained"

    def apply(self, config: Config) -> Config:
        """The configuration of a run; a time is turned into steps where the run is made."""
        changes: dict[str, object] = {"network.group": self.group, "training.seed": self.seed}
        if self.start == "random":
            changes["training.start"] = "random"
        if self.preset == "fast":
            changes["network.kind"] = "equivariant"
        changed = config.replace(changes)
        return _best(changed) if self.preset == "best" else changed


def _best(config: Config) -> Config:
    """Three times the work of a training.

    More steps than the default make an adaptation worse, which learns the noise of its one picture
    (docs/fine-tuning.md): its steps become surer instead.
    """
    training = resolve_start(config).training
    if training.start == "pretrained":
        return config.replace({"training.batch_size": LONGER * training.patches_per_step})
    return config.replace({"training.steps": LONGER * training.total_steps})


class OptionsForm(QWidget):
    """A form whose value is `Options`, below what depends on the layers that are open.

    Attributes
    ----------
    model : ModelChoice
    objective : ObjectiveChoice
    training_region : TrainingRegionChoice
    """

    changed = Signal()

    def __init__(self, config: Config) -> None:
        super().__init__()
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.model = ModelChoice(form, self)
        self.objective = ObjectiveChoice(form, config)
        self.training_region = TrainingRegionChoice(form)
        self.preset = narrow(QComboBox())
        for preset in get_args(Preset):
            label, tooltip = PRESETS[preset]
            self.preset.addItem(label, preset)
            self.preset.setItemData(self.preset.count() - 1, tooltip, Qt.ItemDataRole.ToolTipRole)
        self.start = narrow(QComboBox())
        for start, (label, tooltip) in STARTS.items():
            self.start.addItem(label, start)
            self.start.setItemData(self.start.count() - 1, tooltip, Qt.ItemDataRole.ToolTipRole)
        self.seconds = QSpinBox()
        self.seconds.setRange(0, LONGEST)
        self.seconds.setSingleStep(10)
        self.seconds.setSpecialValueText("automatic")
        self.seconds.setSuffix(" s")
        self.group = narrow(QComboBox())
        groups = {config.network.group: "", **GROUPS}
        for name, said in groups.items():
            self.group.addItem(f"{name}: {said}" if said else name, name)
        self.device = narrow(QComboBox())
        self.device.addItem("Automatic", None)
        for name in available_devices():
            self.device.addItem(f"{name}: {device_name(name.split(':')[0])}", name)
        self.seed = QSpinBox()
        self.seed.setRange(0, 2**31 - 1)
        self.as_source = QCheckBox("as the source")
        self._lay_out(form)
        begin = preferences()
        self.setValue(
            Options(
                seconds=begin.seconds,
                group=config.network.group,
                device=begin.device,
                seed=config.training.seed,
                start=config.training.start,
            )
        )
        self._connect()

    def _lay_out(self, form: QFormLayout) -> None:
        rows = (
            ("&Preset", self.preset, ""),
            ("Sta&rt", self.start, STARTS["pretrained"][1]),
            (
                "&Time",
                self.seconds,
                "How long training and denoising may take together. Automatic: as many steps as "
                "suit one picture. Longer helps on stacks and on very noisy images.",
            ),
            (
                "S&ymmetry",
                self.group,
                "The turns under which the equivariant U-Net is unchanged. Cells and most tissue "
                "look alike in every orientation.",
            ),
            ("Devi&ce", self.device, "What computes. Automatic takes the fastest that works."),
            (
                "Seed",
                self.seed,
                "Another number gives another, equally good result; the same number the same one, "
                "on the same machine with as many threads.",
            ),
            (
                "Data type",
                self.as_source,
                "Rounds the denoised image to the integers of its source. Otherwise it is "
                "floating point, in the same grey levels.",
            ),
        )
        for label, widget, tooltip in rows:
            widget.setToolTip(tooltip)
            form.addRow(label, widget)

    def _connect(self) -> None:
        for choice in (self.model, self.objective, self.training_region):
            choice.changed.connect(self.changed)
        for box in (self.preset, self.start, self.group, self.device):
            box.currentIndexChanged.connect(self._on_change)
        for spin in (self.seconds, self.seed):
            spin.valueChanged.connect(self._on_change)
        self.as_source.toggled.connect(self._on_change)

    def offer(
        self, *, others: Sequence[Any], regions: Sequence[Any], is_stack: bool, selected: int
    ) -> None:
        """Offer what there is beside the noisy layer; what is chosen stays."""
        self.model.offer()
        self.objective.offer(others)
        self.training_region.offer(is_stack=is_stack, selected=selected, regions=regions)

    def show_config(self, config: Config) -> None:
        """Choose what a configuration says."""
        self.objective.choose(config.objective.kind)
        training = config.training
        self.setValue(
            replace(
                self.value(),
                group=config.network.group,
                seed=training.seed,
                start=training.start,
            )
        )

    def value(self) -> Options:
        """What is chosen."""
        return Options(
            preset=self.preset.currentData(),
            seconds=self.seconds.value() or None,
            group=self.group.currentData(),
            device=self.device.currentData(),
            seed=self.seed.value(),
            as_source=self.as_source.isChecked(),
            start=self.start.currentData(),
        )

    def setValue(self, options: Options) -> None:
        """Choose; a group or device that is not offered is left as it is."""
        for box, wanted in (
            (self.preset, options.preset),
            (self.start, options.start),
            (self.group, options.group),
            (self.device, options.device),
        ):
            number = next((n for n in range(box.count()) if box.itemData(n) == wanted), -1)
            if number >= 0:
                box.setCurrentIndex(number)
        self.seconds.setValue(options.seconds or 0)
        self.seed.setValue(options.seed)
        self.as_source.setChecked(options.as_source)

    def _on_change(self, _: object = None) -> None:
        self.preset.setToolTip(PRESETS[self.preset.currentData()][1])
        self.start.setToolTip(STARTS[self.start.currentData()][1])
        self.changed.emit()
