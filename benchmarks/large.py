"""Peak memory of `redenoise denoise` on 20 GB images: OME-Zarr and TIFF, both made here.

Each image is denoised by the command, in a process of its own, for ``--seconds``: a whole run
takes hours. ``--runs``: ``small`` is a small network, ``default`` fine-tunes the default network
first, ``identity`` replaces the network by the identity, to read and write many planes. The
images need 30 GB on the disk of ``--folder`` and are deleted afterwards.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from _report import append, machine, publish, rows, table

from napari_redenoise import Config, Redenoiser
from napari_redenoise.io import ImageFile, ome_zarr_stream, read_image

NAME = "large"
SIDE, PLANES = 2048, 2400
"""Of uint16: 20.1 GB."""

DIFFERENT = 64
"""Planes of the OME-Zarr with chunks of their own; the others are links to them."""

SMALL = {
    "network.kind": "adarenet",
    "network.levels": 2,
    "network.encoder_width": 8,
    "network.decoder_width": 16,
    "network.context": 0,
    "objective.kind": "noise2self",
    "training.start": "random",
    "training.steps": 20,
    "training.patch_size": 32,
}

IDENTITY = """
import numpy as np
from types import SimpleNamespace
from napari_redenoise import _cli
from napari_redenoise.inference import _predict
_predict.predict_tile = lambda network, window, *_, **__: SimpleNamespace(denoised=window)
_cli.main()
"""


def main() -> None:
    """Measure what is asked for, and write the table."""
    options = parsed()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        for kind in options.formats:
            path, planes = made(folder, kind, options.planes), options.planes
            for run in options.runs:
                row = {"image": kind, "network": run, "gigabytes": f"{planes * SIDE**2 * 2e-9:.1f}"}
                append(NAME, row | measured(folder, path, run, options.seconds))
                print(rows(NAME)[-1], flush=True)
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    publish(NAME, report())


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where the images are made")
    parser.add_argument("--seconds", type=float, default=240, help="of a run")
    parser.add_argument("--planes", type=int, default=PLANES)
    parser.add_argument("--formats", nargs="+", default=["zarr", "tiff"])
    parser.add_argument("--runs", nargs="+", default=["small", "identity"])
    return parser.parse_args()


def noise() -> Iterator[np.ndarray]:
    """Planes of photon counts, each another part of one."""
    counts = np.random.default_rng(0).poisson(8, (SIDE + 64, SIDE + 64)).astype(np.uint16)
    while True:
        for shift in range(64):
            yield np.ascontiguousarray(counts[shift : shift + SIDE, shift : shift + SIDE])


def made(folder: Path, kind: str, count: int) -> Path:
    """Make the image; one plane of it is in memory at a time."""
    path, planes = folder / f"in.{kind}", noise()
    if kind == "tiff":
        with tifffile.TiffWriter(path, bigtiff=True) as file:
            stream = (next(planes) for _ in range(count))
            file.write(
                stream,
                shape=(count, SIDE, SIDE),
                dtype=np.uint16,
                photometric="minisblack",
                metadata={"axes": "ZYX"},
            )
        return path
    few = min(count, DIFFERENT)
    like = ImageFile(np.broadcast_to(np.uint16(0), (few, SIDE, SIDE)), "ZYX")
    with ome_zarr_stream(path, like, dtype=np.uint16) as stream:
        for number in range(few):
            stream[number, slice(0, SIDE), slice(0, SIDE)] = next(planes)
    for level in path.glob("[0-9]*"):
        for number in range(few, count):
            repeat(level / "c" / str(number % few), level / "c" / str(number))
        described = level / "zarr.json"
        metadata = json.loads(described.read_text())
        metadata["shape"][0] = count
        described.write_text(json.dumps(metadata))
    return path


def repeat(plane: Path, other: Path) -> None:
    """Link the chunks of a plane, which takes no space."""
    for chunk in plane.rglob("*"):
        if chunk.is_file():
            target = other / chunk.relative_to(plane)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(chunk, target)


def measured(folder: Path, path: Path, run: str, seconds: float) -> dict[str, object]:
    """Denoise an image in another process and measure its peak memory, for so many seconds."""
    out, model = folder / "out.zarr", folder / "model.safetensors"
    if not model.exists():
        Redenoiser(Config().replace(SMALL), "cpu").fit(next(noise())[:512, :512]).save(model)
    program = IDENTITY if run == "identity" else "from napari_redenoise import _cli; _cli.main()"
    command = ["denoise", path, out, "--as-source", "--device", "cpu"]
    command += [] if run == "default" else ["--model", model]
    began = time.monotonic()
    child = subprocess.Popen([sys.executable, "-c", program, *map(str, command)])
    timer = threading.Timer(seconds, child.terminate)
    timer.start()
    # Of this process alone, unlike resource.getrusage(RUSAGE_CHILDREN).
    _, status, usage = os.wait4(child.pid, 0)
    timer.cancel()
    took, code = time.monotonic() - began, os.waitstatus_to_exitcode(status)
    if code not in (0, 128 + signal.SIGTERM, -signal.SIGTERM):
        sys.exit(f"the run ended with {code}")
    planes = written(out)
    for one in (out, unfinished(out)):
        shutil.rmtree(one, ignore_errors=True)
    # Linux counts in kibibytes.
    peak = usage.ru_maxrss * 1024 / 1e9
    return {"planes": planes, "seconds": f"{took:.0f}", "peak": f"{peak:.2f}"}


def unfinished(out: Path) -> Path:
    """The folder that keeps a run."""
    return out.with_name(f".{out.name}.unfinished")


def written(out: Path) -> int:
    """Number of planes that a run has written."""
    if out.exists():
        return int(read_image(out).array.shape[0])
    progress = unfinished(out) / f"{out.name}.progress"
    return len(progress.read_text().splitlines()) if progress.exists() else 0


def report() -> str:
    """The table of all rows, and where they were measured."""
    words = {
        "small": "small AdaReNet",
        "default": "default, fine-tuned first",
        "identity": "none: planes are read and written",
    }
    lines = [
        [
            {"zarr": "OME-Zarr", "tiff": "BigTIFF"}[row["image"]],
            row["gigabytes"],
            words[row["network"]],
            row["planes"],
            row["seconds"],
            row["peak"],
        ]
        for row in rows(NAME)
    ]
    header = ["image", "GB", "network", "planes written", "s", "peak resident memory, GB"]
    return table(header, lines) + f"\n\n{machine()}."


if __name__ == "__main__":
    main()
