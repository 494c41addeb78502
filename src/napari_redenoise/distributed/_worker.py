"""What a worker does: it denoises blocks of an image, and writes them."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import dask
import numpy as np
import torch

from napari_redenoise import __version__
from napari_redenoise.data import Planes
from napari_redenoise.devices import available_devices
from napari_redenoise.distributed._blocks import Block
from napari_redenoise.errors import ClusterError
from napari_redenoise.io import ImageFile, OmeZarrBlocks, read_image, run_mark
from napari_redenoise.model import Redenoiser

_ONE_AT_A_TIME = threading.Lock()
"""A block uses all threads of a worker, and most of a GPU."""


@dataclass(frozen=True)
class Job:
    """What all blocks of a run share; it travels with each of them.

    Attributes
    ----------
    image : str
        File or address.
    axes : str or None
    series : int or None
    shape : tuple of int
        Of the image.
    folder : str
        Folder of the `UnfinishedRun`, which holds the model.
    mark : str
        Of the run, see `run_mark`.
    model : str
        Model file.
    outputs : tuple of (str, str)
        Names in a `Result`, and incomplete files.
    device : str or None
        Default the fastest one of each worker.
    versions : tuple of str
        See `versions`.
    """

    image: str
    axes: str | None
    series: int | None
    shape: tuple[int, ...]
    folder: str
    mark: str
    model: str
    outputs: tuple[tuple[str, str], ...]
    device: str | None = None
    versions: tuple[str, str] = (__version__, torch.__version__)


def denoise_block(job: Job, block: Block) -> int:
    """Denoise a block and write it.

    Returns
    -------
    int
        Number of its tiles.

    Raises
    ------
    ClusterError
        When the worker does not see the files, has other versions, or the run has ended.
    RedenoiseError
        As `Redenoiser.predict_events`.
    """
    name, threads = _this_worker()
    # Dask would read a lazy image by tasks of the cluster, which wait for this one.
    with _ONE_AT_A_TIME, dask.config.set(scheduler="synchronous"):
        # Per thread. Dask starts workers with one thread for torch.
        torch.set_num_threads(threads)
        return _prepared(job, name).denoise(block)


@dataclass(frozen=True)
class _Prepared:
    """A job on a worker, with its model and open files."""

    job: Job
    denoiser: Redenoiser
    image: ImageFile
    files: dict[str, OmeZarrBlocks]

    def denoise(self, block: Block) -> int:
        """Denoise a block and write it; return the number of its tiles."""
        axes = {
            name: self.image.axes.replace("C", "") if name == "mask" else self.image.axes
            for name in self.files
        }
        windows = {name: _Window(axes[name], file, block) for name, file in self.files.items()}
        tiles = 0
        for done in self.denoiser.predict_events(
            self.image.array,
            self.image.axes,
            outputs=windows,
            samples=[block.sample],
            window=block.window,
        ):
            tiles = done.tiles
        # Another run may have replaced this one while its client was lost.
        if run_mark(Path(self.job.folder)) != self.job.mark:
            raise ClusterError(
                f"the run in {self.job.folder} has ended meanwhile: give its command again"
            )
        for name, file in self.files.items():
            file.write(windows[name].key, windows[name].pixels)
        return tiles


class _Window:
    """The part of a result that a block covers, in memory; it is indexed as the whole result."""

    def __init__(self, axes: str, file: OmeZarrBlocks, block: Block) -> None:
        sample = iter(block.sample)
        spans = dict(zip("YX", block.window, strict=True)) | {"C": slice(None)}
        self.key: tuple[int | slice, ...] = tuple(
            spans[axis] if axis in spans else next(sample) for axis in axes
        )
        self._starts = [spans[axis].start or 0 for axis in axes if axis in spans]
        shape = [
            len(range(size)[one])
            for size, one in zip(file.shape, self.key, strict=True)
            if isinstance(one, slice)
        ]
        # float64 holds what is rounded to integers later.
        self.pixels = np.empty(shape, np.float32 if file.dtype == np.float32 else np.float64)

    def __setitem__(self, key: Sequence[int | slice], values: Any) -> None:
        slices = [one for one in key if isinstance(one, slice)]
        self.pixels[tuple(map(_shifted, slices, self._starts))] = values


def _shifted(one: slice, start: int) -> slice:
    return one if one.start is None else slice(one.start - start, one.stop - start)


@lru_cache(maxsize=1)
def _prepared(job: Job, name: str) -> _Prepared:
    """Load the model and open the files, once for all blocks of a job."""
    _check_versions(job, name)
    folder = Path(job.folder)
    if run_mark(folder) != job.mark:
        raise ClusterError(
            f"the worker {_place(name)} does not see {folder}: put image and result into a folder "
            "that all workers share under one name"
        )
    denoiser = Redenoiser.load(job.model, _device(job.device, name, available_devices()))
    image = read_image(job.image, job.axes, job.series)
    if tuple(image.array.shape) != job.shape:
        raise ClusterError(
            f"the worker {_place(name)} reads another image as {job.image}: put it into a folder "
            "that all workers share under one name"
        )
    without = Planes(image.array, image.axes).shape_without_channels
    files = {
        output: OmeZarrBlocks(
            Path(path),
            image.without_channels() if output == "mask" else image,
            without if output == "mask" else None,
        )
        for output, path in job.outputs
    }
    return _Prepared(job, denoiser, image, files)


def _check_versions(job: Job, name: str) -> None:
    found = __version__, torch.__version__
    if found != job.versions:
        (ours, our_torch), (theirs, their_torch) = job.versions, found
        raise ClusterError(
            f"the worker {_place(name)} has napari-redenoise {theirs} and torch {their_torch}, the "
            f"command has {ours} and {our_torch}: install the same versions"
        )


def _device(asked: str | None, name: str, available: Sequence[str]) -> str | None:
    """Device of a worker: of several GPUs that of its number, which ends its name."""
    gpus = [one for one in available if one.startswith("cuda")]
    number = re.search(r"\d+$", name)
    if asked not in (None, "auto", "cuda") or len(gpus) < 2 or number is None:
        return asked
    return gpus[int(number[0]) % len(gpus)]


def _this_worker() -> tuple[str, int]:
    """Name and number of threads of the worker that runs the task."""
    import distributed

    worker = distributed.get_worker()
    return str(worker.name), worker.state.nthreads


def _place(name: str) -> str:
    return f"{name} (process {os.getpid()} on {socket.gethostname()})"
