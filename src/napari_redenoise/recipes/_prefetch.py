"""Batches that are made while those before them are trained on."""

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
    """Threads that make batches: one core is left to the training, and few of them suffice."""
    usable = getattr(os, "sched_getaffinity", None)
    cores = len(usable(0)) if usable else os.cpu_count() or 1
    return min(MOST_WORKERS, cores - 1)


def prefetch(
    make: Callable[[Key], Batch], keys: Iterable[Key], workers: int
) -> Generator[Batch, None, None]:
    """Make batches in other threads, and give them in the order of their keys.

    Parameters
    ----------
    make : callable
        Gives the same batch for the same key whenever it is called; with more than one worker it
        is called several times at once.
    keys : iterable
        May be endless: there is one more batch in memory than there are workers.
    workers : int
        0 makes every batch when it is asked for.

    Notes
    -----
    Threads and not processes: decoders and numpy's generators let go of the interpreter while they
    work, images that were read are shared, nothing is left behind by a program that is killed, and
    scripts need no guard where processes are spawned. Leaving the generator ends the threads.
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
