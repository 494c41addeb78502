"""Snapshots of a training, shown on the current view."""

from __future__ import annotations

import logging
from typing import Any

from qtpy.QtCore import QObject

from napari_redenoise._napari._add_layers import add_image
from napari_redenoise._napari._background_task import Task
from napari_redenoise._napari._layers import LayerImage, denoised_layer, expand_axes, placed_now
from napari_redenoise._napari._maps import window_placement
from napari_redenoise._napari._view import current_window
from napari_redenoise.model import PreviewDone, Redenoiser

logger = logging.getLogger(__name__)


class SnapshotViewer(QObject):
    """Shows snapshots as a layer, one at a time, and removes the layer again.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    layer : napari.layers.Image
        The noisy layer.
    source : LayerImage
        The noisy layer as plain values.
    denoiser : Redenoiser
        Model with the snapshots.
    """

    def __init__(self, viewer: Any, layer: Any, source: LayerImage, denoiser: Redenoiser) -> None:
        super().__init__()
        self._viewer, self._layer = viewer, layer
        self._source, self._denoiser = source, denoiser
        self._task: Any = None
        self._wanted: int | None = None
        self._over = False
        self.shown: Any = None

    @property
    def is_busy(self) -> bool:
        """Whether a snapshot remains to be shown."""
        return self._task is not None or self._wanted is not None

    def show(self, step: int) -> None:
        """Show the snapshot of a step; a later request replaces a waiting one."""
        self._wanted = step
        if self._task is None:
            self._next()

    def hide(self) -> None:
        """Remove the layer, until a snapshot is wanted again."""
        self._wanted = None
        self._remove()

    def leave(self) -> None:
        """Show no more snapshots."""
        self._over, self._wanted = True, None

    def clear(self) -> None:
        """Show no more snapshots and remove the layer."""
        self.leave()
        self._remove()

    def _remove(self) -> None:
        if self.shown is not None and self.shown in self._viewer.layers:
            self._viewer.layers.remove(self.shown)
        self.shown = None

    def _next(self) -> None:
        step, self._wanted = self._wanted, None
        if step is None or self._over or self._layer not in self._viewer.layers:
            return
        source = placed_now(self._source, self._viewer.layers, self._layer)
        window = current_window(self._viewer, self._layer, source)
        if window is None:
            return
        placed = window_placement(self._layer, source, window)

        def preview() -> PreviewDone:
            session = self._denoiser.session
            return session.preview(source.array, source.axes, window, step=step)

        def returned(done: PreviewDone) -> None:
            if not self._over:
                self._draw(source, step, placed, done)

        def errored(error: Exception) -> None:
            logger.error("a snapshot could not be shown", exc_info=error)

        def finished() -> None:
            self._task = None
            self._next()

        self._task = Task(preview, returned=returned, errored=errored, finished=finished)

    def _draw(
        self, source: LayerImage, step: int, placed: dict[str, Any], done: PreviewDone
    ) -> None:
        self._remove()
        _, keywords, _ = denoised_layer(source, done.denoised)
        name = f"{source.name} at step {step}"
        shown = expand_axes(source, done.denoised)
        self.shown = add_image(self._viewer, shown, {**keywords, **placed, "name": name})
