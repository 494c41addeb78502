"""Previews during training: their windows and intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FIRST_STEP = 20
"""Step of the first preview of a training from random weights."""

PREVIEW_SHARE = 0.1
"""Largest share of the training time for previews of an unchanged view."""

MIN_SECONDS = 2.0
"""Least time between two previews of an unchanged view, which also take time to draw."""


@dataclass(frozen=True)
class Window:
    """The part of one sample that a viewer shows."""

    sample: tuple[int, ...]
    rows: slice
    columns: slice


@dataclass(frozen=True)
class PreviewDone:
    """A denoised window (channels, rows, columns) in grey levels."""

    step: int
    window: Window
    denoised: np.ndarray
    mask: np.ndarray | None
