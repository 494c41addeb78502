"""``redenoise denoise`` with workers: options and prediction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from tqdm import tqdm

from napari_redenoise._cli._interruption import Interruption
from napari_redenoise.config import Config
from napari_redenoise.data import Planes
from napari_redenoise.distributed import (
    Block,
    Cluster,
    Job,
    check_cluster,
    plane_blocks,
    predict_blocks,
)
from napari_redenoise.errors import ConfigError
from napari_redenoise.io import ImageFile, OmeZarrStream, UnfinishedRun, is_zarr, run_mark
from napari_redenoise.model import Redenoiser, should_recorrupt


def chosen_cluster(
    workers: int | None, scheduler: str | None, results: Mapping[str, Path]
) -> Cluster | None:
    """Check the options of a cluster, and that it answers; None without one."""
    if workers is None and scheduler is None:
        return None
    if workers is not None and scheduler is not None:
        raise ConfigError("--workers starts workers and --scheduler has some: omit one of them")
    for path in results.values():
        if not is_zarr(path):
            raise ConfigError(
                f"workers write OME-Zarr, and {path.name} is none: give a name that ends in .zarr"
            )
    cluster = Cluster(workers, scheduler)
    check_cluster(cluster)
    return cluster


def refuse_draws(config: Config) -> None:
    """Refuse a model that draws random numbers, which workers would draw in another order."""
    if should_recorrupt(config):
        raise ConfigError(
            "R2R from random weights draws random numbers plane after plane, which workers cannot "
            "share: omit --workers and --scheduler, or choose another --objective"
        )


def predict_by_workers(
    denoiser: Redenoiser,
    cluster: Cluster,
    source: ImageFile,
    place: tuple[Path, str | None, int | None],
    run: UnfinishedRun,
    streams: Mapping[str, OmeZarrStream],
    device: str | None,
    asked: Interruption,
) -> None:
    """Denoise the missing blocks of an image by the workers of a cluster, with a progress bar.

    ``place`` is the file of the image, its axes and its series.
    """
    image, axes, series = place
    job = Job(
        str(image.absolute() if image.exists() else image),
        axes,
        series,
        tuple(map(int, source.array.shape)),
        str(run.path.absolute()),
        run_mark(run.path) or "",
        str(run.model.absolute()),
        tuple((name, str(stream.partial.absolute())) for name, stream in streams.items()),
        device,
    )
    is_corrected = bool(denoiser.session.trained_plan().corrections)
    written = [stream.written_block for stream in streams.values()]
    largest = max(rows for rows, _ in written), max(columns for _, columns in written)
    planes = Planes(source.array, source.axes)
    # Corrections are measured in whole planes.
    blocks = plane_blocks(planes, largest, whole=is_corrected)
    missing = [*_missing(blocks, streams)]
    total = sum(map(len, blocks.values()))
    if run.is_continued:
        asked.say(
            f"continues the unfinished run: {total - len(missing)} of {total} blocks are written"
        )
    # A signal ends the run between two blocks.
    asked.keeps = True
    with (
        tqdm(desc="denoising", unit="block", total=total, file=asked.bar_stream()) as bar,
        cluster.client() as client,
    ):
        bar.update(total - len(missing))
        for done in predict_blocks(client, job, missing, asked.is_set):
            for stream in streams.values():
                sample = done.block.sample
                stream.note_block(sample, done.block.place, len(blocks[sample]))
            bar.set_description(f"denoising, workers: {done.workers}", refresh=False)
            bar.update()


def _missing(
    blocks: Mapping[tuple[int, ...], list[Block]], streams: Mapping[str, OmeZarrStream]
) -> Iterator[Block]:
    """Blocks that are not written in all results."""
    for sample, of_plane in blocks.items():
        for block in of_plane:
            if not all(
                sample in stream.finished or block.place in stream.blocks.get(sample, ())
                for stream in streams.values()
            ):
                yield block
