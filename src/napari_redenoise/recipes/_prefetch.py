"""Batches prefetched in threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Key = TypeVar("Key")
Batch = TypeVar("Batch")

MOST_WORKERS = 4


def default_workers() -> int:
    """Default number of threads; one core is left to the training."""
    usable = getattr(os, "sched_getaffinity", None)
    cores = len(usable(0)) if usable else os.cpu_count() or 1
    return min(MOST_WORKERS, cores - 1)


def prefetch(
    make: Callable[[Key], Batch], keys: Iterable[Key], workers: int
) -> Generator[Batch, None, None]:
    """Make batches in threads and yield them in the order of their keys.

    Parameters
    ----------
    make : callable
        Returns the batch of a key. It must be reproducible and thread-safe.
    keys : iterable
        May be endless: memory holds one batch more than there are workers.
    workers : int
        0 makes every batch on demand.

    Notes
    -----
    Threads suffice, since decoders and numpy's generators release the interpreter lock. They share
    the cached images, and a killed program leaves nothing behind. Closing the generator ends them.
    """
    keys = iter(keys)
    if workers == 0:
        yield from map(make, keys)
        return
    executor = ThreadPoolExecutor(workers, "batches")
    try:
        coming = deque(executor.submit(make, key) for key in islice(keys, workers + 1))
        while coming:
            batch = coming.popleft().result()
            coming.extend(executor.submit(make, key) for key in islice(keys, 1))
            yield batch
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
