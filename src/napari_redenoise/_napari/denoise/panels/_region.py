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
        self._regions: list[Any] = []
        self.offer(is_stack=False, regions=())
        self.box.currentIndexChanged.connect(self.changed)

    def set_available(self, reason: str) -> None:
        """Disable the choice where there is a reason."""
        set_available(self.box, reason, REGION)

    @property
    def kind(self) -> RegionKind:
        """The chosen kind of region."""
        chosen = self.box.currentData()
        return "region" if isinstance(chosen, int) else chosen

    def choose(self, kind: RegionKind) -> None:
        """Choose a kind that is listed."""
        numbers = [n for n in range(self.box.count()) if self.box.itemData(n) == kind]
        if numbers:
            self.box.setCurrentIndex(numbers[0])

    @property
    def region_layer(self) -> Any:
        """The layer that marks the region, or None."""
        return self._regions[self.box.currentData()] if self.kind == "region" else None

    def offer(self, *, is_stack: bool, regions: Sequence[Any]) -> None:
        """Update the list; the choice stays while it is listed."""
        before, region = (self.kind, self.region_layer) if self.box.count() else ("layer", None)
        self._regions = list(regions)
        self.box.blockSignals(True)
        self.box.clear()
        self.box.addItem("Whole layer", "layer")
        if is_stack:
            self.box.addItem("Slice shown", "slice")
        for number, layer in enumerate(regions):
            self.box.addItem(f"Region '{layer.name}'", number)
        numbers = [n for n, layer in enumerate(regions) if before == "region" and layer == region]
        wanted = numbers[0] if numbers else before
        found = [n for n in range(self.box.count()) if self.box.itemData(n) == wanted]
        self.box.setCurrentIndex(found[0] if found else 0)
        self.box.blockSignals(False)
