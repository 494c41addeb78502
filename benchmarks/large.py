"""Peak memory of `redenoise denoise` on 20 GB images: OME-Zarr and TIFF, both made here.

Each image is denoised by the command into its own format, in a process of its own. ``--runs``:
``mean`` replaces the network by the mean of 3 x 3 pixels, so that the run reaches its end; the
result is compared with that mean. ``small`` is a small network and ``default`` fine-tunes the
default network first; both end after ``--seconds``, since they would take hours. Images and
results need 50 GB on the disk of ``--folder`` and are deleted afterwards.
"""

import argparse
import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from _report import append, machine, publish, rows, table
from scipy.ndimage import uniform_filter

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

MEAN = """
from types import SimpleNamespace
import numpy as np
from scipy.ndimage import uniform_filter
from napari_redenoise import _cli
from napari_redenoise.inference import _predict
def mean(network, window, *_, **__):
    return SimpleNamespace(denoised=uniform_filter(window.astype(np.float32), (1, 3, 3)))
_predict.predict_tile = mean
_cli.main()
"""
"""The command with a network that costs nothing, and needs the halo all the same."""

CHECKED = 24
"""Planes of a whole result that are compared with the mean."""


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
    parser.add_argument("--runs", nargs="+", default=["small", "mean"])
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
    """Denoise an image in another process, and measure its memory."""
    model = folder / "model.safetensors"
    out = folder / ("out.zarr" if path.suffix == ".zarr" else "out.tif")
    if not model.exists():
        Redenoiser(Config().replace(SMALL), "cpu").fit(next(noise())[:512, :512]).save(model)
    program = MEAN if run == "mean" else "from napari_redenoise import _cli; _cli.main()"
    command = ["denoise", path, out, "--as-source", "--device", "cpu"]
    command += [] if run == "default" else ["--model", model]
    began = time.monotonic()
    # Results beyond 2 GiB are kept in the folder for temporary files.
    environment = os.environ | {"TMPDIR": str(folder)}
    child = subprocess.Popen([sys.executable, "-c", program, *map(str, command)], env=environment)
    memory = Memory(child.pid)
    code = memory.watch(child, seconds if run != "mean" else math.inf)
    took = time.monotonic() - began
    if code not in (0, 128 + signal.SIGTERM, -signal.SIGTERM):
        sys.exit(f"the run ended with {code}")
    planes = written(out)
    if code == 0:
        compare(path, out)
    for one in (out, unfinished(out)):
        shutil.rmtree(one) if one.is_dir() else one.unlink(missing_ok=True)
    return {
        "planes": planes,
        "seconds": f"{took:.0f}",
        "first": f"{memory.peak(began + took / 10):.2f}",
        "peak": f"{memory.peak():.2f}",
    }


class Memory:
    """Resident memory of a process and its descendants, every second."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._samples: list[tuple[float, int]] = []

    def watch(self, child: subprocess.Popen[bytes], seconds: float) -> int:
        """Sample until the process ends, or is ended after some seconds; return its exit code."""
        end = time.monotonic() + seconds
        while child.poll() is None:
            # The kernel's own peak of each process, so that none is missed between two samples.
            self._samples.append((time.monotonic(), sum(map(peak_of, family(self._process)))))
            time.sleep(1)
            if time.monotonic() > end:
                child.terminate()
                end = math.inf
        return child.returncode

    def peak(self, until: float = math.inf) -> float:
        """Largest sample in GB."""
        # Linux counts in kibibytes.
        return max(kib for when, kib in self._samples if when <= until) * 1024e-9


def family(process: int) -> list[int]:
    """A process and its descendants."""
    found = [process]
    for one in found:
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (thread / "children").read_text().split())
    return found


def peak_of(process: int) -> int:
    """Peak resident memory of a process in KiB; 0 if it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def compare(path: Path, out: Path) -> None:
    """Compare planes of a whole result with the mean of the source."""
    source, result = read_image(path).array, read_image(out).array
    assert source.shape == result.shape, (source.shape, result.shape)
    for number in {*range(0, len(source), max(1, len(source) // CHECKED)), len(source) - 1}:
        expected = uniform_filter(np.asarray(source[number], np.float32), 3)
        found = np.asarray(result[number], np.float32)
        worst = np.abs(found - expected)[1:-1, 1:-1].max()
        assert worst <= 0.501, f"plane {number} is wrong by {worst}"


def unfinished(out: Path) -> Path:
    """The folder that keeps a run."""
    return out.with_name(f".{out.name}.unfinished")


def written(out: Path) -> int:
    """Number of planes that a run has written."""
    if out.is_file() or out.is_dir():
        return int(read_image(out).array.shape[0])
    progress = unfinished(out) / f"{out.name}.progress"
    return len(progress.read_text().splitlines()) if progress.exists() else 0


def report() -> str:
    """The table of all rows, and where they were measured."""
    words = {
        "small": "small AdaReNet",
        "default": "default, fine-tuned first",
        "identity": "none: planes are read and written",
        "mean": "mean of 3 × 3 pixels, the whole image",
    }
    lines = [
        [
            {"zarr": "OME-Zarr", "tiff": "BigTIFF"}[row["image"]],
            row["gigabytes"],
            words[row["network"]],
            row["planes"],
            row["seconds"],
            row["first"],
            row["peak"],
        ]
        for row in rows(NAME)
    ]
    header = ["image", "GB", "network", "planes written", "s", "peak in the first tenth, GB"]
    header += ["peak resident memory, GB"]
    return table(header, lines) + f"\n\n{machine()}."


if __name__ == "__main__":
    main()
