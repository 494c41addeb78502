"""Quality checks of the result of an image file, as plain values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari_redenoise.assessment._report import assess
from napari_redenoise.assessment._support import as_denoiser, pixel_size_of
from napari_redenoise.io import ImageFile
from napari_redenoise.model import Redenoiser


def file_checks(
    denoiser: Redenoiser, source: ImageFile, denoised: Any, should_stop: Callable[[], bool]
) -> dict[str, Any]:
    """Check the result of an image file, for the manifest of a batch.

    Parameters
    ----------
    denoiser : Redenoiser
        The model that made the result.
    source : ImageFile
    denoised : array-like
        In the shape of the source.
    should_stop : callable
        As of `assess`.

    Returns
    -------
    dict
        As `QualityReport.summary`.

    Raises
    ------
    InputError
        When the noise cannot be measured.
    """
    report = assess(
        source.array,
        denoised,
        source.axes,
        denoiser=as_denoiser(denoiser, should_stop),
        pixel_size=pixel_size_of(source),
        should_stop=should_stop,
    )
    return report.summary()
