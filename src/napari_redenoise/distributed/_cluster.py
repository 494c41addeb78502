"""Connection to a dask cluster, or a local one."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from napari_redenoise.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS = 15.0
"""Time limit of a connection to a scheduler."""


@dataclass(frozen=True)
class Cluster:
    """The workers that denoise an image.

    Attributes
    ----------
    workers : int or None
        Start so many on this computer.
    scheduler : str or None
        Use those of the scheduler at this address, such as ``tcp://node1:8786``.
    """

    workers: int | None = None
    scheduler: str | None = None

    @contextmanager
    def client(self) -> Iterator[Client]:
        """Provide a client; local workers end with the block.

        Raises
        ------
        ClusterError
            When the scheduler does not answer, or dask.distributed is not installed.
        """
        _check_installed()
        context = _client_of(self.scheduler) if self.scheduler else _local_client(self.workers or 1)
        with context as client:
            yield client


def check_cluster(cluster: Cluster) -> None:
    """Check that a cluster can be used, before any work.

    Raises
    ------
    ClusterError
        When the scheduler does not answer, or dask.distributed is not installed.
    """
    _check_installed()
    if cluster.scheduler:
        with cluster.client():
            pass


def _check_installed() -> None:
    if find_spec("distributed") is None:
        raise ClusterError(
            "workers need dask.distributed, which is not installed: "
            "pip install 'napari-redenoise[distributed]'"
        )


@contextmanager
def _client_of(address: str) -> Iterator[Client]:
    import dask
    from distributed import Client

    limit = f"{CONNECT_SECONDS:g} s"
    with dask.config.set({"distributed.comm.timeouts.connect": limit}):
        try:
            client = Client(address, timeout=limit, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"the scheduler {address} does not answer within {limit}: check the address, and "
                "that it runs"
            ) from error
        with client:
            yield client


@contextmanager
def _local_client(workers: int) -> Iterator[Client]:
    from distributed import Client, LocalCluster

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=max(1, (cores or 1) // workers),
            # The memory of a prediction is bounded, and tensors are not what dask could spill.
            memory_limit=0,
            dashboard_address=None,
            # Workers that are ended with the run would warn.
            silence_logs=logging.CRITICAL,
        )
    except (OSError, RuntimeError) as error:
        raise ClusterError(
            f"{workers} workers cannot be started ({error}): give fewer --workers"
        ) from error
    with cluster, Client(cluster, set_as_default=False) as client:
        client.run(_ignore_ctrl_c)
        yield client


def _ignore_ctrl_c() -> None:
    """Leave Ctrl-C, which a terminal sends to workers, too, to the command."""
    # Workers may be threads of the command.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
