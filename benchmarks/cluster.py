"""What a cluster costs: blocks on 1 to 64 workers, against the ideal of no overhead.

The network is replaced by a stub. With many workers a block sleeps, and the workers are threads of
one process: what is measured are the submission, the scheduler and the answers. With two workers,
which are processes, a block computes for a fixed amount of work, one thread each.
"""

import time
from collections.abc import Callable

import torch
from _report import append, machine, publish, rows, table
from distributed import Client, LocalCluster

from napari_redenoise.distributed import Block, Job, _run, predict_blocks

NAME = "cluster"
SECONDS = 1.0
"""Of a block that sleeps; with a network on a GPU, a block takes about as long."""

EACH = 8
"""Blocks per worker."""

JOB = Job("", None, None, (1, 64, 64), "", "", "", ())


def main() -> None:
    """Run on all numbers of workers, and write the table."""
    for workers in (1, 4, 16, 64):
        measure("sleeping", workers, sleep, SECONDS, processes=False)
    one = measured_work()
    for workers in (1, 2):
        measure("computing", workers, compute, one, processes=True)
    publish(NAME, report())


def sleep(job: Job, block: Block) -> int:
    """Stand for a network on a GPU."""
    time.sleep(SECONDS)
    return 1


def compute(job: Job, block: Block) -> int:
    """Stand for a network on one core."""
    torch.set_num_threads(1)
    x, weight = torch.ones(1, 32, 256, 256), torch.ones(32, 32, 3, 3)
    for _ in range(20):
        torch.nn.functional.conv2d(x, weight, padding=1)
    return 1


def measured_work() -> float:
    """Seconds of a computing block in this process, where nothing else runs."""
    compute(JOB, block(0))
    began = time.perf_counter()
    for number in range(4):
        compute(JOB, block(number))
    return (time.perf_counter() - began) / 4


def block(number: int) -> Block:
    """A block of a stack."""
    return Block((number,), (0, 64), (0, 64))


def measure(
    kind: str, workers: int, work: Callable[[Job, Block], int], seconds: float, *, processes: bool
) -> None:
    """Run the blocks of one number of workers, after a round that starts them."""
    _run.denoise_block = work
    blocks = [block(number) for number in range(EACH * workers)]
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=processes,
            # Workers that are threads would share one limit.
            memory_limit=0,
            dashboard_address=None,
        ) as cluster,
        Client(cluster) as client,
    ):
        for _ in predict_blocks(client, JOB, blocks[: 2 * workers]):
            pass
        began = time.perf_counter()
        for _ in predict_blocks(client, JOB, blocks):
            pass
        took = time.perf_counter() - began
    ideal = EACH * seconds
    row = {"blocks": kind, "workers": workers, "ideal_s": f"{ideal:.2f}", "took_s": f"{took:.2f}"}
    append(NAME, {**row, "overhead_ms": f"{1000 * (took - ideal) / len(blocks):.1f}"})
    print(row, flush=True)


def report() -> str:
    """The latest row of every number of workers."""
    latest = {(row["blocks"], row["workers"]): row for row in rows(NAME)}
    lines = [
        [
            row["blocks"],
            row["workers"],
            row["took_s"],
            row["overhead_ms"],
            f"{100 * float(row['ideal_s']) / float(row['took_s']):.0f}",
        ]
        for row in latest.values()
    ]
    head = ["blocks", "workers", "s", "overhead per block, ms", "share of the ideal, %"]
    return f"{table(head, lines)}\n\n{machine()}."


if __name__ == "__main__":
    main()
