"""The files of a result, written in another thread."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_redenoise._napari._layers import LayerImage, as_shown, image_file
from napari_redenoise._napari._words import counted, file_name
from napari_redenoise._napari.denoise._extra_layers import Report, residual_image
from napari_redenoise.assessment import QualityReport
from napari_redenoise.errors import RedenoiseError
from napari_redenoise.io import (
    BRANCHES,
    ImageFile,
    check_folder,
    lost_metadata,
    read_image,
    write_atomically,
    write_result,
)
from napari_redenoise.model import Redenoiser

TIFF, ZARR = ".tif", ".zarr"
KINDS = {TIFF: "TIFF (*.tif *.tiff)", ZARR: "OME-Zarr (*.zarr)"}
"""Filters of the dialog, by ending."""

_ENDINGS = (TIFF, ".tiff", ZARR)


def ending_of(array: Any) -> str:
    """Ending for a result: OME-Zarr for those that are larger than memory."""
    return TIFF if isinstance(array, np.ndarray) else ZARR


def kinds(first: str) -> str:
    """Filters of the dialog, first that of an ending."""
    return ";;".join(sorted(KINDS.values(), key=lambda kind: kind != KINDS[first]))


def with_ending(name: str, kind: str, offered: str) -> Path:
    """A file name with the ending that the user typed, else that of the chosen filter.

    The dialog keeps the ``offered`` ending where the user chooses another filter.
    """
    path = Path(name)
    wanted = next((one for one, said in KINDS.items() if said == kind), offered)
    if path.suffix.lower() not in _ENDINGS:
        return Path(f"{name}{wanted}")
    return path.with_suffix(wanted) if path.suffix == offered else path


def file_like(source: LayerImage) -> ImageFile:
    """As `image_file`, with pixel size and units of the layer's file where the layer has none.

    napari's own reader of TIFFs drops them. Reads the file: not for the viewer's thread.
    """
    like = image_file(source)
    if source.file is None or like.metadata or like.resolution is not None:
        return like
    try:
        own = read_image(source.file)
    except (RedenoiseError, OSError):
        return like
    if own.axes != source.axes or tuple(own.array.shape) != tuple(source.array.shape):
        return like
    return replace(own, array=np.empty(0), notes=())


def write_image(
    path: Path,
    array: Any,
    like: ImageFile,
    *,
    overwrite: bool = False,
    provenance: dict[str, Any] | None = None,
) -> tuple[str, ...]:
    """Write an image by its ending, a denoised one with its provenance; return what it lacks.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    lost = lost_metadata(array, like, path)
    write_result(
        path,
        array,
        like,
        overwrite=overwrite,
        is_denoised=provenance is not None,
        provenance=provenance,
    )
    return lost


@dataclass(frozen=True)
class RunFiles:
    """All that is written of a result.

    Attributes
    ----------
    title : str
        Source, method and time.
    source : LayerImage
    denoised : array-like
    mask : array-like or None
    denoiser : Redenoiser
    provenance : dict
    report : QualityReport or None
        None where the quality checks failed.
    """

    title: str
    source: LayerImage
    denoised: Any
    mask: Any
    denoiser: Redenoiser
    provenance: dict[str, Any]
    report: QualityReport | None

    def write(self, parent: Path, should_stop: Callable[[], bool], report: Report) -> str:
        """Write all into a new folder; return the outcome in words.

        Raises
        ------
        OutputError
            When the folder cannot be made.
        """
        stem = file_name(self.source.name)
        folder = _new_folder(parent / f"{stem} denoised")
        written, failed, lost = [], [], dict[str, None]()
        for name, write in self._writers(should_stop, report):
            if should_stop():
                break
            path = folder / f"{stem}-{name}"
            try:
                lost |= dict.fromkeys(write(path) or ())
                written.append(path.name)
            except RedenoiseError as error:
                failed.append(f"{path.name} is not written: {error}.")
        lacking = f", without {', '.join(lost)}" if lost else ""
        return " ".join([f"Wrote {counted(len(written), 'file')} to {folder}{lacking}.", *failed])

    def _writers(
        self, should_stop: Callable[[], bool], report: Report
    ) -> Iterator[tuple[str, Callable[[Path], tuple[str, ...] | None]]]:
        """Names of files, and functions that write them: first what is there already."""
        like, ending = file_like(self.source), ending_of(self.denoised)

        def write(make: Callable[[], Any], like: ImageFile, path: Path) -> tuple[str, ...]:
            array = make()
            return () if should_stop() else write_image(path, array, like)

        denoised = partial(write_image, array=self.denoised, like=like, provenance=self.provenance)
        yield f"denoised{ending}", denoised
        yield "model.safetensors", self._write_model
        yield "report.txt", self._write_report
        if self.mask is not None:
            flat = like.without_channels()
            yield f"fusion-mask{ending}", partial(write, lambda: self.mask, flat)
        residual = partial(residual_image, self.source, self.denoised, [], should_stop, report)
        yield f"residual{ending}", partial(write, residual, like)
        if self.mask is not None:
            branches = cache(partial(self._branches, should_stop, report))
            for name in BRANCHES:
                make = partial(lambda name: branches()[name], name)
                yield f"{name}-branch{ending}", partial(write, make, like)

    def _branches(self, should_stop: Callable[[], bool], report: Report) -> dict[str, Any]:
        array, axes, session = self.source.array, self.source.axes, self.denoiser.session
        outputs = session.allocate(array, axes, names=BRANCHES)
        events = self.denoiser.predict_events(array, axes, outputs=outputs, should_stop=should_stop)
        for tile in events:
            report(tile.tile, tile.tiles)
        if not self.source.colour:
            return outputs
        return {name: as_shown(output, self.source) for name, output in outputs.items()}

    def _write_model(self, path: Path) -> None:
        self.denoiser.save(path)

    def _write_report(self, path: Path) -> None:
        with write_atomically(path, overwrite=False) as partial_file:
            partial_file.write_text(self._in_words(), encoding="utf-8")

    def _in_words(self) -> str:
        checks = ["The quality checks failed."] if self.report is None else self.report.sentences()
        settings = json.dumps(self.provenance, indent=2, default=str)
        return "\n".join(
            [
                self.title,
                f"Written on {datetime.now():%Y-%m-%d %H:%M}.",
                "",
                "Quality checks",
                *checks,
                "",
                "Residual: noisy minus denoised, in grey levels.",
                "",
                "Settings and versions",
                settings,
                "",
            ]
        )


def _new_folder(wanted: Path) -> Path:
    """Make a folder, with a number appended to its name if that is taken.

    Raises
    ------
    OutputError
        When it cannot be made.
    """
    folder, number = wanted, 0
    while os.path.lexists(folder):
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    check_folder(folder / "report.txt")
    return folder
