"""Quality checks of the result of an image file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari_redenoise.assessment._report import QualityReport, assess
from napari_redenoise.assessment._support import as_denoiser, pixel_size_of
from napari_redenoise.data import ArrayLike
from napari_redenoise.io import ImageFile
from napari_redenoise.model import Redenoiser


def assess_file(
    source: ImageFile,
    denoised: ArrayLike,
    model: Redenoiser | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> QualityReport:
    """Check the result of an image file, see `assess`.

    Parameters
    ----------
    source : ImageFile
    denoised : array-like
        In the shape of the source.
    model : Redenoiser, optional
        The model that made the result.
    should_stop : callable, optional
        As of `assess`.

    Raises
    ------
    InputError
        When the noise cannot be measured.
    """
    return assess(
        source.array,
        denoised,
        source.axes,
        denoiser=None if model is None else as_denoiser(model, should_stop),
        pixel_size=pixel_size_of(source),
        should_stop=should_stop,
    )


def file_checks(
    model: Redenoiser, source: ImageFile, denoised: Any, should_stop: Callable[[], bool]
) -> dict[str, Any]:
    """Check the result of an image file, for the manifest of a batch."""
    return assess_file(source, denoised, model, should_stop).summary()
