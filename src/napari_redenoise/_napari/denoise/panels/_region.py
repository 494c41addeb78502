"""The choice of the training region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFormLayout

from napari_redenoise._napari._eliding_box import ElidingBox
from napari_redenoise._napari._words import set_available
from napari_redenoise._napari.denoise._training_region import RegionKind

REGION = (
    "Where the network learns; the whole layer is denoised in any case. A Shapes or Labels layer "
    "marks a region."
)


class TrainingRegionChoice(QObject):
    """A form row: the whole layer, the slice shown, or a region."""

    changed = Signal()

    def __init__(self, form: QFormLayout) -> None:
        super().__init__()
        self.box = ElidingBox()
        self.set_available("")
        form.addRow("Training r&egion", self.box)
        self.offer(is_stack=False, regions=())
        self.box.currentIndexChanged.connect(self.changed)

    def set_available(self, reason: str) -> None:
        """Disable the choice where there is a reason."""
        set_available(self.box, reason, REGION)

    @property
    def kind(self) -> RegionKind:
        """The chosen kind of region."""
        chosen = self.box.currentData()
        return chosen if chosen in ("layer", "slice") else "region"

    def choose(self, kind: RegionKind) -> None:
        """Choose a kind that is listed."""
        self.box.choose(kind)

    @property
    def region_layer(self) -> Any:
        """The layer that marks the region, or None."""
        return self.box.currentData() if self.kind == "region" else None

    def offer(self, *, is_stack: bool, regions: Sequence[Any]) -> None:
        """Update the list; the choice stays while it is listed."""
        entries: list[tuple[str, Any]] = [("Whole layer", "layer")]
        entries += [("Slice shown", "slice")] if is_stack else []
        entries += [(f"Region '{layer.name}'", layer) for layer in regions]
        self.box.offer(entries, keep=self.box.currentData())
