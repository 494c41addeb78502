"""The choice where to train: a row of the options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QComboBox, QFormLayout

from napari_redenoise._napari._words import narrow
from napari_redenoise._napari.denoise._training_region import RegionKind


class TrainingRegionChoice(QObject):
    """The whole layer, the slice that is shown, all selected layers, or inside a region."""

    changed = Signal()

    def __init__(self, form: QFormLayout) -> None:
        super().__init__()
        self.box = narrow(QComboBox())
        self.box.setToolTip(
            "Where the network learns; the whole layer is denoised in any case. A region is what "
            "a Shapes or Labels layer marks. Selected layers are learned from together, and each "
            "is denoised."
        )
        form.addRow("L&earn in", self.box)
        self._regions: list[Any] = []
        self.offer(is_stack=False, selected=1, regions=())
        self.box.currentIndexChanged.connect(self.changed)

    @property
    def kind(self) -> RegionKind:
        """What is chosen."""
        chosen = self.box.currentData()
        return "region" if isinstance(chosen, int) else chosen

    @property
    def region_layer(self) -> Any:
        """The layer that marks the region; None without one."""
        return self._regions[self.box.currentData()] if self.kind == "region" else None

    def offer(self, *, is_stack: bool, selected: int, regions: Sequence[Any]) -> None:
        """List what there is now; what is chosen stays while it is there."""
        before, region = (self.kind, self.region_layer) if self.box.count() else ("layer", None)
        self._regions = list(regions)
        self.box.blockSignals(True)
        self.box.clear()
        self.box.addItem("the whole layer", "layer")
        if is_stack:
            self.box.addItem("the slice that is shown", "slice")
        if selected > 1:
            self.box.addItem(f"all {selected} selected layers", "selected")
        for number, layer in enumerate(regions):
            self.box.addItem(f"the region '{layer.name}'", number)
        numbers = [n for n, layer in enumerate(regions) if before == "region" and layer == region]
        wanted = numbers[0] if numbers else before
        found = [n for n in range(self.box.count()) if self.box.itemData(n) == wanted]
        self.box.setCurrentIndex(found[0] if found else 0)
        self.box.blockSignals(False)
