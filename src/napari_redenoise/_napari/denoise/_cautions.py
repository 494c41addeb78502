"""Cautions in the summary of a run: the layer is no noisy image, or the view has no preview."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from napari_redenoise._napari._layers import METADATA_KEY
from napari_redenoise.io import is_own_result
from napari_redenoise.noise import NoiseReport, few_photons_in_words

DENOISED_ALREADY = (
    "This layer is denoised already, and a second pass removes signal: choose the noisy layer."
)
NO_NOISE = (
    "No noise was found: if another program denoised this layer, choose the noisy one instead."
)
NO_PREVIEW = "This view shows no preview: the 2-D view of y and x does."


def cautions(
    layer: Any, reports: tuple[NoiseReport, ...] | None, *, shows_planes: bool, trains: bool
) -> str:
    """What to consider before a run, each as a sentence that ends in a space."""
    said = []
    if is_denoised(layer):
        said.append(DENOISED_ALREADY)
    elif reports and all(report.is_clean for report in reports):
        said.append(NO_NOISE)
    elif few_photons := few_photons_in_words(reports or ()):
        said.append(f"{few_photons.capitalize()}.")
    if trains and not shows_planes:
        said.append(NO_PREVIEW)
    return "".join(f"{sentence} " for sentence in said)


def is_denoised(layer: Any) -> bool:
    """Whether a layer is a result of this plugin, of this session or read from its file."""
    if layer.metadata.get(METADATA_KEY, {}).get("content"):
        return True
    path = layer.source.path
    return bool(path) and _is_denoised_file(str(path), _changed_at(str(path)))


@lru_cache(maxsize=64)
def _is_denoised_file(path: str, _: float | None) -> bool:
    """Read a file once: the summary is made anew with every change of an option."""
    return is_own_result(path)


def _changed_at(path: str) -> float | None:
    try:
        return Path(path).stat().st_mtime
    except (OSError, ValueError):
        return None
