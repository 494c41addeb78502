"""The tab *Options*: few options, each with a good default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QFormLayout, QSpinBox, QWidget

from napari_redenoise._napari._eliding_box import ElidingBox
from napari_redenoise._napari._preferences import preferences
from napari_redenoise._napari._words import (
    WrappedLabel,
    device_name,
    set_available,
)
from napari_redenoise._napari.denoise._pretrained_words import why_not_pretrained
from napari_redenoise._napari.denoise.panels._model import ModelChoice
from napari_redenoise._napari.denoise.panels._objective import ObjectiveChoice
from napari_redenoise._napari.denoise.panels._region import TrainingRegionChoice
from napari_redenoise.config import Config
from napari_redenoise.devices import available_devices
from napari_redenoise.model import resolve_start

Preset = Literal["fast", "balanced", "best"]
Context = Literal["auto", 0]

PRESETS: dict[Preset, tuple[str, str]] = {
    "fast": (
        "Fast",
        "The equivariant U-Net alone: half the time, nearly the same result, no fusion mask.",
    ),
    "balanced": ("Balanced", "AdaReNet: both U-Nets, fused by a learned mask."),
    "best": (
        "Best",
        "AdaReNet with three times the work: three times as many patches per step, or three times "
        "as many steps from scratch.",
    ),
}
GROUPS = {
    "C4": (
        "90° rotations (C4)",
        "If the image is rotated by 90 degrees, the result of the equivariant U-Net rotates "
        "with it. Cells and most tissue have no preferred orientation.",
    ),
    "D4": (
        "90° and flips (D4)",
        "Rotations by 90 degrees, and flips. There is no pretrained network, so it trains from "
        "scratch.",
    ),
    "C8": (
        "45° rotations (C8)",
        "Rotations by 45 degrees. Slower; there is no pretrained network, so it trains from "
        "scratch.",
    ),
}
STARTS = {
    "pretrained": (
        "Pretrained",
        "Fine-tunes the network that comes with the plugin on your image. It was trained on "
        "synthetic scenes (filaments, spots, nuclei, membranes, textures) and on photographs, all "
        "with synthetic noise; never on microscope images.",
    ),
    "random": (
        "From scratch",
        "Begins with random weights and learns from your image alone. Takes longer; try it where "
        "the pretrained network invents or misses structure. Channels are denoised together.",
    ),
}
NEIGHBOURS: dict[Context, tuple[str, str]] = {
    "auto": (
        "Automatic",
        "Shows the network two planes or frames on either side of each plane, where they help.",
    ),
    0: (
        "None",
        "Denoises every plane alone. Try it where objects move or blink from frame to frame.",
    ),
}
TRAINED = "The trained network denoises as it is: options of a training have no effect."
FLOATS = "The layer holds floating-point values: its result does so, too."
COLOURS = "Results of colour layers have the type of their source in any case."
NO_NEIGHBOURS = "The layer has no time or depth axis: its planes have no neighbours."
OTHER_FRAMES = "This objective learns from neighbours itself."
NO_SYMMETRY = "The standard U-Net alone has no symmetry."
LONGER = 3
LONGEST = 24 * 3600


@dataclass(frozen=True)
class Options:
    """The options of a run, apart from network, objective and training region.

    ``seconds`` limits training and denoising together, None is automatic. ``device`` None is the
    fastest. ``as_source`` gives integer results for integer sources. ``context`` 0 denoises planes
    without their neighbours.
    """

    preset: Preset = "balanced"
    seconds: int | None = None
    group: str = "C4"
    device: str | None = None
    seed: int = 0
    as_source: bool = False
    start: Literal["pretrained", "random"] = "pretrained"
    context: Context = "auto"

    def apply(self, config: Config) -> Config:
        """Set the options in a configuration; the run converts a time limit to steps."""
        changes: dict[str, object] = {"network.group": self.group, "training.seed": self.seed}
        if self.start == "random":
            changes["training.start"] = "random"
        if self.context == 0:
            changes["network.context"] = 0
        if self.preset == "fast":
            changes["network.kind"] = "equivariant"
        changed = config.replace(changes)
        return _best(changed) if self.preset == "best" else changed


def _best(config: Config) -> Config:
    """Three times the work of a training.

    More steps make fine-tuning worse, because it learns the noise of its image
    (docs/fine-tuning.md). More patches per step make its gradients less noisy instead.
    """
    training = resolve_start(config).training
    if training.start == "pretrained":
        return config.replace({"training.batch_size": LONGER * training.patches_per_step})
    return config.replace({"training.steps": LONGER * training.total_steps})


class OptionsForm(QWidget):
    """A form whose value is `Options`, below the choices that depend on the layers."""

    changed = Signal()

    def __init__(self, config: Config) -> None:
        super().__init__()
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.model = ModelChoice(form, self)
        self.objective = ObjectiveChoice(form, config)
        self.training_region = TrainingRegionChoice(form)
        self.preset = ElidingBox()
        self.preset.explain(PRESETS)
        self.start = ElidingBox()
        self.start.explain(STARTS)
        self.context = ElidingBox()
        self.context.explain(NEIGHBOURS)
        self.seconds = QSpinBox()
        self.seconds.setRange(0, LONGEST)
        self.seconds.setSingleStep(10)
        self.seconds.setSpecialValueText("automatic")
        self.seconds.setSuffix(" s")
        self.group = ElidingBox()
        group = config.network.group
        self.group.explain({group: (group, GROUPS["C4"][1]), **GROUPS})
        self.device = ElidingBox()
        devices = [(f"{device_name(n.split(':')[0])} ({n})", n) for n in available_devices()]
        self.device.offer([("Automatic", None), *devices])
        self.seed = QSpinBox()
        self.seed.setRange(0, 2**31 - 1)
        self.as_source = QCheckBox("same as source")
        self.note = WrappedLabel()
        self.note.setVisible(False)
        self._tooltips: dict[QWidget, str] = {}
        self._lay_out(form)
        begin = preferences()
        self.setValue(
            Options(
                seconds=begin.seconds,
                group=config.network.group,
                device=begin.device,
                seed=config.training.seed,
                start=config.training.start,
                context=0 if config.network.context == 0 else "auto",
            )
        )
        self._connect()

    def _lay_out(self, form: QFormLayout) -> None:
        rows = (
            ("Pre&set", self.preset, ""),
            ("Sta&rt", self.start, ""),
            ("&Neighbours", self.context, ""),
            (
                "&Time",
                self.seconds,
                "Time limit of training and denoising together. Automatic: the number of steps "
                "that suits one image. More time helps with stacks and very noisy images.",
            ),
            ("S&ymmetry", self.group, ""),
            ("Devi&ce", self.device, "Where to compute. Automatic: the fastest device that works."),
            (
                "Seed",
                self.seed,
                "Each seed gives another, equally good result. The same seed gives the same result "
                "on the same machine with as many threads.",
            ),
            (
                "Data type",
                self.as_source,
                "Rounds the denoised image to the integer type of its source. Otherwise it is "
                "floating point, in the same grey levels.",
            ),
        )
        for label, widget, tooltip in rows:
            if tooltip:
                widget.setToolTip(tooltip)
                self._tooltips[widget] = tooltip
            form.addRow(label, widget)
            if widget is self.start:
                form.addRow(self.note)

    def _connect(self) -> None:
        for choice in (self.model, self.objective, self.training_region):
            choice.changed.connect(self.changed)
        for box in (self.preset, self.start, self.context, self.group, self.device):
            box.currentIndexChanged.connect(self.changed)
        for spin in (self.seconds, self.seed):
            spin.valueChanged.connect(self.changed)
        self.as_source.toggled.connect(self.changed)

    def offer(self, *, others: Sequence[Any], regions: Sequence[Any], is_stack: bool) -> None:
        """Update the choices that depend on the layers; what is chosen stays."""
        self.model.offer()
        self.objective.offer(others, is_stack=is_stack)
        trains = self.model.model is None
        self.training_region.offer(is_stack=is_stack and trains, regions=regions if trains else ())

    def explain(
        self,
        config: Config,
        *,
        channels: int,
        is_colour: bool,
        is_integer: bool,
        has_neighbours: bool,
    ) -> None:
        """Disable the options that do nothing for a layer, and say why.

        Parameters
        ----------
        config : Config
            Configuration of the run with the options.
        channels : int
            Channels of the layer.
        is_colour, is_integer : bool
            Whether it is a colour layer, and whether its pixels are integers.
        has_neighbours : bool
            Whether its planes have neighbours along time or depth.
        """
        trained = "" if self.model.model is None else TRAINED
        scratch = "" if trained else why_not_pretrained(config, channels)
        note = f"Trains from scratch, because {scratch}." if scratch else trained
        self.note.setText(note)
        self.note.setVisible(bool(note))
        kind = COLOURS if is_colour else "" if is_integer else FLOATS
        symmetry = NO_SYMMETRY if config.network.kind == "standard" else ""
        alone = "" if has_neighbours else NO_NEIGHBOURS
        paired = "" if config.objective.sees_neighbours else OTHER_FRAMES
        self.enable(trained, start=note if scratch else "", group=symmetry, context=alone or paired)
        set_available(self.as_source, kind, self._tooltips[self.as_source])

    def enable(
        self, trained: str = "", *, start: str = "", group: str = "", context: str = ""
    ) -> None:
        """Enable the options of a training, but those with a reason against them."""
        self.objective.set_available(trained)
        self.training_region.set_available(trained)
        self.preset.set_available(trained)
        self.start.set_available(trained or start)
        self.group.set_available(trained or group)
        self.context.set_available(trained or context)
        for spin in (self.seconds, self.seed):
            set_available(spin, trained, self._tooltips[spin])

    def show_config(self, config: Config) -> None:
        """Show the values of a configuration."""
        self.objective.choose(config.objective.kind)
        training = config.training
        self.setValue(
            replace(
                self.value(),
                group=config.network.group,
                seed=training.seed,
                start=training.start,
                context=0 if config.network.context == 0 else "auto",
            )
        )

    def value(self) -> Options:
        """The chosen options."""
        return Options(
            preset=self.preset.currentData(),
            seconds=self.seconds.value() or None,
            group=self.group.currentData(),
            device=self.device.currentData(),
            seed=self.seed.value(),
            as_source=self.as_source.isChecked(),
            start=self.start.currentData(),
            context=self.context.currentData(),
        )

    def setValue(self, options: Options) -> None:
        """Choose options; keep a group or device where the wanted one is not listed."""
        for box, wanted in (
            (self.preset, options.preset),
            (self.start, options.start),
            (self.context, options.context),
            (self.group, options.group),
            (self.device, options.device),
        ):
            box.choose(wanted)
        self.seconds.setValue(options.seconds or 0)
        self.seed.setValue(options.seed)
        self.as_source.setChecked(options.as_source)
