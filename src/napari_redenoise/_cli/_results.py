"""Output files of `redenoise denoise`, each independent of the others."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_redenoise._cli._app import predict_all
from napari_redenoise._cli._interruption import PARTIAL, Interruption
from napari_redenoise.data import Planes, result_dtype
from napari_redenoise.errors import OutputError
from napari_redenoise.io import (
    ImageFile,
    OmeZarrStream,
    RoundingArray,
    UnfinishedRun,
    bytes_needed,
    check_space,
    disk_space_needed,
    is_zarr,
    lack_in_words,
    lost_metadata,
    model_beside,
    ome_form,
    read_image,
    result_array,
    result_like,
    result_paths,
    result_type,
    write_tiff,
    write_under_free_name,
)
from napari_redenoise.model import Redenoiser, Result, should_recorrupt
from napari_redenoise.nn import build_network


@dataclass(frozen=True)
class Targets:
    """Output files and their form.

    Attributes
    ----------
    output, mask, model : Path or None
    overwrite : bool
    as_source : bool
        Whether denoised images have the integer type of their source.
    has_branches : bool
        Whether to write the outputs of both branches beside ``output``.
    """

    output: Path
    mask: Path | None = None
    model: Path | None = None
    overwrite: bool = False
    as_source: bool = False
    has_branches: bool = False

    @property
    def by_name(self) -> dict[str, Path]:
        """Output images, by name in a `Result`."""
        return result_paths(self.output, self.mask, has_branches=self.has_branches)

    def check(self, denoiser: Redenoiser, source: ImageFile) -> Iterator[str]:
        """Refuse results that could not be written, before any work; yield cautions.

        Raises
        ------
        OutputError
            When the disks have too little space, or no TIFF can hold the results.
        """
        cautions = dict[str, None]()
        needs, temporary = {}, []
        for name, path in self.by_name.items():
            like = result_like(name, source, as_source=self.as_source)
            if lost := lost_metadata(like.array, like, path):
                cautions[f"caution: {lack_in_words(path, lost)}"] = None
            needs[path] = bytes_needed(path, like)
            temporary += [] if is_zarr(path) else [needs[path]]
        trains = denoiser.config.training.total_steps > 0
        if not denoiser.session.is_trained and (trains or self.model is not None):
            # The model that is kept after an interruption, too.
            channels = Planes(source.array, source.axes).channels
            needs[self.model or model_beside(self.output)] = _model_size(denoiser, channels)
        folder, size = disk_space_needed(temporary)
        check_space(needs | {folder: size})
        yield from cautions


@dataclass
class Delivery:
    """Writes the results of one run, and keeps the model where they are not complete.

    Parameters
    ----------
    denoiser : Redenoiser
    source : ImageFile
    targets : Targets
    asked : Interruption
    command : list of str
        Arguments of the command that makes the results with a model, without the model.
    run : UnfinishedRun, optional
        Keeps the model and incomplete results until they are complete.
    by_workers : callable, optional
        Has the workers of a cluster denoise what the results lack.

    Attributes
    ----------
    is_complete : bool
        Whether all results are written.
    has_failed : bool
        Whether a result could not be written.
    has_written : bool
        Whether a result is written.
    model_file : Path or None
        File of the model.
    """

    denoiser: Redenoiser
    source: ImageFile
    targets: Targets
    asked: Interruption
    command: list[str] = field(default_factory=list)
    run: UnfinishedRun | None = None
    by_workers: Callable[[dict[str, OmeZarrStream]], None] | None = None
    is_complete: bool = False
    has_failed: bool = False
    has_written: bool = False
    model_file: Path | None = None

    @property
    def exit_code(self) -> int:
        """0 where all results are written, 3 where some are."""
        failed = PARTIAL if self.has_written else 1
        return self.asked.exit_code or (failed if self.has_failed else 0)

    @property
    def _has_learned(self) -> bool:
        return bool(self.denoiser.session.step)

    def save_model(self) -> None:
        """Write the model, if requested."""
        if self.targets.model is not None and (self._has_learned or not self.asked.is_set()):
            self.model_file = self._write(self.targets.model, self._saving)

    def denoise(self) -> Result | None:
        """Denoise and write all images; None after an interruption."""
        if self.asked.is_set():
            return None
        streams: dict[str, OmeZarrStream] = {}
        try:
            if self.run is not None and not self.run.is_continued:
                self.denoiser.save(self.run.model)
            self._open_streams(streams)
            result = self._predict(streams)
            if self.asked.is_set():
                return None
            written = {
                name: self._write(path, self._writing(name, getattr(result, name)))
                for name, path in self.targets.by_name.items()
            }
        finally:
            for stream in streams.values():
                stream.remove()
        self.is_complete = None not in written.values()
        return result if "denoised" not in streams else self._stored(result, written["denoised"])

    def _predict(self, streams: dict[str, OmeZarrStream]) -> Result:
        if self.by_workers is not None:
            self.by_workers(streams)
            outputs: dict[str, Any] = dict(streams)
            return Result(**outputs, provenance=self.denoiser.session.provenance)
        rounding = self._rounding_arrays()
        result = predict_all(
            self.denoiser,
            self.source,
            self.asked,
            names=[*self.targets.by_name],
            given={**streams, **rounding},
            samples=self._missing_planes(streams),
        )
        return replace(result, **{name: one.array for name, one in rounding.items()})

    def _rounding_arrays(self) -> dict[str, RoundingArray]:
        """Arrays for the results in TIFF that have the integer type of the source."""
        planes = Planes(self.source.array, self.source.axes)
        dtype = result_type(self.source.array, as_source=self.targets.as_source)
        if dtype.kind not in "ui":
            return {}
        return {
            name: RoundingArray(result_array(planes, dtype=dtype))
            for name, path in self.targets.by_name.items()
            if name != "mask" and not is_zarr(path)
        }

    def _open_streams(self, streams: dict[str, OmeZarrStream]) -> None:
        """Open the results that are written while they are predicted."""
        planes = Planes(self.source.array, self.source.axes)
        for name, path in self.targets.by_name.items():
            if is_zarr(path):
                streams[name] = OmeZarrStream(
                    path,
                    result_like(name, self.source),
                    None,
                    np.float32 if name == "mask" else self._stream_dtype(planes),
                    self.denoiser.session.provenance,
                    None if self.run is None else self.run.folder_for(path),
                )

    def _missing_planes(self, streams: dict[str, OmeZarrStream]) -> list[tuple[int, ...]] | None:
        """Planes that no earlier run has written; None for all."""
        if self.run is None or not self.run.is_continued:
            return None
        planes = [*Planes(self.source.array, self.source.axes).indices()]
        finished = set.intersection(*(stream.finished for stream in streams.values()))
        self.asked.say(
            f"continues the unfinished run: {len(finished)} of {len(planes)} planes are written"
        )
        if should_recorrupt(self.denoiser.session.trained_plan().config):
            # One random generator draws for all planes in turn.
            return None
        return [sample for sample in planes if sample not in finished]

    def _stream_dtype(self, planes: Planes) -> np.dtype[Any]:
        dtype = result_type(self.source.array, as_source=self.targets.as_source)
        return dtype if dtype.kind in "ui" else np.dtype(result_dtype(planes))

    def _stored(self, result: Result, where: Path | None) -> Result | None:
        """The result as it is stored, which is read when it is indexed."""
        if where is None:
            return None
        form = ome_form(self.source.array.shape, self.source)
        return replace(result, denoised=form.read(read_image(where).array))

    def close(self) -> None:
        """Keep the unfinished run if its results are not complete."""
        if self.run is not None and self.is_complete:
            self.run.remove()
        elif self.run is not None:
            self.run.close()

    def keep_model(self) -> None:
        """Write the model beside the image, if the results are not complete."""
        if self.run is not None and self.run.model.is_file():
            # What is written would be refused, as the files of others are.
            options = [
                *(["with --overwrite"] if self.has_written and not self.targets.overwrite else []),
                *(["without --save-model"] if self.targets.model is not None else []),
            ]
            changed = f", {' and '.join(options)}," if options else ""
            self.asked.say(
                f"redenoise: {self._outcome()}: {self.run.path} holds the model and the planes "
                f"that are written; the same command{changed} continues",
                err=True,
            )
            return
        if not self._has_learned:
            if self.asked.exit_code:
                self.asked.say("redenoise: stopped before the first step", err=True)
            return
        lost = not self.is_complete or self.targets.model is not None
        if self.model_file is None and lost:
            for path in _places(self.targets.output):
                self.model_file = self._write(path, self._saving, others=True)
                if self.model_file is not None:
                    break
        if self.model_file is not None and not self.is_complete:
            words = [*self.command, "--model", str(self.model_file)]
            self.asked.say(
                f"redenoise: {self._outcome()}: {self.model_file} holds the trained model; to "
                f"denoise with it: {shlex.join(words)}",
                err=True,
            )

    def _outcome(self) -> str:
        if not self.asked.exit_code:
            return "not all results are written"
        session = self.denoiser.session
        planned = session.trained_plan().config.training.total_steps
        return f"stopped after {session.step} of {planned} steps"

    def _writing(self, name: str, array: Any) -> Callable[[Path], object]:
        overwrite = self.targets.overwrite
        if isinstance(array, OmeZarrStream):
            return lambda path: array.move_to(path, overwrite=overwrite)
        like = result_like(name, self.source)
        return lambda path: write_tiff(
            path, array, like, overwrite=overwrite, is_denoised=name == "denoised"
        )

    def _saving(self, path: Path) -> object:
        return self.denoiser.save(path, overwrite=self.targets.overwrite)

    def _write(
        self, path: Path, write: Callable[[Path], object], *, others: bool = False
    ) -> Path | None:
        """Write a file and report it; ``others`` never replace a file."""
        try:
            if self.targets.overwrite and not others:
                write(path)
                where = path
            else:
                where = write_under_free_name(path, write)
        except OutputError as error:
            self.has_failed = True
            self.asked.say(f"redenoise: {error}", err=True)
            return None
        self.has_written = self.has_written or not others
        self.asked.emit("written", path=str(where))
        taken = f", because {path.name} exists now"
        self.asked.say(f"wrote {where}{'' if others or where == path else taken}")
        return where


def _places(output: Path) -> list[Path]:
    """Files for a kept model: beside the image, or in other folders with space."""
    first = model_beside(output)
    others = Path(first.name), Path(tempfile.gettempdir()) / first.name
    return list(dict.fromkeys([first, *others]))


def _model_size(denoiser: Redenoiser, channels: int) -> int:
    """Bytes of the model without its header."""
    config = denoiser.config.replace({"network.channels": channels}).network
    tensors = build_network(config, torch.Generator()).state_dict().values()
    return sum(tensor.nbytes for tensor in tensors)
