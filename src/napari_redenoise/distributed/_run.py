"""A run on a cluster, as a generator of events."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any

from napari_redenoise.distributed._blocks import Block
from napari_redenoise.distributed._worker import Job, denoise_block
from napari_redenoise.errors import ClusterError, RedenoiseError

if TYPE_CHECKING:
    from distributed import Client

_POLL_SECONDS, _COUNT_SECONDS = 0.2, 2.0
_PER_WORKER = 2
"""Blocks: one that is denoised, and the next."""

_LEAST = 4
"""Blocks that show a cluster without workers that it needs some."""

_RETRIES = 2
"""After errors of a worker; the blocks of lost workers are repeated without them."""


@dataclass(frozen=True)
class BlockDone:
    """A block is written.

    Attributes
    ----------
    block : Block
    workers : int
        Number of workers.
    """

    block: Block
    workers: int


def predict_blocks(
    client: Client,
    job: Job,
    blocks: Sequence[Block],
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[BlockDone]:
    """Denoise blocks by the workers of a cluster, which write them.

    Parameters
    ----------
    client : distributed.Client
    job : Job
    blocks : sequence of Block
    should_stop : callable, optional
        Ends the prediction.

    Yields
    ------
    BlockDone
        In the order in which they are finished.

    Raises
    ------
    ClusterError
        When the scheduler or a worker fails.
    RedenoiseError
        As `denoise_block`.
    """
    run = _Run(client, job, blocks)
    try:
        yield from run.events(should_stop or (lambda: False))
    finally:
        run.cancel()


class _Run:
    """Blocks that wait, and those that the scheduler has."""

    def __init__(self, client: Client, job: Job, blocks: Sequence[Block]) -> None:
        self._client, self._job = client, job
        self._waiting = deque(blocks)
        self._futures: dict[Any, Block] = {}
        self._finished: SimpleQueue[Any] = SimpleQueue()
        self._workers, self._counted = 0, -_COUNT_SECONDS

    def events(self, should_stop: Callable[[], bool]) -> Iterator[BlockDone]:
        while (self._waiting or self._futures) and not should_stop():
            self._count_workers()
            self._submit()
            try:
                future = self._finished.get(timeout=_POLL_SECONDS)
            except Empty:
                continue
            block = self._futures.pop(future)
            self._check(future)
            yield BlockDone(block, self._workers)

    def _count_workers(self) -> None:
        """Ask for the number of workers from time to time; a scheduler that is lost is noticed."""
        if monotonic() - self._counted < _COUNT_SECONDS and self._client.status == "running":
            return
        try:
            self._require_scheduler()
            self._workers = len(self._client.nthreads())
        except (OSError, RuntimeError) as error:
            raise self._lost() from error
        self._counted = monotonic()

    def _require_scheduler(self) -> None:
        if self._client.status != "running":
            raise self._lost()

    def _lost(self) -> ClusterError:
        return ClusterError(
            "the connection to the scheduler is lost: start it, and give the command again"
        )

    def _submit(self) -> None:
        most = max(_LEAST, _PER_WORKER * self._workers)
        while self._waiting and len(self._futures) < most:
            block = self._waiting.popleft()
            future = self._client.submit(
                denoise_block, self._job, block, pure=False, retries=_RETRIES
            )
            self._futures[future] = block
            future.add_done_callback(self._finished.put)

    def _check(self, future: Any) -> None:
        """Raise the error of a task."""
        if future.status == "finished":
            return
        self._require_scheduler()
        try:
            future.result()
        except RedenoiseError:
            raise
        # Any error of the worker's libraries may arrive here.
        except Exception as error:
            raise _explained(error) from error

    def cancel(self) -> None:
        """Have the scheduler forget what is not finished."""
        if self._futures and self._client.status == "running":
            self._client.cancel(list(self._futures), force=True)
        self._futures.clear()


def _explained(error: Exception) -> ClusterError:
    """Name cause and remedy of an error of a worker."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return ClusterError(
            "several workers ended while they denoised the same block: give them more memory, or "
            "see their logs"
        )
    if isinstance(error, ImportError):
        return ClusterError(
            f"a worker cannot import what it needs ({error}): install napari-redenoise there, in "
            "the same version"
        )
    said = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return ClusterError(f"a worker failed ({said}): see its log")
